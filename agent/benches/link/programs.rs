//! Programs at work.

use crate::feed::Feed;
use netspan::conn::{Role, SocketEnd};

/// When everything begins.
pub const BEGIN_NS: u64 = 1_000_000_000;
/// How long a process is watched before turns are believed.
pub const WATCHED_NS: u64 = 2_000_000_000;
/// Requests of a program.
const REQUESTS: u64 = 60_000;

/// Numbers that look random.
pub struct Dice(pub u64);

impl Dice {
    /// One below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// From an exponential distribution with this mean, the ends cut off.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        let uniform = (self.below(1 << 30) as f64 + 1.0) / f64::from(1 << 30);
        (mean as f64 * (-uniform.ln()).clamp(0.05, 4.0)) as u64
    }
}

/// One end of a connection.
pub fn end(host: u8, port: u16) -> SocketEnd {
    ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, host], port)
}

/// One thread that answers each request before it reads the next, on so many connections: nginx with files.
pub fn server(connections: u64) -> Feed {
    let mut feed = Feed::default();
    let open =
        |n| feed.open(BEGIN_NS, 10, Role::Server, (end(1, 80), end(2, 30_000 + u16::try_from(n).expect("a port"))));
    let conns: Vec<u64> = (0..connections).map(open).collect();
    let mut now_ns = BEGIN_NS + 100_000;
    for n in 0..REQUESTS {
        let conn = conns[(n % connections) as usize];
        feed.ask(conn, now_ns, 10, "/index.html");
        feed.answer(conn, now_ns + 15_000, 10);
        now_ns += 40_000;
    }
    feed
}

/// The same in so many processes.
pub fn servers(processes: u32) -> Feed {
    let mut feed = Feed::default();
    let open =
        |n: u32| feed.open(BEGIN_NS, 10 + n, Role::Server, (end(1, 80), end((n >> 12) as u8, (n & 4095) as u16)));
    let conns: Vec<u64> = (0..processes).map(open).collect();
    let mut dice = Dice(5);
    let mut now_ns = BEGIN_NS + 100_000;
    for _ in 0..REQUESTS {
        let n = dice.below(u64::from(processes)) as u32;
        let conn = conns[n as usize];
        feed.ask(conn, now_ns, 10 + n, "/index.html");
        feed.answer(conn, now_ns + 15_000, 10 + n);
        now_ns += 40_000;
    }
    feed
}

/// So many threads, each of which reads a request, calls another server on this host and answers.
pub fn threads(threads: u32) -> Feed {
    let mut feed = Feed::default();
    let (app, base) = (10, 5000);
    let conns: Vec<[u64; 3]> = (0..threads)
        .map(|n| {
            let port = 30_000 + n as u16;
            let front = feed.open(BEGIN_NS, app, Role::Server, (end(1, 80), end(2, port)));
            let client = feed.open(BEGIN_NS, app, Role::Client, (end(1, port), end(1, 8080)));
            [front, client, feed.open(BEGIN_NS + 1, base, Role::Server, (end(1, 8080), end(1, port)))]
        })
        .collect();
    let mut dice = Dice(7);
    let mut free_ns = vec![BEGIN_NS + 100_000; threads as usize];
    for _ in 0..REQUESTS / 3 {
        let n = (0..free_ns.len()).min_by_key(|n| free_ns[*n]).expect("a thread");
        let ([front, client, server], tid) = (conns[n], app + n as u32);
        let at = |us: u64| free_ns[n] + us * 1000;
        feed.ask(front, at(0), tid, "/basket");
        feed.ask(client, at(200), tid, "/item");
        feed.ask(server, at(230), base + n as u32, "/item");
        feed.answer(server, at(800), base + n as u32);
        feed.answer(client, at(850), tid);
        feed.answer(front, at(1000), tid);
        free_ns[n] = at(1100 + dice.below(400));
    }
    feed
}

/// One thread that has so many requests open, each with a call `delay_ns` after it was read.
pub fn event_loop(open: u64, delay_ns: u64) -> Feed {
    let mut feed = Feed::default();
    let conns: Vec<[u64; 2]> = (0..open)
        .map(|n| {
            let port = 30_000 + n as u16;
            let front = feed.open(BEGIN_NS, 10, Role::Server, (end(1, 80), end(2, port)));
            [front, feed.open(BEGIN_NS, 10, Role::Client, (end(1, port), end(3, 8080)))]
        })
        .collect();
    let mut dice = Dice(11);
    // Each slot with when it does its next step, and which: read, call, take the answer and answer.
    let mut slots: Vec<(u64, u8)> = (0..open).map(|_| (BEGIN_NS + WATCHED_NS + dice.below(4_000_000), 0)).collect();
    let (mut now_ns, mut begun) = (BEGIN_NS + WATCHED_NS, 0);
    feed.ask(conns[0][1], BEGIN_NS + 100_000, 10, "/first");
    feed.answer(conns[0][1], BEGIN_NS + 200_000, 10);
    while begun < REQUESTS / 2 {
        let n = (0..slots.len()).min_by_key(|n| slots[*n].0).expect("a slot");
        let ((due_ns, step), [front, back]) = (slots[n], conns[n]);
        now_ns = due_ns.max(now_ns + 10_000);
        let mut call = |feed: &mut Feed, now_ns: u64| {
            feed.ask(back, now_ns, 10, "/item");
            (now_ns + 1_000_000 + dice.below(4_000_000), 2)
        };
        slots[n] = match step {
            0 => {
                begun += 1;
                feed.ask(front, now_ns, 10, "/basket");
                if delay_ns == 0 {
                    now_ns += 10_000;
                    call(&mut feed, now_ns)
                } else {
                    (now_ns + delay_ns + dice.below(delay_ns / 10), 1)
                }
            }
            1 => call(&mut feed, now_ns),
            _ => {
                feed.answer(back, now_ns, 10);
                now_ns += 10_000;
                feed.answer(front, now_ns, 10);
                (now_ns + dice.below(2_000_000), 0)
            }
        };
    }
    feed
}
