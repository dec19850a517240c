//! How many header fields per second the HPACK decoder takes on one core: `cargo bench -p netspan --bench hpack`.
//!
//! Three kinds of traffic, each a connection of many blocks from an encoder that is not ours: calls of one client to one
//! service, with a path and an id that change; a browser, with cookies that are not kept; and blocks that are all
//! literals, none of them inserted. Prints the median of the rounds.

use httlib_hpack::Encoder;
use netspan::protocol::http2::hpack::{Decoder, Field, Start, Value};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 31;
const BLOCKS: u64 = 20_000;

/// With Huffman-coded strings, inserted into the table, by index where there is one.
const INSERTED: u8 = Encoder::BEST_FORMAT | Encoder::WITH_INDEXING | Encoder::HUFFMAN_NAME | Encoder::HUFFMAN_VALUE;
/// Such ones, not inserted.
const PASSING: u8 = Encoder::BEST_FORMAT | Encoder::HUFFMAN_NAME | Encoder::HUFFMAN_VALUE;

type Fields = Vec<(&'static str, String, u8)>;

/// A number that looks random.
fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn traceparent(n: u64) -> String {
    format!("00-{:016x}{:016x}-{:016x}-01", mixed(n), mixed(n + 1), mixed(n + 2))
}

fn service(n: u64) -> Fields {
    let mut fields = vec![
        (":method", "POST".into(), INSERTED),
        (":scheme", "http".into(), INSERTED),
        (":path", format!("/shop.v1.Cart/{}", ["Get", "Add", "Remove", "List"][n as usize % 4]), INSERTED),
        (":authority", "cart.shop.svc.cluster.local:8080".into(), INSERTED),
        ("content-type", "application/grpc".into(), INSERTED),
        ("te", "trailers".into(), INSERTED),
        ("user-agent", "grpc-go/1.62.1".into(), INSERTED),
        ("grpc-timeout", format!("{}m", 900 + mixed(n) % 100), PASSING),
        ("traceparent", traceparent(n), INSERTED),
    ];
    if n.is_multiple_of(3) {
        fields.push(("x-request-id", format!("{:016x}", mixed(n + 3)), PASSING));
    }
    fields
}

fn browser(n: u64) -> Fields {
    vec![
        (":method", "GET".into(), INSERTED),
        (":scheme", "https".into(), INSERTED),
        (":path", format!("/static/js/chunk-{:x}.js?v={}", mixed(n) % 4096, n % 7), PASSING),
        (":authority", "www.example.com".into(), INSERTED),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8".into(), INSERTED),
        ("accept-encoding", "gzip, deflate, br, zstd".into(), INSERTED),
        ("accept-language", "en-US,en;q=0.5".into(), INSERTED),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into(), INSERTED),
        ("cookie", format!("session={:016x}{:016x}", mixed(n / 50), mixed(n / 50 + 1)), INSERTED),
        ("cookie", format!("seen={}", n % 100), INSERTED),
        ("referer", format!("https://www.example.com/page/{}", n % 40), INSERTED),
        ("sec-fetch-mode", "no-cors".into(), INSERTED),
    ]
}

fn literals(n: u64) -> Fields {
    let mut fields = browser(n);
    for (_, _, flags) in &mut fields {
        *flags = Encoder::HUFFMAN_NAME | Encoder::HUFFMAN_VALUE;
    }
    fields
}

fn blocks(fields: fn(u64) -> Fields) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::default();
    let block = |n| {
        let mut block = Vec::new();
        for (name, value, flags) in fields(n) {
            encoder.encode((name.as_bytes().to_vec(), value.into_bytes(), flags), &mut block).expect("a header field");
        }
        block
    };
    (0..BLOCKS).map(block).collect()
}

fn keep(name: &[u8]) -> bool {
    !matches!(name, b"cookie" | b"referer" | b"authorization" | b"accept-language" | b"accept")
}

/// Fields of all blocks, and bytes of the values that are known.
fn decode(blocks: &[Vec<u8>]) -> (u32, usize) {
    let mut decoder = Decoder::new(Start::Beginning);
    let (mut fields, mut bytes) = (0, 0);
    for block in blocks {
        let sink = |field: Field<'_>| {
            fields += 1;
            if let Value::Known(value) = black_box(field).value {
                bytes += value.len();
            }
        };
        decoder.decode(block, keep, sink).expect("a whole block");
    }
    (fields, bytes)
}

/// Prints the rate of one kind of traffic.
fn measure(kind: &str, blocks: &[Vec<u8>]) {
    let (fields, _) = decode(blocks);
    let mut rates: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            black_box(decode(black_box(blocks)));
            f64::from(fields) / begin.elapsed().as_secs_f64() / 1e6
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    println!(
        "{kind}: {:.1} million fields/s (slowest {:.1}, fastest {:.1}), {} fields in {} blocks of {} bytes",
        rates[ROUNDS / 2],
        rates[0],
        rates[ROUNDS - 1],
        fields,
        blocks.len(),
        blocks.iter().map(Vec::len).sum::<usize>() / blocks.len(),
    );
}

fn main() {
    measure("service", &blocks(service));
    measure("browser", &blocks(browser));
    measure("literals", &blocks(literals));
}
