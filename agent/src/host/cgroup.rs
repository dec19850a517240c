//! The unified cgroup hierarchy: which directory has which id, and which cgroups a process is in. A cgroup's id, as
//! `bpf_get_current_cgroup_id` gives it, is the inode number of its directory (`kernfs_node` ids, since Linux 5.5).

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::{DirEntryExt, MetadataExt},
    path::PathBuf,
};

use super::{ProcRoot, container::container_of};

/// Cgroups that are remembered at most; further ones are counted and stay unnamed.
pub const CGROUPS_MAX: usize = 16_384;
/// Time between two walks of the tree for ids that aren't known, in nanoseconds of event time.
pub const WALK_EVERY_NS: u64 = 1_000_000_000;

/// A process's cgroups, as `/proc/PID/cgroup` lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// Path in the unified hierarchy.
    pub unified: Option<String>,
    /// Paths in the hierarchies of version 1, systemd's own first.
    pub legacy: Vec<String>,
}

impl Hierarchies {
    /// Reads the lines `id:controllers:path` (cgroups(7)).
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(id), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let path = path.strip_suffix(" (deleted)").unwrap_or(path);
            match (id, controllers) {
                ("0", "") => found.unified = Some(path.to_owned()),
                (_, "name=systemd") => found.legacy.insert(0, path.to_owned()),
                _ => found.legacy.push(path.to_owned()),
            }
        }
        found
    }

    /// All paths, the unified one first.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.unified.iter().chain(&self.legacy).map(String::as_str)
    }
}

/// A cgroup as the kernel's filter needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupWhere {
    /// Path within the unified hierarchy.
    pub path: String,
    /// Its id.
    pub id: u64,
    /// Its directory.
    pub directory: PathBuf,
}

/// The tree of the unified hierarchy, with a cache of its ids.
#[derive(Debug)]
pub struct CgroupTree {
    mount: Option<PathBuf>,
    by_id: HashMap<u64, String>,
    next_walk_ns: u64,
    cut: u64,
}

impl CgroupTree {
    /// Finds the mount in `/proc/mounts`; there may be none.
    pub fn find(root: &ProcRoot) -> Self {
        let mounts = fs::read(root.path("/proc/mounts")).unwrap_or_default();
        let mount = String::from_utf8_lossy(&mounts).lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (path, kind) = (fields.next()?, fields.next()?);
            (kind == "cgroup2").then(|| root.path(&unescape(path)))
        });
        Self { mount, by_id: HashMap::new(), next_walk_ns: 0, cut: 0 }
    }

    /// Where the hierarchy is mounted, if it is.
    pub fn mount(&self) -> Option<&PathBuf> {
        self.mount.as_ref()
    }

    /// Cgroups that were left out because [`CGROUPS_MAX`] was reached.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// The path of the cgroup with an id. It walks the tree when the id isn't known, at most each [`WALK_EVERY_NS`].
    pub fn path(&mut self, id: u64, now_ns: u64) -> Option<String> {
        if !self.by_id.contains_key(&id) && now_ns >= self.next_walk_ns {
            self.next_walk_ns = now_ns.saturating_add(WALK_EVERY_NS);
            let (all, cut) = self.walk();
            self.cut += cut;
            self.by_id = all.into_iter().map(|cgroup| (cgroup.id, cgroup.path)).collect();
        }
        self.by_id.get(&id).cloned()
    }

    /// The cgroup at a path.
    pub fn at(&self, path: &str) -> Option<CgroupWhere> {
        let directory = self.mount.as_ref()?.join(path.trim_matches('/'));
        let id = fs::metadata(&directory).ok().filter(fs::Metadata::is_dir)?.ino();
        Some(CgroupWhere { path: path.to_owned(), id, directory })
    }

    /// The cgroups of containers whose id begins so.
    pub fn containers(&self, beginning: &str) -> Vec<CgroupWhere> {
        let is_one = |path: &str| container_of(path).is_some_and(|id| id.starts_with(beginning));
        self.walk().0.into_iter().filter(|cgroup| is_one(&cgroup.path)).collect()
    }

    /// All cgroups, breadth first, and how many directories were left out.
    fn walk(&self) -> (Vec<CgroupWhere>, u64) {
        let Some(mount) = &self.mount else { return (Vec::new(), 0) };
        let mut found: Vec<CgroupWhere> = self.at("/").into_iter().collect();
        let (mut at, mut cut) = (0, 0);
        while at < found.len() {
            let parent = found[at].path.trim_end_matches('/').to_owned();
            at += 1;
            let Ok(entries) = fs::read_dir(mount.join(parent.trim_start_matches('/'))) else { continue };
            for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                if found.len() == CGROUPS_MAX {
                    cut += 1;
                    continue;
                }
                let path = format!("{parent}/{}", entry.file_name().to_string_lossy());
                found.push(CgroupWhere { path, id: entry.ino(), directory: entry.path() });
            }
        }
        (found, cut)
    }
}

/// Mount tables write space, tab, newline and backslash as octal (`\040`; `proc_pid_mounts(5)`).
fn unescape(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (code, character)| path.replace(code, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn tree(mounts: &str) -> (tempfile::TempDir, CgroupTree) {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("proc")).expect("a directory");
        fs::write(dir.path().join("proc/mounts"), mounts).expect("a file");
        for path in ["system.slice/nginx.service", "pods/a"] {
            fs::create_dir_all(dir.path().join("cg/uni fied").join(path)).expect("a directory");
        }
        fs::create_dir_all(dir.path().join("cg/uni fied/pods").join(ID).join("inner")).expect("a directory");
        fs::write(dir.path().join("cg/uni fied/cgroup.procs"), "").expect("a file");
        let tree = CgroupTree::find(&ProcRoot::at(dir.path()));
        (dir, tree)
    }

    const MOUNTS: &str =
        "tmpfs /cg tmpfs rw 0 0\ncgroup /cg/memory cgroup rw,memory 0 0\ncgroup2 /cg/uni\\040fied cgroup2 rw 0 0\n";

    #[test]
    fn an_id_is_the_inode_of_a_directory_wherever_the_mount_is() {
        let (dir, mut tree) = tree(MOUNTS);
        let directory = dir.path().join("cg/uni fied/system.slice/nginx.service");
        let inode = fs::metadata(&directory).expect("a directory").ino();
        assert_eq!(tree.path(inode, 1).as_deref(), Some("/system.slice/nginx.service"));
        assert_eq!(
            tree.at("/system.slice/nginx.service"),
            Some(CgroupWhere { path: "/system.slice/nginx.service".into(), id: inode, directory })
        );
        assert_eq!(tree.at("/nowhere"), None);
        assert_eq!(tree.at("/cgroup.procs"), None, "files are no cgroups");
    }

    #[test]
    fn an_unknown_id_walks_the_tree_at_most_once_a_second() {
        let (dir, mut tree) = tree(MOUNTS);
        assert_eq!(tree.path(u64::MAX, 0), None);
        let new = dir.path().join("cg/uni fied/new");
        fs::create_dir(&new).expect("a directory");
        let inode = fs::metadata(&new).expect("a directory").ino();
        assert_eq!(tree.path(inode, WALK_EVERY_NS - 1), None);
        assert_eq!(tree.path(inode, WALK_EVERY_NS).as_deref(), Some("/new"));
    }

    #[test]
    fn a_container_is_found_by_the_beginning_of_its_id() {
        let (_dir, tree) = tree(MOUNTS);
        let paths: Vec<_> = tree.containers("0123").into_iter().map(|cgroup| cgroup.path).collect();
        assert_eq!(paths, [format!("/pods/{ID}")]);
        assert!(tree.containers("1234").is_empty());
    }

    #[test]
    fn all_hierarchies_of_a_process_are_read() {
        let text = "4:memory:/docker/x\n1:name=systemd:/system.slice/a:b.service\n0::/\nodd\n";
        let read = Hierarchies::parse(text);
        assert_eq!(read.unified.as_deref(), Some("/"));
        assert_eq!(read.paths().collect::<Vec<_>>(), ["/", "/system.slice/a:b.service", "/docker/x"]);
    }
}
