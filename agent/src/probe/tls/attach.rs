//! Attaches the programs for TLS to the places that an analysis names.

use std::{collections::BTreeMap, io, path::Path, thread};

use super::{
    programs::Programs,
    uprobe::{Detacher, Links, Places},
};
use crate::tls::{Analysis, Function, Hook, Moment};

/// What is attached to one file.
#[derive(Default)]
pub struct Attached {
    hooks: Vec<Hook>,
    links: Links,
    /// What could not be attached, and why.
    pub failed: Vec<(Function, String)>,
}

impl Attached {
    /// How many places are hooked.
    pub fn places(&self) -> usize {
        self.hooks.len()
    }

    /// How many of one library's places are hooked.
    pub fn places_of(&self, analysis: &Analysis) -> usize {
        self.hooks.iter().filter(|hook| analysis.hooks.contains(hook)).count()
    }

    /// Why a place of the library could not be hooked, if one could not.
    pub fn failure_of(&self, analysis: &Analysis) -> Option<&str> {
        let is_of = |function| analysis.hooks.iter().any(|hook| hook.function == function);
        self.failed.iter().find(|(function, _)| is_of(*function)).map(|(_, why)| why.as_str())
    }
}

/// Whether a function is hooked where the analysis has these. The kernel takes its time for each place (a tenth of a second
/// to let one go), so what calls another one that is hooked is not: `SSL_connect` and `SSL_accept` shake hands by
/// `SSL_do_handshake`, `gnutls_record_send` and `gnutls_record_send_range` send by `gnutls_record_send2`, and OpenSSL's
/// ways in and out may have one function each that does their work.
fn is_needed(function: Function, analysis: &Analysis) -> bool {
    use Function as F;
    let by: &[F] = match function {
        F::SslConnect | F::SslAccept => &[F::SslDoHandshake],
        F::SslRead | F::SslReadEx => &[F::SslReadInternal],
        F::SslWrite | F::SslWriteEx | F::SslWriteEx2 => &[F::SslWriteInternal, F::SslWriteFlagsInternal],
        F::GnutlsRecordSend | F::GnutlsRecordSendRange => &[F::GnutlsRecordSend2],
        // Early data and datagrams carry no protocol of ours.
        F::SslReadEarlyData | F::SslWriteEarlyData | F::GnutlsRecordRecvSeq => return false,
        _ => return true,
    };
    !analysis.hooks.iter().any(|hook| by.contains(&hook.function))
}

/// The places that `wants` picks and that are needed.
fn picked(analysis: &Analysis, wants: impl Fn(Function) -> bool) -> impl Iterator<Item = &Hook> {
    let is_picked = move |hook: &&Hook| wants(hook.function) && is_needed(hook.function, analysis);
    analysis.hooks.iter().filter(is_picked)
}

/// The program for a place, if there is one.
fn program(function: Function, moment: Moment) -> Option<&'static str> {
    use Function as F;
    let by_register =
        ["crypto/tls", "net/http", "runtime.", "rustls"].iter().any(|begin| function.name().starts_with(begin));
    if by_register && cfg!(not(target_arch = "x86_64")) {
        return None;
    }
    let (entry, at_return) = match function {
        F::SslRead | F::GnutlsRecordRecv | F::GnutlsRecordRecvSeq => ("tls_read", "tls_return"),
        F::SslWrite | F::GnutlsRecordSend | F::GnutlsRecordSend2 | F::GnutlsRecordSendRange => {
            ("tls_write", "tls_return")
        }
        F::SslReadEx | F::SslReadEarlyData | F::SslReadInternal => ("tls_read_ex", "tls_return"),
        F::SslWriteEx | F::SslWriteEarlyData | F::SslWriteInternal => ("tls_write_ex", "tls_return"),
        F::SslSendfile | F::GnutlsRecordSendFile => ("tls_send_file", "tls_return"),
        F::SslWriteEx2 | F::SslWriteFlagsInternal => ("tls_write_ex2", "tls_return"),
        F::SslDoHandshake | F::SslConnect | F::SslAccept | F::GnutlsHandshake => {
            ("tls_handshake", "tls_handshake_return")
        }
        F::SslNew => ("", "tls_new"),
        F::GnutlsInit => ("tls_init", "tls_init_return"),
        F::SslShutdown | F::GnutlsBye => ("tls_shutdown", ""),
        F::SslFree | F::GnutlsDeinit => ("tls_free", ""),
        F::BioWrite => ("tls_ciphertext", ""),
        F::GoTlsConnRead => ("go_read", "go_return"),
        F::GoTlsConnWrite => ("go_write", "go_return"),
        F::GoTlsConnClose => ("go_close", ""),
        F::GoTlsConnClientHandshake | F::GoTlsConnServerHandshake => ("go_handshake", ""),
        F::GoHttpServe => ("go_serves", ""),
        F::GoHttpAsk => ("go_asks", ""),
        F::GoMade => ("go_made", ""),
        F::AsyncioRuns => ("task_loop", ""),
        F::AsyncioMakes => ("task_made", ""),
        F::RustlsEncrypt => ("rustls_encrypt", "rustls_encrypted"),
        F::RustlsEncrypter => ("", "rustls_encrypter"),
        F::RustlsDecrypter => ("", "rustls_decrypter"),
        F::RustlsDecrypt => ("rustls_decrypt", "rustls_decrypted"),
        _ => return None,
    };
    let name = if moment == Moment::Entry { entry } else { at_return };
    Some(name).filter(|name| !name.is_empty())
}

/// All programs that a library may need.
pub fn programs() -> impl Iterator<Item = &'static str> {
    Function::ALL.iter().copied().flat_map(programs_of)
}

/// Those that OpenSSL may need.
pub fn programs_of_openssl() -> impl Iterator<Item = &'static str> {
    let is_of = |function: &Function| ["SSL_", "ssl_", "BIO_"].iter().any(|begin| function.name().starts_with(begin));
    Function::ALL.iter().copied().filter(is_of).flat_map(programs_of)
}

fn programs_of(function: Function) -> impl Iterator<Item = &'static str> {
    function.moments().iter().filter_map(move |moment| program(function, *moment))
}

/// Attaches and detaches.
pub struct Attacher {
    programs: Programs,
    detacher: Detacher,
    /// What tells of goroutines is attached as well.
    goroutines: bool,
}

impl Attacher {
    /// Of these programs; those that tell of goroutines only if that is asked for.
    pub fn new(programs: Programs, goroutines: bool) -> io::Result<Self> {
        Ok(Self { programs, detacher: Detacher::start()?, goroutines })
    }

    fn is_asked_for(&self, function: Function) -> bool {
        self.goroutines || !function.is_of_goroutines()
    }

    /// Whether all programs are loaded, or can't be, for the places that `wants` picks. Those that are not are asked for.
    pub fn is_ready(&self, analysis: &Analysis, wants: impl Fn(Function) -> bool) -> bool {
        let wants = |function| wants(function) && self.is_asked_for(function);
        let needed = picked(analysis, wants).filter_map(|hook| program(hook.function, hook.moment));
        // Each is asked for, whether one before it is missing or not.
        needed.filter(|name| self.programs.get(name).is_none()).count() == 0
    }

    /// Attaches to the places of an analysis that `wants` picks, for one process or for all. What is not loaded is not
    /// attached: see [`is_ready`](Self::is_ready).
    pub fn attach(
        &self,
        analysis: &Analysis,
        path: &Path,
        pid: Option<u32>,
        wants: impl Fn(Function) -> bool,
        attached: &mut Attached,
    ) {
        let wants = |function| wants(function) && self.is_asked_for(function);
        // Returns first: an entry whose return is not hooked would be noted for nothing.
        let (entries, returns): (Vec<&Hook>, Vec<&Hook>) =
            picked(analysis, wants).partition(|hook| hook.moment == Moment::Entry);
        for hooks in [returns, entries] {
            let mut groups: BTreeMap<(&'static str, bool), Vec<Hook>> = BTreeMap::new();
            for hook in hooks {
                let Some(name) = program(hook.function, hook.moment) else { continue };
                groups.entry((name, hook.moment == Moment::Return)).or_default().push(*hook);
            }
            let parts: Vec<Attached> = thread::scope(|scope| {
                let attach =
                    |((name, at_return), hooks)| scope.spawn(move || self.group(name, at_return, hooks, path, pid));
                let parts: Vec<_> = groups.into_iter().map(attach).collect();
                parts.into_iter().filter_map(|part| part.join().ok()).collect()
            });
            for part in parts {
                attached.hooks.extend(part.hooks);
                attached.links.extend(part.links);
                attached.failed.extend(part.failed);
            }
        }
    }

    /// Loads the programs, too, that nothing needed yet.
    pub fn load_rest(&self) {
        self.programs.load_rest();
    }

    /// Detaches soon.
    pub fn detach(&self, attached: impl IntoIterator<Item = Attached>) {
        self.detacher.detach(attached.into_iter().flat_map(|attached| attached.links).collect());
    }

    /// Attaches one program.
    fn group(&self, name: &str, at_return: bool, hooks: Vec<Hook>, path: &Path, pid: Option<u32>) -> Attached {
        let mut attached = Attached::default();
        let program = match self.programs.get(name).unwrap_or(Err("it is not loaded yet")) {
            Ok(program) => program,
            Err(why) => {
                attached.failed.extend(hooks.iter().map(|hook| (hook.function, why.to_owned())));
                return attached;
            }
        };
        let attach = |hooks: &[Hook]| {
            let offsets = hooks.iter().map(|hook| hook.offset).collect();
            self.programs.way().attach(path, pid, &Places { program, at_return, offsets })
        };
        if let Ok(links) = attach(&hooks) {
            return Attached { hooks, links, failed: Vec::new() };
        }
        // One that is refused costs the others nothing.
        for hook in hooks {
            match attach(&[hook]) {
                Ok(links) => {
                    attached.hooks.push(hook);
                    attached.links.extend(links);
                }
                Err(error) => {
                    log::debug!("{} of {}: {error}", hook.function.name(), path.display());
                    attached.failed.push((hook.function, error.to_string()));
                }
            }
        }
        attached
    }
}
