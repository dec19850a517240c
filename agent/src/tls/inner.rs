//! Where OpenSSL's work is done: `SSL_read` and `SSL_read_ex` are thin, and call one function that has no name for others.
//!
//! Hooking that one is cheaper. A uprobe is a breakpoint, and what stood there is done afterwards: a `push` by the kernel
//! itself (`push_setup_xol_ops`), most else by having the thread execute it elsewhere, with a trap after it. The thin
//! functions begin with a `sub`; in a virtual machine, where traps go through the host, that costs more than all else.
#![forbid(unsafe_code)]

use super::{
    Function, How,
    image::{Image, Machine},
    native::Located,
};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register,
};

/// Bytes of a function that are looked at: both thin ones call within the first 40.
const CODE_MAX: u64 = 128;
/// The instruction that a program for CPUs with control-flow integrity begins its functions with.
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// The first four integer arguments, which a thin function hands on as they are.
const ARGUMENTS: [Register; 4] = [Register::RDI, Register::RSI, Register::RDX, Register::RCX];

/// The functions that do the work of those that are located, as far as that is certain: two functions call it with the
/// arguments that they were called with.
pub(super) fn of(image: &Image<'_>, located: &[Located]) -> Vec<Located> {
    if image.machine != Machine::X86_64 {
        return Vec::new();
    }
    let find = |function| located.iter().filter(move |located| located.function == function);
    let has_flags = find(Function::SslWriteEx2).next().is_some();
    let writes = if has_flags {
        (Function::SslWrite, Function::SslWriteEx2, Function::SslWriteFlagsInternal)
    } else {
        (Function::SslWrite, Function::SslWriteEx, Function::SslWriteInternal)
    };
    let pairs = [(Function::SslRead, Function::SslReadEx, Function::SslReadInternal), writes];
    let mut found = Vec::new();
    for (thin, other, inner) in pairs {
        // Two copies of a library in one file: which calls which is not worth the search.
        let (mut thin, mut other) = (find(thin), find(other));
        let (Some(thin), None, Some(other), None) = (thin.next(), thin.next(), other.next(), other.next()) else {
            continue;
        };
        let is_dear = |located: &Located| !begins_cheaply(image, located.address);
        let address = callee(image, thin, &ARGUMENTS[..2]).filter(|_| is_dear(thin));
        let is_same = address.is_some() && address == callee(image, other, &ARGUMENTS);
        if let Some(address) = address.filter(|address| is_same && begins_cheaply(image, *address)) {
            found.push(Located { function: inner, address, size: 0, how: How::Call });
        }
    }
    found
}

/// The function that a function calls first, if the registers still hold then what it was called with.
fn callee(image: &Image<'_>, caller: &Located, arguments: &[Register]) -> Option<u64> {
    let size = if caller.size == 0 { CODE_MAX } else { caller.size.min(CODE_MAX) };
    image.code(caller.address)?;
    let code = image.read_address(caller.address, size).ok()?;
    first_call(&code, caller.address, arguments).filter(|address| image.code(*address).is_some())
}

/// Address that the first call of this code goes to.
fn first_call(code: &[u8], address: u64, arguments: &[Register]) -> Option<u64> {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut registers = InstructionInfoFactory::new();
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        match instruction.flow_control() {
            FlowControl::Call => return Some(instruction.near_branch_target()).filter(|target| *target != 0),
            FlowControl::Next | FlowControl::ConditionalBranch => {}
            _ => return None,
        }
        let writes =
            |access| !matches!(access, OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
        let used = registers.info(&instruction).used_registers();
        let changes = |used: &iced_x86::UsedRegister| {
            writes(used.access()) && arguments.contains(&used.register().full_register())
        };
        if used.iter().any(changes) {
            return None;
        }
    }
    None
}

/// Whether the kernel does a function's first instruction itself.
fn begins_cheaply(image: &Image<'_>, address: u64) -> bool {
    // 15 bytes are the longest instruction.
    image.read_address(address, 15).is_ok_and(|code| is_push(&code))
}

fn is_push(code: &[u8]) -> bool {
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let instruction = decoder.decode();
    instruction.mnemonic() == Mnemonic::Push && instruction.op0_register() != Register::None
}

/// Bytes from a function's beginning to where it is hooked: an `endbr64` does nothing, a `push` after it is done by the
/// kernel, and the return address is still on top of the stack.
pub(super) fn skipped(image: &Image<'_>, address: u64) -> u64 {
    let is_after = |code: &[u8]| code.strip_prefix(&ENDBR64).is_some_and(is_push);
    let code = (image.machine == Machine::X86_64).then(|| image.read_address(address, 19));
    if code.is_some_and(|code| code.is_ok_and(|code| is_after(&code))) { ENDBR64.len() as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_call_is_found_where_the_arguments_are_untouched() {
        // sub rsp, 24; mov rax, fs:40; mov [rsp+8], rax; xor eax, eax; test edx, edx; js +47; mov rcx, rsp;
        // movsxd rdx, edx; call -446
        let thin = [
            0x48, 0x83, 0xec, 0x18, 0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0, 0x48, 0x89, 0x44, 0x24, 0x08, 0x31,
            0xc0, 0x85, 0xd2, 0x78, 0x2f, 0x48, 0x89, 0xe1, 0x48, 0x63, 0xd2, 0xe8, 0x3d, 0xfe, 0xff, 0xff,
        ];
        assert_eq!(first_call(&thin, 0x35430, &ARGUMENTS[..2]), Some(0x35290));
        assert_eq!(first_call(&thin, 0x35430, &ARGUMENTS), None, "two are made anew");
        // sub rsp, 8; call -569
        let ex = [0x48, 0x83, 0xec, 0x08, 0xe8, 0xc7, 0xfd, 0xff, 0xff];
        assert_eq!(first_call(&ex, 0x354c0, &ARGUMENTS), Some(0x35290));
        for (code, what) in [
            (&[0x48, 0x89, 0xf7, 0xe8, 0, 0, 0, 0][..], "mov rdi, rsi; call"),
            (&[0x31, 0xff, 0xe8, 0, 0, 0, 0], "xor edi, edi; call"),
            (&[0xc3, 0xe8, 0, 0, 0, 0], "ret; call"),
            (&[0xff, 0xd0], "call rax"),
            (&[0xe9, 0, 0, 0, 0], "jmp"),
            (&[0x06, 0xe8, 0, 0, 0, 0], "what is no instruction"),
            (&[0x48, 0x83, 0xec], "an end in the middle"),
            (&[], "nothing"),
        ] {
            assert_eq!(first_call(code, 0x1000, &ARGUMENTS), None, "{what}");
        }
    }

    #[test]
    fn only_a_pushed_register_is_cheap() {
        for (code, cheap) in [
            (&[0x55][..], true),
            (&[0x41, 0x55], true),
            (&[0x68, 1, 0, 0, 0], false),
            (&[0xff, 0x37], false),
            (&[0x48, 0x83, 0xec, 0x18], false),
            (&[0xf3, 0x0f, 0x1e, 0xfa, 0x55], false),
            (&[], false),
        ] {
            assert_eq!(is_push(code), cheap, "{code:x?}");
        }
    }
}
