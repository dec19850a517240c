//! Where a function's machine code calls another one. A hook there costs one trap: the kernel carries out a call by itself, where
//! most other instructions, returns among them, take a second trap (`arch/x86/kernel/uprobes.c`, `branch_setup_xol_ops`). In virtual machines
//! each is expensive.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};

use crate::tls::image::Machine;

/// Bytes from the code's beginning to the only instruction that calls what is `distance` bytes after the beginning. Nothing where there
/// is none or several, or where an instruction is unknown.
pub(super) fn find(machine: Machine, code: &[u8], distance: u64) -> Option<u64> {
    if machine != Machine::X86_64 {
        return None;
    }
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut found = None;
    while decoder.can_decode() {
        let at = decoder.position() as u64;
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            return None;
        }
        if instruction.mnemonic() == Mnemonic::Call
            && instruction.is_call_near()
            && instruction.near_branch_target() == distance
            && found.replace(at).is_some()
        {
            return None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_call_of_a_function_is_found() {
        // nop; call +0x100 (from 6); call +0 (from 11); ret
        let code = [0x90, 0xe8, 0, 1, 0, 0, 0xe8, 0, 0, 0, 0, 0xc3];
        assert_eq!(find(Machine::X86_64, &code, 0x106), Some(1));
        assert_eq!(find(Machine::X86_64, &code, 11), Some(6));
        assert_eq!(find(Machine::X86_64, &code, 12), None);
        assert_eq!(find(Machine::Aarch64, &code, 0x106), None);
        // call -6 (to itself, as what is before it): a function may lie before the other.
        assert_eq!(find(Machine::X86_64, &[0x90, 0xe8, 0xf0, 0xff, 0xff, 0xff], 0_u64.wrapping_sub(10)), Some(1));
    }

    #[test]
    fn two_calls_and_unknown_code_are_none() {
        let twice = [0xe8, 5, 0, 0, 0, 0xe8, 0, 0, 0, 0];
        assert_eq!(find(Machine::X86_64, &twice, 10), None);
        assert_eq!(find(Machine::X86_64, &[0xe8, 5, 0, 0, 0, 0x06], 10), None);
    }
}
