//! The shop: nginx -> Flask under gunicorn -> a Node service and an axum service with Redis behind it. Ordinary
//! programs without any tracing, in a cgroup of their own, on free loopback ports.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    drive::{Ask, Body},
    load::{self, Dice, Plan},
    nginx, paths, ports,
    process::{Address, Process},
    python,
    scope::Scope,
};

/// Processes that serve Flask.
const FRONT_WORKERS: u32 = 4;
/// Customers at once.
const CONCURRENCY: u32 = 2;
/// Requests after which new customers come, so that what is remembered of them stays bounded.
const REQUESTS_A_DAY: u32 = 1000;

/// One of the shop's services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// nginx
    Proxy,
    /// Flask under gunicorn
    Front,
    /// Node
    Catalogue,
    /// axum
    Orders,
    /// Redis
    Redis,
}

impl Service {
    /// What it is, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy (nginx)",
            Self::Front => "front (Flask under gunicorn)",
            Self::Catalogue => "catalogue (Node)",
            Self::Orders => "orders (axum)",
            Self::Redis => "redis",
        }
    }
}

/// The running shop. Dropping it ends all its programs.
#[derive(Debug)]
pub struct Shop {
    // In this order: the ones in front end first.
    processes: Vec<(Service, Process)>,
    _directory: TempDir,
    scope: Scope,
    address: Address,
}

/// The ports the shop's services listen on, from front to back.
#[derive(Clone, Copy, Debug)]
struct Ports {
    proxy: u16,
    front: u16,
    catalogue: u16,
    orders: u16,
    redis: u16,
}

impl Shop {
    /// Starts all programs, from back to front, and waits until each listens. `tell` is called with the name of each
    /// before it starts.
    pub fn open(mut tell: impl FnMut(&str)) -> Result<Self> {
        let scope = Scope::new()?;
        let directory = tempfile::tempdir()?;
        let ports = Ports {
            proxy: ports::free()?,
            front: ports::free()?,
            catalogue: ports::free()?,
            orders: ports::free()?,
            redis: ports::free()?,
        };
        let starts: [(Service, Start); 5] = [
            (Service::Redis, redis),
            (Service::Orders, orders),
            (Service::Catalogue, catalogue),
            (Service::Front, front),
            (Service::Proxy, proxy),
        ];
        let mut processes = Vec::new();
        for (service, start) in starts {
            tell(service.name());
            processes.insert(0, (service, start(&scope, directory.path(), ports)?));
        }
        Ok(Self { processes, _directory: directory, scope, address: Address::local(ports.proxy) })
    }

    /// The cgroup that all its programs are in.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Where customers go.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends customers, so many requests per second, until `halt` is set; gives the number of their requests.
    pub fn serve_customers(&self, rate: f64, seed: u64, halt: &AtomicBool) -> Result<usize> {
        let mut served = 0;
        for day in 0.. {
            let seed = seed.wrapping_add(day * u64::from(CONCURRENCY));
            let plan = Plan { seed, concurrency: CONCURRENCY, requests: REQUESTS_A_DAY, rate: Some(rate) };
            served += load::run(&self.address, plan, halt, customer)?.len();
            if halt.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(served)
    }

    /// Which service each of the shop's processes belongs to, as of now.
    pub fn services(&self) -> BTreeMap<u32, Service> {
        let of = |(service, process): &(Service, Process)| {
            let service = *service;
            process.scope().processes().into_iter().map(move |pid| (pid, service))
        };
        self.processes.iter().flat_map(of).collect()
    }
}

type Start = fn(&Scope, &Path, Ports) -> Result<Process>;

fn redis(scope: &Scope, directory: &Path, ports: Ports) -> Result<Process> {
    let program = paths::tool("redis-server", "redis-server")?;
    Process::start(scope, directory, "redis", program, |command| {
        let port = ports.redis.to_string();
        let options = ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no", "--dir"];
        command.args(options).arg(directory)
    })?
    .listening(&Address::local(ports.redis))
}

fn orders(scope: &Scope, directory: &Path, ports: Ports) -> Result<Process> {
    let program = paths::binary("shop-orders")?;
    Process::start(scope, directory, "orders", program, |command| {
        command.args([ports.orders, ports.redis].map(|port| port.to_string()))
    })?
    .listening(&Address::local(ports.orders))
}

fn catalogue(scope: &Scope, directory: &Path, ports: Ports) -> Result<Process> {
    let program = paths::tool("node", "nodejs")?;
    Process::start(scope, directory, "catalogue", program, |command| {
        command.arg(paths::apps().join("shop/catalogue.js")).arg(ports.catalogue.to_string())
    })?
    .listening(&Address::local(ports.catalogue))
}

fn front(scope: &Scope, directory: &Path, ports: Ports) -> Result<Process> {
    let program = python::program("gunicorn")?;
    Process::start(scope, directory, "front", program, |command| {
        command
            .args(["--workers", &FRONT_WORKERS.to_string(), "--bind", &format!("127.0.0.1:{}", ports.front)])
            .arg("front:app")
            .current_dir(paths::apps().join("shop"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("CATALOGUE_URL", format!("http://127.0.0.1:{}", ports.catalogue))
            .env("ORDERS_URL", format!("http://127.0.0.1:{}", ports.orders))
    })?
    .listening(&Address::local(ports.front))
}

fn proxy(scope: &Scope, directory: &Path, ports: Ports) -> Result<Process> {
    let own = directory.join("proxy");
    fs::create_dir(&own)?;
    let configuration = format!(
        "{}http {{\n{}server {{\n listen 127.0.0.1:{};\n location / {{ proxy_pass http://127.0.0.1:{}; }}\n}}\n}}\n",
        nginx::preamble(1),
        nginx::http_preamble(),
        ports.proxy,
        ports.front,
    );
    nginx::start(scope, &own, &configuration, &Address::local(ports.proxy))
}

/// What a customer asks for: pages, products, searches, orders, and now and then something that fails.
pub fn customer(dice: &mut Dice) -> Ask {
    match *dice.pick(&[(20, 0), (30, 1), (15, 2), (30, 3), (3, 4), (2, 5)]) {
        0 => Ask::get("/"),
        1 => Ask::get(&format!("/product/{}", dice.below(40))),
        2 => Ask::get(&format!("/search?q={}", dice.pick(&[(1, "lamp"), (1, "chair"), (1, "clock")]))),
        3 => checkout(dice.below(40), 1 + dice.below(5)),
        4 => Ask::get(&format!("/product/{}", 1000 + dice.below(1000))),
        _ => Ask::get("/fail"),
    }
}

/// An order.
pub fn checkout(product: u64, amount: u64) -> Ask {
    Ask {
        headers: "Content-Type: application/json\r\n".into(),
        body: Body::Text(format!(r#"{{"product":{product},"amount":{amount}}}"#)),
        ..Ask::new("POST", "/checkout")
    }
}
