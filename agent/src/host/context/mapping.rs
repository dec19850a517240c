//! Finds the mapping of a process context in the text of `/proc/PID/maps` (`proc_pid_maps(5)`).

/// The names that it may have: of a `memfd`, and of anonymous memory, shared or not, that was named by `prctl`.
const NAMES: [&[u8]; 4] =
    [b"/memfd:OTEL_CTX (deleted)", b"/memfd:OTEL_CTX", b"[anon_shmem:OTEL_CTX]", b"[anon:OTEL_CTX]"];

/// Where the first such mapping begins that can be read.
pub(super) fn find(maps: &[u8]) -> Option<u64> {
    // Most lines are passed over by this alone.
    memchr::memmem::find_iter(maps, b"OTEL_CTX").find_map(|at| {
        let begin = memchr::memrchr(b'\n', &maps[..at]).map_or(0, |end| end + 1);
        let end = memchr::memchr(b'\n', &maps[at..]).map_or(maps.len(), |end| at + end);
        start(&maps[begin..end])
    })
}

/// `start-end perms offset major:minor inode name`
fn start(line: &[u8]) -> Option<u64> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let range = std::str::from_utf8(fields.next()?).ok()?;
    let is_readable = fields.next()?.first() == Some(&b'r');
    let name = fields.nth(3)?.trim_ascii();
    if !is_readable || !NAMES.contains(&name) {
        return None;
    }
    u64::from_str_radix(range.split_once('-')?.0, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_by_each_of_its_names() {
        let around = |line: &str| {
            let maps = format!(
                "55a0b0000000-55a0b0021000 r--p 00000000 fd:01 1234   /usr/bin/prog\n{line}\n7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0   [stack]\n"
            );
            find(maps.as_bytes())
        };
        let at = Some(0x7f3c_1a2b_4000);
        assert_eq!(around("7f3c1a2b4000-7f3c1a2b5000 rw-s 00000000 00:01 12345   /memfd:OTEL_CTX (deleted)"), at);
        assert_eq!(around("7f3c1a2b4000-7f3c1a2b5000 r--p 00000000 00:00 0   [anon_shmem:OTEL_CTX]"), at);
        assert_eq!(around("7f3c1a2b4000-7f3c1a2b5000 r--p 00000000 00:00 0   [anon:OTEL_CTX]"), at);
    }

    #[test]
    fn what_only_looks_like_it_is_passed_over() {
        for line in [
            "7f3c1a2b4000-7f3c1a2b5000 r--p 00000000 00:00 0   [anon:OTEL_CTX2]",
            "7f3c1a2b4000-7f3c1a2b5000 r--p 00000000 fd:01 9   /tmp/OTEL_CTX",
            "7f3c1a2b4000-7f3c1a2b5000 r--p 00000000 fd:01 9   /tmp/x [anon:OTEL_CTX]",
            "7f3c1a2b4000-7f3c1a2b5000 ---p 00000000 00:00 0   [anon:OTEL_CTX]",
            "no-address r--p 00000000 00:00 0   [anon:OTEL_CTX]",
            "[anon:OTEL_CTX]",
            "",
        ] {
            assert_eq!(find(line.as_bytes()), None, "{line}");
        }
    }
}
