//! What recognises a process's ciphertext: hooked for that process alone.

use std::{
    collections::HashSet,
    fs::{self, File},
    path::Path,
};

use super::{Known, Watcher, descriptor};
use crate::{
    probe::tls::{attach::Attached, mapped},
    tls::{Function, cache::FileKey, maps::Mapped},
};

/// What recognises a process's ciphertext.
#[derive(Default)]
pub(super) struct Ciphertext {
    pub(super) attached: Attached,
    /// Files that were looked at for it.
    files: HashSet<FileKey>,
    pub(super) is_wanted: bool,
}

impl Watcher {
    /// Programs that are known to keep ciphertext in memory: Python's `ssl`, and those with OpenSSL in themselves.
    pub(super) fn recognise_early(&mut self, pid: u32, path: &Path) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let runtime = ["_ssl", "node", "libnode", "python"].iter().any(|begin| name.starts_with(begin));
        let library = name.starts_with("libcrypto") || name.starts_with("libssl");
        let in_python = library
            && fs::read_link(format!("/proc/{pid}/exe"))
                .is_ok_and(|exe| exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python")));
        if runtime || in_python {
            self.recognise(pid);
        }
    }

    /// Attaches to what gives the ciphertext of a process's sessions, as far as it is known now.
    pub(super) fn recognise(&mut self, pid: u32) {
        let was_open = self.unrecognised.remove(&pid);
        let is_done = |known: &Known| known.ciphertext.is_wanted && known.ciphertext.attached.places() > 0;
        if !was_open && self.known.get(&pid).is_some_and(is_done) {
            return;
        }
        let files = mapped(pid);
        // One that has ended would not be forgotten any more.
        if files.is_empty() {
            return;
        }
        let mut ciphertext = std::mem::take(&mut self.known.entry(pid).or_default().ciphertext);
        ciphertext.is_wanted = true;
        if !self.recognise_in(pid, &files, &mut ciphertext) {
            self.unrecognised.insert(pid);
        }
        self.known.entry(pid).or_default().ciphertext = ciphertext;
    }

    /// Attaches in the files of a process that were not looked at; says whether none of them has to be waited for.
    fn recognise_in(&mut self, pid: u32, files: &[Mapped], ciphertext: &mut Ciphertext) -> bool {
        let mut is_whole = true;
        for mapped in files.iter().filter(|mapped| mapped.is_candidate()) {
            let Ok(file) = File::open(mapped.open_path(pid)) else { continue };
            let Ok(metadata) = file.metadata() else { continue };
            let key = FileKey::of(&metadata);
            if ciphertext.files.contains(&key) {
                continue;
            }
            let Some(outcome) = self.cache.get(key) else {
                self.track(key, file, &mapped.path, Some(pid));
                is_whole &= !self.files.contains_key(&key);
                continue;
            };
            if !outcome.iter().flatten().all(|analysis| self.attacher.is_ready(analysis, is_ciphertext)) {
                is_whole = false;
                continue;
            }
            let path = descriptor(&file);
            for analysis in outcome.iter().flatten() {
                self.attacher.attach(analysis, &path, Some(pid), is_ciphertext, &mut ciphertext.attached);
            }
            ciphertext.files.insert(key);
        }
        is_whole
    }
}

/// Whether a function is hooked by process.
fn is_ciphertext(function: Function) -> bool {
    function == Function::BioWrite
}
