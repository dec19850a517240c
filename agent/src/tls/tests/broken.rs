//! Hostile files: whatever comes, an analysis neither panics nor tells a place outside of the file.

use super::{forged::Forged, made};
use crate::tls::{Source as _, analyse_source, maps};

/// Rounds of a quick run; `NETSPAN_FUZZ_ROUNDS` says otherwise, and `NETSPAN_FUZZ_SEED` where to begin.
const ROUNDS: u64 = 3000;

fn seeds(quick: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let first = number("NETSPAN_FUZZ_SEED").unwrap_or(0);
    first..first + number("NETSPAN_FUZZ_ROUNDS").unwrap_or(quick)
}

/// A small generator of numbers (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Numbers that parsers trip over.
const NUMBERS: [u64; 12] = [
    0,
    1,
    8,
    0x40,
    0x7f,
    0xffff,
    0xffff_ffff,
    0x8000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
    u64::MAX - 7,
];

fn tamper(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        // Half of the time where headers and tables are.
        let at = if random.below(2) == 0 { random.below(bytes.len().min(0x100)) } else { random.below(bytes.len()) };
        match random.below(8) {
            0 => bytes.truncate(at),
            1 | 2 => bytes[at] = random.next() as u8,
            3 => bytes[at] ^= 1 << random.below(8),
            _ => {
                let width = random.pick(&[1, 2, 4, 8]);
                let at = at & !(width - 1);
                let number = random.pick(&NUMBERS).wrapping_add(random.below(3) as u64).to_le_bytes();
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
        }
    }
}

#[test]
fn a_broken_file_is_refused_or_told_within_its_bounds() {
    let native = Forged::new().dynamic(&[("SSL_read", 0x10), ("gnutls_bye", 0x20)]).full(&[("BIO_write", 0x30)]);
    let files = [
        native.constants(b"OpenSSL 3.0.19 27 Jan 2026\0BoringSSL\0/rustls-0.1").bytes(),
        made::go("go1.22.1", true).bytes(),
        made::go("go1.27.3", false).bytes(),
        made::go("go1.22.1", true).bytes_without_sections(),
    ];
    let (mut refused, mut told) = (0, 0);
    for seed in seeds(ROUNDS) {
        let mut random = Random(seed);
        let mut bytes = files[random.below(files.len())].clone();
        tamper(&mut random, &mut bytes);
        match analyse_source(&bytes) {
            Err(_) => refused += 1,
            Ok(found) => {
                told += 1;
                assert!(!found.is_empty(), "seed {seed}");
                for analysis in found {
                    assert!(!analysis.hooks.is_empty(), "seed {seed}");
                    let within = |offset| offset < bytes.size().unwrap();
                    assert!(analysis.hooks.iter().all(|hook| within(hook.offset)), "seed {seed}: {analysis:?}");
                }
            }
        }
    }
    // Else the tampering never, or always, hits what matters.
    assert!(refused > ROUNDS / 20 && told > ROUNDS / 20, "{refused} refused, {told} told");
}

#[test]
fn mappings_of_any_text_are_taken() {
    const WORDS: [&[u8]; 12] = [
        b"7f00-7f10",
        b" ",
        b"r-xp",
        b"08:01",
        b"\n",
        b"/a.so",
        b"-",
        b" (deleted)",
        b"ffffffffffffffff",
        b":",
        b"0",
        b"\\012",
    ];
    for seed in seeds(ROUNDS) {
        let mut random = Random(seed);
        let mut text = Vec::new();
        for _ in 0..random.below(40) {
            text.extend_from_slice(random.pick(&WORDS));
        }
        let found = maps::parse(&text, Some(b"/a.so"));
        assert!(found.files.iter().all(|file| file.path.is_absolute()), "seed {seed}");
    }
}
