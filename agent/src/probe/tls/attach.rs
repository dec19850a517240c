//! Attaches the programs for TLS to the places that an analysis names.

use std::{
    num::NonZeroU32,
    path::Path,
    sync::{Arc, Mutex},
};

use aya::{
    Ebpf,
    programs::{
        UProbe,
        uprobe::{UProbeAttachLocation, UProbeLinkId, UProbeScope},
    },
};

use crate::{
    probe::reason,
    tls::{Analysis, Function, Hook, Moment},
};

/// What is attached to one file.
#[derive(Default)]
pub struct Attached {
    links: Vec<(Hook, &'static str, UProbeLinkId)>,
    /// What could not be attached, and why.
    pub failed: Vec<(Function, String)>,
}

impl Attached {
    /// How many places are hooked.
    pub fn places(&self) -> usize {
        self.links.len()
    }

    /// How many of one library's places are hooked.
    pub fn places_of(&self, analysis: &Analysis) -> usize {
        self.links.iter().filter(|(hook, ..)| analysis.hooks.contains(hook)).count()
    }

    /// Why a place of the library could not be hooked, if one could not.
    pub fn failure_of(&self, analysis: &Analysis) -> Option<&str> {
        let is_of = |function| analysis.hooks.iter().any(|hook| hook.function == function);
        self.failed.iter().find(|(function, _)| is_of(*function)).map(|(_, why)| why.as_str())
    }
}

/// The program for a place, if there is one.
fn program(function: Function, moment: Moment) -> Option<&'static str> {
    use Function as F;
    if function.name().starts_with("crypto/tls") && cfg!(not(target_arch = "x86_64")) {
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
        pid: Option<NonZeroU32>,
        wants: impl Fn(Function) -> bool,
        attached: &mut Attached,
    ) {
        // Returns first: an entry whose return is not hooked would be noted for nothing.
        let mut hooks: Vec<&Hook> = analysis.hooks.iter().filter(|hook| wants(hook.function)).collect();
        hooks.sort_by_key(|hook| hook.moment == Moment::Entry);
        let mut ebpf = self.ebpf.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for hook in hooks {
            let Some(name) = program(hook.function, hook.moment) else { continue };
            match attach(&mut ebpf, name, hook.offset, path, pid) {
                Ok(link) => attached.links.push((*hook, name, link)),
                Err(why) => {
                    log::debug!("{} of {}: {why}", hook.function.name(), path.display());
                    attached.failed.push((hook.function, why));
                }
            }
        }
    }

    /// Detaches.
    pub fn detach(&self, attached: Attached) {
        let mut ebpf = self.ebpf.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (_, name, link) in attached.links {
            if let Ok(program) = uprobe(&mut ebpf, name)
                && let Err(error) = program.detach(link)
            {
                log::debug!("{name} can't be detached: {error}");
            }
        }
    }
}

fn uprobe<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut UProbe, String> {
    ebpf.program_mut(name).ok_or("not in the object")?.try_into().map_err(|e| reason(&e))
}

fn attach(
    ebpf: &mut Ebpf,
    name: &str,
    offset: u64,
    path: &Path,
    pid: Option<NonZeroU32>,
) -> Result<UProbeLinkId, String> {
    let program = uprobe(ebpf, name)?;
    if program.fd().is_err() {
        program.load().map_err(|e| reason(&e))?;
    }
    let scope = pid.map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess);
    program.attach(UProbeAttachLocation::AbsoluteOffset(offset), path, scope).map_err(|e| reason(&e))
}
