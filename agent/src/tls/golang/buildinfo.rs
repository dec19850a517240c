//! The build information that Go's linker leaves in every program since 1.13 (`debug/buildinfo`): here, its version.

use crate::tls::{Refusal, image::Image};

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Alignment of the information.
const ALIGN: usize = 16;
/// Bytes of a data segment that are searched where there are no section headers, as `debug/buildinfo` does it.
const SEARCH: u64 = 1 << 16;
/// Bytes of a version at most.
const VERSION_MAX: u64 = 256;
/// The flag that says: the strings follow the header. Else it has pointers to them.
const INLINE: u8 = 2;
const HEADER: usize = 32;

/// What a Go program says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BuildInfo {
    /// "go1.27.3".
    pub(super) version: Option<String>,
    /// 27 of it.
    pub(super) minor: Option<u32>,
}

/// The build information; nothing if this is no Go program.
pub(super) fn find(image: &Image<'_>) -> Result<Option<BuildInfo>, Refusal> {
    let data = image.segments.iter().find(|segment| segment.writable && !segment.executable);
    let named = image.section(b".go.buildinfo").map(|section| (section.offset, section.size));
    let Some((offset, size)) = named.or(data.map(|segment| (segment.offset, segment.size))) else { return Ok(None) };
    let bytes = image.read(offset, size.min(SEARCH))?;
    let aligned = memchr::memmem::find_iter(&bytes, MAGIC).find(|at| at.is_multiple_of(ALIGN));
    let Some(info) = aligned.and_then(|at| bytes.get(at..)) else { return Ok(None) };
    let version = version(image, info);
    let minor = version.as_deref().and_then(minor);
    Ok(Some(BuildInfo { version, minor }))
}

fn version(image: &Image<'_>, info: &[u8]) -> Option<String> {
    let text = if info.get(MAGIC.len() + 1)? & INLINE == 0 {
        let pointer = u64::from_le_bytes(info.get(16..24)?.try_into().ok()?);
        let header = image.read_address(pointer, 16).ok()?;
        let (words, _) = header.as_chunks::<8>();
        let [address, size] = *words else { return None };
        let size = u64::from_le_bytes(size).min(VERSION_MAX);
        image.read_address(u64::from_le_bytes(address), size).ok()?
    } else {
        let text = info.get(HEADER..)?;
        let (size, used) = varint(text)?;
        text.get(used..)?.get(..usize::try_from(size.min(VERSION_MAX)).ok()?)?.to_vec()
    };
    let text = String::from_utf8(text).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}

/// A number in groups of seven bits, the lowest first, and how many bytes it takes (`encoding/binary.Uvarint`).
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// 21 of "go1.21.3", "go1.21-custom" and "devel go1.21-7f2ac61 Tue".
fn minor(version: &str) -> Option<u32> {
    let (_, rest) = version.split_once("go1.")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_found_in_any_kind_of_version() {
        for (version, expected) in [
            ("go1.27.3", Some(27)),
            ("go1.9", Some(9)),
            ("go1.22rc1 X:nocoverageredesign", Some(22)),
            ("go1.21-20230317-RC00 cl/1", Some(21)),
            ("devel go1.20-7f2ac61 Tue", Some(20)),
            ("devel +7f2ac61", None),
            ("go2.1", None),
            ("go1.", None),
            ("go1.99999999999", None),
        ] {
            assert_eq!(minor(version), expected, "{version}");
        }
    }

    #[test]
    fn varints_end_within_nine_bytes() {
        assert_eq!(varint(&[8, 1]), Some((8, 1)));
        assert_eq!(varint(&[0x80, 1]), Some((128, 2)));
        assert_eq!(varint(&[0x80]), None);
        assert_eq!(varint(&[0xff; 20]), None);
        assert_eq!(varint(&[]), None);
    }
}
