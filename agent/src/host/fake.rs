//! A host of files for tests: `/proc`, a cgroup tree and `/etc` in a directory that goes away with it.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
};

use tempfile::TempDir;

use super::ProcRoot;

/// The host.
pub(crate) struct Fake {
    dir: TempDir,
}

/// A process to be.
pub(crate) struct Process<'a> {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) start_ticks: u64,
    pub(crate) comm: &'a str,
    pub(crate) exe: Option<&'a str>,
    /// Arguments, with a space between.
    pub(crate) args: &'a str,
    /// A title that replaced the arguments.
    pub(crate) title: Option<&'a str>,
    pub(crate) environ: &'a str,
    pub(crate) cgroup: &'a str,
    pub(crate) cwd: &'a str,
}

impl Default for Process<'_> {
    fn default() -> Self {
        Self {
            pid: 100,
            parent: 1,
            start_ticks: 10,
            comm: "prog",
            exe: None,
            args: "",
            title: None,
            environ: "",
            cgroup: "0::/",
            cwd: "/",
        }
    }
}

impl Fake {
    /// A host called `edge-1` without processes, with the unified hierarchy at `/cg`.
    pub(crate) fn new() -> Self {
        let fake = Self { dir: tempfile::tempdir().expect("a directory") };
        for sub in ["proc/sys/kernel", "cg", "etc"] {
            fs::create_dir_all(fake.dir.path().join(sub)).expect("a directory");
        }
        fake.write("proc/sys/kernel/hostname", "edge-1\n");
        fake.write("proc/mounts", "cgroup2 /cg cgroup2 rw 0 0\n");
        fake
    }

    pub(crate) fn root(&self) -> ProcRoot {
        ProcRoot::at(self.dir.path())
    }

    /// Writes a file.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.dir.path().join(path), content).expect("a file");
    }

    /// Starts a process; one with the same id is replaced.
    pub(crate) fn start(&self, process: &Process<'_>) {
        let Process { pid, parent, start_ticks, comm, exe, args, title, environ, cgroup, cwd } = process;
        self.end(*pid);
        let dir = format!("proc/{pid}");
        fs::create_dir(self.dir.path().join(&dir)).expect("a directory");
        let zeros = "0 ".repeat(30);
        self.write(
            &format!("{dir}/stat"),
            format!("{pid} ({comm}) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start_ticks} {zeros}\n"),
        );
        let arguments = title.map_or_else(|| args.replace(' ', "\0") + "\0", |title| format!("{title}\0\0\0"));
        self.write(&format!("{dir}/cmdline"), arguments);
        self.write(&format!("{dir}/environ"), environ.replace(' ', "\0"));
        self.write(&format!("{dir}/cgroup"), cgroup);
        let link = |name: &str, to: &str| symlink(to, self.dir.path().join(&dir).join(name)).expect("a link");
        link("cwd", cwd);
        if let Some(exe) = exe {
            link("exe", exe);
        }
    }

    /// Ends a process.
    pub(crate) fn end(&self, pid: u32) {
        let _ = fs::remove_dir_all(self.dir.path().join(format!("proc/{pid}")));
    }

    /// Makes a cgroup, and tells its id.
    pub(crate) fn cgroup(&self, path: &str) -> u64 {
        let dir = self.dir.path().join("cg").join(path.trim_start_matches('/'));
        fs::create_dir_all(&dir).expect("a directory");
        fs::metadata(dir).expect("a directory").ino()
    }

    /// Removes a cgroup.
    pub(crate) fn remove_cgroup(&self, path: &str) {
        fs::remove_dir(self.dir.path().join("cg").join(path.trim_start_matches('/'))).expect("an empty directory");
    }
}
