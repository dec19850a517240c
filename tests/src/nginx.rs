//! nginx as a server under test: many kinds of answers, and an access log that is the ground truth.
#![forbid(unsafe_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::{
    drive::{Ask, Body},
    load::Dice,
    paths, ports,
    process::{Address, Process},
    scope::Scope,
    truth::{LogLine, access_log},
    wait,
};

/// The access log's format; [`LogLine`] reads it.
pub const LOG_FORMAT: &str = concat!(
    r#"log_format truth escape=json '{"method":"$request_method","uri":"$request_uri","status":$status,"#,
    r#""body":$body_bytes_sent,"time":$request_time,"length":$request_length,"port":"$remote_port","#,
    r#""encoding":"$sent_http_transfer_encoding"}';"#
);

/// Sizes of the files that are served.
pub const SIZES: [usize; 10] = [0, 1, 100, 1000, 4096, 10_000, 65_536, 100_000, 300_000, 1_048_576];
/// Time for the last log lines to be written.
const LOG_BOUND: Duration = Duration::from_secs(10);

/// The part of a configuration that every nginx here needs: no daemon, nothing outside its directory.
pub fn preamble(workers: u32) -> String {
    format!(
        "daemon off;\nuser root;\nworker_processes {workers};\npid nginx.pid;\nerror_log error.log;\n\
         events {{ worker_connections 1024; }}\n"
    )
}

/// The part of the `http` block that every nginx here needs.
pub fn http_preamble() -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path temp-{kind};\n"))
        .concat();
    format!("{temporary}{LOG_FORMAT}\naccess_log access.log truth;\nlarge_client_header_buffers 8 16k;\n")
}

/// Starts nginx on a configuration in `directory`, which is also its prefix.
pub fn start(scope: &Scope, directory: &Path, configuration: &str, address: &Address) -> Result<Process> {
    let file = directory.join("nginx.conf");
    fs::write(&file, configuration).with_context(|| format!("cannot write {}", file.display()))?;
    let nginx = paths::tool("nginx", "nginx-light")?;
    Process::start(scope, directory, "nginx", nginx, |command| {
        command.arg("-p").arg(directory).args(["-e", "error.log", "-c"]).arg(&file)
    })?
    .listening(address)
}

/// The access log in nginx's directory, once it has at least `lines` lines.
pub fn log_in(directory: &Path, lines: usize) -> Result<Vec<LogLine>> {
    let file = directory.join("access.log");
    wait::until("the last line of the access log", LOG_BOUND, || {
        let text = fs::read_to_string(&file)?;
        Ok((text.ends_with('\n') && text.lines().count() >= lines).then_some(()))
    })?;
    access_log(&file)
}

/// nginx with files of many sizes and a location for each way to answer.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    directory: tempfile::TempDir,
    /// 127.0.0.1
    pub address: Address,
    /// `::1`, where there is IPv6.
    pub address6: Option<Address>,
    /// A Unix socket.
    pub unix: Address,
}

impl Nginx {
    /// Starts it with so many workers.
    pub fn start(scope: &Scope, workers: u32) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::create_dir(directory.path().join("file"))?;
        for size in SIZES {
            fs::write(directory.path().join(format!("file/{size}")), noise(size))?;
        }
        let port = ports::free()?;
        let socket = directory.path().join("nginx.sock");
        let address6 = ports::has_ipv6().then(|| Address::Tcp(([0, 0, 0, 0, 0, 0, 0, 1], port).into()));
        let listen6 = if address6.is_some() { format!("listen [::1]:{port};") } else { String::new() };
        // nginx's own times are those of its last look at the clock: the clients must not come between the two. And
        // with lingering they would end when the client has closed, not when the answer was sent.
        let configuration = format!(
            "worker_priority -10;\n{}http {{\n{}keepalive_requests 500;\nlingering_close off;\nif_modified_since before;\nsendfile on;\n\
             server {{\n listen 127.0.0.1:{port};\n {listen6}\n listen unix:{};\n root {root};\n\
             location /copied/ {{ sendfile off; alias {root}/file/; }}\n\
             location /zipped/ {{ gzip on; gzip_min_length 1; gzip_http_version 1.0; gzip_types *; \
             default_type text/plain; alias {root}/file/; }}\n\
             location = /nothing {{ return 204; }}\n\
             location = /broken {{ return 500 'broken'; }}\n\
             location /hello {{ return 200 'hello'; }}\n\
             }}\n}}\n",
            preamble(workers),
            http_preamble(),
            socket.display(),
            root = directory.path().display(),
        );
        let address = Address::local(port);
        let process = start(scope, directory.path(), &configuration, &address)?;
        Ok(Self { process, directory, address, address6, unix: Address::Unix(socket) })
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The access log once it has at least `lines` lines.
    pub fn log(&self, lines: usize) -> Result<Vec<LogLine>> {
        log_in(self.directory.path(), lines)
    }

    /// Where the access log is.
    pub fn log_file(&self) -> PathBuf {
        self.directory.path().join("access.log")
    }

    /// Lets its workers finish and end.
    pub fn stop(&mut self) -> Result<()> {
        self.process.stop(Signal::QUIT).map(|_| ())
    }
}

/// Bytes that do not get smaller by compression.
fn noise(size: usize) -> Vec<u8> {
    let mut dice = Dice::new(size as u64);
    let mut bytes: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| dice.roll().to_le_bytes()).collect();
    bytes.truncate(size);
    bytes
}

/// A request of the mixed load: methods GET, HEAD, POST, PUT, DELETE; statuses 200, 204, 304, 404, 405, 500; sizes 0 to
/// 1 MiB, sent from the page cache, copied, and chunked; HTTP/1.0 and 1.1; kept alive and not.
pub fn mixed(dice: &mut Dice) -> Ask {
    // Small answers are the rule; one in 200 is the largest.
    let size = *dice.pick(&[
        (20, 0),
        (20, 1),
        (40, 100),
        (40, 1000),
        (30, 4096),
        (20, 10_000),
        (10, 65_536),
        (8, 100_000),
        (3, 300_000),
        (1, 1_048_576),
    ]);
    // nginx compresses an answer as a whole before it looks at its clock again: large ones would have no time at all.
    let zipped = u64::from(size <= 10_000);
    let place = *dice.pick(&[(6, "file"), (2, "copied"), (zipped, "zipped")]);
    let file = format!("/{place}/{size}");
    let kind = *dice.pick(&[(50, 0), (8, 1), (8, 2), (8, 3), (8, 4), (6, 5), (4, 6), (4, 7), (4, 8)]);
    let body = dice.below(5000) as usize;
    let mut ask = match kind {
        0 => Ask::get(&file),
        1 => Ask::new("HEAD", &file),
        2 => Ask::post("/hello/post", body),
        3 => Ask { body: Body::Length(body), ..Ask::new("PUT", "/hello/put") },
        4 => Ask::new("DELETE", "/nothing"),
        5 => Ask { headers: "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n".into(), ..Ask::get(&file) },
        6 => Ask::get(&format!("/missing/{}", dice.below(50))),
        7 => Ask::get("/broken"),
        // A file cannot be posted to: 405.
        _ => Ask::post(&file, body),
    };
    if dice.below(4) == 0 {
        ask.target.push_str("?token=hunter2&page=7");
    }
    ask.headers.push_str("Accept-Encoding: gzip\r\n");
    ask.old = dice.below(20) == 0;
    ask.close = !ask.old && dice.below(10) == 0;
    ask
}
