//! Where a function's own work begins: after the check that its goroutine's stack has room.
//!
//! Where there is no room, and where the scheduler wants the goroutine to pause, the function jumps back to its first
//! instruction afterwards (`stacksplit` of Go's compiler). A hook there would see such a call twice, and count its bytes
//! twice. The arguments' registers are not touched by the check.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use crate::tls::image::Machine;

/// Offset of `stackguard0` in the runtime's `g`, which R14 points to.
const STACK_GUARD: u64 = 16;

/// Bytes from the code's beginning to the instruction after the check; 0 where there is none. On `AArch64` nothing is hooked.
pub(super) fn skipped(machine: Machine, code: &[u8]) -> u64 {
    let len = if machine == Machine::X86_64 { check(code) } else { None };
    len.unwrap_or(0)
}

/// `cmp rsp, [r14+16]; jbe`. With a larger frame R12 is compared: `lea r12, [rsp-n]`, or `mov r12, rsp; sub r12, n; jb`.
fn check(code: &[u8]) -> Option<u64> {
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        match instruction.mnemonic() {
            Mnemonic::Cmp if is_compared(&instruction) => {
                decoder.decode_out(&mut instruction);
                return (instruction.mnemonic() == Mnemonic::Jbe).then_some(decoder.position() as u64);
            }
            Mnemonic::Lea | Mnemonic::Mov | Mnemonic::Sub if instruction.op0_register() == Register::R12 => {}
            Mnemonic::Jb => {}
            _ => return None,
        }
    }
    None
}

/// Whether an instruction compares the stack's end with what the goroutine has.
fn is_compared(instruction: &Instruction) -> bool {
    matches!(instruction.op0_register(), Register::RSP | Register::R12)
        && instruction.op1_kind() == OpKind::Memory
        && instruction.memory_base() == Register::R14
        && instruction.memory_index() == Register::None
        && instruction.memory_displacement64() == STACK_GUARD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_of_each_size_of_frame_is_passed_over() {
        // cmp rsp, [r14+16]; jbe +34; push rbp
        let small = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x22, 0x55];
        // lea r12, [rsp-88]; cmp r12, [r14+16]; jbe +848; push rbp
        let large = [0x4c, 0x8d, 0x64, 0x24, 0xa8, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 0x50, 0x03, 0, 0, 0x55];
        // mov r12, rsp; sub r12, 8192; jb +80; cmp r12, [r14+16]; jbe +74; push rbp
        let huge =
            [0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, 0, 0x20, 0, 0, 0x72, 0x50, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x4a, 0x55];
        for code in [&small[..], &large, &huge] {
            assert_eq!(skipped(Machine::X86_64, code), code.len() as u64 - 1, "{code:x?}");
            assert_eq!(skipped(Machine::Aarch64, code), 0);
        }
    }

    #[test]
    fn what_is_no_such_check_is_not_passed_over() {
        for (code, what) in [
            (&[][..], "nothing"),
            (&[0x55, 0x49, 0x3b, 0x66, 0x10, 0x76, 0x22], "push rbp first"),
            (&[0x49, 0x3b, 0x66, 0x10, 0x90], "no jump"),
            (&[0x49, 0x3b, 0x66, 0x10, 0x77, 0x22], "ja"),
            (&[0x49, 0x3b, 0x66, 0x10], "an end before the jump"),
            (&[0x49, 0x3b, 0x66, 0x18, 0x76, 0x22], "another field"),
            (&[0x49, 0x3b, 0x65, 0x10, 0x76, 0x22], "another register"),
            (&[0x48, 0x89, 0xd8, 0x49, 0x3b, 0x66, 0x10, 0x76, 0x22], "an argument is changed before"),
            (&[0x06], "no instruction"),
        ] {
            assert_eq!(skipped(Machine::X86_64, code), 0, "{what}");
        }
    }
}
