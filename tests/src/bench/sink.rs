//! A sink for OTLP over HTTP: it takes everything and counts it, so that the export is part of what is measured.
#![forbid(unsafe_code)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Result;

/// The answer to everything: an empty `ExportTraceServiceResponse`.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";

/// A listening sink; it listens as long as the process runs.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Sink {
    /// Opens one on a free loopback port.
    pub fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = bytes.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counter = counter.clone();
                thread::spawn(move || serve(&stream, &counter));
            }
        });
        Ok(Self { address, bytes })
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes of bodies so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Until the client ends the connection or says something that is no request with a length.
fn serve(stream: &TcpStream, counter: &AtomicU64) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length: u64 = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().to_ascii_lowercase().split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().ok()?,
                Some(("expect", _)) => return None,
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let taken = std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink()).ok()?;
        counter.fetch_add(taken, Ordering::Relaxed);
        (&mut &*stream).write_all(ANSWER).ok()?;
    }
}
