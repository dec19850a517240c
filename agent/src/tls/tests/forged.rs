//! A maker of small ELF files: one segment of code, one of constants, one of data, and the tables that are asked for.

/// Where the code is loaded, and where it is in the file: not alike, so that one taken for the other is noticed.
pub(super) const CODE: u64 = 0x40_1000;
pub(super) const CODE_OFFSET: u64 = 0x200;
const CODE_SIZE: u64 = 0x400;
pub(super) const CONSTANTS: u64 = 0x50_0600;
const CONSTANTS_OFFSET: u64 = 0x600;

/// An ELF file in the making.
#[derive(Clone, Debug)]
pub(super) struct Forged {
    machine: u16,
    code: Vec<u8>,
    constants: Vec<u8>,
    data: Vec<u8>,
    dynamic: Vec<(String, u64, u8)>,
    full: Vec<(String, u64, u8)>,
    sections: Vec<(&'static str, u64, u64, u64)>,
}

/// `STT_FUNC` with global binding.
const FUNCTION: u8 = 0x12;
const OBJECT: u8 = 0x11;
const X86_64: u16 = 62;

impl Forged {
    pub(super) fn new() -> Self {
        let (code, constants, data) = (vec![0xcc; CODE_SIZE as usize], Vec::new(), Vec::new());
        let (dynamic, full, sections) = (Vec::new(), Vec::new(), Vec::new());
        Self { machine: X86_64, code, constants, data, dynamic, full, sections }
    }

    pub(super) fn machine(mut self, machine: u16) -> Self {
        self.machine = machine;
        self
    }

    /// Functions in `.dynsym`, by bytes from the code's beginning.
    pub(super) fn dynamic(mut self, names: &[(&str, u64)]) -> Self {
        self.dynamic.extend(names.iter().map(|(name, at)| ((*name).to_owned(), CODE + at, FUNCTION)));
        self
    }

    /// Functions in `.symtab`.
    pub(super) fn full(mut self, names: &[(&str, u64)]) -> Self {
        self.full.extend(names.iter().map(|(name, at)| ((*name).to_owned(), CODE + at, FUNCTION)));
        self
    }

    /// An object in `.symtab`.
    pub(super) fn object(mut self, name: &str, address: u64) -> Self {
        self.full.push((name.to_owned(), address, OBJECT));
        self
    }

    pub(super) fn code(mut self, at: usize, bytes: &[u8]) -> Self {
        self.code[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Appends constants, and says where they will be loaded.
    pub(super) fn constants(mut self, bytes: &[u8]) -> Self {
        self.constants.extend_from_slice(bytes);
        self
    }

    /// Appends to the constants a section of that name.
    pub(super) fn section(mut self, name: &'static str, bytes: &[u8]) -> Self {
        self.constants.resize(self.constants.len().next_multiple_of(16), 0);
        let at = self.constants.len() as u64;
        self.sections.push((name, CONSTANTS + at, CONSTANTS_OFFSET + at, bytes.len() as u64));
        self.constants(bytes)
    }

    /// Appends words to the data.
    pub(super) fn data(mut self, words: &[u64]) -> Self {
        self.data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self
    }

    /// Where the data will be loaded.
    pub(super) fn data_address(&self) -> u64 {
        0x60_0000 + self.data_offset()
    }

    fn data_offset(&self) -> u64 {
        (CONSTANTS_OFFSET + self.constants.len() as u64).next_multiple_of(16)
    }

    /// With section headers.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.write(true)
    }

    /// Without section headers, as after `sstrip`.
    pub(super) fn bytes_without_sections(&self) -> Vec<u8> {
        self.write(false)
    }

    fn write(&self, has_sections: bool) -> Vec<u8> {
        let mut file = vec![0; CODE_OFFSET as usize];
        file.extend_from_slice(&self.code);
        file.extend_from_slice(&self.constants);
        file.resize(self.data_offset() as usize, 0);
        file.extend_from_slice(&self.data);
        let mut names = b"\0".to_vec();
        let mut headers = vec![Header::default()];
        headers.push(Header::new(&mut names, ".text", 1, CODE, CODE_OFFSET, CODE_SIZE));
        let size = self.constants.len() as u64;
        headers.push(Header::new(&mut names, ".rodata", 1, CONSTANTS, CONSTANTS_OFFSET, size));
        for (name, address, offset, size) in &self.sections {
            headers.push(Header::new(&mut names, name, 1, *address, *offset, *size));
        }
        for (name, kind, symbols) in [(".dynsym", 11, &self.dynamic), (".symtab", 2, &self.full)] {
            if symbols.is_empty() {
                continue;
            }
            let (mut table, mut strings) = (vec![0; 24], b"\0".to_vec());
            for (name, address, info) in symbols {
                table.extend((strings.len() as u32).to_le_bytes());
                table.extend([*info, 0, 1, 0]);
                table.extend(address.to_le_bytes());
                table.extend(64u64.to_le_bytes());
                strings.extend_from_slice(name.as_bytes());
                strings.push(0);
            }
            let (at, size) = (file.len() as u64, table.len() as u64);
            file.extend(table);
            headers.push(Header { link: headers.len() as u32 + 1, ..Header::new(&mut names, name, kind, 0, at, size) });
            let (at, size) = (file.len() as u64, strings.len() as u64);
            file.extend(strings);
            headers.push(Header::new(&mut names, ".strtab", 3, 0, at, size));
        }
        let mut shstrtab = Header::new(&mut names, ".shstrtab", 3, 0, file.len() as u64, 0);
        shstrtab.size = names.len() as u64;
        file.extend(names);
        headers.push(shstrtab);
        file.resize(file.len().next_multiple_of(8), 0);
        let table = file.len() as u64;
        if has_sections {
            for header in &headers {
                header.write(&mut file);
            }
        }
        let (table, count) = if has_sections { (table, headers.len() as u16) } else { (0, 0) };
        self.head(&mut file, table, count);
        file
    }

    /// The ELF header and the segments.
    fn head(&self, file: &mut [u8], sections: u64, count: u16) {
        let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        head.extend(3u16.to_le_bytes());
        head.extend(self.machine.to_le_bytes());
        head.extend(1u32.to_le_bytes());
        for word in [0, 64, sections] {
            head.extend(word.to_le_bytes());
        }
        head.extend(0u32.to_le_bytes());
        for half in [64, 56, 3, 64, count, count.saturating_sub(1)] {
            head.extend(half.to_le_bytes());
        }
        let (constants, data) = (self.constants.len() as u64, self.data.len() as u64);
        let segments = [
            (5u32, CODE_OFFSET, CODE, CODE_SIZE),
            (4, CONSTANTS_OFFSET, CONSTANTS, constants),
            (6, self.data_offset(), self.data_address(), data),
        ];
        for (flags, offset, address, size) in segments {
            head.extend(1u32.to_le_bytes());
            head.extend(flags.to_le_bytes());
            for word in [offset, address, address, size, size, 16] {
                head.extend(word.to_le_bytes());
            }
        }
        file[..head.len()].copy_from_slice(&head);
    }
}

#[derive(Clone, Copy, Default)]
struct Header {
    name: u32,
    kind: u32,
    address: u64,
    offset: u64,
    size: u64,
    link: u32,
}

impl Header {
    fn new(names: &mut Vec<u8>, name: &str, kind: u32, address: u64, offset: u64, size: u64) -> Self {
        let at = names.len() as u32;
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        Self { name: at, kind, address, offset, size, link: 0 }
    }

    fn write(&self, file: &mut Vec<u8>) {
        file.extend(self.name.to_le_bytes());
        file.extend(self.kind.to_le_bytes());
        for word in [2, self.address, self.offset, self.size] {
            file.extend(word.to_le_bytes());
        }
        file.extend(self.link.to_le_bytes());
        file.extend(0u32.to_le_bytes());
        for word in [1u64, 0] {
            file.extend(word.to_le_bytes());
        }
    }
}
