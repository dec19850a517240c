//! Threads' contexts: where the running kernel has a thread's pointer to its thread-local storage, and the table that says where processes
//! have theirs. See `ebpf/src/thread.rs`.

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use netspan_ebpf::ThreadSlot;

use super::{Family, ProbeError, btf::Btf};

const MAP: &str = "THREAD_SLOTS";

/// Offset of the thread pointer in `struct task_struct`, or 0 where it can't be read: on other machines than x86-64, whose kernels keep it
/// up to date only while a thread does not run; and, without reads of kernel memory, on kernels before 5.15: where the registers
/// of calls are read through a pointer to the task that the verifier knows, so is this.
pub(super) fn pointer(btf: &Btf, family: Family) -> u32 {
    if cfg!(not(target_arch = "x86_64")) {
        return 0;
    }
    let is_given = || btf.enumerator("bpf_func_id", "BPF_FUNC_task_pt_regs").is_some();
    if family == Family::Syscall && !is_given() {
        return 0;
    }
    btf.field("task_struct", "thread.fsbase").and_then(|field| field.offset()).unwrap_or(0)
}

/// The kernel side's table of where the threads of processes publish what they are at.
pub struct ThreadSlots {
    map: HashMap<MapData, u32, SlotPod>,
}

/// [`ThreadSlot`] as a map's value.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct SlotPod(ThreadSlot);
// SAFETY: three 64-bit integers, without padding.
unsafe impl aya::Pod for SlotPod {}

impl ThreadSlots {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, ProbeError> {
        let map = ebpf.take_map(MAP).ok_or(ProbeError::Map(MAP, "absent".into()))?;
        Ok(Self { map: HashMap::try_from(map).map_err(|e| ProbeError::Map(MAP, e.to_string()))? })
    }

    /// Enters a process. The kernel side takes it out when the process ends or runs another program.
    pub fn set(&mut self, pid: u32, slot: ThreadSlot) {
        if let Err(e) = self.map.insert(pid, SlotPod(slot), 0) {
            log::warn!("what threads of process {pid} publish is not read: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_a_thread_pointer() {
        let Ok(btf) = Btf::of_kernel() else { return };
        if cfg!(target_arch = "x86_64") {
            assert_ne!(pointer(&btf, Family::Socket), 0);
            assert!(pointer(&btf, Family::Socket).is_multiple_of(8));
        }
    }
}
