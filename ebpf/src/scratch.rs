//! What a program works on and what is too large for its stack: per-CPU cells that are taken and given back.
//!
//! A program that a trampoline runs can be preempted by another thread of the same CPU, and any program can be
//! interrupted by one that runs in an interrupt. So a CPU has several cells, and one that is in use is passed over.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use netspan_ebpf::{CloseEvent, ConnEvent, SCRATCH_CELLS, TaskEvent, counter};

use crate::{
    conn::Conn,
    emit::{add, count, count_in, row},
    maps::SCRATCH,
    walk::Work,
};

/// What one run of a program works on.
#[repr(C)]
pub struct Scratch {
    /// Programs that want this cell. Whoever finds itself alone after adding itself has it.
    users: u64,
    /// Connections numbered with this cell.
    numbers: u64,
    /// An event on its way.
    pub told: ConnEvent,
    /// An event on its way.
    pub ended: CloseEvent,
    /// An event on its way.
    pub task: TaskEvent,
    /// A connection before it enters the table.
    pub blank: Conn,
    /// The walk over a call's bytes.
    pub work: Work,
}

/// A cell in use; dropping it gives it back.
pub struct Cell {
    /// Which of the CPU's cells.
    slot: u32,
    /// The cell.
    scratch: &'static mut Scratch,
}

impl Cell {
    /// Takes a cell. That none is free is counted: what the program would have done is lost.
    #[inline(always)]
    pub fn take() -> Option<Self> {
        let mut slot = 0;
        while slot < SCRATCH_CELLS {
            let scratch = cell_at(slot)?;
            let users = &raw mut scratch.users;
            // SAFETY: a field of a map value, aligned to eight bytes.
            unsafe {
                // Only programs of this CPU add here: two that meet may both see 2 and pass on, but never both see 1.
                add(users, 1);
                if core::ptr::read_volatile(users) == 1 {
                    return Some(Self { slot, scratch });
                }
                add(users, u64::MAX);
            }
            slot += 1;
        }
        count(counter::SCRATCH_FULL, 1);
        None
    }

    /// Which of the CPU's cells it is.
    #[inline(always)]
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Adds to a counter, in the cell's own row: nobody else writes there.
    #[inline(always)]
    pub fn count(&self, which: u32, by: u64) {
        count_in(row(self.slot), which, by);
    }

    /// Number of a new connection: unique over all cells of all CPUs, never 0, never used again.
    #[inline(always)]
    pub fn number(&mut self) -> u64 {
        self.scratch.numbers += 1;
        // SAFETY: a helper without pointers.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        (self.scratch.numbers << 15) | u64::from(self.slot & 7) << 12 | u64::from(cpu & 0xfff)
    }
}

impl Drop for Cell {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: a field of a map value, aligned to eight bytes.
        unsafe { add(&raw mut self.scratch.users, u64::MAX) };
    }
}

impl core::ops::Deref for Cell {
    type Target = Scratch;

    #[inline(always)]
    fn deref(&self) -> &Scratch {
        self.scratch
    }
}

impl core::ops::DerefMut for Cell {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Scratch {
        self.scratch
    }
}

/// A cell of this CPU, by its number. Only for who has taken it.
#[inline(always)]
pub fn cell_at(slot: u32) -> Option<&'static mut Scratch> {
    // SAFETY: a map value lives as long as the program runs; whoever has taken the cell is alone with it.
    SCRATCH.get_ptr_mut(slot).map(|scratch| unsafe { &mut *scratch })
}
