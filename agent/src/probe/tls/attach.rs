//! Attaches the programs for TLS to the places that an analysis names.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use aya::{Ebpf, programs::UProbe};

use super::uprobe;
use crate::{
    probe::reason,
    tls::{Analysis, Function, Hook, Moment},
};

/// What is attached to one file.
#[derive(Default)]
pub struct Attached {
    events: Vec<(Hook, OwnedFd)>,
    /// What could not be attached, and why.
    pub failed: Vec<(Function, String)>,
}

impl Attached {
    /// How many places are hooked.
    pub fn places(&self) -> usize {
        self.events.len()
    }

    /// How many of one library's places are hooked.
    pub fn places_of(&self, analysis: &Analysis) -> usize {
        self.events.iter().filter(|(hook, _)| analysis.hooks.contains(hook)).count()
    }

    /// Why a place of the library could not be hooked, if one could not.
    pub fn failure_of(&self, analysis: &Analysis) -> Option<&str> {
        let is_of = |function| analysis.hooks.iter().any(|hook| hook.function == function);
        self.failed.iter().find(|(function, _)| is_of(*function)).map(|(_, why)| why.as_str())
    }
}

/// Whether a function is hooked where the analysis has these. The kernel takes its time for each place (a tenth of a second
/// to let one go), so what calls another one that is hooked is not: `SSL_connect` and `SSL_accept` shake hands by
/// `SSL_do_handshake`, `gnutls_record_send` and `gnutls_record_send_range` send by `gnutls_record_send2`.
fn is_needed(function: Function, analysis: &Analysis) -> bool {
    use Function as F;
    let by = match function {
        F::SslConnect | F::SslAccept => F::SslDoHandshake,
        F::GnutlsRecordSend | F::GnutlsRecordSendRange => F::GnutlsRecordSend2,
        // Early data and datagrams carry no protocol of ours.
        F::SslReadEarlyData | F::SslWriteEarlyData | F::GnutlsRecordRecvSeq => return false,
        _ => return true,
    };
    !analysis.hooks.iter().any(|hook| hook.function == by)
}

/// The program for a place, if there is one.
fn program(function: Function, moment: Moment) -> Option<&'static str> {
    use Function as F;
    let by_register = function.name().starts_with("crypto/tls") || function.name().starts_with("rustls");
    if by_register && cfg!(not(target_arch = "x86_64")) {
        return None;
    }
    let (entry, at_return) = match function {
        F::SslRead | F::GnutlsRecordRecv | F::GnutlsRecordRecvSeq => ("tls_read", "tls_return"),
        F::SslWrite | F::GnutlsRecordSend | F::GnutlsRecordSend2 | F::GnutlsRecordSendRange => {
            ("tls_write", "tls_return")
        }
        F::SslReadEx | F::SslReadEarlyData => ("tls_read_ex", "tls_return"),
        F::SslWriteEx | F::SslWriteEarlyData => ("tls_write_ex", "tls_return"),
        F::SslWriteEx2 => ("tls_write_ex2", "tls_return"),
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
        F::RustlsEncrypt => ("rustls_encrypt", "rustls_encrypted"),
        F::RustlsEncrypter => ("", "rustls_encrypter"),
        F::RustlsDecrypt => ("rustls_decrypt", "rustls_decrypted"),
        _ => return None,
    };
    let name = if moment == Moment::Entry { entry } else { at_return };
    Some(name).filter(|name| !name.is_empty())
}

/// Attaches and detaches. Programs are loaded when they are first needed.
pub struct Attacher {
    ebpf: Arc<Mutex<Ebpf>>,
}

impl Attacher {
    /// Of the object's programs.
    pub const fn new(ebpf: Arc<Mutex<Ebpf>>) -> Self {
        Self { ebpf }
    }

    /// Attaches to the places of an analysis that `wants` picks, for one process or for all.
    pub fn attach(
        &self,
        analysis: &Analysis,
        path: &Path,
        pid: Option<u32>,
        wants: impl Fn(Function) -> bool,
        attached: &mut Attached,
    ) {
        // Returns first: an entry whose return is not hooked would be noted for nothing.
        let (entries, returns): (Vec<&Hook>, Vec<&Hook>) = analysis
            .hooks
            .iter()
            .filter(|hook| wants(hook.function) && is_needed(hook.function, analysis))
            .partition(|hook| hook.moment == Moment::Entry);
        for hooks in [returns, entries] {
            let mut places = Vec::new();
            for hook in hooks {
                let Some(name) = program(hook.function, hook.moment) else { continue };
                match self.program(name) {
                    Ok(program) => places.push((*hook, program)),
                    Err(why) => attached.failed.push((hook.function, why)),
                }
            }
            for ((hook, _), event) in places.iter().zip(uprobe::attach(path, pid, &places)) {
                match event {
                    Ok(event) => attached.events.push((*hook, event)),
                    Err(error) => {
                        log::debug!("{} of {}: {error}", hook.function.name(), path.display());
                        attached.failed.push((hook.function, error.to_string()));
                    }
                }
            }
        }
    }

    /// The program of that name, loaded.
    fn program(&self, name: &str) -> Result<OwnedFd, String> {
        let mut ebpf = self.ebpf.lock().unwrap_or_else(PoisonError::into_inner);
        let program: &mut UProbe =
            ebpf.program_mut(name).ok_or("not in the object")?.try_into().map_err(|e| reason(&e))?;
        if program.fd().is_err() {
            program.load().map_err(|e| reason(&e))?;
        }
        let program = program.fd().map_err(|e| reason(&e))?;
        program.as_fd().try_clone_to_owned().map_err(|e| e.to_string())
    }
}

/// Detaches from all places at once.
pub fn detach(attached: impl IntoIterator<Item = Attached>) {
    uprobe::detach(attached.into_iter().flat_map(|attached| attached.events).map(|(_, event)| event).collect());
}
