//! One filter rule as text: which dimension it belongs to, and the check that its value makes sense. It does no I/O.

use netspan_ebpf::{COMM_LEN, rule};

use super::glob;

/// Ports that one range may name at most.
pub const PORT_RANGE_MAX: u16 = 1024;
/// The largest process id of any kernel (`PID_MAX_LIMIT`, `include/linux/threads.h`).
pub const PID_MAX: u32 = 4_194_304;
/// Digits that a container id has at most (SHA-256 in hexadecimal).
pub const CONTAINER_ID_MAX: usize = 64;
/// Digits that the beginning of a container id needs at least to be a useful filter.
pub const CONTAINER_ID_MIN: usize = 4;

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// Process id, with all its descendants.
    Pid,
    /// Command name, as in `/proc/PID/comm`.
    Comm,
    /// Executable: a path, or a file name alone; wildcards allowed.
    Exe,
    /// Cgroup path in the unified hierarchy, and every cgroup below.
    Cgroup,
    /// Container id, or its beginning.
    Container,
    /// Local or remote port.
    Port,
    /// Local port.
    LocalPort,
    /// Remote port.
    RemotePort,
}

impl Dimension {
    /// All of them, in the order of the help text.
    pub const ALL: [Self; 8] = [
        Self::Pid,
        Self::Comm,
        Self::Exe,
        Self::Cgroup,
        Self::Container,
        Self::Port,
        Self::LocalPort,
        Self::RemotePort,
    ];

    /// Its name in flags; options in the file have `_` for `-`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Comm => "comm",
            Self::Exe => "exe",
            Self::Cgroup => "cgroup",
            Self::Container => "container",
            Self::Port => "port",
            Self::LocalPort => "local-port",
            Self::RemotePort => "remote-port",
        }
    }
}

/// A rule's value, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Process id.
    Pid(u32),
    /// Command name, cut to what the kernel keeps and padded with zeros.
    Comm([u8; COMM_LEN]),
    /// Pattern of an executable.
    Exe(String),
    /// Cgroup path without the mount point; begins with `/`, doesn't end with one unless it is the root.
    Cgroup(String),
    /// Beginning of a container id, in lower case.
    Container(String),
    /// First and last port, and the sides ([`rule::LOCAL`], [`rule::PEER`]).
    Ports(u16, u16, u8),
}

/// Why a rule makes no sense. The text says what is wrong and what to give instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not a process id.
    #[error("not a process id: give a number from 1 to {PID_MAX}")]
    Pid,
    /// Not a command name.
    #[error(
        "not a command name: give the name as in /proc/PID/comm, without slashes and wildcards (for paths use --exe)"
    )]
    Comm,
    /// Not an executable.
    #[error("not an executable: give an absolute path or a file name; `*` and `?` are wildcards")]
    Exe,
    /// Not a cgroup.
    #[error("not a cgroup path: give it as in /proc/PID/cgroup, such as /system.slice/nginx.service")]
    Cgroup,
    /// Not a container id.
    #[error(
        "not a container id: give {CONTAINER_ID_MIN} to {CONTAINER_ID_MAX} hexadecimal digits, as container tools print them"
    )]
    Container,
    /// Not a port.
    #[error("not a port: give a number from 1 to 65535, or a range such as 8000-8010")]
    Port,
    /// A range of ports that is empty or too large.
    #[error("not a usable range of ports: give a first and a larger last port, at most {PORT_RANGE_MAX} in all")]
    PortRange,
}

/// Reads the value of a rule of `dimension`.
pub fn parse(dimension: Dimension, text: &str) -> Result<Target, RuleError> {
    let text = text.trim();
    match dimension {
        Dimension::Pid => match text.parse() {
            Ok(pid) if (1..=PID_MAX).contains(&pid) => Ok(Target::Pid(pid)),
            _ => Err(RuleError::Pid),
        },
        Dimension::Comm => comm(text),
        Dimension::Exe if text.is_empty() || (text.contains('/') && !text.starts_with(['/', '*'])) => {
            Err(RuleError::Exe)
        }
        Dimension::Exe => Ok(Target::Exe(text.to_owned())),
        Dimension::Cgroup => cgroup(text),
        Dimension::Container => container(text),
        Dimension::Port => ports(text, rule::LOCAL | rule::PEER),
        Dimension::LocalPort => ports(text, rule::LOCAL),
        Dimension::RemotePort => ports(text, rule::PEER),
    }
}

/// The kernel keeps 15 bytes of a command name, so a longer name means its first 15 bytes.
fn comm(text: &str) -> Result<Target, RuleError> {
    if text.is_empty() || text.contains('/') || text.contains('\0') || glob::is_pattern(text) {
        return Err(RuleError::Comm);
    }
    Ok(Target::Comm(comm_key(text)))
}

/// A command name as the kernel's map has it: at most 15 bytes, padded with zeros.
pub fn comm_key(comm: &str) -> [u8; COMM_LEN] {
    let mut key = [0; COMM_LEN];
    for (to, from) in key.iter_mut().take(COMM_LEN - 1).zip(comm.bytes()) {
        *to = from;
    }
    key
}

fn cgroup(text: &str) -> Result<Target, RuleError> {
    let path = text.trim_end_matches('/');
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if !text.starts_with('/') || path.split('/').skip(1).any(odd) {
        return Err(RuleError::Cgroup);
    }
    Ok(Target::Cgroup(if path.is_empty() { "/".to_owned() } else { path.to_owned() }))
}

fn container(text: &str) -> Result<Target, RuleError> {
    // As in pod statuses of Kubernetes: containerd://0123...
    let id = text.rsplit_once("://").map_or(text, |(_, id)| id);
    let fits = (CONTAINER_ID_MIN..=CONTAINER_ID_MAX).contains(&id.len());
    if !fits || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(RuleError::Container);
    }
    Ok(Target::Container(id.to_ascii_lowercase()))
}

fn ports(text: &str, sides: u8) -> Result<Target, RuleError> {
    let port = |text: &str| match text.trim().parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(RuleError::Port),
    };
    let Some((first, last)) = text.split_once('-') else {
        return port(text).map(|port| Target::Ports(port, port, sides));
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last || last - first >= PORT_RANGE_MAX {
        return Err(RuleError::PortRange);
    }
    Ok(Target::Ports(first, last, sides))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: u8 = rule::LOCAL | rule::PEER;

    #[test]
    fn sensible_values_are_read() {
        for (dimension, text, expected) in [
            (Dimension::Pid, "1", Target::Pid(1)),
            (Dimension::Pid, " 4194304 ", Target::Pid(4_194_304)),
            (Dimension::Comm, "nginx", Target::Comm(*b"nginx\0\0\0\0\0\0\0\0\0\0\0")),
            (Dimension::Comm, "a-name-longer-than-kept", Target::Comm(*b"a-name-longer-t\0")),
            (Dimension::Exe, "/usr/bin/python3*", Target::Exe("/usr/bin/python3*".into())),
            (Dimension::Exe, "curl", Target::Exe("curl".into())),
            (Dimension::Cgroup, "/system.slice/", Target::Cgroup("/system.slice".into())),
            (Dimension::Cgroup, "/", Target::Cgroup("/".into())),
            (Dimension::Container, "ABCD", Target::Container("abcd".into())),
            (Dimension::Container, "containerd://0123456789ab", Target::Container("0123456789ab".into())),
            (Dimension::Port, "80", Target::Ports(80, 80, BOTH)),
            (Dimension::LocalPort, "8000-8010", Target::Ports(8000, 8010, rule::LOCAL)),
            (Dimension::RemotePort, "65535", Target::Ports(65535, 65535, rule::PEER)),
        ] {
            assert_eq!(parse(dimension, text), Ok(expected), "{dimension:?} {text:?}");
        }
    }

    #[test]
    fn senseless_values_are_refused_with_the_reason() {
        for (dimension, text, expected) in [
            (Dimension::Pid, "0", RuleError::Pid),
            (Dimension::Pid, "-1", RuleError::Pid),
            (Dimension::Pid, "nginx", RuleError::Pid),
            (Dimension::Pid, "4194305", RuleError::Pid),
            (Dimension::Comm, "", RuleError::Comm),
            (Dimension::Comm, "/usr/bin/nginx", RuleError::Comm),
            (Dimension::Comm, "ngin*", RuleError::Comm),
            (Dimension::Exe, "", RuleError::Exe),
            (Dimension::Exe, "bin/nginx", RuleError::Exe),
            (Dimension::Cgroup, "system.slice", RuleError::Cgroup),
            (Dimension::Cgroup, "/a/../b", RuleError::Cgroup),
            (Dimension::Cgroup, "/a//b", RuleError::Cgroup),
            (Dimension::Container, "abc", RuleError::Container),
            (Dimension::Container, "my-web", RuleError::Container),
            (Dimension::Port, "0", RuleError::Port),
            (Dimension::Port, "65536", RuleError::Port),
            (Dimension::Port, "http", RuleError::Port),
            (Dimension::Port, "9-8", RuleError::PortRange),
            (Dimension::Port, "1-1025", RuleError::PortRange),
        ] {
            assert_eq!(parse(dimension, text), Err(expected), "{dimension:?} {text:?}");
        }
    }
}
