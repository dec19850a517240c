//! What procfs says of one process: read once, used for its name and identity, then dropped. Command line, working
//! directory and environment never leave this module's parent.

use std::io;

use super::{
    Place, ProcRoot, Stat,
    cgroup::Hierarchies,
    environ::Declared,
    identity::ANCESTORS_MAX,
    root::{CMDLINE_MAX, ENVIRON_MAX, SMALL_MAX},
    title,
};

/// Facts of a process.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) stat: Stat,
    pub(super) exe: Option<String>,
    pub(super) argv: Vec<String>,
    /// The program wrote a title over its command line.
    pub(super) is_rewritten: bool,
    pub(super) cwd: Option<String>,
    pub(super) cgroup: Option<String>,
    pub(super) place: Place,
    pub(super) declared: Declared,
}

impl Facts {
    /// Reads them. It fails when the process is gone; what else can't be read stays empty.
    pub(super) fn read(root: &ProcRoot, pid: u32) -> io::Result<Self> {
        let process = root.process(pid)?;
        let stat = process.stat()?;
        let text = |name, max| process.read(name, max).map_or_else(|_| String::new(), |bytes| lossy(&bytes));
        let exe = process.exe();
        let argv = arguments(&text("cmdline", CMDLINE_MAX));
        let hierarchies = Hierarchies::parse(&text("cgroup", SMALL_MAX));
        Ok(Self {
            is_rewritten: title::is_rewritten(&argv, exe.as_deref()),
            cwd: process.link("cwd"),
            place: place(&hierarchies),
            cgroup: hierarchies.unified,
            declared: Declared::of(&process.read("environ", ENVIRON_MAX).unwrap_or_default()),
            stat,
            exe,
            argv,
        })
    }
}

/// Parent, grandparent and so on of a process whose parent is `parent`.
pub(super) fn ancestors(root: &ProcRoot, parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = parent;
    while next != 0 && found.len() < ANCESTORS_MAX && !found.contains(&next) {
        found.push(next);
        next = root.process(next).and_then(|process| process.stat()).map_or(0, |stat| stat.parent);
    }
    found
}

/// Text of an event: padded with zeros.
pub(super) fn text(padded: &[u8]) -> String {
    lossy(padded.split(|byte| *byte == 0).next().unwrap_or_default())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Arguments end with a zero byte each. Zeros at the end are what is left of a longer line that a title replaced.
fn arguments(line: &str) -> Vec<String> {
    let line = line.trim_end_matches('\0');
    if line.is_empty() { Vec::new() } else { line.split('\0').map(str::to_owned).collect() }
}

/// The first path with a container tells where a process runs: with hierarchies of version 1 the unified path may be the
/// runtime's. Without a container it is the first path that isn't the root.
pub(super) fn place(hierarchies: &Hierarchies) -> Place {
    let of_container = hierarchies.paths().map(Place::of).find(|place| place.container.is_some());
    of_container.or_else(|| hierarchies.paths().find(|path| *path != "/").map(Place::of)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_and_padding_is_dropped() {
        assert_eq!(arguments("python3\0app.py\0"), ["python3", "app.py"]);
        assert_eq!(arguments("nginx: worker process\0\0\0\0"), ["nginx: worker process"]);
        assert_eq!(arguments("sh\0\0x\0"), ["sh", "", "x"]);
        assert!(arguments("").is_empty() && arguments("\0\0").is_empty());
    }

    #[test]
    fn a_container_in_any_hierarchy_beats_the_unit_of_its_runtime() {
        let id = "a".repeat(64);
        let place_of = |text: &str| place(&Hierarchies::parse(text));
        let hybrid =
            place_of(&format!("4:memory:/docker/{id}\n1:name=systemd:/docker/{id}\n0::/system.slice/docker.service\n"));
        assert_eq!((hybrid.container, hybrid.unit_name), (Some(id), None));
        let legacy = place_of("4:memory:/x\n1:name=systemd:/system.slice/nginx.service\n0::/\n");
        assert_eq!(legacy.unit_name.as_deref(), Some("nginx"));
        assert_eq!(place_of("0::/\n"), Place::default());
    }
}
