//! Takes out of the BPF object what only a debugger reads. It is four fifths of the file, which lies in the agent's memory, and
//! the lines of source code, which the kernel would keep for each loaded program, take longer to load than the code.

use anyhow::{Context as _, Result, ensure};
use object::build::{
    ByteString,
    elf::{Builder, SectionData},
};

/// Bytes of a field in the header of `.BTF.ext` (`struct btf_ext_header`). What it tells of is an offset from its end, followed by a
/// length.
const FIELD: usize = 4;
/// Where the header tells its own length.
const HEADER_LENGTH: usize = 4;
/// Where it tells of the lines.
const LINES: usize = 16;
/// Where it tells of the relocations.
const RELOCATIONS: usize = 24;

/// The object without DWARF and without the lines of source code. The types and the functions' stay: the kernel needs them
/// for functions that are verified on their own.
///
/// # Errors
/// It is no ELF object as the linker for BPF writes it.
pub fn lean(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("the object can't be read")?;
    for section in &mut builder.sections {
        let name = &*section.name;
        if name.starts_with(b".debug_") || name.starts_with(b".rel.debug_") {
            section.delete = true;
        } else if name == b".rel.BTF.ext" {
            // It tells where the lines and functions are, which the section itself tells, too: nobody reads it.
            section.delete = true;
        } else if name == b".BTF.ext"
            && let SectionData::Data(bytes) = &mut section.data
        {
            without_lines(bytes.to_mut())?;
        }
    }
    builder.delete_orphans();
    builder.delete_orphan_symbols();
    // LLVM keeps the sections' names with the symbols'; the writer does not.
    let names = builder.sections.add();
    names.name = ByteString::from(".shstrtab");
    names.sh_type = object::elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut written = Vec::new();
    builder.write(&mut written).context("the object can't be written")?;
    Ok(written)
}

/// Cuts the lines off the end of `.BTF.ext`.
fn without_lines(section: &mut Vec<u8>) -> Result<()> {
    let field = |at: usize| -> Result<usize> {
        let bytes = section.get(at..at + FIELD).context(".BTF.ext is cut short")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
    };
    let start = field(HEADER_LENGTH)? + field(LINES)?;
    ensure!(field(RELOCATIONS + FIELD)? == 0, "there are CO-RE relocations, which Rust does not make");
    ensure!(start + field(LINES + FIELD)? == section.len(), "in .BTF.ext the lines are not what comes last");
    let end = section[LINES..LINES + FIELD].to_vec();
    section.truncate(start);
    section[LINES + FIELD..LINES + 2 * FIELD].fill(0);
    section[RELOCATIONS..RELOCATIONS + FIELD].copy_from_slice(&end);
    Ok(())
}
