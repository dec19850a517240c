//! Attaches raw tracepoints.

use aya::{Ebpf, programs::RawTracePoint};

use super::{Hook, HookState, reason};

/// Loads a program, which does nothing until it is attached.
pub fn load(ebpf: &mut Ebpf, name: &str) -> Result<(), String> {
    program(ebpf, name)?.load().map_err(|e| reason(&e))
}

/// Attaches a program that is loaded.
pub fn attach(ebpf: &mut Ebpf, name: &'static str, event: &str) -> Result<Hook, String> {
    let program = program(ebpf, name)?;
    program.attach(event).map_err(|e| reason(&e))?;
    let verified = program.info().ok().and_then(|info| info.verified_instruction_count());
    Ok(Hook { program: name, target: target(event), verified, state: HookState::Attached })
}

/// Loads and attaches a program.
pub fn hook(ebpf: &mut Ebpf, name: &'static str, event: &str) -> Hook {
    let attached = load(ebpf, name).and_then(|()| attach(ebpf, name, event));
    let failed = |why| Hook { program: name, target: target(event), verified: None, state: HookState::Failed(why) };
    attached.unwrap_or_else(failed)
}

/// What a hook at an event is called.
pub fn target(event: &str) -> String {
    format!("raw:{event}")
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut RawTracePoint, String> {
    ebpf.program_mut(name).ok_or("not in the object")?.try_into().map_err(|e| reason(&e))
}
