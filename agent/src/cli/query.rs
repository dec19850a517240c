//! The filter words as flags of the commands that ask a running agent: they go into the query as they are.

use clap::Args;

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
    /// Only spans with this status: 404, 5xx, >=400, 400-499 or `error`
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// Only spans that took at least this long, such as 250ms
    #[arg(long, alias = "min-duration", value_name = "DURATION")]
    duration: Option<String>,
    /// Only spans that took at most this long
    #[arg(long, value_name = "DURATION")]
    max_duration: Option<String>,
    /// Only spans with this attribute
    #[arg(long, value_name = "NAME=VALUE")]
    attribute: Vec<String>,
    /// Only spans that began within this time before now, such as 15m
    #[arg(long, value_name = "DURATION")]
    last: Option<String>,
}

impl QueryFlags {
    /// The words of the query.
    pub fn words(&self) -> Vec<(&'static str, String)> {
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
            last,
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
        let singles = [("duration", duration), ("max_duration", max_duration), ("last", last)];
        let lists = lists.into_iter().flat_map(|(word, texts)| texts.iter().map(move |text| (word, text.clone())));
        lists.chain(singles.into_iter().filter_map(|(word, text)| Some((word, text.clone()?)))).collect()
    }
}
