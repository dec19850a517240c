//! Gives encoded metrics to whoever sends them, every so often, and once more at the end. It sends nothing itself.

use std::{
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use super::Shared;

/// How often, unless `OTEL_METRIC_EXPORT_INTERVAL` says otherwise.
pub const INTERVAL: Duration = Duration::from_mins(1);
/// As often at most.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The interval that the standard variable asks for, in milliseconds.
pub fn interval(variable: Option<&str>) -> Duration {
    let asked = variable.and_then(|text| text.trim().parse().ok()).map(Duration::from_millis);
    asked.unwrap_or(INTERVAL).max(INTERVAL_MIN)
}

/// A running producer. Dropping it gives the last metrics and ends it.
#[derive(Debug)]
pub struct Producer {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Calls `send` with each encoded `ExportMetricsServiceRequest`, on a thread of its own. `now_ns` tells nanoseconds since the Unix
/// epoch.
///
/// # Errors
/// There is no thread to be had.
pub fn start(
    metrics: Shared,
    interval: Duration,
    now_ns: impl Fn() -> u64 + Send + 'static,
    mut send: impl FnMut(Vec<u8>) + Send + 'static,
) -> std::io::Result<Producer> {
    let (stop, stopped) = sync_channel(1);
    let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        loop {
            let is_last = stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout);
            // Encoded while it is locked, sent afterwards.
            let encoded = metrics.lock().unwrap_or_else(std::sync::PoisonError::into_inner).encode(now_ns());
            encoded.into_iter().for_each(&mut send);
            if is_last {
                return;
            }
        }
    })?;
    Ok(Producer { stop: Some(stop), thread: Some(thread) })
}

impl Drop for Producer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the metrics' thread panicked; please report this");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{metrics::Metrics, span::sample};

    #[test]
    fn metrics_are_given_at_the_end_at_the_latest() {
        let metrics = Shared::default();
        metrics.lock().expect("sound").add(&sample::server());
        let sent = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let into = Arc::clone(&sent);
        let producer = start(
            Arc::clone(&metrics),
            Duration::from_hours(1),
            || 7,
            move |bytes| {
                into.lock().expect("sound").push(bytes);
            },
        );
        drop(producer.expect("a thread"));
        let expected: Vec<Vec<u8>> = metrics.lock().expect("sound").encode(7);
        assert_eq!((&*sent.lock().expect("sound"), expected.len()), (&expected, 1));
        assert!(Metrics::default().encode(7).is_empty());
    }

    #[test]
    fn the_interval_has_a_bound() {
        assert_eq!(interval(None), INTERVAL);
        assert_eq!(interval(Some("x")), INTERVAL);
        assert_eq!(interval(Some("5000")), Duration::from_secs(5));
        assert_eq!(interval(Some("1")), INTERVAL_MIN);
    }
}
