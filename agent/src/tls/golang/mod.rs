//! Go programs: their version, where `crypto/tls` is in them, and what its stack-moving runtime asks for.

mod buildinfo;
mod line_table;
mod returns;
mod words;

use super::{
    Analysis, Function, GoFacts, Hook, How, Library, Moment, Refusal,
    image::{Image, Machine},
    native::Symbols,
};
use line_table::LineTable;
use words::Words;

/// The first Go that passes arguments in registers on x86-64; on `AArch64` it is the next one.
const REGISTERS_SINCE: u32 = 17;
/// A function of `crypto/tls` is at most so large, in bytes.
const FUNCTION_MAX: u64 = 1 << 16;
/// Bytes from an itab's beginning to its first method (`internal/abi.ITab`).
const ITAB_METHODS: u64 = 24;
/// Where among the methods of `net.Conn`, which are sorted, these are.
const METHODS: [(&str, u64); 3] =
    [("net.(*TCPConn).Close", 0), ("net.(*TCPConn).Read", 2), ("net.(*TCPConn).Write", 7)];

/// A function's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Code {
    address: u64,
    size: u64,
}

/// The hooks of a Go program; nothing for what is none, or has no `crypto/tls`.
pub(super) fn analyse(image: &Image<'_>, symbols: &Symbols) -> Result<Option<Analysis>, Refusal> {
    let Some(info) = buildinfo::find(image)? else { return Ok(None) };
    let (codes, table, how) = locate(image, symbols, info.minor)?;
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
    hooks.sort_unstable();
    hooks.dedup();
    let itab = match symbols.tcp_conn_itab {
        Some(itab) => Some(itab),
        None => find_itab(image, symbols, table),
    };
    let go = Some(GoFacts { minor, tcp_conn_itab: itab.and_then(|itab| image.relative(itab)) });
    Ok(Some(Analysis { library: Library::Go, version: Some(version), how, hooks, go }))
}

type Located = (Vec<(Function, Code)>, Option<LineTable>, How);

/// The functions to hook, by symbols if there are any, else by the line table.
fn locate(image: &Image<'_>, symbols: &Symbols, minor: Option<u32>) -> Result<Located, Refusal> {
    let by_symbol: Vec<_> = symbols
        .go
        .iter()
        .filter(|located| located.size > 0)
        .map(|located| (located.function, Code { address: located.address, size: located.size }))
        .collect();
    if !by_symbol.is_empty() {
        return Ok((by_symbol, None, How::SymbolTable));
    }
    if minor.is_some_and(|minor| minor < REGISTERS_SINCE) {
        // Its line table is not read: whether it has `crypto/tls` makes no difference.
        return Err(Refusal::GoTooOld(format!("go1.{}", minor.unwrap_or_default())));
    }
    let names = Function::GO.map(Function::name);
    let mut wanted: Vec<&str> = names.to_vec();
    wanted.extend(METHODS.map(|(name, _)| name));
    let table = LineTable::read(image, symbols.go_text, &wanted)?;
    let codes = Function::GO.into_iter().filter_map(|function| Some((function, table.code(function.name())?)));
    Ok((codes.collect(), Some(table), How::GoLineTable))
}

fn hook(image: &Image<'_>, function: Function, code: Code, hooks: &mut Vec<Hook>) -> Result<(), Refusal> {
    let offset = image.code(code.address).ok_or(Refusal::GoCode("a function outside of the code"))?;
    if code.size > FUNCTION_MAX {
        return Err(Refusal::GoCode("a function is too large"));
    }
    for &moment in function.moments() {
        if moment == Moment::ReturnInstruction {
            let bytes = image.read_address(code.address, code.size)?;
            let returns = returns::find(image.machine, &bytes)?;
            hooks.extend(returns.into_iter().map(|at| Hook { function, moment, offset: offset + at }));
        } else {
            hooks.push(Hook { function, moment, offset });
        }
    }
    Ok(())
}

/// The itab of `*net.TCPConn` as `net.Conn` where no symbol tells it (Go 1.27 has none
/// for itabs): what has the methods of the one in the order of the
/// other. Nothing where several look so.
fn find_itab(image: &Image<'_>, symbols: &Symbols, table: Option<LineTable>) -> Option<u64> {
    let table = table.or_else(|| LineTable::read(image, symbols.go_text, &METHODS.map(|(name, _)| name)).ok())?;
    let mut methods = METHODS.iter().map(|(name, index)| Some((table.code(name)?.address, ITAB_METHODS + index * 8)));
    let (first, at) = methods.next()??;
    let others: Vec<(u64, u64)> = methods.collect::<Option<_>>()?;
    let words = Words::read(image).ok()?;
    let places = words.find(first).ok()?;
    let itabs = places.into_iter().filter_map(|place| place.checked_sub(at));
    let mut itabs = itabs.filter(|itab| {
        others.iter().all(|(address, at)| itab.checked_add(*at).and_then(|place| words.at(place)) == Some(*address))
    });
    let itab = itabs.next()?;
    itabs.next().is_none().then_some(itab)
}
