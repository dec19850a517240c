//! Compression of requests, once, before they are queued: a repeated attempt does not pay for it again.
#![forbid(unsafe_code)]

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::GzEncoder;

/// How a request is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// zstd (RFC 8878).
    Zstd,
}

/// Zstandard's fastest usual level: repeated names and values are what there is to gain, and any level finds them.
const ZSTD_LEVEL: i32 = 1;

impl Compression {
    /// As options and `OTEL_EXPORTER_OTLP_COMPRESSION` name it.
    pub fn named(name: &str) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Zstd].into_iter().find(|one| one.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The value of `content-encoding` or `grpc-encoding`; absent for none.
    pub const fn encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip | Self::Zstd => Some(self.name()),
        }
    }

    /// What stands for it on the disk.
    pub const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Zstd => 2,
        }
    }

    /// What a code on the disk stands for.
    pub fn of_code(code: u8) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Zstd].into_iter().find(|one| one.code() == code)
    }

    /// Compresses `body`, and tells how: a body that can't be compressed is left as it is.
    pub fn apply(self, body: Bytes) -> (Self, Bytes) {
        let compressed = match self {
            Self::None => return (self, body),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
                encoder.write_all(&body).and_then(|()| encoder.finish())
            }
            Self::Zstd => zstd::bulk::compress(&body, ZSTD_LEVEL),
        };
        compressed.map_or((Self::None, body), |compressed| (self, compressed.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_compressed_is_smaller_and_comes_out_again() {
        let body = Bytes::from("http.request.method".repeat(500));
        for one in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let (how, compressed) = one.apply(body.clone());
            let mut plain = Vec::new();
            match how {
                Compression::None => plain.extend_from_slice(&compressed),
                Compression::Gzip => {
                    flate2::read::GzDecoder::new(&*compressed).read_to_end(&mut plain).map(drop).expect("gzip");
                }
                Compression::Zstd => plain = zstd::bulk::decompress(&compressed, body.len()).expect("zstd"),
            }
            assert_eq!((how, plain.as_slice()), (one, &*body));
            assert!(one == Compression::None || compressed.len() < body.len() / 10);
            assert_eq!((Compression::of_code(one.code()), Compression::named(one.name())), (Some(one), Some(one)));
        }
        assert_eq!((Compression::of_code(9), Compression::named("br")), (None, None));
    }
}
