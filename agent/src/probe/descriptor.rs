//! Looks at a descriptor of another process, where the kernel side could not tell what it is.

use std::net::{IpAddr, SocketAddr};

use rustix::{
    net::{AddressFamily, SocketType, sockopt},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Descriptor {
    /// A TCP socket.
    Tcp {
        /// Local address.
        local: Option<SocketAddr>,
        /// Peer's address.
        peer: Option<SocketAddr>,
        /// `SO_COOKIE`.
        cookie: u64,
    },
    /// A Unix stream socket.
    Unix {
        /// `SO_COOKIE`.
        cookie: u64,
        /// Inode number.
        inode: u32,
    },
    /// Anything else.
    Other,
}

/// Looks at descriptor `fd` of process `tgid`. Nothing, if the process or the descriptor is gone or may not be looked at.
pub fn inspect(tgid: u32, fd: i32) -> Option<Descriptor> {
    let pid = Pid::from_raw(i32::try_from(tgid).ok()?)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let socket = pidfd_getfd(&pidfd, fd, PidfdGetfdFlags::empty()).ok()?;
    if sockopt::socket_type(&socket) != Ok(SocketType::STREAM) {
        return Some(Descriptor::Other);
    }
    let cookie = sockopt::socket_cookie(&socket).unwrap_or(0);
    match sockopt::socket_domain(&socket) {
        Ok(AddressFamily::UNIX) => {
            let inode = rustix::fs::fstat(&socket).ok()?.st_ino;
            // Inode numbers of sockets have 32 bits (`get_next_ino`).
            Some(Descriptor::Unix { cookie, inode: inode as u32 })
        }
        Ok(AddressFamily::INET | AddressFamily::INET6) => {
            let local = rustix::net::getsockname(&socket).ok().and_then(|a| SocketAddr::try_from(a).ok());
            let peer = rustix::net::getpeername(&socket).ok().flatten().and_then(|a| SocketAddr::try_from(a).ok());
            Some(Descriptor::Tcp { local: local.map(plain), peer: peer.map(plain), cookie })
        }
        _ => Some(Descriptor::Other),
    }
}

/// v4-mapped addresses as IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) => SocketAddr::new(ip.to_canonical(), address.port()),
        IpAddr::V4(_) => address,
    }
}
