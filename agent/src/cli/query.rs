//! The filter words as flags of the commands that ask a running agent: they go into the query as they are.

use clap::Args;

use crate::{
    control::{nanoseconds, parse_duration},
    store::unix_ns,
};

/// Which spans are asked for.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters (alternatives within one, all of them together)")]
pub struct QueryFlags {
    /// Only spans of this service; `*` and `?` are wildcards
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,
    /// Only spans with this name, as `GET` or `GET /items/{id}`; with wildcards
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Only the accepting or the connecting ends: server or client
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only spans of processes with this executable's name; with wildcards
    #[arg(long, value_name = "NAME")]
    process: Vec<String>,
    /// Only spans of this process
    #[arg(long, value_name = "PID")]
    pid: Vec<String>,
    /// Only spans of the container whose id begins so
    #[arg(long, value_name = "ID")]
    container: Vec<String>,
    /// Only spans with this local or remote port, or range of ports
    #[arg(long, value_name = "PORT")]
    port: Vec<String>,
    /// Only spans with this address or name on the other side; with wildcards
    #[arg(long, value_name = "ADDRESS")]
    peer: Vec<String>,
    /// Only spans with this path or below; with `*` or `?` the whole path has to match
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// Only spans with this status: 404, 5xx, >=400, 400-499, `error` or `ok`
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// Only spans that took at least this long, such as 250ms
    #[arg(long, alias = "min-duration", value_name = "DURATION")]
    duration: Option<String>,
    /// Only spans that took at most this long
    #[arg(long, value_name = "DURATION")]
    max_duration: Option<String>,
    /// Only spans with this attribute, or whose process has it; without a value, with any
    #[arg(long, value_name = "NAME[=VALUE]")]
    attribute: Vec<String>,
    /// Only spans that began within this time before now, such as 15m
    #[arg(long, value_name = "DURATION", conflicts_with = "from")]
    last: Option<String>,
    /// Only spans that began then or later: 14:30, 2026-05-04T14:30 or a time before now, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<u64>,
    /// Only spans that began before then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<u64>,
}

/// Reads a moment as people write it, in nanoseconds since the epoch.
fn moment(text: &str) -> Result<u64, String> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(unix_ns().saturating_sub(nanoseconds(ago)));
    }
    let now = jiff::Zoned::now();
    let of_day = || Some(now.date().to_datetime(text.parse::<jiff::civil::Time>().ok()?));
    let of_clock = || text.parse::<jiff::civil::DateTime>().ok().or_else(of_day);
    let zoned = || Some(of_clock()?.to_zoned(now.time_zone().clone()).ok()?.timestamp());
    // A time with a zone is exact; one without is this host's.
    let timestamp = text.parse::<jiff::Timestamp>().ok().or_else(zoned);
    let since = timestamp.and_then(|timestamp| u64::try_from(timestamp.as_nanosecond()).ok());
    since.ok_or_else(|| {
        "not a time: give 14:30, 2026-05-04T14:30, 2026-05-04T12:30Z or a time before now, such as 2h".into()
    })
}

impl QueryFlags {
    /// The words of the query.
    pub fn words(&self) -> Vec<(&'static str, String)> {
        let mut words = self.rules();
        let times = [("from", self.from), ("to", self.to)];
        words.extend(self.last.clone().map(|last| ("last", last)));
        words.extend(times.into_iter().filter_map(|(word, ns)| Some((word, ns?.to_string()))));
        words
    }

    /// The beginning and the end of the time that is asked for, in nanoseconds since the epoch, if it has a beginning.
    pub fn window(&self) -> anyhow::Result<Option<(u64, u64)>> {
        let now_ns = unix_ns();
        let last = self.last.as_deref().map(parse_duration).transpose()?;
        let from_ns = self.from.or(last.map(|last| now_ns.saturating_sub(nanoseconds(last))));
        Ok(from_ns.map(|from_ns| (from_ns, self.to.unwrap_or(now_ns))))
    }

    /// The words of the query but for its time.
    pub fn rules(&self) -> Vec<(&'static str, String)> {
        let Self {
            service,
            name,
            kind,
            process,
            pid,
            container,
            port,
            peer,
            path,
            status,
            duration,
            max_duration,
            attribute,
            last: _,
            from: _,
            to: _,
        } = self;
        let lists = [
            ("service", service),
            ("name", name),
            ("kind", kind),
            ("process", process),
            ("pid", pid),
            ("container", container),
            ("port", port),
            ("peer", peer),
            ("path", path),
            ("status", status),
            ("attribute", attribute),
        ];
        let singles = [("duration", duration), ("max_duration", max_duration)];
        let lists = lists.into_iter().flat_map(|(word, texts)| texts.iter().map(move |text| (word, text.clone())));
        lists.chain(singles.into_iter().filter_map(|(word, text)| Some((word, text.clone()?)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now_ns = unix_ns();
        let ago = now_ns - moment("2h").expect("a time before now");
        assert!((7_199_000_000_000..=7_200_000_000_000).contains(&ago), "{ago}");
        assert_eq!(moment("2026-05-04T12:30:00Z"), Ok(1_777_897_800_000_000_000));
        assert_eq!(moment("2026-05-04T14:30:00+02:00"), Ok(1_777_897_800_000_000_000));
        let noon = moment("12:00").expect("a time of this day");
        assert!(noon.abs_diff(now_ns) < 2 * 86_400_000_000_000);
        assert_eq!(moment("12:00:00"), Ok(noon));
        let local = moment("2026-05-04T12:30").expect("a time of this host");
        assert!(local.abs_diff(1_777_897_800_000_000_000) <= 15 * 3_600_000_000_000);
        for text in ["", "x", "25:00", "5", "-1h", "1066-10-14T12:00:00Z"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
