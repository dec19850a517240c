//! Delivery of metrics to an endpoint: every so often, and once more at the end. They need no queue: sums are cumulative, so that
//! the next message carries what one that failed had. An attempt that fails is repeated until the next one is due.

mod said;
mod stats;

use std::{
    sync::{Arc, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;
use tokio::{sync::oneshot, time::sleep_until};

pub use self::stats::Stats;
use self::{said::Said, stats::Counters};
use super::{
    StartError,
    compress::Compression,
    config::Config,
    encode::{Format, unix_ms},
    language::Language,
    outcome::Outcome,
    retry::{Pace, chance},
};
use crate::{
    metrics::{Shared, otlp, otlp_json},
    privilege::{self, Role},
    span::Attribute,
};

/// How often, unless somebody says otherwise (OpenTelemetry specification, "Periodic exporting `MetricReader`").
pub const INTERVAL: Duration = Duration::from_mins(1);
/// As often at most.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// A receiver that refused metrics for good, as one that takes spans only does, is asked again after this time.
pub const REFUSED_PAUSE: Duration = Duration::from_mins(10);

/// A running exporter of metrics. Dropping it ends it at once; [`Handle::shutdown`] sends the last ones.
#[derive(Debug)]
pub struct Handle {
    stop: Option<oneshot::Sender<Duration>>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
}

/// Starts one on a thread of its own. `config` is that of an endpoint for metrics.
///
/// # Errors
/// TLS can't be set up, or there is no thread to be had. What is wrong with the endpoint is told by the log.
pub fn start(config: &Config, interval: Duration, metrics: Shared) -> Result<Handle, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
    let counters = Arc::<Counters>::default();
    let language = Language::new(config)?;
    let exporter = Exporter {
        said: Said::new(language.target()),
        language,
        metrics,
        interval: interval.max(INTERVAL_MIN),
        compression: config.compression,
        resource: config.resource.clone(),
        pace: Pace::new(config.limits.backoff_first, config.limits.backoff_most),
        refused_until: None,
        counters: Arc::clone(&counters),
    };
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name("export-metrics".to_owned()).spawn(move || {
        privilege::settle(Role::Service);
        runtime.block_on(exporter.run(stopped));
        // A name that is being looked up is not waited for.
        runtime.shutdown_background();
    })?;
    Ok(Handle { stop: Some(stop), thread: Some(thread), counters })
}

impl Handle {
    /// What became of the messages so far, for later.
    pub fn watch(&self) -> impl Fn() -> Stats + Send + use<> {
        let counters = Arc::clone(&self.counters);
        move || counters.read()
    }

    /// Sends the metrics once more, at most for `patience`, and ends the thread.
    pub fn shutdown(mut self, patience: Duration) -> Stats {
        self.end(patience);
        self.counters.read()
    }

    fn end(&mut self, patience: Duration) {
        // An error means that the thread has ended; then there is nothing to tell it.
        let _ = self.stop.take().map(|stop| stop.send(patience));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the metrics' thread panicked; please report this");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

struct Exporter {
    language: Language,
    metrics: Shared,
    interval: Duration,
    compression: Compression,
    resource: Vec<Attribute>,
    pace: Pace,
    said: Said,
    refused_until: Option<Instant>,
    counters: Arc<Counters>,
}

impl Exporter {
    async fn run(mut self, mut stopped: oneshot::Receiver<Duration>) {
        let mut next = Instant::now() + self.interval;
        loop {
            let by = next + self.interval;
            let turn = async {
                sleep_until(next.into()).await;
                self.export(by).await;
            };
            let patience = tokio::select! {
                patience = &mut stopped => Some(patience.unwrap_or_default()),
                () = turn => None,
            };
            if let Some(patience) = patience.filter(|patience| !patience.is_zero()) {
                // A last try, even if the receiver was down.
                self.pace.hurry();
                let _ = tokio::time::timeout(patience, self.export(Instant::now() + patience)).await;
            }
            if patience.is_some() {
                return;
            }
            next = (next + self.interval).max(Instant::now());
        }
    }

    /// Sends all metrics as they are now; what is not taken until `by` is left to the next time.
    async fn export(&mut self, by: Instant) {
        let now = Instant::now();
        let now_ns = unix_ms().saturating_mul(1_000_000);
        let messages = {
            let metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
            metrics.messages(now_ns, &self.resource)
        };
        let is_waiting = self.pace.resume_at(now).is_some_and(|at| at >= by);
        if is_waiting || self.refused_until.is_some_and(|until| until > now) {
            Counters::add(&self.counters.skipped, messages.len() as u64);
            return;
        }
        for message in &messages {
            self.deliver(message, by).await;
        }
    }

    /// Sends a message, and tries again where that makes sense.
    async fn deliver(&mut self, message: &ExportMetricsServiceRequest, by: Instant) {
        // Counted before, so that an attempt that the agent's end cuts short counts as one that failed.
        Counters::add(&self.counters.begun, 1);
        loop {
            if let Some(at) = self.pace.resume_at(Instant::now()) {
                if at >= by {
                    return;
                }
                sleep_until(at.into()).await;
            }
            let mut outcome = self.attempt(message).await;
            let again = self.language.learn(&mut outcome);
            if again {
                continue;
            }
            let now = Instant::now();
            self.said.observe(self.language.target(), &outcome, now);
            match outcome {
                Outcome::Taken { rejected, .. } => {
                    self.pace.succeeded();
                    self.refused_until = None;
                    let points = otlp::points(message);
                    let rejected = rejected.min(points);
                    Counters::add(&self.counters.sent, 1);
                    Counters::add(&self.counters.points, points - rejected);
                    Counters::add(&self.counters.rejected_points, rejected);
                    return;
                }
                Outcome::Refused { .. } => {
                    self.pace.succeeded();
                    self.refused_until = Some(now + REFUSED_PAUSE);
                    Counters::add(&self.counters.refused, 1);
                    return;
                }
                Outcome::Retry { after, .. } => {
                    Counters::add(&self.counters.retried, 1);
                    self.pace.failed(now, chance(), after);
                }
            }
        }
    }

    async fn attempt(&self, message: &ExportMetricsServiceRequest) -> Outcome {
        let (format, body) = match self.language.format() {
            Format::OtlpJson => (Format::OtlpJson, otlp_json::encode(message)),
            _ => (Format::Otlp, message.encode_to_vec()),
        };
        let (compression, body) = self.compression.apply(body.into());
        self.language.transport().send_encoded(format, compression, body).await
    }
}
