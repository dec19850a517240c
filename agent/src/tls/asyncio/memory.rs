//! Where in the memory of a Python program `_asyncio` keeps which tasks are running: the dictionary that its module calls
//! `_current_tasks`, from loops to tasks. It has one address for as long as the program runs.
//!
//! Every word that is read has to pass for what it is; what does not is an error with its reason, and nothing is
//! believed of that program. Layouts are told apart by what is there, not by version: Python 3.8 to 3.13, of the usual build
//! (without the global lock, objects have another head, which does not pass).

/// The module's name for it.
const CURRENT_TASKS: &[u8] = b"_current_tasks";
/// Offset of `ob_type` in each object.
const TYPE: u64 = 8;
/// Offset of `m_copy` in `PyModuleDef`: what the module's dictionary was, where a program has one such module at most.
const COPY: u64 = 32;
/// Offsets in `PyModuleObject`: `md_dict`, `md_def`.
const MODULE_DICT: u64 = 16;
const MODULE_DEFINITION: u64 = 24;
/// Where in a type that is made while the program runs the module stands (`ht_module`): somewhere in these words.
const HEAP_TYPE: std::ops::Range<u64> = 96..160;
/// Offset of `tp_base` in `PyTypeObject`, and how many are followed.
const BASE: u64 = 256;
const BASES_MAX: usize = 8;
/// Offset of `ma_keys` in `PyDictObject`.
const KEYS: u64 = 32;
/// Entries of a module's dictionary at most.
const ENTRIES_MAX: u64 = 1024;
/// Where in `PyASCIIObject` are its length, its state, and its bytes: up to Python 3.11 behind a pointer that went, then before it.
const TEXT_LENGTH: u64 = 16;
const TEXT_STATE: u64 = 32;
const TEXT_BYTES: [u64; 2] = [48, 40];
/// Bits of the state: its bytes follow, and are ASCII.
const TEXT_COMPACT: u64 = 0x60;

/// Memory of a program.
pub trait Memory {
    /// Fills `into` from there; false where that is not possible.
    fn read(&self, address: u64, into: &mut [u8]) -> bool;
}

/// Why it can't be told where tasks are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// No way led to the module.
    #[error("the module _asyncio is not where it was looked for")]
    Module,
    /// Its dictionary is none that is known, or does not have it.
    #[error("the module _asyncio has no {}: Python 3.8 to 3.13 are read", "_current_tasks")]
    CurrentTasks,
}

/// Address of the dictionary of running tasks. `definition` is where the module's definition is loaded, `object` the module or a task.
///
/// # Errors
/// Why it is not known.
pub fn current_tasks(memory: &impl Memory, definition: u64, object: u64) -> Result<u64, Unknown> {
    let names = module_names(memory, definition, object).ok_or(Unknown::Module)?;
    let tasks = lookup(memory, names, CURRENT_TASKS).ok_or(Unknown::CurrentTasks)?;
    // A module's names are a dictionary, whatever else.
    let kind = word(memory, names, TYPE).filter(|kind| *kind != 0);
    if kind.is_some() && word(memory, tasks, TYPE) == kind { Ok(tasks) } else { Err(Unknown::CurrentTasks) }
}

/// The dictionary of the module's names.
fn module_names(memory: &impl Memory, definition: u64, object: u64) -> Option<u64> {
    let of_module = |module: u64| {
        let is_module = module.is_multiple_of(8) && word(memory, module, MODULE_DEFINITION) == Some(definition);
        is_module.then(|| word(memory, module, MODULE_DICT)).flatten().filter(|names| *names != 0)
    };
    if let Some(names) = of_module(object) {
        return Some(names);
    }
    if let Some(copy) = word(memory, definition, COPY).filter(|copy| *copy != 0) {
        return Some(copy);
    }
    let mut kind = word(memory, object, TYPE)?;
    for _ in 0..BASES_MAX {
        if let Some(names) = HEAP_TYPE.filter_map(|n| word(memory, kind, n * 8)).find_map(of_module) {
            return Some(names);
        }
        kind = word(memory, kind, BASE).filter(|base| *base != 0)?;
    }
    None
}

/// What a dictionary has for a text.
fn lookup(memory: &impl Memory, dict: u64, name: &[u8]) -> Option<u64> {
    let keys = word(memory, dict, KEYS)?;
    let shape = word(memory, keys, 8)?;
    let (entries, count, size) = if shape.is_power_of_two() {
        // Up to Python 3.10: dk_refcnt, dk_size, dk_lookup, dk_usable, dk_nentries.
        let index = if shape <= 0x80 { 1 } else { 2 };
        (keys.checked_add(40 + shape.min(1 << 20) * index)?, word(memory, keys, 32)?, 24)
    } else {
        // Then: dk_refcnt, the logarithms of the size and of the indices' bytes, the kind, dk_version, dk_usable, dk_nentries.
        let (places, indices, kind) = (shape & 0xff, shape >> 8 & 0xff, shape >> 16 & 0xff);
        if places > 20 || indices < places || indices > places + 2 || kind > 1 {
            return None;
        }
        (keys.checked_add(32 + (1 << indices))?, word(memory, keys, 24)?, if kind == 0 { 24 } else { 16 })
    };
    if count > ENTRIES_MAX {
        return None;
    }
    for n in 0..count {
        // A value stands behind its key; a hash comes first in entries that have one.
        let at = entries.checked_add(n * size + size - 16)?;
        let key = word(memory, at, 0)?;
        if key != 0 && is_text(memory, key, name) {
            return word(memory, at, 8).filter(|value| *value != 0);
        }
    }
    None
}

/// Whether an object is this text.
fn is_text(memory: &impl Memory, object: u64, text: &[u8]) -> bool {
    let state = word(memory, object, TEXT_STATE).unwrap_or(0);
    if word(memory, object, TEXT_LENGTH) != Some(text.len() as u64) || state & TEXT_COMPACT != TEXT_COMPACT {
        return false;
    }
    let mut bytes = [0; CURRENT_TASKS.len()];
    let Some(bytes) = bytes.get_mut(..text.len()) else { return false };
    TEXT_BYTES
        .iter()
        .any(|at| object.checked_add(*at).is_some_and(|address| memory.read(address, bytes)) && bytes == text)
}

/// The word at an offset of what is at an address.
fn word(memory: &impl Memory, address: u64, offset: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    memory.read(address.checked_add(offset)?, &mut bytes).then(|| u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::File,
        io::{BufRead as _, BufReader},
        os::unix::fs::FileExt as _,
        process::{Command, Stdio},
    };

    /// Memory that has words made of a seed, or none.
    struct Nonsense(u64);

    impl Memory for Nonsense {
        fn read(&self, address: u64, into: &mut [u8]) -> bool {
            let mut state = (self.0 ^ address).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for byte in into.iter_mut() {
                state = state.rotate_left(7).wrapping_mul(0x2545_f491_4f6c_dd1d);
                // Small numbers and zeros are what lengths and pointers are mistaken for.
                *byte = if state.is_multiple_of(4) { (state >> 32) as u8 } else { 0 };
            }
            state >> 60 != 0
        }
    }

    #[test]
    fn nonsense_is_no_program() {
        for seed in 0..20_000 {
            let (definition, object) = (seed << 8, !seed);
            assert!(current_tasks(&Nonsense(seed), definition, object).is_err(), "{seed}");
        }
        for (definition, object) in [(0, 0), (u64::MAX, u64::MAX), (u64::MAX - 7, 8)] {
            assert!(current_tasks(&Nonsense(1), definition, object).is_err());
        }
    }

    struct Process(File);

    impl Memory for Process {
        fn read(&self, address: u64, into: &mut [u8]) -> bool {
            self.0.read_exact_at(into, address).is_ok()
        }
    }

    /// Says where its dictionary, its module and a task are, and waits.
    const PROGRAM: &str = "
import _asyncio, asyncio, sys
async def main():
    task = next(iter(_asyncio._current_tasks.values()))
    print(id(_asyncio._current_tasks), id(_asyncio), id(task), _asyncio.__file__, flush=True)
    sys.stdin.read()
asyncio.run(main())
";

    /// With each Python of this host that has such a module.
    #[test]
    fn a_programs_running_tasks_are_found_by_its_module_and_by_a_task() {
        let mut seen = 0;
        for python in pythons() {
            let mut child = Command::new(&python)
                .args(["-c", PROGRAM])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("Python begins");
            let mut line = String::new();
            BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says something");
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [dict, module, task, path] = fields[..] else { panic!("{python}: {line:?}") };
            let number = |text: &str| text.parse::<u64>().expect("a number");
            let places = super::super::places(
                &super::super::Image::open(&File::open(path).expect("it is there")).expect("it is an ELF file"),
            );
            let places = places.expect("it is understood").expect("it is _asyncio");
            let text = std::fs::read(format!("/proc/{}/maps", child.id())).expect("it runs");
            let files = crate::tls::maps::parse(&text, None).files;
            let base = files.iter().find(|file| file.path.as_os_str() == path).expect("it is mapped").base;
            let memory = Process(File::open(format!("/proc/{}/mem", child.id())).expect("it may be read"));
            for object in [module, task] {
                let found = current_tasks(&memory, base + places.definition, number(object));
                assert_eq!(found, Ok(number(dict)), "{python}");
            }
            // A task of another program's module, or what is none.
            assert!(current_tasks(&memory, base + places.definition + 8, number(task)).is_err(), "{python}");
            drop(child.stdin.take());
            assert!(child.wait().expect("it ends").success());
            seen += 1;
        }
        assert!(seen > 0, "no Python was found");
    }

    /// Pythons from 3.8 on, where they are mostly installed.
    fn pythons() -> Vec<String> {
        let mut found = vec!["/usr/bin/python3".to_owned()];
        let versions = std::env::home_dir().map(|home| home.join(".pyenv/versions"));
        for entry in versions.and_then(|path| std::fs::read_dir(path).ok()).into_iter().flatten().flatten() {
            let python = entry.path().join("bin/python3");
            let name = entry.file_name().to_string_lossy().into_owned();
            let minor = name.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
            if minor.is_some_and(|minor| (8..=13).contains(&minor)) && python.exists() {
                found.push(python.to_string_lossy().into_owned());
            }
        }
        found
    }
}
