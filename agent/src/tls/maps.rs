//! Which files a process executes code of, and which of them are worth an analysis. A function of the text of
//! `/proc/PID/maps` (`proc_pid_maps(5)`) and nothing else.

use std::path::PathBuf;

/// Mappings of one process that are looked at, at most.
pub const MAPPINGS_MAX: usize = 65_536;
/// Files of one process at most.
pub const FILES_MAX: usize = 4096;

/// A file as a mapping names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Of the device; on btrfs and overlay file systems not always what `stat` says.
    pub major: u32,
    /// As `major`.
    pub minor: u32,
    /// Inode number.
    pub inode: u64,
}

/// Why a file may hold a TLS library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is the program itself.
    Executable,
    /// Its name is that of a TLS library.
    Library,
    /// Its name is that of an extension that is known to hold one.
    Extension,
    /// None is known: to be analysed only by being asked.
    Other,
}

/// A file that a process executes code of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Which file.
    pub id: FileId,
    /// As the process sees it, without the mark "(deleted)". To be opened under `/proc/PID/root`.
    pub path: PathBuf,
    /// It was removed or replaced since: at the path is another file or none.
    pub deleted: bool,
    /// Where its first executable mapping begins and ends: this opens the very file that is mapped, deleted or not, at
    /// `/proc/PID/map_files/START-END` (see [`map_file`](Self::map_file)), which needs `CAP_SYS_ADMIN` or
    /// `CAP_CHECKPOINT_RESTORE`.
    pub start: u64,
    /// As `start`.
    pub end: u64,
    /// Address at which the file's first byte is mapped, or would be: what addresses relative to the file's beginning
    /// count from.
    pub base: u64,
    /// Why it may be worth an analysis.
    pub reason: Reason,
}

impl Mapped {
    /// The path that opens the mapped file itself.
    pub fn map_file(&self, pid: u32) -> PathBuf {
        PathBuf::from(format!("/proc/{pid}/map_files/{:x}-{:x}", self.start, self.end))
    }

    /// The path to open: that in the process's own root, or [`map_file`](Self::map_file) where it was deleted.
    pub fn open_path(&self, pid: u32) -> PathBuf {
        match self.path.strip_prefix("/") {
            Ok(path) if !self.deleted => PathBuf::from(format!("/proc/{pid}/root")).join(path),
            _ => self.map_file(pid),
        }
    }

    /// Whether it is analysed without being asked for.
    pub fn is_candidate(&self) -> bool {
        self.reason != Reason::Other
    }
}

/// The files of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// In the order of their first executable mapping, each file once.
    pub files: Vec<Mapped>,
    /// Whether [`MAPPINGS_MAX`] or [`FILES_MAX`] left some out.
    pub cut: bool,
}

/// Takes the text of `/proc/PID/maps` apart. `executable` is where `/proc/PID/exe` leads to, as `readlink` tells it.
pub fn parse(text: &[u8], executable: Option<&[u8]>) -> Files {
    let mut found = Files::default();
    let mut starts: Vec<(FileId, u64)> = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if index >= MAPPINGS_MAX {
            found.cut = true;
            break;
        }
        let Some(line) = Line::parse(line) else { continue };
        // Mappings of a file follow one another by address, the one of its beginning first.
        if line.offset == 0 {
            starts.retain(|(id, _)| *id != line.id);
            starts.push((line.id, line.start));
        }
        if !line.executable || found.files.iter().any(|file| file.id == line.id) {
            continue;
        }
        if found.files.len() >= FILES_MAX {
            found.cut = true;
            break;
        }
        let begins = starts.iter().find(|(id, _)| *id == line.id).map(|(_, start)| *start);
        let base = begins.unwrap_or(line.start.wrapping_sub(line.offset));
        found.files.push(line.mapped(base, executable));
    }
    found
}

struct Line<'t> {
    start: u64,
    end: u64,
    executable: bool,
    offset: u64,
    id: FileId,
    path: &'t [u8],
}

impl<'t> Line<'t> {
    /// `start-end perms offset major:minor inode path`, with spaces before a path; nothing for what is no file.
    fn parse(line: &'t [u8]) -> Option<Self> {
        let mut rest = line;
        let mut field = || {
            let end = memchr::memchr(b' ', rest)?;
            let (field, after) = (rest.get(..end)?, rest.get(end + 1..)?);
            rest = after;
            std::str::from_utf8(field).ok()
        };
        let (range, permissions, offset, device, inode) = (field()?, field()?, field()?, field()?, field()?);
        let (start, end) = range.split_once('-')?;
        let (major, minor) = device.split_once(':')?;
        let path = rest.trim_ascii_start();
        let inode = inode.parse().ok()?;
        if inode == 0 || !path.starts_with(b"/") {
            return None;
        }
        let major = u32::from_str_radix(major, 16).ok()?;
        let minor = u32::from_str_radix(minor, 16).ok()?;
        Some(Self {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            executable: permissions.as_bytes().get(2) == Some(&b'x'),
            offset: u64::from_str_radix(offset, 16).ok()?,
            id: FileId { major, minor, inode },
            path,
        })
    }

    fn mapped(&self, base: u64, executable: Option<&[u8]>) -> Mapped {
        let (path, deleted) = split_deleted(self.path);
        let is_executable = executable.is_some_and(|executable| split_deleted(executable).0 == path);
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let reason = if is_executable { Reason::Executable } else { reason(name) };
        let Self { start, end, id, .. } = *self;
        Mapped { id, path: unescape(path), deleted, start, end, base, reason }
    }
}

fn split_deleted(path: &[u8]) -> (&[u8], bool) {
    path.strip_suffix(b" (deleted)").map_or((path, false), |path| (path, true))
}

/// A newline in a path is written as `\012` (`seq_path`); nothing else is escaped.
fn unescape(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = memchr::memmem::find(rest, b"\\012") {
        bytes.extend_from_slice(rest.get(..at).unwrap_or_default());
        bytes.push(b'\n');
        rest = rest.get(at + 4..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest);
    std::ffi::OsString::from_vec(bytes).into()
}

/// What a file's name tells. Wheels for Python bundle libraries as `libssl-0a1b2c3d.so.3`.
pub fn reason(name: &[u8]) -> Reason {
    const LIBRARIES: [&[u8]; 5] = [b"libssl", b"libcrypto", b"libgnutls", b"libboringssl", b"libawslc"];
    const EXTENSIONS: [&[u8]; 7] =
        [b"_ssl", b"_asyncio.", b"_rust", b"cygrpc", b"libnode", b"libconscrypt", b"libnetty_tcnative"];
    if memchr::memmem::find(name, b".so").is_none() {
        return Reason::Other;
    }
    // "libssl3.so" is NSS, "libgnutls-openssl.so" and "libgnutlsxx.so" only call GnuTLS.
    let is_library = LIBRARIES.iter().filter_map(|prefix| name.strip_prefix(*prefix)).any(|rest| match rest {
        [b'.', ..] => true,
        [b'-', rest @ ..] => !rest.starts_with(b"openssl") && !rest.starts_with(b"dane"),
        _ => false,
    });
    if is_library {
        Reason::Library
    } else if EXTENSIONS.iter().any(|prefix| name.starts_with(prefix)) {
        Reason::Extension
    } else {
        Reason::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"\
55d0c0a00000-55d0c0a2f000 r--p 00000000 08:01 131 /usr/bin/my app (deleted)
55d0c0a2f000-55d0c0b0e000 r-xp 0002f000 08:01 131 /usr/bin/my app (deleted)
55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000021000 r--p 00000000 fd:0a 22                         /usr/lib/libssl.so.3
7f0000021000-7f0000060000 r-xp 00021000 fd:0a 22                         /usr/lib/libssl.so.3
7f0000060000-7f0000070000 r-xp 00060000 fd:0a 22                         /usr/lib/libssl.so.3
7f0000100000-7f0000200000 r-xp 00003000 fd:0a 4294967296                 /a\\012b/libm.so.6
7f0000300000-7f0000310000 r--s 00000000 fd:0a 24                         /usr/share/libssl.so
7f0000400000-7f0000410000 r-xp 00000000 00:01 25                         /memfd:jit (deleted)
7fff00000000-7fff00002000 r-xp 00000000 00:00 0                          [vdso]
7fff00010000-7fff00012000 rwxp 00000000 00:00 0 \nnonsense\n";

    #[test]
    fn each_executed_file_is_told_once_with_its_first_executable_mapping() {
        let Files { files, cut } = parse(MAPS, Some(b"/usr/bin/my app (deleted)"));
        assert!(!cut);
        let shown: Vec<_> = files
            .iter()
            .map(|file| {
                let FileId { major, minor, inode } = file.id;
                (format!("{major}:{minor} {inode} {}", file.path.display()), file.deleted, file.base, file.reason)
            })
            .collect();
        let expected = [
            ("8:1 131 /usr/bin/my app", true, 0x55d0_c0a0_0000, Reason::Executable),
            ("253:10 22 /usr/lib/libssl.so.3", false, 0x7f00_0000_0000, Reason::Library),
            ("253:10 4294967296 /a\nb/libm.so.6", false, 0x7f00_000f_d000, Reason::Other),
            ("0:1 25 /memfd:jit", true, 0x7f00_0040_0000, Reason::Other),
        ];
        assert_eq!(shown, expected.map(|(path, deleted, base, reason)| (path.to_owned(), deleted, base, reason)));
        assert_eq!(files[0].open_path(7), PathBuf::from("/proc/7/map_files/55d0c0a2f000-55d0c0b0e000"));
        assert_eq!(files[1].open_path(7), PathBuf::from("/proc/7/root/usr/lib/libssl.so.3"));
        assert_eq!(files[1].map_file(7), PathBuf::from("/proc/7/map_files/7f0000021000-7f0000060000"));
    }

    #[test]
    fn names_tell_which_files_are_candidates() {
        for (name, expected) in [
            ("libssl.so", Reason::Library),
            ("libssl.so.1.1", Reason::Library),
            ("libssl-81ffa89e.so.3", Reason::Library),
            ("libcrypto-3fd2b1e1.so.1.1", Reason::Library),
            ("libgnutls.so.30.34.3", Reason::Library),
            ("libgnutls-4d5c6e7f.so.30", Reason::Library),
            ("libgnutls-openssl.so.27", Reason::Other),
            ("libgnutls-dane.so.0", Reason::Other),
            ("libgnutlsxx.so.30", Reason::Other),
            ("libssl3.so", Reason::Other),
            ("libcryptominer", Reason::Other),
            ("libboringssl.so", Reason::Library),
            ("_ssl.cpython-311-x86_64-linux-gnu.so", Reason::Extension),
            ("_rust.abi3.so", Reason::Extension),
            ("_asyncio.cpython-311-x86_64-linux-gnu.so", Reason::Extension),
            ("cygrpc.cpython-312-x86_64-linux-gnu.so", Reason::Extension),
            ("libnode.so.108", Reason::Extension),
            ("libconscrypt_openjdk_jni-linux-x86_64.so", Reason::Extension),
            ("libnetty_tcnative_linux_x86_641234.so", Reason::Extension),
            ("libc.so.6", Reason::Other),
            ("libssl", Reason::Other),
            ("", Reason::Other),
        ] {
            assert_eq!(reason(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn the_number_of_files_is_bounded() {
        let lines: Vec<_> = (1..=FILES_MAX + 1).map(|n| format!("1000-2000 r-xp 00000000 08:01 {n} /a")).collect();
        let Files { files, cut } = parse(lines.join("\n").as_bytes(), None);
        assert_eq!((files.len(), cut), (FILES_MAX, true));
    }

    #[test]
    fn this_process_executes_its_own_program() {
        let text = std::fs::read("/proc/self/maps").unwrap();
        let executable = std::fs::read_link("/proc/self/exe").unwrap();
        let files = parse(&text, Some(executable.as_os_str().as_encoded_bytes())).files;
        let own: Vec<_> = files.iter().filter(|file| file.reason == Reason::Executable).collect();
        assert_eq!(own.iter().map(|file| &file.path).collect::<Vec<_>>(), [&executable]);
    }
}
