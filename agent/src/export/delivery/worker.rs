//! A destination's loop: encodes what arrives, closes batches, queues them, and keeps requests under way. It holds no span
//! back, and never waits for one thing only.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::{Receiver, UnboundedReceiver},
    task::{Id, JoinHandle, JoinSet, spawn_blocking},
    time::sleep_until,
};

use super::{
    Command,
    config::{Config, Limits},
    encode::{Batch, Batcher, Oversized, unix_ms},
    health::Health,
    language::Language,
    outcome::Outcome,
    queue::{Mark, Queue},
    retry::Pace,
    stats::Counters,
};
use crate::{export::Watch, span::Span};

/// Spans that are encoded before other events get their turn.
const TURN: usize = 512;
/// After spans have arrived, the worker looks again only after this time: who sends a span does not pay for waking it.
const DOZE: Duration = Duration::from_millis(20);
/// How often it is looked for batches that are too old, and for what is to be made safe against a power cut.
const ROUND: Duration = Duration::from_millis(500);
/// With nothing to wait for, the loop still turns this often.
const IDLE: Duration = Duration::from_hours(1);

/// The exporter's state.
#[derive(Debug)]
pub struct Worker {
    limits: Limits,
    greet: bool,
    language: Language,
    counters: Arc<Counters>,
    spans: Receiver<Arc<Span>>,
    input: Watch,
    orders: UnboundedReceiver<Command>,
    batcher: Batcher,
    queue: Queue,
    round_at: Instant,
    syncing: Option<JoinHandle<()>>,
    under_way: JoinSet<Outcome>,
    /// The batches of the requests under way.
    held: HashMap<Id, Batch>,
    pace: Pace,
    health: Health,
    chance: RandomState,
    doze_until: Instant,
    flushes: Vec<Flush>,
    stop_by: Option<Instant>,
}

/// Somebody waits for all batches before `last`.
#[derive(Debug)]
struct Flush {
    last: Mark,
    deadline: Instant,
    answer: SyncSender<bool>,
}

impl Worker {
    /// A worker that has not begun. The queue is opened here, which may take its time: on the worker's own thread.
    pub fn new(
        config: &Config,
        language: Language,
        counters: Arc<Counters>,
        (spans, input): (Receiver<Arc<Span>>, Watch),
        orders: UnboundedReceiver<Command>,
    ) -> Self {
        let (limits, format) = (config.limits, config.format());
        let queue = Queue::open(config.queue.clone(), &limits, config.when_full, &counters);
        Self {
            limits,
            greet: config.greets(),
            language,
            counters,
            spans,
            input,
            orders,
            batcher: Batcher::new(format, config.compression, limits.batch, config.resource.clone()),
            queue,
            round_at: Instant::now(),
            syncing: None,
            under_way: JoinSet::new(),
            held: HashMap::new(),
            pace: Pace::new(limits.backoff_first, limits.backoff_most),
            health: Health::new(config.shown(), config.queue.is_some()),
            chance: RandomState::new(),
            doze_until: Instant::now(),
            flushes: Vec::new(),
            stop_by: None,
        }
    }

    /// Runs until it is told to stop, or until nobody can tell it anything any more.
    pub async fn run(mut self) {
        let mut arrived = Vec::with_capacity(TURN);
        if self.greet {
            self.greet();
        }
        loop {
            let now = Instant::now();
            self.close_by_age(now);
            self.round(now);
            self.dispatch(now);
            self.note();
            self.answer_flushes(now);
            if self.stop_by.is_some_and(|deadline| self.nothing_to_gain(deadline, now)) {
                return self.give_up();
            }
            let listens = !self.spans.is_closed() && self.doze_until <= now && !self.queue.holds_back();
            let wake = self.next_wake(now);
            tokio::select! {
                count = self.spans.recv_many(&mut arrived, TURN), if listens => {
                    self.encode(&mut arrived);
                    if count < TURN {
                        self.doze_until = Instant::now() + DOZE;
                    }
                }
                Some(done) = self.under_way.join_next_with_id() => self.settle(done),
                order = self.orders.recv(), if self.stop_by.is_none() => self.obey(order),
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    fn obey(&mut self, order: Option<Command>) {
        match order {
            Some(Command::Flush(deadline, answer)) => {
                self.collect_all();
                let last = self.queue.mark(self.batcher.closed());
                self.flushes.push(Flush { last, deadline, answer });
            }
            Some(Command::Stop(deadline)) => self.begin_stop(deadline),
            None => self.begin_stop(Instant::now()),
        }
    }

    fn begin_stop(&mut self, deadline: Instant) {
        self.spans.close();
        self.collect_all();
        self.stop_by = Some(deadline);
        // A last try, even if the collector was down.
        self.pace.hurry();
    }

    /// Encodes all spans that have arrived, and closes the batch.
    fn collect_all(&mut self) {
        // As many as there are now: a busy producer does not keep the worker here.
        let count = self.spans.len();
        let mut arrived: Vec<_> = std::iter::from_fn(|| self.spans.try_recv().ok()).take(count).collect();
        self.encode(&mut arrived);
        if let Some(batch) = self.batcher.close() {
            self.enqueue(batch);
        }
    }

    fn encode(&mut self, arrived: &mut Vec<Arc<Span>>) {
        let (now, mut closed) = (Instant::now(), Vec::new());
        for span in arrived.drain(..) {
            if self.batcher.push(&span, now, &mut closed) == Err(Oversized) {
                Counters::add(&self.counters.oversized, 1);
            }
        }
        for batch in closed {
            self.enqueue(batch);
        }
    }

    fn close_by_age(&mut self, now: Instant) {
        let old = self.batcher.opened().is_some_and(|opened| opened + self.limits.batch_age <= now);
        if let Some(batch) = old.then(|| self.batcher.close()).flatten() {
            self.enqueue(batch);
        }
    }

    fn enqueue(&mut self, batch: Batch) {
        // Noted first: what is on the disk is never more than what is known to have been produced.
        self.note();
        self.queue.push(batch, &self.counters);
    }

    fn note(&mut self) {
        let (counters, input) = (&self.counters, &self.input);
        self.queue.note(|| counters.read(|| input.stats()), counters);
    }

    /// What is done now and then: drops what is too old, and makes safe what has waited for long.
    fn round(&mut self, now: Instant) {
        if self.round_at > now {
            return;
        }
        self.round_at = now + ROUND;
        self.queue.expire(self.too_old(), &self.counters);
        if self.syncing.as_ref().is_none_or(JoinHandle::is_finished) {
            let files = self.queue.unsynced();
            let is_due = !files.is_empty();
            // A disk that can't do it has told so at the write, as a rule; there is nothing else to do about it.
            let sync = move || files.iter().for_each(|file| drop(file.sync_data()));
            self.syncing = Some(sync).filter(|_| is_due).map(spawn_blocking);
        }
    }

    /// What is older than this, in milliseconds since the Unix epoch, is not tried again.
    fn too_old(&self) -> u64 {
        unix_ms().saturating_sub(u64::try_from(self.limits.retry_age.as_millis()).unwrap_or(u64::MAX))
    }

    /// Begins as many requests as may be under way.
    fn dispatch(&mut self, now: Instant) {
        if self.pace.resume_at(now).is_some() {
            return;
        }
        let most = match self.language.is_sure() {
            true if !self.pace.failing() => self.limits.in_flight.max(1),
            true => 1,
            // One attempt at a time, a greeting included.
            false => usize::from(self.under_way.is_empty()),
        };
        while self.held.len() < most
            && let Some(batch) = self.queue.pop(&self.counters)
        {
            let task = self.under_way.spawn(self.language.transport().send(batch.clone()));
            self.held.insert(task.id(), batch);
        }
    }

    fn greet(&mut self) {
        self.under_way.spawn(self.language.transport().greet());
    }

    fn settle(&mut self, done: Result<(Id, Outcome), tokio::task::JoinError>) {
        let (id, mut outcome) = done.unwrap_or_else(|error| {
            let reason = format!("the attempt failed within the agent: {error}");
            (error.id(), Outcome::Refused { reason, garbled: false })
        });
        let (batch, now) = (self.held.remove(&id), Instant::now());
        match (batch, self.language.learn(&mut outcome)) {
            (None, true) => self.greet(),
            (None, false) => {
                // A receiver may well refuse a request without spans.
                if !matches!(outcome, Outcome::Refused { .. }) {
                    self.health.observe(self.language.target(), &outcome, now);
                }
            }
            (Some(batch), true) => self.put_back(batch),
            (Some(batch), false) => {
                self.health.observe(self.language.target(), &outcome, now);
                self.account(batch, &outcome, now);
            }
        }
    }

    /// Counts what became of a batch, or keeps it for another attempt.
    fn account(&mut self, batch: Batch, outcome: &Outcome, now: Instant) {
        match outcome {
            Outcome::Taken { rejected, .. } => {
                self.pace.succeeded();
                let rejected = batch.spans.min(*rejected);
                Counters::add(&self.counters.requests, 1);
                Counters::add(&self.counters.bytes, batch.body.len() as u64);
                Counters::add(&self.counters.rejected, rejected);
                Counters::add(&self.counters.sent, batch.spans - rejected);
                self.queue.settle(&batch);
            }
            Outcome::Refused { .. } => {
                self.pace.succeeded();
                Counters::add(&self.counters.refused, batch.spans);
                self.queue.settle(&batch);
            }
            Outcome::Retry { after, .. } => {
                if self.pace.failed(now, self.chance.hash_one(now), *after) {
                    Counters::add(&self.counters.breaks, 1);
                }
                self.put_back(batch);
            }
        }
    }

    fn put_back(&mut self, batch: Batch) {
        Counters::add(&self.counters.retried, 1);
        if batch.time_ms < self.too_old() {
            Counters::add(&self.counters.age, batch.spans);
            self.queue.settle(&batch);
        } else {
            self.queue.put_back(batch, &self.counters);
        }
    }

    fn answer_flushes(&mut self, now: Instant) {
        let (queue, held) = (&self.queue, &self.held);
        self.flushes.retain(|flush| {
            let settled = queue.is_past(&flush.last, held.values());
            let over = settled || flush.deadline <= now;
            if over {
                // An error means that nobody waits any more.
                let _ = flush.answer.try_send(settled);
            }
            !over
        });
    }

    /// Whether there is no reason to go on until `deadline`.
    fn nothing_to_gain(&self, deadline: Instant, now: Instant) -> bool {
        let all_settled = self.queue.is_empty() && self.held.is_empty();
        let too_late = self.held.is_empty() && self.pace.resume_at(now).is_some_and(|at| at >= deadline);
        // What is on the disk is as well sent by the next run.
        let is_safe = self.held.is_empty() && self.pace.failing() && self.queue.is_on_disk();
        all_settled || too_late || is_safe || deadline <= now
    }

    /// Counts what was not sent and is not on the disk.
    fn give_up(mut self) {
        let held = self.held.values().filter(|batch| batch.ordinal.is_none()).map(|batch| batch.spans).sum::<u64>();
        let queued: u64 = std::iter::from_fn(|| self.queue.pop_memory()).map(|batch| batch.spans).sum();
        Counters::add(&self.counters.shutdown, held + queued);
        self.note();
        self.answer_flushes(Instant::now());
    }

    fn next_wake(&self, now: Instant) -> Instant {
        let aged = self.batcher.opened().map(|opened| opened + self.limits.batch_age);
        let resumed = if self.queue.is_empty() { None } else { self.pace.resume_at(now) };
        let dozed = Some(self.doze_until).filter(|&until| until > now);
        let round = (!self.queue.is_settled()).then_some(self.round_at);
        let flushed = self.flushes.iter().map(|flush| flush.deadline).min();
        [aged, resumed, dozed, round, flushed, self.stop_by].into_iter().flatten().min().unwrap_or(now + IDLE)
    }
}
