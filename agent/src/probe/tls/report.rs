//! What there is of TLS in a process, for `netspan doctor`.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use crate::tls::{
    Analysis, Function, How, Library, Refusal, analyse,
    cache::{Cache, FileKey, Outcome},
    maps::{Mapped, Reason},
    openssl_version,
};

/// A library in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file, as the process sees it.
    pub path: PathBuf,
    /// Which library, where that is known.
    pub library: Option<Library>,
    /// Its version, where the file tells.
    pub version: Option<String>,
    /// How its functions were located, where they were.
    pub how: Option<How>,
    /// How many places are hooked, at least one; else why none is.
    pub state: Result<usize, String>,
}

impl Found {
    fn analysed(path: &Path, analysis: &Analysis, version: Option<String>, state: Result<usize, String>) -> Self {
        let Analysis { library, how, version: _, hooks: _ } = analysis;
        Self { path: path.to_owned(), library: Some(*library), version, how: Some(*how), state }
    }

    fn refused(path: &Path, refusal: &Refusal) -> Self {
        let (library, version) = (refusal.library(), refusal.version().map(str::to_owned));
        Self { path: path.to_owned(), library, version, how: None, state: Err(refusal.to_string()) }
    }

    /// One that nothing is known of but what hinders it from being hooked.
    pub fn unknown(path: &Path, why: &str) -> Self {
        Self { path: path.to_owned(), library: None, version: None, how: None, state: Err(why.to_owned()) }
    }
}

/// The libraries of a process where nothing is hooked, because of `why`. `cache` is for files of more than one process.
pub fn unattached(pid: u32, why: &str, cache: &mut Cache) -> Vec<Found> {
    libraries(pid, cache, |cache, key, file| Ok(cache.get_or(key, || analyse(file))), |_, _| Err(why.to_owned()))
}

/// The libraries of a process. `outcome` says what a file holds, or why that is not known; `state` what became of the hooks
/// of a library in it.
pub(super) fn libraries(
    pid: u32,
    cache: &mut Cache,
    outcome: impl Fn(&mut Cache, FileKey, &File) -> Result<Outcome, &'static str>,
    state: impl Fn(FileKey, &Analysis) -> Result<usize, String>,
) -> Vec<Found> {
    let mut found = Vec::new();
    for mapped in super::mapped(pid).into_iter().filter(Mapped::is_candidate) {
        let path = &mapped.path;
        let opened = File::open(mapped.open_path(pid)).and_then(|file| Ok((FileKey::of(&file.metadata()?), file)));
        match opened {
            Ok((key, file)) => match outcome(cache, key, &file).as_deref() {
                Ok(Ok(analyses)) => {
                    for analysis in analyses.iter().filter(|analysis| !is_cipher_alone(analysis)) {
                        let version = match (&analysis.version, analysis.library) {
                            (None, Library::OpenSsl) => cache.version_or(key, || openssl_version(&file)),
                            (version, _) => version.clone(),
                        };
                        found.push(Found::analysed(path, analysis, version, state(key, analysis)));
                    }
                }
                Ok(Err(Refusal::NoTls | Refusal::NotElf)) => {}
                Ok(Err(refusal)) => found.push(Found::refused(path, refusal)),
                Err(why) => found.push(Found::unknown(path, why)),
            },
            // Whether there is TLS in a program that can't be opened, nobody knows.
            Err(_) if mapped.reason == Reason::Executable => {}
            Err(error) => found.push(Found::unknown(path, &format!("it can't be opened: {error}"))),
        }
    }
    found
}

/// Whether it is only what a library of TLS encrypts with, such as OpenSSL's `libcrypto`.
fn is_cipher_alone(analysis: &Analysis) -> bool {
    analysis.hooks.iter().all(|hook| hook.function == Function::BioWrite)
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, process::Command};

    use super::*;

    /// A program that has the library mapped, and lives as long as its input is open.
    #[test]
    fn a_library_that_nothing_is_attached_to_is_told_with_the_reason() {
        let Ok(mut child) = Command::new("openssl")
            .args(["s_server", "-nocert", "-accept", "127.0.0.1:0"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
        else {
            panic!("openssl is not installed")
        };
        // It says something once its libraries are there.
        let mut said = [0; 1];
        child.stdout.take().expect("piped").read_exact(&mut said).expect("it says where it listens");
        let found = unattached(child.id(), "nobody asked", &mut Cache::default());
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        let [library] = &found[..] else { panic!("one library, not its libcrypto: {found:#?}") };
        assert_eq!(library.library, Some(Library::OpenSsl));
        assert_eq!(library.how, Some(How::DynamicSymbols));
        assert_eq!(library.state, Err("nobody asked".to_owned()));
        assert!(library.path.to_string_lossy().contains("libssl"), "{}", library.path.display());
    }
}
