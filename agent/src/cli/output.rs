//! Spans on standard output, written by a thread of its own: a slow terminal or a full pipe never makes the pipeline
//! wait. What there is no room for is dropped and counted.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::mpsc::{Receiver, error::TryRecvError};

use crate::{
    control::SpanFilter,
    export::{
        Sink, SinkStats,
        terminal::{Bounds, Counters, Lines, Waterfalls, look_of},
    },
    span::{Span, json},
};

/// Spans that wait for being written.
const WAITING: usize = 65_536;
/// How long the writer dozes when it has written everything: waking it for each span would cost more than the span.
const DOZE: Duration = Duration::from_millis(10);

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A line for each span.
    Lines,
    /// A waterfall for each trace.
    Traces,
    /// A span per line, as JSON.
    Json,
}

impl Form {
    /// What the flags ask for.
    pub const fn of(traces: bool, json: bool) -> Self {
        if json {
            Self::Json
        } else if traces {
            Self::Traces
        } else {
            Self::Lines
        }
    }
}

/// Turns spans into text.
pub struct Printer {
    filter: SpanFilter,
    form: Printing,
    text: String,
    json: Vec<u8>,
}

enum Printing {
    Lines(Lines),
    Traces(Box<Waterfalls>),
    Json,
}

impl Printer {
    /// Prints what passes the filter.
    pub fn new(form: Form, filter: SpanFilter) -> Self {
        let (mut text, look) = (String::new(), look_of(&io::stdout()));
        let form = match form {
            Form::Json => Printing::Json,
            Form::Traces => Printing::Traces(Box::new(Waterfalls::new(look, Bounds::default()))),
            Form::Lines => {
                let lines = Lines::new(look);
                lines.header(&mut text);
                Printing::Lines(lines)
            }
        };
        Self { filter, form, text, json: Vec::new() }
    }

    /// Takes a span.
    pub fn span(&mut self, span: &Arc<Span>) {
        match &mut self.form {
            // A trace is shown whole, so its spans are not chosen from.
            Printing::Traces(traces) => traces.push(span, &mut self.text),
            _ if !self.filter.shows(span) => {}
            Printing::Lines(lines) => lines.line(span, &mut self.text),
            Printing::Json => {
                json::write(&mut self.json, span);
                if self.json.last() != Some(&b'\n') {
                    self.json.push(b'\n');
                }
            }
        }
    }

    /// It is so late, in nanoseconds since the Unix epoch.
    pub fn tick(&mut self, now_ns: u64) {
        if let Printing::Traces(traces) = &mut self.form {
            traces.tick(now_ns, &mut self.text);
        }
    }

    /// No more spans will come.
    pub fn finish(&mut self) {
        if let Printing::Traces(traces) = &mut self.form {
            traces.finish(&mut self.text);
        }
    }

    /// What became of the spans in traces, if those are shown.
    pub const fn traces(&self) -> Option<Counters> {
        match &self.form {
            Printing::Traces(traces) => Some(traces.counters()),
            Printing::Lines(_) | Printing::Json => None,
        }
    }

    /// Writes what was made so far.
    pub fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.json)?;
        out.write_all(self.text.as_bytes())?;
        self.json.clear();
        self.text.clear();
        out.flush()
    }
}

/// Standard output as a sink.
pub struct Output {
    sink: Sink,
    closed: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Option<Counters>>>,
}

impl Output {
    /// Starts the writer.
    pub fn start(form: Form, filter: SpanFilter) -> io::Result<Self> {
        let (sink, spans) = Sink::bounded("output", WAITING);
        let closed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&closed);
        let thread = std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            let result = write_all(spans, Printer::new(form, filter));
            flag.store(true, Ordering::Relaxed);
            result
        })?;
        Ok(Self { sink, closed, thread })
    }

    /// The end that spans are offered to.
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Whether nobody reads any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Writes the rest, once all other ends of the sink are gone. Whoever read having gone away is no error. Returns what
    /// became of the spans, and of the traces if those are shown.
    pub fn finish(self) -> io::Result<(SinkStats, Option<Counters>)> {
        let stats = self.sink.stats();
        drop(self.sink);
        match self.thread.join() {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            Ok(traces) => Ok((stats, traces.unwrap_or_default())),
            Err(_) => Err(io::Error::other("the writer panicked: please report this")),
        }
    }
}

fn write_all(mut spans: Receiver<Arc<Span>>, mut printer: Printer) -> io::Result<Option<Counters>> {
    const BATCH: usize = 512;
    let mut out = io::stdout().lock();
    let mut taken = 0;
    loop {
        match spans.try_recv() {
            Ok(span) => {
                printer.span(&span);
                taken += 1;
                if taken % BATCH == 0 {
                    printer.write(&mut out)?;
                }
            }
            Err(TryRecvError::Empty) => {
                printer.tick(crate::store::unix_ns());
                printer.write(&mut out)?;
                std::thread::sleep(DOZE);
            }
            Err(TryRecvError::Disconnected) => {
                printer.finish();
                printer.write(&mut out)?;
                return Ok(printer.traces());
            }
        }
    }
}
