//! How deep the programs' stacks get, by their code: old kernels refuse what newer ones take, and are tested last.

use std::collections::{BTreeMap, HashSet};

use aya_obj::{Object, generated::bpf_insn};

use super::OBJECT;

/// Bytes that frames which are on the stack together may have (`MAX_BPF_STACK`).
const STACK_MAX: i32 = 512;
/// What kernels before 6.8 round a frame up to (`check_max_stack_depth`).
const ROUNDED: i32 = 32;
/// Programs that only kernels from 6.13 on load, which give each function a stack; elsewhere others are loaded instead.
const REPLACED: [&str; 2] = ["raw_sys_enter", "perf_sys_enter"];
/// The register that points to a frame's end.
const FRAME: u8 = 10;

/// A function of a program: how large its frame is, and which functions it calls, by where they begin.
#[derive(Debug, Default)]
struct Frame {
    size: i32,
    calls: HashSet<usize>,
}

/// The function that begins where a call goes to, for a call of another function of the program (`BPF_PSEUDO_CALL`).
fn callee(at: usize, instruction: bpf_insn) -> Option<usize> {
    const CALL: u8 = 0x85;
    let is_call = instruction.code == CALL && instruction.src_reg() == 1;
    is_call.then(|| at.wrapping_add_signed(instruction.imm as isize + 1))
}

/// How far below the frame's end an instruction reaches.
fn reach(before: Option<bpf_insn>, instruction: bpf_insn) -> i32 {
    const ADD_IMMEDIATE: u8 = 0x07;
    const MOVE: u8 = 0xbf;
    let class = instruction.code & 7;
    let reads = class == 1 && instruction.src_reg() == FRAME;
    let writes = matches!(class, 2 | 3) && instruction.dst_reg() == FRAME;
    if reads || writes {
        return -i32::from(instruction.off);
    }
    let points = before.is_some_and(|before| {
        before.code == MOVE && before.src_reg() == FRAME && before.dst_reg() == instruction.dst_reg()
    });
    if points && instruction.code == ADD_IMMEDIATE { -instruction.imm } else { 0 }
}

fn frames(code: &[bpf_insn]) -> BTreeMap<usize, Frame> {
    let begins = code.iter().copied().enumerate().filter_map(|(at, instruction)| callee(at, instruction));
    let mut frames: BTreeMap<usize, Frame> = begins.chain([0]).map(|at| (at, Frame::default())).collect();
    for (at, instruction) in code.iter().copied().enumerate() {
        let before = at.checked_sub(1).map(|before| code[before]);
        let (_, frame) = frames.range_mut(..=at).next_back().expect("one begins at 0");
        frame.size = frame.size.max(reach(before, instruction));
        frame.calls.extend(callee(at, instruction));
    }
    frames
}

/// The frames of the deepest stack of a function and of what it calls.
fn deepest(frames: &BTreeMap<usize, Frame>, at: usize) -> Vec<i32> {
    let frame = &frames[&at];
    let own = (frame.size.max(1) + ROUNDED - 1) / ROUNDED * ROUNDED;
    let below = frame.calls.iter().map(|callee| deepest(frames, *callee));
    let below = below.max_by_key(|stack| stack.iter().sum::<i32>()).unwrap_or_default();
    [vec![own], below].concat()
}

#[test]
fn no_programs_stack_is_too_deep_for_old_kernels() {
    let mut object = Object::parse(OBJECT).expect("it is an object");
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_calls(&sections).expect("its functions are there");
    let mut deepest = 0;
    for (name, program) in object.programs.iter().filter(|(name, _)| !REPLACED.contains(&name.as_str())) {
        let code = &object.functions[&program.function_key()].instructions;
        let stack = self::deepest(&frames(code), 0);
        let depth = stack.iter().sum();
        assert!(depth <= STACK_MAX, "{name}: {depth}, {stack:?}");
        deepest = deepest.max(depth);
    }
    assert!(deepest > STACK_MAX / 2, "{deepest}: the deepest walk has more");
}
