//! `ClientHello` and `ServerHello` (RFC 8446, sections 4.1.2 and 4.1.3; RFC 5246, section 7.4.1, has the same layout): which
//! server, protocols and versions a client asks for, and what the server chose, as far as that is in the clear.
//!
//! [`parse`] takes the beginning of a flow, in whatever pieces it came, and tells what is known of it; who gets more bytes
//! asks again. Under TLS 1.3 the chosen protocol is encrypted (section 4.3.1). A client that encrypts its hello (ECH) shows
//! the name and protocols of the server that fronts for the real one.

#[cfg(test)]
pub(super) mod tests;

use super::{
    handshake::{Message, Other},
    input::{Input, Stop},
};

pub(super) use super::handshake::HANDSHAKE;
pub use super::handshake::PREFIX_MAX;

/// Protocols of a client's list that are kept, at most.
pub const PROTOCOLS_MAX: usize = 16;
/// Bytes of a protocol's name that is kept, at most; registered ones have up to 15.
pub const PROTOCOL_MAX: usize = 32;
/// Versions of a client's list that are kept, at most.
pub const VERSIONS_MAX: usize = 8;
/// Bytes of a host name at most (RFC 1035, section 2.3.4, without the dot at the end).
pub const NAME_MAX: usize = 253;

/// `HandshakeType`: `client_hello`, `server_hello`.
pub(super) const CLIENT_HELLO: u8 = 1;
pub(super) const SERVER_HELLO: u8 = 2;
/// Extension types.
pub(super) const SERVER_NAME: u16 = 0;
pub(super) const PROTOCOL_NEGOTIATION: u16 = 16;
pub(super) const SUPPORTED_VERSIONS: u16 = 43;
/// `host_name` among name types (RFC 6066, section 3).
const HOST_NAME: u8 = 0;
/// Bytes of `random`, and of a session id at most.
pub(super) const RANDOM: usize = 32;
const SESSION_ID_MAX: usize = 32;
/// `random` of a `ServerHello` that asks for another `ClientHello` (RFC 8446, section 4.1.3).
const RETRY: [u8; RANDOM] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Version of the protocol (`ProtocolVersion`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u16);

impl Version {
    /// TLS 1.2
    pub const TLS12: Self = Self(0x0303);
    /// TLS 1.3
    pub const TLS13: Self = Self(0x0304);

    /// As `tls.protocol.version` has it, `1.3`; nothing for what is no version of TLS.
    pub const fn name(self) -> Option<&'static str> {
        match self.0 {
            0x0301 => Some("1.0"),
            0x0302 => Some("1.1"),
            0x0303 => Some("1.2"),
            0x0304 => Some("1.3"),
            _ => None,
        }
    }
}

/// The first message of a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// The client's.
    Client(ClientHello),
    /// The server's.
    Server(ServerHello),
}

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The server's name (SNI; RFC 6066, section 3), in lower case.
    pub server_name: Option<String>,
    /// Protocols (ALPN; RFC 7301, section 3.1), the preferred first, at most [`PROTOCOLS_MAX`].
    pub protocols: Vec<String>,
    /// Versions, the preferred first, at most [`VERSIONS_MAX`]. Without the extension for it, the one that the client
    /// knows at most; empty where that extension may be among what was cut off.
    pub versions: Vec<Version>,
    /// Names and versions that are not kept: beyond a bound, or not printable (as the reserved ones of RFC 8701 are not).
    pub left_out: u16,
    /// The message was seen to its end: what is absent is not there.
    pub is_whole: bool,
}

/// What a server chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// Version; absent where it may be among what was cut off.
    pub version: Option<Version>,
    /// Cipher suite, by its number in IANA's registry.
    pub cipher_suite: u16,
    /// Protocol (ALPN), where it is in the clear: up to TLS 1.2.
    pub protocol: Option<String>,
    /// It asks for another `ClientHello`; its true `ServerHello` follows.
    pub is_retry: bool,
    /// As in [`ClientHello`].
    pub is_whole: bool,
}

/// Why a flow's beginning tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHello {
    /// It is no TLS.
    #[error("no record of TLS")]
    NotTls,
    /// It is TLS, but another message: one joined late, or an alert.
    #[error("a record of TLS that is no hello")]
    OtherMessage,
    /// Too few bytes: more may tell.
    #[error("too few bytes")]
    Short,
    /// Its lengths contradict each other.
    #[error("a malformed hello")]
    Malformed,
}

impl From<Other> for NoHello {
    fn from(other: Other) -> Self {
        match other {
            Other::NotTls => Self::NotTls,
            Other::NotHandshake => Self::OtherMessage,
            Other::Short => Self::Short,
        }
    }
}

impl From<Stop> for NoHello {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Cut => Self::Short,
            Stop::Malformed => Self::Malformed,
        }
    }
}

/// Parses the beginning of a flow, of which [`PREFIX_MAX`] bytes are looked at.
///
/// # Errors
/// [`NoHello`]; only after [`NoHello::Short`] can more bytes tell more.
pub fn parse(flow: &[u8]) -> Result<Hello, NoHello> {
    let message = Message::first(flow)?;
    match message.kind {
        CLIENT_HELLO => client(message.body()).map(Hello::Client),
        SERVER_HELLO => server(message.body()).map(Hello::Server),
        _ => Err(NoHello::OtherMessage),
    }
}

fn client(mut body: Input<'_>) -> Result<ClientHello, NoHello> {
    let mut hello = ClientHello { is_whole: !body.is_cut, ..ClientHello::default() };
    let legacy = Version(body.u16()?);
    let read = (|| {
        body.take(RANDOM)?;
        session_id(&mut body)?;
        body.vector16()?; // cipher suites
        body.vector8()?; // compression methods
        extensions(&mut body, |kind, mut data| match kind {
            SERVER_NAME => server_name(&mut data, &mut hello),
            PROTOCOL_NEGOTIATION => protocols(&mut data, &mut hello),
            SUPPORTED_VERSIONS => versions(&mut data, &mut hello),
            _ => Ok(()),
        })
    })();
    finish(read)?;
    if hello.versions.is_empty() && hello.is_whole {
        hello.versions.push(legacy);
    }
    Ok(hello)
}

fn server(mut body: Input<'_>) -> Result<ServerHello, NoHello> {
    let is_whole = !body.is_cut;
    let legacy = Version(body.u16()?);
    let is_retry = body.take(RANDOM)? == RETRY;
    session_id(&mut body)?;
    let cipher_suite = body.u16()?;
    let (mut version, mut protocol) = (None, None);
    let read = (|| {
        body.u8()?; // compression method
        extensions(&mut body, |kind, mut data| {
            match kind {
                SUPPORTED_VERSIONS => version = Some(Version(data.u16()?)),
                PROTOCOL_NEGOTIATION => protocol = text(data.vector16()?.vector8()?.whole()?),
                _ => {}
            }
            Ok(())
        })
    })();
    finish(read)?;
    // A server of TLS 1.2 has no such extension.
    let version = version.or(is_whole.then_some(legacy));
    Ok(ServerHello { version, cipher_suite, protocol, is_retry, is_whole })
}

/// What was read before a cut holds.
fn finish(read: Result<(), Stop>) -> Result<(), NoHello> {
    match read {
        Ok(()) | Err(Stop::Cut) => Ok(()),
        Err(Stop::Malformed) => Err(NoHello::Malformed),
    }
}

fn session_id(body: &mut Input<'_>) -> Result<(), Stop> {
    let len = usize::from(body.u8()?);
    if len > SESSION_ID_MAX {
        return Err(Stop::Malformed);
    }
    body.take(len).map(drop)
}

/// Each extension (RFC 8446, section 4.2) with its type. A message of TLS 1.2 may have none.
fn extensions<'a>(body: &mut Input<'a>, mut each: impl FnMut(u16, Input<'a>) -> Result<(), Stop>) -> Result<(), Stop> {
    if body.is_empty() && !body.is_cut {
        return Ok(());
    }
    let mut all = body.vector16()?;
    while !all.is_empty() {
        let kind = all.u16()?;
        each(kind, all.vector16()?)?;
    }
    if all.is_cut { Err(Stop::Cut) } else { Ok(()) }
}

/// `ServerNameList`: the first host name is the name.
fn server_name(data: &mut Input<'_>, hello: &mut ClientHello) -> Result<(), Stop> {
    let mut list = data.vector16()?;
    while !list.is_empty() {
        let kind = list.u8()?;
        let name = list.vector16()?.whole()?;
        if kind == HOST_NAME && hello.server_name.is_none() {
            hello.server_name = host_name(name);
            hello.left_out = hello.left_out.saturating_add(u16::from(hello.server_name.is_none()));
        }
    }
    Ok(())
}

/// `ProtocolNameList`.
fn protocols(data: &mut Input<'_>, hello: &mut ClientHello) -> Result<(), Stop> {
    let mut list = data.vector16()?;
    while !list.is_empty() {
        let name = list.vector8()?.whole()?;
        match text(name) {
            Some(name) if hello.protocols.len() < PROTOCOLS_MAX => hello.protocols.push(name),
            _ => hello.left_out = hello.left_out.saturating_add(1),
        }
    }
    Ok(())
}

/// `SupportedVersions`, without the reserved ones (RFC 8701).
fn versions(data: &mut Input<'_>, hello: &mut ClientHello) -> Result<(), Stop> {
    let mut list = data.vector8()?;
    while !list.is_empty() {
        let version = list.u16()?;
        if version & 0x0f0f == 0x0a0a {
            continue;
        }
        if hello.versions.len() < VERSIONS_MAX {
            hello.versions.push(Version(version));
        } else {
            hello.left_out = hello.left_out.saturating_add(1);
        }
    }
    Ok(())
}

/// Whether a byte may be of a host name.
pub(super) const fn is_of_host_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':')
}

/// A host name in lower case, if it is one.
fn host_name(name: &[u8]) -> Option<String> {
    let is_name = (1..=NAME_MAX).contains(&name.len()) && name.iter().copied().all(is_of_host_name);
    is_name.then(|| name.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect())
}

/// A protocol's name, if it can be printed.
fn text(name: &[u8]) -> Option<String> {
    let is_name = (1..=PROTOCOL_MAX).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
    is_name.then(|| name.iter().copied().map(char::from).collect())
}
