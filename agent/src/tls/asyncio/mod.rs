//! Python's `_asyncio`, the part of asyncio that is in C: where in the file it makes tasks and is told which loop a thread runs,
//! and where it defines its module. What it keeps in memory is [`memory`]'s.
//!
//! It has no symbols but `PyInit__asyncio`. Its definitions are data, in the form of Python's stable ABI: a module's
//! (`PyModuleDef`) names its functions, a type's names its functions by place (`PyTypeObject`, up to Python 3.11) or by
//! number (`PyType_Spec`). The names lead to them.

pub mod memory;

use std::ops::ControlFlow;

use memchr::memmem::Finder;

use super::{Analysis, Function, Hook, How, Library, Moment, Refusal, image::Image, inner, words::Words};

/// The function that the interpreter calls, by which the file is known.
const INIT: &str = "PyInit__asyncio";
const MODULE: &[u8] = b"_asyncio\0";
const TASK: &[u8] = b"_asyncio.Task\0";
const SET_RUNNING_LOOP: &[u8] = b"_set_running_loop\0";
/// Offsets in `PyModuleDef`: `m_name`, `m_methods`.
const NAME: u64 = 40;
const METHODS: u64 = 64;
/// Functions of a module, and of a type, at most. Each of the first has a name, the function, flags and a text.
const METHODS_MAX: u64 = 128;
const METHOD: u64 = 32;
/// Offsets in `PyTypeObject` from `tp_name`: `tp_dealloc`, `tp_init`.
const DEALLOC: u64 = 24;
const TYPE_INIT: u64 = 272;
/// Offset in `PyType_Spec` of the slots, the size of one, and the number of that of `tp_init` (`Py_tp_init`).
const SLOTS: u64 = 24;
const SLOT: u64 = 16;
const INIT_SLOT: u64 = 60;
/// Places of one text at most.
const TEXTS_MAX: usize = 64;

/// Where in a file what is, as addresses that it would be loaded at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// The module's definition (`PyModuleDef`).
    pub definition: u64,
    /// `_set_running_loop(module, loop)`.
    pub set_running_loop: u64,
    /// `Task.__init__(self, ...)`.
    pub task_init: u64,
}

/// The hooks of `_asyncio`; nothing for what is none.
pub(super) fn analyse(image: &Image<'_>) -> Result<Option<Analysis>, Refusal> {
    let Some(Places { set_running_loop, task_init, .. }) = places(image)? else { return Ok(None) };
    let hook = |function, address| {
        let offset = image.code(address + inner::skipped(image, address)).ok_or(Refusal::Asyncio("a function"))?;
        Ok(Hook { function, moment: Moment::Entry, offset })
    };
    let mut hooks = vec![hook(Function::AsyncioRuns, set_running_loop)?, hook(Function::AsyncioMakes, task_init)?];
    hooks.sort_unstable();
    Ok(Some(Analysis { library: Library::Asyncio, version: None, how: How::Definitions, hooks }))
}

/// Where what is; nothing for a file that is not `_asyncio`.
pub(super) fn places(image: &Image<'_>) -> Result<Option<Places>, Refusal> {
    let mut is_asyncio = false;
    image.named([INIT].into_iter(), |_| is_asyncio = true)?;
    if !is_asyncio {
        return Ok(None);
    }
    let words = Words::read(image)?;
    let mut module = None;
    for name in named(image, &words, MODULE)? {
        let Some(definition) = name.checked_sub(NAME) else { continue };
        if let Some(function) = method(image, &words, definition, SET_RUNNING_LOOP) {
            module = Some((definition, function));
        }
    }
    let (definition, set_running_loop) = module.ok_or(Refusal::Asyncio("the module"))?;
    let inits = named(image, &words, TASK)?.into_iter().filter_map(|name| init(image, &words, name));
    let task_init = inits.last().ok_or(Refusal::Asyncio("the type of tasks"))?;
    Ok(Some(Places { definition, set_running_loop, task_init }))
}

/// Where in what can be written to (or could, when it was loaded) a text is pointed at.
fn named(image: &Image<'_>, words: &Words<'_, '_>, text: &[u8]) -> Result<Vec<u64>, Refusal> {
    let finder = Finder::new(text);
    let mut texts = Vec::new();
    image.scan(&image.constants(), text.len() as u64, |offset, piece| {
        texts.extend(finder.find_iter(piece).map(|at| offset + at as u64));
        if texts.len() < TEXTS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    texts.dedup();
    let mut places = Vec::new();
    for offset in texts.into_iter().take(TEXTS_MAX) {
        let within = |offset: u64, begin: u64, size: u64| offset.checked_sub(begin).filter(|at| *at < size);
        let address = image.segments.iter().find_map(|segment| {
            within(offset, segment.offset, segment.size).map(|at| segment.address.saturating_add(at))
        });
        let Some(address) = address else { continue };
        let is_data = |place: &u64| {
            let mut segments = image.segments.iter().filter(|segment| segment.writable);
            segments.any(|segment| within(*place, segment.address, segment.size).is_some())
        };
        places.extend(words.find(address)?.into_iter().filter(is_data));
    }
    Ok(places)
}

/// A function of the module that is defined there.
fn method(image: &Image<'_>, words: &Words<'_, '_>, definition: u64, name: &[u8]) -> Option<u64> {
    let table = words.at(definition.checked_add(METHODS)?)?;
    for n in 0..METHODS_MAX {
        let at = table.checked_add(n * METHOD)?;
        let text = words.at(at).filter(|text| *text != 0)?;
        if image.read_address(text, name.len() as u64).is_ok_and(|found| found == name) {
            return words.at(at + 8).filter(|function| image.code(*function).is_some());
        }
    }
    None
}

/// `tp_init` of the type whose name is pointed at there.
fn init(image: &Image<'_>, words: &Words<'_, '_>, name: u64) -> Option<u64> {
    let code = |at: u64| words.at(at).filter(|function| image.code(*function).is_some());
    if code(name.checked_add(DEALLOC)?).is_some() {
        return code(name.checked_add(TYPE_INIT)?);
    }
    let slots = words.at(name.checked_add(SLOTS)?)?;
    for n in 0..METHODS_MAX {
        let at = slots.checked_add(n * SLOT)?;
        match words.at(at)? & 0xffff_ffff {
            0 => return None,
            INIT_SLOT => return code(at + 8),
            _ => {}
        }
    }
    None
}
