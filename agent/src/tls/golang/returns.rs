//! Where in a function's machine code its return instructions are.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};

use crate::tls::{Refusal, image::Machine};

/// Return instructions of one function at most.
pub(super) const RETURNS_MAX: usize = 64;
/// `RET` on `AArch64`: to the address in x30.
const AARCH64_RET: [u8; 4] = 0xd65f_03c0_u32.to_le_bytes();

/// Bytes from the code's beginning to each return instruction, rising; at least one.
pub(super) fn find(machine: Machine, code: &[u8]) -> Result<Vec<u64>, Refusal> {
    let returns = match machine {
        Machine::X86_64 => x86_64(code)?,
        Machine::Aarch64 => aarch64(code),
    };
    match returns.len() {
        0 => Err(Refusal::GoCode("a function never returns")),
        1..=RETURNS_MAX => Ok(returns),
        _ => Err(Refusal::GoCode("a function has too many return instructions")),
    }
}

fn x86_64(code: &[u8]) -> Result<Vec<u64>, Refusal> {
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut returns = Vec::new();
    while decoder.can_decode() {
        let at = decoder.position() as u64;
        decoder.decode_out(&mut instruction);
        // Lost in the code: a place taken for an instruction's first byte may be inside one, and a breakpoint there
        // would break the program.
        if instruction.is_invalid() {
            return Err(Refusal::GoCode("an unknown instruction"));
        }
        if instruction.mnemonic() == Mnemonic::Ret {
            returns.push(at);
        }
    }
    Ok(returns)
}

fn aarch64(code: &[u8]) -> Vec<u64> {
    let instructions = (0..).step_by(4).zip(code.as_chunks::<4>().0);
    instructions.filter(|(_, instruction)| **instruction == AARCH64_RET).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_is_told_from_a_byte_that_looks_like_one() {
        // mov eax, 0xc3c3c3c3; ret; lea rax, [rip+0xc3]; ret; int3
        let code = [0xb8, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3, 0x48, 0x8d, 0x05, 0xc3, 0, 0, 0, 0xc3, 0xcc];
        assert_eq!(find(Machine::X86_64, &code), Ok(vec![5, 13]));
        let code = [0xc0, 0x03, 0x5f, 0xd6, 0xe0, 0x03, 0x5f, 0xd6, 0xc0, 0x03, 0x5f, 0xd6, 0xc0];
        assert_eq!(find(Machine::Aarch64, &code), Ok(vec![0, 8]));
    }

    #[test]
    fn code_that_is_not_understood_is_refused() {
        // 0x06 is no instruction in 64-bit code.
        for code in [&[][..], &[0x90], &[0xc3, 0x06], &[0xc3, 0x48], &[0xc3; RETURNS_MAX + 1]] {
            assert!(matches!(find(Machine::X86_64, code), Err(Refusal::GoCode(_))), "{code:x?}");
        }
        assert!(matches!(find(Machine::Aarch64, &[0xc0, 0x03, 0x5f]), Err(Refusal::GoCode(_))));
    }
}
