//! The clients of nghttp2: `nghttp` tells each exchange, `h2load` only totals.
#![forbid(unsafe_code)]

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};

use super::{
    Driven, Exchange, Plan, Version,
    client::spawn,
    tools::{finish, url},
};
use crate::{paths, process::command_in, scope::Scope};

pub(super) fn nghttp(scope: &Scope, plan: &Plan, upgrade: bool) -> Result<Driven> {
    let mut children = Vec::new();
    for requests in &plan.connections {
        ensure!(requests.iter().all(|request| request.method == "GET"), "nghttp is only for GET here");
        let mut command = command_in(scope, paths::tool("nghttp", "nghttp2-client")?);
        command.args(["--null-out", "--verbose", "--no-verify-peer"]);
        if upgrade {
            command.arg("--upgrade");
        }
        command.args(requests.iter().map(|request| url(plan, request)));
        children.push(spawn(&mut command)?);
    }
    let (pids, printed) = finish(children)?;
    let mut exchanges = Vec::new();
    for (connection, printed) in printed.iter().enumerate() {
        ensure!(printed.code == Some(0), "nghttp failed: {}", printed.errors);
        exchanges.extend(told(connection, &printed.out));
    }
    let asked = plan.requests().count();
    ensure!(exchanges.len() == asked, "nghttp tells {} exchanges instead of {asked}", exchanges.len());
    Ok(Driven { pids, exchanges })
}

/// Reads what `nghttp --verbose` prints of the frames.
fn told(connection: usize, text: &str) -> Vec<Exchange> {
    let mut streams: BTreeMap<u32, (String, u16, u64)> = BTreeMap::new();
    let mut sent = None;
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("GET ").and_then(|rest| rest.strip_suffix(" HTTP/1.1")) {
            // The request that was sent with the upgrade is the stream 1.
            streams.entry(1).or_default().0 = path.into();
        } else if line.contains("send HEADERS frame") {
            sent = number(line, "stream_id=");
        } else if let (Some((_, path)), Some(stream)) = (line.split_once(" :path: "), sent) {
            streams.entry(stream).or_default().0 = path.trim().into();
        } else if let Some((head, status)) = line.split_once(" :status: ") {
            let stream = streams.entry(number(head, "stream_id=").unwrap_or(0)).or_default();
            stream.1 = status.trim().parse().unwrap_or(0);
        } else if line.contains("recv DATA frame") {
            let stream = streams.entry(number(line, "stream_id=").unwrap_or(0)).or_default();
            stream.2 += u64::from(number(line, "length=").unwrap_or(0));
        }
    }
    let answered = streams.into_values().filter(|stream| stream.1 != 0);
    answered
        .map(|(path, status, body)| Exchange { connection, port: 0, method: "GET".into(), path, status, body })
        .collect()
}

fn number(line: &str, name: &str) -> Option<u32> {
    let (_, rest) = line.split_once(name)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What h2load says at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Its process id.
    pub pid: u32,
    /// Answered requests.
    pub done: u64,
    /// Answers by the first digit of their status: 2xx to 5xx.
    pub statuses: [u64; 4],
    /// Bytes of payload.
    pub data: u64,
}

/// Runs `h2load` with so many requests in all over the connections of the plan. Each connection goes through the paths
/// of all of the plan's requests, in order and again, by GET, `in_flight` at once.
pub fn h2load(scope: &Scope, plan: &Plan, requests: usize) -> Result<Totals> {
    let directory = tempfile::tempdir()?;
    let list = directory.path().join("list");
    fs::write(&list, plan.requests().map(|request| url(plan, request) + "\n").collect::<String>())?;
    let mut command = command_in(scope, paths::tool("h2load", "nghttp2-client")?);
    command.arg("--requests").arg(requests.to_string()).arg("--clients").arg(plan.connections.len().to_string());
    command.arg("--max-concurrent-streams").arg(plan.in_flight.max(1).to_string());
    if plan.version == Version::H1 {
        command.arg("--h1");
    }
    command.arg("--input-file").arg(&list);
    let (pids, printed) = finish(vec![spawn(&mut command)?])?;
    let printed = printed.first().context("h2load did not run")?;
    ensure!(printed.code == Some(0), "h2load failed: {}", printed.errors);
    let pid = pids.first().copied().context("h2load did not run")?;
    totals(pid, &printed.out).with_context(|| format!("h2load printed: {}", printed.out))
}

fn totals(pid: u32, text: &str) -> Result<Totals> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).context("a line is missing");
    // "status codes: 90 2xx, 0 3xx, 10 4xx, 0 5xx"
    let before = |line: &str, word: &str| -> Result<u64> {
        let part = line.split(',').find(|part| part.trim().ends_with(word)).context("a figure is missing")?;
        Ok(part.trim().split(' ').next().unwrap_or("").parse()?)
    };
    let codes = line("status codes:")?;
    let statuses = [before(codes, "2xx")?, before(codes, "3xx")?, before(codes, "4xx")?, before(codes, "5xx")?];
    // "traffic: 1.17KB (1200) total, 100B (100) headers (space savings 90.00%), 600B (600) data"
    let data = line("traffic:")?.rsplit('(').next().and_then(|rest| rest.split(')').next()).context("no traffic")?;
    Ok(Totals { pid, done: before(line("requests:")?, "done")?, statuses, data: data.parse()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_of_h2load_are_read() {
        let text = "finished in 1ms\nrequests: 12 total, 12 started, 12 done, 9 succeeded, 3 failed, 0 errored, 0 timeout\n\
                    status codes: 9 2xx, 0 3xx, 2 4xx, 1 5xx\n\
                    traffic: 1.17KB (1200) total, 100B (100) headers (space savings 90.00%), 600B (600) data\n";
        assert_eq!(totals(1, text).unwrap(), Totals { pid: 1, done: 12, statuses: [9, 0, 2, 1], data: 600 });
    }

    #[test]
    fn a_dialogue_of_nghttp_is_read() {
        let text = "[  0.001] send HEADERS frame <length=44, flags=0x25, stream_id=13>\n          :method: GET\n          \
                    :path: /bytes/100/c0-1\n[  0.001] recv (stream_id=13) :status: 200\n\
                    [  0.001] recv DATA frame <length=60, flags=0x00, stream_id=13>\n\
                    [  0.001] recv DATA frame <length=40, flags=0x01, stream_id=13>\n";
        let told = told(0, text);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].seen(), crate::truth::Seen::new("GET", "/bytes/100/c0-1", 200, 100));
    }
}
