//! Random header blocks of which the truth is known, made by an encoder that is not ours.

use super::random::Random;
use httlib_hpack::Encoder;

/// Names whose values the tests do not keep.
pub(super) const SECRET: [&[u8]; 3] = [b"cookie", b"authorization", b"x-secret"];

/// A block, and the fields that it was made of.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The blocks of one direction of a connection.
pub(super) struct Traffic {
    encoder: Encoder<'static>,
    /// The receiver's limit for the table.
    pub(super) limit: u32,
}

impl Traffic {
    pub(super) fn new(random: &mut Random) -> Self {
        Self { encoder: Encoder::default(), limit: random.pick(&[4096, 4096, 4096, 65_536, 262_144]) }
    }

    pub(super) fn block(&mut self, random: &mut Random) -> Block {
        let mut bytes = Vec::new();
        if random.once_in(12) {
            let sizes = [0, 31, 64, 100, 256, 1000, 4096, self.limit];
            for _ in 0..=random.below(2) {
                self.encoder.update_max_dynamic_size(random.pick(&sizes), &mut bytes).unwrap();
            }
        }
        let fields: Vec<_> = (0..random.below(12)).map(|_| field(random)).collect();
        for (name, value) in &fields {
            let mut flags = random.pick(&[Encoder::BEST_FORMAT, Encoder::BEST_FORMAT, Encoder::BEST_FORMAT, 0]);
            flags |= random.pick(&[0, Encoder::HUFFMAN_NAME]);
            flags |= random.pick(&[0, Encoder::HUFFMAN_VALUE]);
            flags |= random.pick(&[0, Encoder::WITH_INDEXING, Encoder::WITH_INDEXING, Encoder::NEVER_INDEXED]);
            self.encoder.encode((name.clone(), value.clone(), flags), &mut bytes).unwrap();
        }
        Block { bytes, fields }
    }
}

fn field(random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let (name, value): (&[u8], Vec<u8>) = match random.below(16) {
        0 => (b":method", random.pick(&["GET", "POST", "PUT"]).into()),
        1 => (b":path", format!("/items/{}?q={}", random.below(5), random.below(20)).into()),
        2 => (b":status", random.pick(&["200", "404", "503"]).into()),
        3 => (b"user-agent", random.pick(&["curl/8.5.0", "Mozilla/5.0 (X11; Linux x86_64)"]).into()),
        4 => (b"cookie", format!("SECRET={}", random.below(30)).into()),
        5 => (b"authorization", b"SECRET SECRET SECRET".into()),
        6 => (b"x-secret", "SECRET".repeat(random.below(4)).into()),
        7 => (b"traceparent", format!("00-{:032x}-{:016x}-01", random.next(), random.next()).into()),
        8 => (b"x-empty", Vec::new()),
        9 => {
            let length = random.pick(&[0, 1, 2, 9, 40, 300]);
            (b"x-bytes", random.bytes(length))
        }
        10 => (b"x-long", vec![b'l'; random.pick(&[100, 1000, 4029, 4064, 4065, 9000])]),
        11 if random.once_in(24) => (b"x-huge", vec![b'h'; random.pick(&[20_000, 65_499, 65_500, 70_000, 140_000])]),
        12 => {
            let name = "n".repeat(random.pick(&[1, 5, 255, 256, 257, 1000]));
            return (name.into(), random.below(9).to_string().into());
        }
        13 => (b"", b"no name".into()),
        _ => {
            let name = format!("x-{}", random.below(40));
            return (name.into(), format!("value {}", random.below(4)).into());
        }
    };
    (name.to_vec(), value)
}
