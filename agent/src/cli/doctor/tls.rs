//! What `netspan doctor` says of the TLS libraries in a process.

use std::{collections::BTreeSet, fmt, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    probe::{
        Probes,
        tls::{Admits, Found, unattached},
    },
    tls::cache::Cache,
};

/// Why a library is not read that netspan does not know.
const FOREIGN: &str = "netspan has no hooks for this library";

/// Asks about the libraries of processes.
pub enum Examiner<'a> {
    /// What hooks them.
    Attached(&'a Probes),
    /// Nothing does, for this reason.
    Unattached(String, Cache),
}

impl<'a> Examiner<'a> {
    /// Hooks the libraries in processes that `admits` lets pass, or remembers why that can't be done.
    pub fn start(probes: Result<&'a mut Probes, &anyhow::Error>, admits: Admits) -> Self {
        let refused = |why: String| Self::Unattached(why, Cache::default());
        match probes {
            Ok(probes) => match probes.watch_tls(admits, true) {
                Ok(()) => Self::Attached(probes),
                Err(why) => refused(why),
            },
            Err(_) => refused("nothing can be captured".to_owned()),
        }
    }

    /// The libraries of a process, with those that it has and netspan does not know.
    pub fn libraries(&mut self, pid: u32, foreign: &BTreeSet<PathBuf>) -> Vec<Found> {
        let mut found = match self {
            Self::Attached(probes) => probes.tls().map(|watch| watch.report(pid)).unwrap_or_default(),
            Self::Unattached(why, cache) => unattached(pid, why, cache),
        };
        found.extend(self::foreign(foreign));
        found
    }
}

/// Libraries that netspan does not know.
pub fn foreign(paths: &BTreeSet<PathBuf>) -> impl Iterator<Item = Found> {
    paths.iter().map(|path| Found::unknown(path, FOREIGN))
}

/// A library as an object of JSON.
pub fn json(found: &Found) -> Value {
    let Found { path, library, version, how, state } = found;
    json!({
        "path": path,
        "library": library.map(crate::tls::Library::name),
        "version": version,
        "found_by": how.map(crate::tls::How::name),
        "attached": state.as_ref().copied().unwrap_or(0),
        "reason": state.as_ref().err(),
    })
}

/// Why what goes through a library is not seen, if it is not.
pub fn blind_spot(found: &Found) -> Option<String> {
    let why = found.state.as_ref().err()?;
    Some(format!("TLS of {}: {why}; connections under it are timed, not read", Name(found)))
}

/// A library in one line.
pub struct Line<'a>(pub &'a Found);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Found { version, how, state, .. }) = self;
        write!(f, "{}", Name(self.0))?;
        if let Some(version) = version {
            write!(f, ", {version}")?;
        }
        match (state, how) {
            (Ok(places), Some(how)) => write!(f, ": {places} places hooked, found by {}", how.name()),
            (Ok(places), None) => write!(f, ": {places} places hooked"),
            (Err(why), _) => write!(f, ": not read: {why}"),
        }
    }
}

/// Library and file.
struct Name<'a>(&'a Found);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.0.path.file_name().unwrap_or(self.0.path.as_os_str()).to_string_lossy();
        match self.0.library {
            Some(library) => write!(f, "{} in {file}", library.name()),
            None => write!(f, "{file}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{How, Library};

    fn found(library: Option<Library>, version: Option<&str>, state: Result<usize, &str>) -> Found {
        Found {
            path: "/usr/lib/libssl.so.3".into(),
            library,
            version: version.map(str::to_owned),
            how: state.is_ok().then_some(How::DynamicSymbols),
            state: state.map_err(str::to_owned),
        }
    }

    #[test]
    fn a_line_says_what_it_is_and_whether_it_is_read() {
        let cases = [
            (
                found(Some(Library::OpenSsl), Some("OpenSSL 3.0.19"), Ok(21)),
                "OpenSSL in libssl.so.3, OpenSSL 3.0.19: 21 places hooked, found by dynamic symbols",
            ),
            (found(Some(Library::BoringSsl), None, Err("stripped")), "BoringSSL in libssl.so.3: not read: stripped"),
            (found(None, None, Err("unknown")), "libssl.so.3: not read: unknown"),
        ];
        for (found, line) in cases {
            assert_eq!(Line(&found).to_string(), line);
        }
    }

    #[test]
    fn only_what_is_not_hooked_is_a_blind_spot() {
        assert_eq!(blind_spot(&found(Some(Library::OpenSsl), None, Ok(21))), None);
        let spot = blind_spot(&found(Some(Library::BoringSsl), None, Err("stripped"))).expect("it is not read");
        assert!(spot.contains("BoringSSL in libssl.so.3") && spot.contains("stripped"), "{spot}");
    }

    #[test]
    fn json_has_places_or_a_reason() {
        let seen = json(&found(Some(Library::GnuTls), Some("GNUTLS_3_8"), Ok(9)));
        assert_eq!((&seen["attached"], &seen["reason"]), (&json!(9), &Value::Null));
        assert_eq!((&seen["library"], &seen["found_by"]), (&json!("GnuTLS"), &json!("dynamic symbols")));
        let unseen = json(&found(None, None, Err("no")));
        assert_eq!((&unseen["attached"], &unseen["reason"]), (&json!(0), &json!("no")));
        assert_eq!((&unseen["library"], &unseen["found_by"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn a_library_without_hooks_is_told_beside_the_others() {
        let mut examiner = Examiner::Unattached("no permission".into(), Cache::default());
        let foreign = BTreeSet::from([PathBuf::from("/usr/lib/libmbedtls.so.14")]);
        let told = examiner.libraries(std::process::id(), &foreign);
        let last = told.last().expect("the foreign one");
        assert_eq!(Line(last).to_string(), format!("libmbedtls.so.14: not read: {FOREIGN}"));
    }
}
