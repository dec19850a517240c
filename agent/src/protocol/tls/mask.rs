//! Masks all of a hello that [`Hellos`](super::Hellos) has nothing of: what is left are the lengths, the server's name, and
//! the version and the protocol that were chosen. The parser reads the same from it.

use super::hello::{
    CLIENT_HELLO, HANDSHAKE, PROTOCOL_NEGOTIATION, RANDOM, SERVER_HELLO, SERVER_NAME, SUPPORTED_VERSIONS,
    is_of_host_name,
};

/// What stands in the place of a masked byte. An extension type with it is none that the parser looks at.
const MASKED: u8 = b'*';
/// Bytes of a list of names before its first name: length of the list, kind and length of the name.
const NAME_HEAD: usize = 5;

/// The beginning of a flow, masked; as long as it was. What each byte becomes depends on those before it alone, so that a
/// flow may come in pieces.
pub fn mask(flow: &[u8]) -> Vec<u8> {
    let mut mask = Mask { flow, clean: vec![MASKED; flow.len()], at: 0 };
    // It ends where the flow does: what there is of it is masked by then.
    let _ = mask.record();
    mask.clean
}

struct Mask<'a> {
    flow: &'a [u8],
    clean: Vec<u8>,
    at: usize,
}

impl Mask<'_> {
    fn record(&mut self) -> Option<()> {
        if self.flow.first() != Some(&HANDSHAKE) {
            return None;
        }
        self.keep(5)?;
        let kind = *self.flow.get(self.at)?;
        if kind != CLIENT_HELLO && kind != SERVER_HELLO {
            return None;
        }
        self.keep(4)?;
        self.keep(2)?; // version
        self.pass(RANDOM)?;
        self.vector8()?; // session id
        if kind == CLIENT_HELLO {
            self.vector16()?; // cipher suites
            self.vector8()?; // compression methods
        } else {
            self.pass(3)?; // cipher suite, compression method
        }
        let len = self.length(2)?;
        let end = self.at.saturating_add(len);
        while self.at < end {
            self.extension(kind)?;
        }
        None
    }

    fn extension(&mut self, kind: u8) -> Option<()> {
        let at = self.at;
        // All types that are kept begin with this byte.
        self.keep_if(1, |byte| byte == 0)?;
        let extension = u16::from_be_bytes(*self.flow.get(at..)?.first_chunk()?);
        let is_kept = match extension {
            SERVER_NAME => kind == CLIENT_HELLO,
            PROTOCOL_NEGOTIATION | SUPPORTED_VERSIONS => kind == SERVER_HELLO,
            _ => false,
        };
        self.keep_if(1, |_| is_kept)?;
        if !is_kept {
            return self.vector16();
        }
        let len = self.length(2)?;
        if extension == SERVER_NAME {
            self.keep(len.min(NAME_HEAD))?;
            return self.keep_if(len.saturating_sub(NAME_HEAD), is_of_host_name);
        }
        // A version has two bytes, and a list of one protocol three lengths' bytes before it.
        let lengths = if extension == SUPPORTED_VERSIONS { 2 } else { 3 };
        self.keep(len.min(lengths))?;
        self.keep_if(len.saturating_sub(lengths), |byte| byte.is_ascii_graphic())
    }

    /// A vector with a length of one byte, of which only the length is kept.
    fn vector8(&mut self) -> Option<()> {
        let len = self.length(1)?;
        self.pass(len)
    }

    /// The same with a length of two bytes.
    fn vector16(&mut self) -> Option<()> {
        let len = self.length(2)?;
        self.pass(len)
    }

    fn length(&mut self, bytes: usize) -> Option<usize> {
        let at = self.at;
        self.keep(bytes)?;
        let number = self.flow.get(at..self.at)?;
        Some(number.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn pass(&mut self, len: usize) -> Option<()> {
        self.keep_if(len, |_| false)
    }

    fn keep(&mut self, len: usize) -> Option<()> {
        self.keep_if(len, |_| true)
    }

    /// Passes over bytes and keeps some; nothing once the flow is over.
    fn keep_if(&mut self, len: usize, is_kept: impl Fn(u8) -> bool) -> Option<()> {
        let end = self.at.saturating_add(len);
        let (from, to) = (self.flow.iter().take(end).skip(self.at), self.clean.iter_mut().skip(self.at));
        for (&byte, clean) in from.zip(to) {
            if is_kept(byte) {
                *clean = byte;
            }
        }
        self.at = end;
        (end <= self.flow.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::tls::{
        Hellos,
        hello::{
            parse,
            tests::{answer, begin},
        },
    };
    use rustls::crypto::ring;

    fn hellos(flow: &[u8]) -> Hellos {
        let mut hellos = Hellos::default();
        hellos.learn(parse(flow).expect("a hello"));
        hellos
    }

    /// The first record of a flow.
    fn first(flow: &[u8]) -> &[u8] {
        &flow[..5 + usize::from(u16::from_be_bytes([flow[3], flow[4]]))]
    }

    /// Hellos of both sides, with and without what may be in them.
    fn samples() -> Vec<Vec<u8>> {
        let versions = [&[&rustls::version::TLS13, &rustls::version::TLS12][..], &[&rustls::version::TLS12]];
        let mut all = Vec::new();
        for versions in versions {
            for protocols in [&["h2", "http/1.1"][..], &[]] {
                let (client, _) = begin("Shop.example", protocols, versions);
                all.push(first(&answer(&client, protocols, ring::default_provider())).to_vec());
                all.push(client);
            }
        }
        all
    }

    #[test]
    fn the_parser_reads_the_same_from_a_masked_hello() {
        let mut told = (0, 0, 0);
        for flow in samples() {
            let masked = mask(&flow);
            assert_eq!(masked.len(), flow.len());
            assert_eq!(hellos(&masked), hellos(&flow));
            let Hellos { server_name, version, protocol } = hellos(&masked);
            told.0 += u32::from(server_name.is_some());
            told.1 += u32::from(version.is_some());
            told.2 += u32::from(protocol.is_some());
        }
        assert_eq!(told, (4, 4, 1), "the samples have names, versions and a protocol in the clear");
    }

    #[test]
    fn nothing_random_is_left_of_a_hello() {
        for flow in samples() {
            let masked = mask(&flow);
            assert_eq!(masked[11..43], [MASKED; 32], "the random bytes");
            let left = masked.iter().filter(|byte| **byte != MASKED).count();
            assert!(left < 120, "{left} bytes of {} are left: {masked:?}", flow.len());
        }
    }

    #[test]
    fn in_pieces_it_is_masked_as_in_one() {
        for flow in samples() {
            let whole = mask(&flow);
            for end in 0..flow.len() {
                assert_eq!(mask(&flow[..end]), whole[..end], "the first {end} bytes");
            }
        }
    }

    #[test]
    fn what_is_no_hello_is_masked_as_a_whole() {
        for flow in [&b"GET / HTTP/1.1"[..], b"\x17\x03\x03\x00\x20secret", b"", b"\x16"] {
            assert!(!mask(flow).windows(3).any(|three| three == b"sec" || three == b"GET"), "{flow:?}");
        }
        assert_eq!(mask(b"\x16\x03\x03\x00\x20\x0bsecret"), b"\x16\x03\x03\x00\x20*******");
    }

    #[test]
    fn any_bytes_are_masked_without_a_panic() {
        let (client, _) = begin("shop.example", &["h2"], &[&rustls::version::TLS12]);
        for at in 0..client.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut flow = client.clone();
                flow[at] = byte;
                assert_eq!(mask(&flow).len(), flow.len());
            }
        }
    }
}
