//! Free ports of the loopback addresses, each handed out once per process. They lie below the ports that the kernel
//! gives to connecting sockets, so that no client of another test takes one before its server does.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr, TcpListener},
    ops::Range,
    sync::Mutex,
};

use anyhow::{Result, bail};

use crate::load::Dice;

/// Where ports are looked for; Linux gives 32768 and above to connecting sockets, unless told otherwise.
const RANGE: Range<u16> = 18_000..32_000;
/// Tries until a port is found on which nobody listens.
const TRIES: u32 = 256;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port on which nobody listens, on 127.0.0.1 nor (where there is IPv6) on `::1`.
pub fn free() -> Result<u16> {
    let mut given = GIVEN.lock().expect("nothing panics while it holds the ports");
    // Test programs that run at once begin at different places.
    let mut dice = Dice::new(u64::from(std::process::id()) << 16 | given.len() as u64);
    for _ in 0..TRIES {
        let port = RANGE.start + dice.below(u64::from(RANGE.end - RANGE.start)) as u16;
        let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && (!has_ipv6() || TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok());
        if unused && given.insert(port) {
            return Ok(port);
        }
    }
    bail!("no free loopback port between {} and {} after {TRIES} tries", RANGE.start, RANGE.end)
}

/// Whether the loopback interface has an IPv6 address.
pub fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_out_twice() {
        let ports: Vec<u16> = (0..50).map(|_| free().unwrap()).collect();
        let different: BTreeSet<u16> = ports.iter().copied().collect();
        assert_eq!(different.len(), ports.len());
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }
}
