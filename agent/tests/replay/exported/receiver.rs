//! A receiver of OTLP over HTTP/1.1 that is down until it is told to be up, and knows every span that came.

use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

/// The receiver. Its threads end with the test.
pub struct Receiver {
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_up: AtomicBool,
    got: Mutex<Got>,
}

/// What came.
#[derive(Clone, Debug, Default)]
pub struct Got {
    /// Ids of the spans.
    pub ids: HashSet<Vec<u8>>,
    /// Spans that had come before.
    pub twice: u64,
    /// Requests that were turned away.
    pub refused: u64,
}

impl Receiver {
    /// Listens; it is down: it answers 503.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (address, state) = (listener.local_addr().expect("an address"), Arc::<State>::default());
        let known = Arc::clone(&state);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let state = Arc::clone(&known);
                // A client that is killed goes away in the middle.
                thread::spawn(move || serve(&socket, &state));
            }
        });
        Self { address, state }
    }

    /// Goes up or down.
    pub fn up(&self, up: bool) {
        self.state.is_up.store(up, Ordering::SeqCst);
    }

    /// What came so far.
    pub fn got(&self) -> Got {
        self.state.got.lock().expect("not poisoned").clone()
    }

    /// Spans that came so far.
    pub fn count(&self) -> usize {
        self.state.got.lock().expect("not poisoned").ids.len()
    }

    /// Waits until so many spans have come.
    pub fn await_spans(&self, count: usize, bound: Duration) -> bool {
        let begun = Instant::now();
        while self.count() < count && begun.elapsed() < bound {
            thread::sleep(Duration::from_millis(10));
        }
        self.count() >= count
    }
}

fn serve(mut socket: &TcpStream, state: &State) -> Option<()> {
    let mut reader = BufReader::new(socket);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let is_up = state.is_up.load(Ordering::SeqCst);
        let mut got = state.got.lock().expect("not poisoned");
        if is_up {
            let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("a request of the protocol");
            let groups = request.resource_spans.into_iter().flat_map(|group| group.scope_spans);
            for span in groups.flat_map(|group| group.spans) {
                let is_new = got.ids.insert(span.span_id);
                got.twice += u64::from(!is_new);
            }
        } else {
            got.refused += 1;
        }
        drop(got);
        let status = if is_up { "200 OK" } else { "503 Service Unavailable" };
        write!(socket, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}
