//! Real servers and clients on this kernel. Each test starts what it looks at in a cgroup of its own; a server that is
//! not installed fails its test.
#![forbid(unsafe_code)]

mod circumstances;
mod contexts;
mod decoded;
mod descriptors;
mod doctor;
mod filters;
mod goroutines;
mod harness;
mod heads;
mod hellos;
mod hosts;
mod kubernetes;
mod late;
mod loss;
mod nginx;
mod outage;
mod privileges;
mod reload;
mod rpc;
mod rpc_seen;
mod sdk;
mod seen;
mod servers;
mod shop;
mod sockets;
mod tasks;
mod tls;
mod web;

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::new(());

/// For tests that may run beside others.
fn together() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// For tests whose figures suffer from others beside them.
fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}
