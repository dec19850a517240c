//! Several hosts on one machine: network namespaces, joined by pairs of virtual Ethernet devices.
#![forbid(unsafe_code)]

use std::{
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Result, ensure};

use crate::paths;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A chain of hosts: each reaches the one behind it, at `10.77.N.2`. They end with the value.
#[derive(Debug)]
pub struct Hosts {
    names: Vec<String>,
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new(paths::tool("ip", "iproute2")?).args(arguments).output()?;
    ensure!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

impl Hosts {
    /// Makes so many.
    ///
    /// # Errors
    /// When namespaces or devices can't be made.
    pub fn new(count: usize) -> Result<Self> {
        let run = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut hosts = Self { names: Vec::new() };
        for number in 0..count {
            let name = format!("netspan-{}-{run}-{number}", std::process::id());
            ip(&["netns", "add", &name])?;
            hosts.names.push(name.clone());
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            let Some(before) = number.checked_sub(1).map(|before| hosts.names[before].clone()) else { continue };
            let (near, far) = (format!("to{number}"), format!("from{before}", before = number - 1));
            ip(&["-n", &before, "link", "add", &near, "type", "veth", "peer", "name", &far, "netns", &name])?;
            for (host, device, last) in [(&before, &near, 1), (&name, &far, 2)] {
                ip(&["-n", host, "address", "add", &format!("10.77.{number}.{last}/24"), "dev", device])?;
                ip(&["-n", host, "link", "set", device, "up"])?;
            }
        }
        Ok(hosts)
    }

    /// The name of a host's network namespace, as `ip netns` knows it.
    pub fn name(&self, number: usize) -> &str {
        &self.names[number]
    }

    /// Runs a program on a host to its end.
    ///
    /// # Errors
    /// When it fails: what it was, and what it said.
    pub fn run(&self, number: usize, program: &str, arguments: &[&str]) -> Result<()> {
        ip(&[&["netns", "exec", self.name(number), program], arguments].concat())
    }

    /// Where a host's server listens: on the first, on the loopback device.
    pub fn address(number: usize) -> String {
        if number == 0 { "127.0.0.1".to_owned() } else { format!("10.77.{number}.2") }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(error) = ip(&["netns", "delete", name]) {
                eprintln!("a network namespace stays: {error:#}");
            }
        }
    }
}
