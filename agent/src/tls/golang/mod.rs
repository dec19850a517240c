//! Go programs: their version, where `crypto/tls` is in them, and what its stack-moving runtime asks for.
//!
//! Registers (Go's `ABIInternal`, <https://go.dev/s/regabi>): a method's receiver is in RAX (x0 on `AArch64`), the bytes of
//! `Read` and `Write` in RBX (x1) with their length in RCX (x2). At a return instruction, n is in RAX (x0) and the
//! error's type in RBX (x1), zero where there is none. The receiver is not kept until then; the goroutine is, in R14
//! (x28), and a goroutine can change its thread in between: calls are keyed by process and goroutine.

mod buildinfo;
mod calls;
mod line_table;
mod prologue;
mod returns;

use super::{
    Analysis, Function, Hook, How, Library, Moment, Refusal,
    image::{Image, Machine},
    native::Symbols,
};
use line_table::LineTable;

/// The first Go that passes arguments in registers on x86-64; on `AArch64` it is the next one.
const REGISTERS_SINCE: u32 = 17;
/// Since then a goroutine knows which other made it.
const PARENTS_SINCE: u32 = 21;
/// A function of `crypto/tls` is at most so large, in bytes.
const FUNCTION_MAX: u64 = 1 << 16;
/// A function's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Code {
    address: u64,
    size: u64,
}

/// The hooks of a Go program; nothing for what is none, or has no `crypto/tls`.
pub(super) fn analyse(image: &Image<'_>, symbols: &Symbols) -> Result<Option<Analysis>, Refusal> {
    let Some(info) = buildinfo::find(image)? else { return Ok(None) };
    let (mut codes, how) = locate(image, symbols, info.minor)?;
    let asks = codes.iter().any(|(function, _)| *function == Function::GoHttpAsk);
    let knows_parents = info.minor.is_none_or(|minor| minor >= PARENTS_SINCE);
    let queues = codes.extract_if(.., |(function, _)| *function == Function::GoQueues).last();
    let made = codes.extract_if(.., |(function, _)| *function == Function::GoMade).last();
    if codes.is_empty() {
        return Ok(None);
    }
    let (Some(minor), Some(version)) = (info.minor, info.version) else { return Err(Refusal::GoVersionUnknown) };
    let since = if image.machine == Machine::Aarch64 { REGISTERS_SINCE + 1 } else { REGISTERS_SINCE };
    if minor < since {
        return Err(Refusal::GoTooOld(version));
    }
    let mut hooks = Vec::new();
    for (function, code) in codes {
        hook(image, function, code, &mut hooks)?;
    }
    if let (Some((function, code)), Some((_, queues))) = (made, queues)
        && asks
        && !knows_parents
        && code.size <= FUNCTION_MAX
        && let Some(offset) = image.code(code.address)
        && let Some(at) = calls::find(
            image.machine,
            &image.read_address(code.address, code.size)?,
            queues.address.wrapping_sub(code.address),
        )
    {
        hooks.push(Hook { function, moment: Moment::Entry, offset: offset + at });
    }
    hooks.sort_unstable();
    hooks.dedup();
    Ok(Some(Analysis { library: Library::Go, version: Some(version), how, hooks }))
}

type Located = (Vec<(Function, Code)>, How);

/// The functions to hook, by symbols if there are any, else by the line table.
fn locate(image: &Image<'_>, symbols: &Symbols, minor: Option<u32>) -> Result<Located, Refusal> {
    let by_symbol: Vec<_> = symbols
        .go
        .iter()
        .filter(|located| located.size > 0)
        .map(|located| (located.function, Code { address: located.address, size: located.size }))
        .collect();
    if !by_symbol.is_empty() {
        return Ok((by_symbol, How::SymbolTable));
    }
    if minor.is_some_and(|minor| minor < REGISTERS_SINCE) {
        // Its line table is not read: whether it has `crypto/tls` makes no difference.
        return Err(Refusal::GoTooOld(format!("go1.{}", minor.unwrap_or_default())));
    }
    let table = LineTable::read(image, symbols.go_text, &Function::GO.map(Function::name))?;
    let codes = Function::GO.into_iter().filter_map(|function| Some((function, table.code(function.name())?)));
    Ok((codes.collect(), How::GoLineTable))
}

fn hook(image: &Image<'_>, function: Function, code: Code, hooks: &mut Vec<Hook>) -> Result<(), Refusal> {
    let offset = image.code(code.address).ok_or(Refusal::GoCode("a function outside of the code"))?;
    if code.size > FUNCTION_MAX {
        return Err(Refusal::GoCode("a function is too large"));
    }
    let bytes = image.read_address(code.address, code.size)?;
    for &moment in function.moments() {
        if moment == Moment::ReturnInstruction {
            let returns = returns::find(image.machine, &bytes)?;
            hooks.extend(returns.into_iter().map(|at| Hook { function, moment, offset: offset + at }));
        } else {
            let skipped = prologue::skipped(image.machine, &bytes);
            hooks.push(Hook { function, moment, offset: offset + skipped });
        }
    }
    Ok(())
}
