//! What Kubernetes calls the containers of this node: namespace, pod, workload, container. A thread lists the node's pods and watches
//! them; who asks finds what is known, and waits for nothing.
//!
//! ```text
//! API server ─ list, watch ─▶ watcher ─▶ table of pods ◀─ container id, pod UID ─ Processes
//! ```
//!
//! Of a pod names, labels that were asked for, and containers are kept ([`Pod`]); of its environment, its other annotations and its
//! volumes nothing is. All is bounded: [`PODS_MAX`] pods, [`CONTAINERS_MAX`] containers of each, [`TEXT_MAX`] bytes of each text,
//! [`LABELS_MAX`] labels. What is left out is counted.

mod client;
mod cluster;
mod lines;
mod owner;
mod pod;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod watcher;

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;

use self::{
    client::{Client, Fault},
    pod::{Cut, Pod},
    status::{Counters, Now, add},
    table::Table,
};
pub use self::{
    cluster::{Cluster, DIRECTORY, Missing, is_node},
    pod::{CONTAINERS_MAX, TEXT_MAX, Wanted},
    status::State,
    table::PODS_MAX,
};
use crate::privilege::{self, Role};

/// Labels that can be asked for at most.
pub const LABELS_MAX: usize = 32;

/// What Kubernetes says of a process: plain data, fit for a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Workload {
    /// What its service is called, if the process does not say so itself.
    pub service: String,
    /// Attributes of its resource.
    pub attributes: Vec<(String, String)>,
}

impl Workload {
    /// An attribute.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What is known of the node's pods. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Pods(Arc<Shared>);

/// What the watch writes and who asks reads.
#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// How often the table has changed.
    generation: AtomicU64,
    counters: Counters,
    now: Mutex<Now>,
    tried: Condvar,
    node: String,
}

impl Pods {
    fn of(node: &str) -> Self {
        Self(Arc::new(Shared { node: node.to_owned(), ..Shared::default() }))
    }

    /// Takes a pod's JSON, as the watch does.
    #[cfg(test)]
    pub(crate) fn tell(&self, pod: &Json) {
        let told = serde_json::from_str(&pod.to_string()).expect("a pod's form");
        self.0.put(Pod::of(told, &Wanted::default(), &mut Cut::default()).expect("a pod"));
    }

    /// Changes when something is known that was not. Who looked up something in vain looks again then.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// What is known of a container, else of a pod, by its UID. An error while the table is being written: it is not waited for.
    pub fn find(&self, container: Option<&str>, pod: Option<&str>) -> Result<Option<Workload>, Busy> {
        match self.0.table.try_lock() {
            Ok(table) => Ok(table.find(container, pod)),
            Err(TryLockError::Poisoned(table)) => Ok(table.into_inner().find(container, pod)),
            Err(TryLockError::WouldBlock) => Err(Busy),
        }
    }

    /// Waits until the first list was made or has failed, at most for `patience`.
    pub fn wait(&self, patience: Duration) {
        let now = lock(&self.0.now);
        drop(self.0.tried.wait_timeout_while(now, patience, |now| !now.is_tried));
    }

    /// What the watch is at.
    pub fn state(&self) -> State {
        lock(&self.0.now).state.clone()
    }

    /// Counters and gauges, for the account.
    pub fn counted(&self) -> Vec<(&'static str, u64)> {
        let (pods, containers) = lock(&self.0.table).len();
        let now = lock(&self.0.now).clone();
        let mut counted = self.0.counters.named();
        counted.extend([
            ("pods", pods as u64),
            ("containers", containers as u64),
            ("watching", u64::from(now.state == State::Watching)),
            ("age_s", now.heard.map_or(0, |heard| heard.elapsed().as_secs())),
        ]);
        counted
    }

    /// All of it, for people and `/v1/health`.
    pub fn to_json(&self) -> Json {
        let (pods, containers) = lock(&self.0.table).len();
        let Now { state, heard, .. } = lock(&self.0.now).clone();
        json!({
            "state": state.name(),
            "reason": state.why(),
            "node": self.0.node,
            "pods": pods,
            "containers": containers,
            "age_ms": heard.map(|heard| u64::try_from(heard.elapsed().as_millis()).unwrap_or(u64::MAX)),
        })
    }
}

/// The table is being written just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl Shared {
    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn replace(&self, mut table: Table) {
        add(&self.counters.pods_cut, std::mem::take(&mut table.cut));
        // What was there is released without the lock.
        let before = std::mem::replace(&mut *lock(&self.table), table);
        drop(before);
        self.changed();
        let mut now = lock(&self.now);
        (now.heard, now.is_tried) = (Some(Instant::now()), true);
        drop(now);
        self.tried.notify_all();
    }

    fn put(&self, pod: Pod) {
        let mut table = lock(&self.table);
        let is_new = table.put(pod);
        add(&self.counters.pods_cut, std::mem::take(&mut table.cut));
        drop(table);
        if is_new {
            self.changed();
        }
    }

    fn remove(&self, uid: &str) {
        // Who is known stays known: there is nothing to look up anew.
        lock(&self.table).remove(uid);
    }

    fn cut(&self, Cut { containers, texts }: Cut) {
        add(&self.counters.containers_cut, containers);
        add(&self.counters.texts_cut, texts);
    }

    fn heard(&self) {
        lock(&self.now).heard = Some(Instant::now());
    }

    fn watching(&self) {
        let mut now = lock(&self.now);
        let before = std::mem::replace(&mut now.state, State::Watching);
        let was_told = std::mem::take(&mut now.is_told);
        now.heard = Some(Instant::now());
        drop(now);
        if before == State::Starting || was_told {
            let pods = lock(&self.table).len().0;
            log::info!("Kubernetes: the API server tells of pods; {pods} of node {} are known", self.node);
        }
    }

    fn is_watching(&self) -> bool {
        lock(&self.now).state == State::Watching
    }

    /// Counts a failure, and says it if it is a new one that lasts: a watch that was cut is just begun again.
    fn failed(&self, fault: &Fault) {
        add(&self.counters.failed, 1);
        add(&self.counters.refused, u64::from(fault.is_refusal()));
        add(&self.counters.gone, u64::from(*fault == Fault::Gone));
        let mut now = lock(&self.now);
        let is_passing = now.state == State::Watching && !fault.is_refusal();
        let why = fault.to_string();
        let state = if fault.is_refusal() { State::Refused(why) } else { State::Failing(why) };
        let is_known = now.is_told && std::mem::discriminant(&now.state) == std::mem::discriminant(&state);
        let is_new = !(is_passing || is_known);
        now.is_told |= is_new;
        (now.state, now.is_tried) = (state, true);
        drop(now);
        self.tried.notify_all();
        let text = format!("Kubernetes: the API server does not tell of pods: {fault}");
        if is_new {
            log::warn!("{text}; new pods have no names until it does");
        } else {
            log::debug!("{text}");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    pods: Pods,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts one on a thread of its own. Whether the API server answers, it tells later.
    ///
    /// # Errors
    /// There is no thread or event loop to be had.
    pub fn start(cluster: Cluster) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        let pods = Pods::of(&cluster.node);
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&pods.0);
        let thread = std::thread::Builder::new().name("kubernetes".to_owned()).spawn(move || {
            privilege::settle(Role::Service);
            runtime.block_on(async {
                tokio::select! {
                    () = watcher::run(cluster, &shared) => {}
                    _ = stopped => {}
                }
            });
            // A name that is being looked up is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { pods, stop: Some(stop), thread: Some(thread) })
    }

    /// What is known.
    pub fn pods(&self) -> Pods {
        self.pods.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // An error means that the thread has ended.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread that watches pods panicked; please report this");
        }
    }
}

/// Lists once, for `netspan doctor`: what is known then, and its state. It takes `patience` at most.
pub fn look(cluster: &Cluster, patience: Duration) -> io::Result<Pods> {
    let pods = Pods::of(&cluster.node);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
    let listed = runtime.block_on(async {
        let list = async {
            let client = Client::new(cluster)?;
            watcher::list(&client, cluster, &pods.0).await
        };
        tokio::time::timeout(patience, list).await.unwrap_or_else(|_| Err(client::late(patience)))
    });
    runtime.shutdown_background();
    lock(&pods.0.now).state = match listed {
        Ok(_) => State::Watching,
        Err(fault) if fault.is_refusal() => State::Refused(fault.to_string()),
        Err(fault) => State::Failing(fault.to_string()),
    };
    Ok(pods)
}
