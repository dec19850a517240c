//! Attaches single tracepoints.

use std::path::Path;

use aya::{Ebpf, programs::TracePoint};

use super::{Hook, HookState, Need, ProbeError, perf, reason, tracefs};

/// What to do where events of all processes are not permitted.
const PARANOID: &str = "; this kernel asks for CAP_SYS_ADMIN while kernel.perf_event_paranoid is above 2, or for CAP_PERFMON: give that, or set \
                        the former to 2";

/// An error, where a hook that nothing works without is not attached.
pub fn require(hook: &Hook, need: Need) -> Result<(), ProbeError> {
    match &hook.state {
        HookState::Failed(why) if need == Need::Must => {
            let advice = if perf::is_permitted() { "" } else { PARANOID };
            let why = format!("{why}{advice}");
            Err(ProbeError::Hook { program: hook.program, target: hook.target.clone(), why })
        }
        _ => Ok(()),
    }
}

/// Attaches a program to a tracepoint.
pub fn attach(ebpf: &mut Ebpf, tracefs: &Path, name: &'static str, category: &str, event: &str, need: Need) -> Hook {
    let target = format!("{category}:{event}");
    let mut hook = Hook { program: name, target, verified: None, state: HookState::Attached };
    if need == Need::May && tracefs::format(tracefs, category, event).is_none() {
        hook.state = HookState::Absent;
        return hook;
    }
    hook.state = match try_attach(ebpf, name, category, event) {
        Ok(verified) => {
            hook.verified = verified;
            HookState::Attached
        }
        Err(why) => HookState::Failed(why),
    };
    hook
}

/// Loads a program, if it is not.
fn load<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut TracePoint, String> {
    let program: &mut TracePoint =
        ebpf.program_mut(name).ok_or("not in the object")?.try_into().map_err(|e| reason(&e))?;
    if program.fd().is_err() {
        program.load().map_err(|e| reason(&e))?;
    }
    Ok(program)
}

fn try_attach(ebpf: &mut Ebpf, name: &str, category: &str, event: &str) -> Result<Option<u32>, String> {
    let program = load(ebpf, name)?;
    program.attach(category, event).map_err(|e| reason(&e))?;
    Ok(program.info().ok().and_then(|info| info.verified_instruction_count()))
}
