//! curl, wget and gnutls-cli as clients: a process for each connection of the plan, all at once.
#![forbid(unsafe_code)]

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{Driven, Exchange, Plan, Request, Version, client::spawn};
use crate::{drive::Ask, http::Connection, paths, process::command_in, scope::Scope};

/// Its ends tell what it did: the text that it printed, by stream.
pub(super) struct Printed {
    pub out: String,
    pub errors: String,
    pub code: Option<i32>,
}

/// Waits for all of them.
pub(super) fn finish(children: Vec<Child>) -> Result<(Vec<u32>, Vec<Printed>)> {
    let pids = children.iter().map(Child::id).collect();
    let printed = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output()?;
            Ok(Printed {
                out: String::from_utf8_lossy(&output.stdout).into_owned(),
                errors: String::from_utf8_lossy(&output.stderr).into_owned(),
                code: output.status.code(),
            })
        })
        .collect::<Result<_>>()?;
    Ok((pids, printed))
}

pub(super) fn url(plan: &Plan, request: &Request) -> String {
    let scheme = if plan.authority.is_some() { "https" } else { "http" };
    format!("{scheme}://{}{}", plan.address, request.path)
}

/// What curl's `%{json}` says of a transfer.
#[derive(Deserialize)]
struct Transfer {
    local_port: u16,
    http_code: u16,
    size_download: u64,
    url: String,
}

pub(super) fn curl(scope: &Scope, plan: &Plan) -> Result<Driven> {
    let directory = tempfile::tempdir()?;
    let mut children = Vec::new();
    for (ordinal, requests) in plan.connections.iter().enumerate() {
        let mut text = String::new();
        for (number, request) in requests.iter().enumerate() {
            if number > 0 {
                text.push_str("next\n");
            }
            let _ =
                write!(text, "url = \"{}\"\noutput = /dev/null\nwrite-out = \"%{{json}}\\n\"\n", url(plan, request));
            text.push_str(match plan.version {
                Version::H1 => "http1.1\n",
                // curl 7.88 does not use a connection again for which the version is known before; then it only has to
                // be allowed.
                Version::H2 if plan.authority.is_none() && number == 0 => "http2-prior-knowledge\n",
                Version::H2 => "http2\n",
            });
            if let Some(authority) = &plan.authority {
                let _ = writeln!(text, "cacert = \"{}\"", authority.display());
            }
            match request.method.as_str() {
                "HEAD" => text.push_str("head\n"),
                method => {
                    let _ = writeln!(text, "request = {method}");
                }
            }
            if request.body > 0 {
                let file = directory.path().join(request.body.to_string());
                // Those that run already may be reading it.
                if !file.exists() {
                    fs::write(&file, vec![b'b'; request.body])?;
                }
                let _ = writeln!(text, "data-binary = \"@{}\"", file.display());
            }
        }
        let file = directory.path().join(format!("{ordinal}.curlrc"));
        fs::write(&file, text)?;
        let mut command = command_in(scope, paths::tool("curl", "curl")?);
        command
            .args(["--disable", "--silent", "--no-progress-meter", "--show-error", "--noproxy", "*", "--config"])
            .arg(&file);
        // In the clear it would open more connections, each with an upgrade.
        if plan.in_flight > 1 && plan.version == Version::H2 && plan.authority.is_some() {
            command.arg("--parallel").arg("--parallel-max").arg(plan.in_flight.to_string());
        }
        children.push(spawn(&mut command)?);
    }
    let (pids, printed) = finish(children)?;
    let mut exchanges = Vec::new();
    for (connection, printed) in printed.iter().enumerate() {
        let failed = || printed.out.lines().find(|line| !line.contains(r#""exitcode":0,"#)).unwrap_or("");
        ensure!(printed.code == Some(0), "curl failed: {}; {}", printed.errors, failed());
        let by_url: HashMap<String, &Request> =
            plan.connections[connection].iter().map(|request| (url(plan, request), request)).collect();
        for line in printed.out.lines() {
            let transfer: Transfer = serde_json::from_str(line).with_context(|| format!("curl printed {line}"))?;
            let request = by_url.get(&transfer.url).context("curl asked for something else")?;
            exchanges.push(Exchange {
                connection,
                port: transfer.local_port,
                method: request.method.clone(),
                path: request.path.clone(),
                status: transfer.http_code,
                body: transfer.size_download,
            });
        }
    }
    Ok(Driven { pids, exchanges })
}

pub(super) fn wget(scope: &Scope, plan: &Plan) -> Result<Driven> {
    let directory = tempfile::tempdir()?;
    let mut children = Vec::new();
    for (ordinal, requests) in plan.connections.iter().enumerate() {
        ensure!(requests.iter().all(|request| request.method == "GET"), "wget is only for GET here");
        let own = directory.path().join(ordinal.to_string());
        let list = own.with_extension("list");
        fs::write(&list, requests.iter().map(|request| url(plan, request) + "\n").collect::<String>())?;
        let mut command = command_in(scope, paths::tool("wget", "wget")?);
        command.args(["--no-config", "--no-proxy", "--no-verbose", "--server-response", "--content-on-error"]);
        command.args(["--tries=1", "--force-directories", "--no-host-directories", "--directory-prefix"]).arg(&own);
        command.arg("--input-file").arg(&list);
        if let Some(authority) = &plan.authority {
            command.arg("--ca-certificate").arg(authority);
        }
        children.push(spawn(&mut command)?);
    }
    let (pids, printed) = finish(children)?;
    let mut exchanges = Vec::new();
    for (connection, printed) in printed.iter().enumerate() {
        // 8: the server answered with an error status, as it was asked to.
        ensure!(matches!(printed.code, Some(0 | 8)), "wget failed: {}", printed.errors);
        let statuses = printed.errors.lines().filter_map(|line| line.trim().strip_prefix("HTTP/1.1 "));
        let requests = &plan.connections[connection];
        let mut answered = 0;
        for (request, status) in requests.iter().zip(statuses) {
            let file = directory.path().join(connection.to_string()).join(request.path.trim_start_matches('/'));
            exchanges.push(Exchange {
                connection,
                port: 0,
                method: request.method.clone(),
                path: request.path.clone(),
                status: status.split(' ').next().unwrap_or("").parse().context("wget printed no status")?,
                body: fs::metadata(&file).map_or(0, |file| file.len()),
            });
            answered += 1;
        }
        ensure!(answered == requests.len(), "wget was answered {answered} times: {}", printed.errors);
    }
    Ok(Driven { pids, exchanges })
}

pub(super) fn gnutls_cli(scope: &Scope, plan: &Plan) -> Result<Driven> {
    let Some(authority) = &plan.authority else { bail!("gnutls-cli is only for TLS") };
    let mut driven = Driven { pids: Vec::new(), exchanges: Vec::new() };
    for (connection, requests) in plan.connections.iter().enumerate() {
        let mut command = command_in(scope, paths::tool("gnutls-cli", "gnutls-bin")?);
        command.args(["--alpn=http/1.1", "--logfile=/dev/null", "--port", &plan.address.port().to_string()]);
        command.arg("--x509cafile").arg(authority).arg(plan.address.ip().to_string()).stdin(Stdio::piped());
        let mut child = spawn(&mut command)?;
        driven.pids.push(child.id());
        let (input, output) = (child.stdin.take().context("no pipe")?, child.stdout.take().context("no pipe")?);
        let mut pipes = Connection::over(input, output);
        for request in requests {
            let ask = if request.body > 0 { Ask::post(&request.path, request.body) } else { Ask::get(&request.path) };
            pipes.write(&Ask { method: request.method.clone(), ..ask }.bytes())?;
            let answer = pipes.answer(&request.method)?;
            driven.exchanges.push(Exchange {
                connection,
                port: 0,
                method: request.method.clone(),
                path: request.path.clone(),
                status: answer.status,
                body: answer.body,
            });
        }
        // The end of its input ends it.
        drop(pipes);
        child.wait()?;
    }
    Ok(driven)
}
