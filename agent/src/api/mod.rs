//! The agent's HTTP server: its own API under `/v1/`, Jaeger's query API under `/api/`, Zipkin's read API under `/api/v2/`,
//! and `/metrics`. It reads the store and what the agent tells it; nothing here changes anything.
//!
//! # Who may ask
//! On a loopback address, whoever is on this host; on any other address, who has the token. A page in a browser that came
//! from elsewhere may not ([`guard`]). Requests are bounded in size and time, connections and questions in number.
#![forbid(unsafe_code)]

mod answer;
mod feed;
mod guard;
mod health;
mod jaeger;
mod links;
mod live;
mod metrics;
mod params;
mod server;
mod shapes;
mod ui;
mod v1;
mod zipkin;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, OnceLock},
    thread::JoinHandle,
};

use tokio::sync::{Semaphore, broadcast, oneshot};

use crate::{
    capture::count::Account,
    export::{Sink, SinkStats},
    link::Tally,
    metrics::Metrics,
    privilege::{self, Role},
    span::Span,
    store::{self, Reader},
};

/// Spans that wait for being counted and shown live, at most.
pub const QUEUE: usize = 16_384;
/// Spans that a slow viewer of live spans may lag behind; it loses more, and is told how many.
const LIVE_MAX: usize = 1024;
/// Questions to the store at a time; more wait.
const QUESTIONS_MAX: usize = 2;

/// Where to listen, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The address.
    pub listen: SocketAddr,
    /// What a request has to carry as `Authorization: Bearer ...`; needed unless the address is a loopback one.
    pub token: Option<String>,
}

/// Why the API can't be there.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Everybody could read the spans.
    #[error("{0} can be reached from other hosts: give a --token (or NETSPAN_TOKEN), or listen on 127.0.0.1")]
    NeedsToken(SocketAddr),
    /// The address can't be had.
    #[error("{0} can't be listened on: {1}; give --listen another address, or `none`")]
    Listen(SocketAddr, io::Error),
    /// No thread or event loop.
    #[error("no thread for the API: {0}")]
    Thread(io::Error),
}

/// Tells what is seen and what not and why, as `netspan doctor --json` does, or a part of that. It may take a while.
pub type Doctor = Box<dyn Fn() -> serde_json::Value + Send + Sync>;

/// What the agent tells of itself, for `/v1/health`, `/v1/links`, `/v1/doctor` and `/metrics`.
#[derive(Default)]
pub struct Told {
    account: Mutex<Account>,
    sinks: Mutex<Vec<SinkStats>>,
    links: Mutex<Vec<(u32, Tally)>>,
    metrics: Arc<Mutex<Metrics>>,
    doctor: OnceLock<Doctor>,
    kubernetes: OnceLock<Doctor>,
}

impl Told {
    /// The account of the run so far.
    pub fn account(&self, account: Account) {
        *lock(&self.account) = account;
    }

    /// Who tells what is seen; of several the first one counts.
    pub fn doctor(&self, doctor: Doctor) {
        let _ = self.doctor.set(doctor);
    }

    /// Who tells what is known of Kubernetes; of several the first one counts.
    pub fn kubernetes(&self, kubernetes: Doctor) {
        let _ = self.kubernetes.set(kubernetes);
    }

    /// What became of the spans of each process, by its id.
    pub fn links(&self, links: Vec<(u32, Tally)>) {
        *lock(&self.links) = links;
    }

    /// The metrics: the API counts the spans that it is offered.
    pub fn metrics(&self) -> Arc<Mutex<Metrics>> {
        Arc::clone(&self.metrics)
    }

    /// What became of the spans given to the sinks.
    pub fn sinks(&self, sinks: Vec<SinkStats>) {
        *lock(&self.sinks) = sinks;
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}

/// A lock, also after a panic elsewhere: what it holds are figures.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What the API knows of the store.
pub struct Stored {
    /// Asks it.
    pub reader: Reader,
    /// Its counters.
    pub stats: Box<dyn Fn() -> store::Stats + Send + Sync>,
}

/// What requests are answered from.
struct State {
    store: Option<Stored>,
    told: Arc<Told>,
    live: broadcast::Sender<Arc<Span>>,
    questions: Semaphore,
}

type Shared = Arc<State>;

/// A running API. Dropping it ends it.
#[derive(Debug)]
pub struct Handle {
    sink: Sink,
    told: Arc<Told>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the API on a thread of its own.
pub fn start(config: &Config, store: Option<Stored>) -> Result<Handle, StartError> {
    if config.token.is_none() && !is_loopback(config.listen.ip()) {
        return Err(StartError::NeedsToken(config.listen));
    }
    let failed = |error| StartError::Listen(config.listen, error);
    let listener = std::net::TcpListener::bind(config.listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(QUESTIONS_MAX)
        .thread_name("api-question")
        // Waiting harms nobody but who asks.
        .on_thread_start(|| {
            let _ = rustix::process::setpriority_process(None, store::NICE);
            privilege::settle(Role::Question);
        })
        .build()
        .map_err(StartError::Thread)?;
    let (sink, spans) = Sink::bounded("api", QUEUE);
    let (stop, stopped) = oneshot::channel();
    let told = Arc::<Told>::default();
    let state = Arc::new(State {
        store,
        told: Arc::clone(&told),
        live: broadcast::channel(LIVE_MAX).0,
        questions: Semaphore::new(QUESTIONS_MAX),
    });
    let guard = guard::Guard::new(config.token.clone());
    let thread = std::thread::Builder::new().name("api".to_owned()).spawn(move || {
        let _ = rustix::process::setpriority_process(None, store::NICE);
        privilege::settle(Role::Api);
        runtime.block_on(async {
            tokio::select! {
                () = server::serve(listener, guard, Arc::clone(&state)) => {}
                () = feed::feed(spans, &state) => {}
                _ = stopped => {}
            }
        });
        // A question that is being answered is not waited for.
        runtime.shutdown_background();
    });
    let thread = Some(thread.map_err(StartError::Thread)?);
    Ok(Handle { sink, told, address, stop: Some(stop), thread })
}

impl Handle {
    /// The end that spans are offered to.
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Where the agent tells of itself.
    pub fn told(&self) -> Arc<Told> {
        Arc::clone(&self.told)
    }

    /// The address that is listened on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the API's thread panicked; please report this");
        }
    }
}

/// Whether an address is of this host alone.
pub const fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.is_loopback(),
    }
}
