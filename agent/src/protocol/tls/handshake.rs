//! The first handshake message of a flow: records (RFC 8446, section 5.1) are taken off, and a message that is spread over
//! several of them is put together.

use super::input::{Input, Stop};

/// Bytes of a flow's beginning that are looked at, at most; what lies behind them is cut.
pub const PREFIX_MAX: usize = 4096;

/// `handshake` among content types.
pub(super) const HANDSHAKE: u8 = 22;
/// Bytes of a record's fragment at most: 2^14.
const FRAGMENT_MAX: u16 = 1 << 14;
/// Major version of all records since SSL 3.0.
const MAJOR: u8 = 3;

/// What a flow's beginning is, if it is no handshake message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// No record of TLS.
    NotTls,
    /// A record of TLS, but none of the handshake.
    NotHandshake,
    /// Too few bytes to say.
    Short,
}

/// The beginning of a message.
#[derive(Debug)]
pub(super) struct Message {
    /// `HandshakeType`.
    pub kind: u8,
    body: Vec<u8>,
    is_cut: bool,
}

impl Message {
    /// The first message at a flow's beginning.
    pub fn first(flow: &[u8]) -> Result<Self, Other> {
        let mut bytes = Vec::new();
        let mut rest = Input::new(flow.get(..PREFIX_MAX).unwrap_or(flow), true);
        loop {
            match fragment(&mut rest) {
                Ok(fragment) => bytes.extend_from_slice(fragment),
                // Whatever follows is not of this message any more.
                Err(_) if !bytes.is_empty() => break,
                Err(other) => return Err(other),
            }
            if Self::parse(&bytes).is_some_and(|message| !message.is_cut) {
                break;
            }
        }
        Self::parse(&bytes).ok_or(Other::Short)
    }

    /// What follows its head.
    pub fn body(&self) -> Input<'_> {
        Input::new(&self.body, self.is_cut)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut input = Input::new(bytes, true);
        let (kind, len) = (input.u8().ok()?, input.u24().ok()?);
        let body = input.part(len).ok()?;
        let is_cut = body.is_cut;
        Some(Self { kind, body: body.available().to_vec(), is_cut })
    }
}

/// The fragment of the next record, as far as it is there.
fn fragment<'a>(rest: &mut Input<'a>) -> Result<&'a [u8], Other> {
    let short = |_: Stop| Other::Short;
    let kind = rest.u8().map_err(short)?;
    // `change_cipher_spec`, `alert`, `handshake`, `application_data`, `heartbeat`.
    if !(20..=24).contains(&kind) {
        return Err(Other::NotTls);
    }
    if rest.u8().map_err(short)? != MAJOR {
        return Err(Other::NotTls);
    }
    rest.u8().map_err(short)?;
    let len = rest.u16().map_err(short)?;
    if kind != HANDSHAKE {
        return Err(Other::NotHandshake);
    }
    // "Implementations MUST NOT send zero-length fragments of Handshake types".
    if len == 0 || len > FRAGMENT_MAX {
        return Err(Other::NotTls);
    }
    let fragment = rest.part(usize::from(len)).map_err(short)?.available();
    if fragment.is_empty() { Err(Other::Short) } else { Ok(fragment) }
}
