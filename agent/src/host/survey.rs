//! Which processes hold stream sockets now, and what of their traffic cannot be seen: for `netspan doctor`. It looks at
//! procfs once; it captures nothing.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
};

use procfs::process::{FDTarget, MMapPath, Process};

use super::{Identities, Identity, ProcRoot, Processes};

/// A process with stream sockets, or with an `io_uring`.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// TCP and Unix stream sockets that it holds.
    pub sockets: usize,
    /// TCP ports that it listens on.
    pub listens: BTreeSet<u16>,
    /// Rings of `io_uring` that it holds.
    pub io_urings: usize,
    /// TLS libraries that it has mapped and that netspan has no hooks for ([`crate::tls`] tells of the others).
    pub foreign_tls: BTreeSet<PathBuf>,
}

/// Stream sockets of one network namespace by inode, with the port where one listens.
type Sockets = HashMap<u64, Option<u16>>;

/// Beginnings of the file names of TLS libraries without hooks; the first is NSS.
const FOREIGN_TLS: [&str; 4] = ["libssl3.", "libmbedtls.", "libwolfssl.", "libs2n."];
/// `SOCK_STREAM`, as `/proc/net/unix` has it.
const SOCK_STREAM: u16 = 1;

/// Looks at all processes that `admits` lets pass. `now_ns` is the boot-time clock.
pub fn survey(processes: &mut Processes, now_ns: u64, admits: impl Fn(&Identity) -> bool) -> Vec<Surveyed> {
    let mut namespaces: HashMap<u64, Sockets> = HashMap::new();
    let mut found = Vec::new();
    let mut pids = ProcRoot::host().pids();
    pids.sort_unstable();
    for pid in pids.into_iter().filter(|pid| *pid != std::process::id()) {
        let Some(process) = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()) else { continue };
        let (inodes, io_urings) = descriptors(&process);
        if inodes.is_empty() && io_urings == 0 {
            continue;
        }
        let identity = processes.identity(pid, now_ns);
        if !admits(&identity) {
            continue;
        }
        let namespace = namespace(&process);
        let sockets = namespaces.entry(namespace).or_insert_with(|| stream_sockets(&process));
        let held: Vec<&Option<u16>> = inodes.iter().filter_map(|inode| sockets.get(inode)).collect();
        if held.is_empty() && io_urings == 0 {
            continue;
        }
        let listens = held.iter().copied().flatten().copied().collect();
        found.push(Surveyed { identity, sockets: held.len(), listens, io_urings, foreign_tls: foreign_tls(&process) });
    }
    found
}

/// Inodes of the sockets that a process holds, and how many rings of `io_uring`.
fn descriptors(process: &Process) -> (HashSet<u64>, usize) {
    let (mut inodes, mut io_urings) = (HashSet::new(), 0);
    for descriptor in process.fd().into_iter().flatten().flatten() {
        match descriptor.target {
            FDTarget::Socket(inode) => drop(inodes.insert(inode)),
            FDTarget::AnonInode(name) if name.contains("io_uring") => io_urings += 1,
            _ => {}
        }
    }
    (inodes, io_urings)
}

/// The network namespace's number; 0 where it can't be told.
fn namespace(process: &Process) -> u64 {
    let namespaces = process.namespaces().map(|all| all.0).unwrap_or_default();
    namespaces.get(std::ffi::OsStr::new("net")).map_or(0, |namespace| namespace.identifier)
}

/// The stream sockets of a process's network namespace.
fn stream_sockets(process: &Process) -> Sockets {
    let tcp = process.tcp().into_iter().chain(process.tcp6()).flatten().map(|entry| {
        let listens = entry.state == procfs::net::TcpState::Listen;
        (entry.inode, listens.then_some(entry.local_address.port()))
    });
    let unix = process.unix().into_iter().flatten().filter(|entry| entry.socket_type == SOCK_STREAM);
    tcp.chain(unix.map(|entry| (entry.inode, None))).collect()
}

/// TLS libraries without hooks that a process has mapped.
fn foreign_tls(process: &Process) -> BTreeSet<PathBuf> {
    let maps = process.maps().map(|maps| maps.0).unwrap_or_default();
    let paths = maps.into_iter().filter_map(|map| match map.pathname {
        MMapPath::Path(path) => Some(path),
        _ => None,
    });
    let is_foreign = |name: &str| FOREIGN_TLS.iter().any(|library| name.starts_with(library));
    paths.filter(|path| path.file_name().is_some_and(|name| is_foreign(&name.to_string_lossy()))).collect()
}
