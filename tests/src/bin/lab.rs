//! `netspan-lab`: the shop, the client program and the benchmarks, for `cargo xtask`, for guests of the virtual
//! machines, and for the tests themselves.
#![forbid(unsafe_code)]

use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use netspan_tests::{
    bench, demo, drive, linking, links, process::Address, rpc, scenario, shop, translated, verified, web,
};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(name = "netspan-lab", about = "Real programs for netspan's demo, tests and benchmarks", version)]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Open the shop, send customers, and show what the agent sees
    Demo {
        /// End after the first whole trace; fail if none is seen
        #[arg(long)]
        once: bool,
        /// End after so many seconds
        #[arg(long)]
        seconds: Option<u64>,
        /// Customers' requests per second
        #[arg(long, default_value_t = 8.0)]
        rate: f64,
        /// Seed of the customers' wishes
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Open the shop and send customers, without the agent, until interrupted
    Shop {
        /// Customers' requests per second
        #[arg(long, default_value_t = 8.0)]
        rate: f64,
    },
    /// Speak to a server as standard input says (a JSON list), and print what was seen (JSON)
    Drive {
        /// `ADDRESS:PORT` or `unix:PATH`
        address: String,
    },
    /// Serve HTTP/1.1 and HTTP/2 at a port of 127.0.0.1; with certificate and key (PEM files) over TLS
    Serve {
        /// Port
        port: u16,
        /// Certificate
        #[arg(requires = "key")]
        chain: Option<PathBuf>,
        /// Private key
        key: Option<PathBuf>,
    },
    /// Send the requests of a plan on standard input (JSON), and print each exchange (JSON)
    Send {
        /// Over reqwest, not over hyper alone
        #[arg(long)]
        reqwest: bool,
    },
    /// Serve gRPC at a port of 127.0.0.1; with certificate and key (PEM files) over TLS
    ServeRpc {
        /// Port
        port: u16,
        /// Certificate
        #[arg(requires = "key")]
        chain: Option<PathBuf>,
        /// Private key
        key: Option<PathBuf>,
    },
    /// Make the calls of a plan on standard input (JSON), and print how each ended (JSON)
    Call,
    /// Mixed requests to nginx with the agent; fails unless the spans are exactly what happened
    Mixed {
        /// Requests
        #[arg(long, default_value_t = 2000)]
        requests: u32,
        /// Connections at once
        #[arg(long, default_value_t = 32)]
        concurrency: u32,
        /// Do not judge how near the durations are to nginx's own: for a machine that is emulated
        #[arg(long)]
        anytime: bool,
        /// Where the kernel skips hooks, as the agent counts, a few spans may be missing
        #[arg(long)]
        may_miss: bool,
        /// More options for the agent, after `--`
        #[arg(last = true)]
        agent: Vec<String>,
    },
    /// The same while the agent sees the whole host, in a virtual machine only; client and server spans must be linked
    HostWide {
        /// Requests
        #[arg(long, default_value_t = 300)]
        requests: u32,
        /// Connections at once
        #[arg(long, default_value_t = 32)]
        concurrency: u32,
        /// More options for the agent, after `--`
        #[arg(last = true)]
        agent: Vec<String>,
    },
    /// How many instructions the verifier went through, program by program; fails over the budget
    Verified {
        /// More options for the agent, after `--`
        #[arg(last = true)]
        agent: Vec<String>,
    },
    /// Requests to a server on `io_uring` with the agent; fails unless the spans are exactly what happened
    Uring {
        /// More options for the agent, after `--`
        #[arg(last = true)]
        agent: Vec<String>,
    },
    /// Requests through translated addresses (`nft`) with the agent; fails unless each server's span hangs under its client's
    Translated {
        /// More options for the agent, after `--`
        #[arg(last = true)]
        agent: Vec<String>,
    },
    /// Requests between a server and a client with the agent; fails unless the spans are exactly what happened
    Web {
        /// A few pairs instead, one after another under one agent
        #[arg(long, conflicts_with_all = ["servers", "clients", "version", "tls", "connections", "each", "in_flight"])]
        all: bool,
        /// Who answers; with several, divided by commas, one after another under one agent
        #[arg(long = "server", value_name = "SERVER", value_enum, value_delimiter = ',', default_value = "nginx")]
        servers: Vec<web::Server>,
        /// Who asks: one for each server
        #[arg(long = "client", value_name = "CLIENT", value_enum, value_delimiter = ',', default_value = "curl")]
        clients: Vec<web::Client>,
        /// Version of HTTP
        #[arg(long, value_enum, default_value = "h2")]
        version: web::Version,
        /// Over TLS
        #[arg(long)]
        tls: bool,
        /// Connections, all open at once
        #[arg(long, default_value_t = 2)]
        connections: usize,
        /// Requests on each
        #[arg(long, default_value_t = 12)]
        each: usize,
        /// Requests in flight on each
        #[arg(long, default_value_t = 4)]
        in_flight: usize,
        /// More options for the agent, after `--`
        #[arg(last = true)]
        agent: Vec<String>,
    },
    /// Requests to servers on kernel TLS with the agent; fails unless the spans are exactly what happened. The kernel must
    /// have the module `tls`
    Ktls {
        /// More options for the agent, after `--`
        #[arg(last = true)]
        agent: Vec<String>,
    },
    /// Requests over one connection of HTTP/2 in the middle of which the agent starts; prints how much it knows, fifty
    /// requests each, and fails if anything that it says is wrong
    Late {
        /// Who answers
        #[arg(long, value_enum, default_value = "nginx")]
        server: web::Server,
        /// Who asks: hyper, Go or httpx
        #[arg(long, value_enum, default_value = "hyper")]
        client: web::Client,
        /// Over TLS
        #[arg(long)]
        tls: bool,
        /// Requests before the agent
        #[arg(long, default_value_t = 100)]
        before: usize,
        /// Requests after its start
        #[arg(long, default_value_t = 400)]
        after: usize,
        /// More options for the agent, after `--`
        #[arg(last = true)]
        agent: Vec<String>,
    },
    /// Calls of gRPC with the agent; fails unless the spans are exactly what happened
    Rpc {
        /// Who answers
        #[arg(long, value_enum, default_value = "grpcio")]
        server: rpc::Peer,
        /// Who calls
        #[arg(long, value_enum, default_value = "tonic")]
        client: rpc::Peer,
        /// Over TLS
        #[arg(long)]
        tls: bool,
        /// Connections, all open at once
        #[arg(long, default_value_t = 2)]
        connections: usize,
        /// Calls on each
        #[arg(long, default_value_t = 12)]
        each: usize,
        /// Calls in flight on each
        #[arg(long, default_value_t = 4)]
        in_flight: usize,
        /// More options for the agent, after `--`
        #[arg(last = true)]
        agent: Vec<String>,
    },
    /// Make what `web` and `rpc` need from the network, for a machine that has none: Python's and Node's packages, and the
    /// programs in Go
    Prepare,
    /// Make up spans without parents for `netspan link`, and the truth about them
    LinksMake {
        /// How services make their calls
        #[arg(long, value_enum, default_value = "mixed")]
        style: links::Style,
        /// Traces
        #[arg(long, default_value_t = 1000)]
        traces: usize,
        /// Traces per second
        #[arg(long, default_value_t = 100.0)]
        rate: f64,
        /// Standard deviation of the logarithm of delays
        #[arg(long, default_value_t = 0.5)]
        deviation: f64,
        /// Threads of each process; 0: spans have no thread
        #[arg(long, default_value_t = 0)]
        threads: u64,
        /// Seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where the spans go
        spans: PathBuf,
        /// Where the truth goes
        truth: PathBuf,
    },
    /// Make such spans harder to link
    LinksStress {
        /// What is done to them
        #[command(flatten)]
        stress: links::Stress,
        /// The spans
        spans: PathBuf,
        /// The truth about them
        truth: PathBuf,
        /// Where the harder spans go
        spans_out: PathBuf,
        /// Where the truth about them goes
        truth_out: PathBuf,
    },
    /// Compare what `netspan link` put out with the truth
    LinksScore {
        /// The truth
        truth: PathBuf,
        /// What was put out
        linked: PathBuf,
    },
    /// Measure how right the agent's links are, by style and concurrency: a table on standard error, JSON on standard output
    LinksLive(linking::Options),
    /// Measure what the agent costs, and print it as JSON
    Overhead {
        /// What is asked for, and how
        #[arg(long, value_enum, default_value_t)]
        workload: bench::Workload,
        /// Pairs of runs with and without the agent
        #[arg(long, default_value_t = 5)]
        pairs: usize,
        /// Seconds per run
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Connections of the load
        #[arg(long, default_value_t = 16)]
        connections: u32,
        /// More options for the agent, after `--`
        #[arg(last = true)]
        agent: Vec<String>,
    },
    /// Measure the agent's memory over a long time at a steady rate, and print it as JSON
    Soak {
        /// How long
        #[arg(long, default_value_t = 60)]
        minutes: u32,
        /// Requests per second to an nginx that passes each on to another one
        #[arg(long, default_value_t = 5000)]
        rate: u32,
        /// Seconds for which the agent is stopped in the third minute
        #[arg(long, default_value_t = 0)]
        standstill: u64,
        /// More options for the agent, after `--`
        #[arg(last = true)]
        agent: Vec<String>,
    },
}

fn main() -> Result<()> {
    match Options::parse().task {
        Task::Demo { once, seconds, rate, seed } => {
            let bound = seconds.map(Duration::from_secs);
            demo::run(demo::Options { once, bound, rate, seed }, interrupted()?)
        }
        Task::Shop { rate } => open_shop(rate),
        Task::Drive { address } => {
            let talks: Vec<drive::Talk> = plan()?;
            print(&drive::run(&Address::parse(&address)?, &talks)?)
        }
        Task::Serve { port, chain, key } => {
            match runtime()?.block_on(web::hyper::serve(port, chain.as_deref().zip(key.as_deref())))? {}
        }
        Task::Send { reqwest } => {
            let plan: web::Plan = plan()?;
            let runtime = runtime()?;
            print(&if reqwest {
                runtime.block_on(web::reqwest::send(plan))
            } else {
                runtime.block_on(web::hyper::send(plan))
            }?)
        }
        Task::ServeRpc { port, chain, key } => {
            runtime()?.block_on(rpc::tonic::serve(port, chain.as_deref().zip(key.as_deref())))
        }
        Task::Call => print(&runtime()?.block_on(rpc::tonic::call(plan()?))?),
        Task::Mixed { requests, concurrency, anytime, may_miss, agent } => {
            let mixed = scenario::nginx_mixed(requests, concurrency, may_miss, &agent)?;
            println!("{}", serde_json::to_string(&mixed)?);
            ensure!(anytime || mixed.is_near(), "fewer than 99 % of the durations are within 1 ms of nginx's own");
            Ok(())
        }
        Task::HostWide { requests, concurrency, agent } => {
            println!("{{\"requests\":{}}}", scenario::host_wide(requests, concurrency, &agent)?);
            Ok(())
        }
        Task::Verified { agent } => {
            for (program, target, verified) in verified::programs(&agent)? {
                let verified = verified.map_or_else(|| "not told".to_owned(), |count| count.to_string());
                println!("{verified:>8}  {program}  {target}");
            }
            Ok(())
        }
        Task::Uring { agent } => {
            println!("{{\"requests\":{}}}", scenario::uring(&agent)?);
            Ok(())
        }
        Task::Translated { agent } => line(&translated::run(&agent)?),
        Task::Web { all, servers, clients, version, tls, connections, each, in_flight, agent } => {
            let wire = web::Wire { version, tls };
            let cases = if all {
                web::compact()
            } else {
                ensure!(servers.len() == clients.len(), "as many clients as servers are needed");
                let pairs = servers.into_iter().zip(clients);
                pairs.map(|(server, client)| web::Case { server, client, wire, connections, each, in_flight }).collect()
            };
            println!("{{\"requests\":{}}}", web::run_all(&cases, &agent)?);
            Ok(())
        }
        Task::Ktls { agent } => {
            println!("{{\"requests\":{}}}", web::run_all(&web::ktls(), &agent)?);
            Ok(())
        }
        Task::Late { server, client, tls, before, after, agent } => {
            let [servers, clients] = web::Late { server, client, tls, before, after }.run(&agent)?;
            println!("{}", serde_json::json!({ "server": servers, "client": clients }));
            Ok(())
        }
        Task::Rpc { server, client, tls, connections, each, in_flight, agent } => {
            let case = rpc::Case { server, client, tls, connections, each, in_flight };
            println!("{{\"calls\":{}}}", case.run(&agent)?);
            Ok(())
        }
        Task::Prepare => {
            web::prepare()?;
            rpc::prepare()
        }
        Task::LinksMake { style, traces, rate, deviation, threads, seed, spans, truth } => {
            links::Traffic { style, traces, rate, deviation, threads, seed }.make().write(&spans, &truth)
        }
        Task::LinksStress { stress, spans, truth, spans_out, truth_out } => {
            stress.apply(links::Corpus::read(&spans, &truth)?).write(&spans_out, &truth_out)
        }
        Task::LinksScore { truth, linked } => line(&links::Score::of(&truth, &linked)?),
        Task::LinksLive(options) => options.run(pretty),
        Task::Overhead { workload, pairs, seconds, connections, agent } => {
            let length = Duration::from_secs(seconds);
            pretty(&bench::overhead(bench::Options { workload, pairs, length, connections, agent })?)
        }
        Task::Soak { minutes, rate, standstill, agent } => {
            let standstill = Duration::from_secs(standstill);
            pretty(&bench::soak::soak(&bench::soak::Options { minutes, rate, standstill, agent })?)
        }
    }
}

/// What standard input asks for.
fn plan<T: serde::de::DeserializeOwned>() -> Result<T> {
    serde_json::from_reader(io::stdin()).context("standard input is no plan")
}

fn print(outcome: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer(io::stdout(), outcome).context("cannot print")
}

/// The same for people to read.
fn pretty(outcome: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(outcome)?);
    Ok(())
}

/// The same as a line of its own.
fn line(outcome: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(outcome)?);
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn open_shop(rate: f64) -> Result<()> {
    let halt = interrupted()?;
    let shop = shop::Shop::open(|name| eprintln!("starting {name}"))?;
    println!("http://{} in {}", shop.address(), shop.scope().path().display());
    println!("the customers sent {} requests", shop.serve_customers(rate, 1, halt)?);
    Ok(())
}

/// A flag that SIGINT and SIGTERM set, so that everything that was started is ended in order.
fn interrupted() -> Result<&'static AtomicBool> {
    static STOP: AtomicBool = AtomicBool::new(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (interrupt, terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        let (mut interrupt, mut terminate) = (interrupt, terminate);
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        });
        STOP.store(true, Ordering::Relaxed);
    });
    Ok(&STOP)
}
