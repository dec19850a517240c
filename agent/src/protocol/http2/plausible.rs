//! Whether bytes from the middle of a connection are frames of HTTP/2. It is strict: what it accepts is read as HTTP/2
//! from then on.

use super::{
    frame::{END_HEADERS, HEAD_LENGTH, Head, Kind, PADDED, PAYLOAD_USUAL, settings},
    hpack::{Decoder, Error, Start},
};
use crate::{protocol::Flow, span::redact::is_token};

/// Largest value of a settings parameter's id that is taken for one; the registry ends far below.
const SETTING_MAX: u16 = 0x20;
/// From here on ids are for experiments (RFC 9113, section 11.3): gRPC's C core sends 0xfe03 in each first frame.
const SETTING_EXPERIMENTAL: u16 = 0xf000;
/// Largest error code that is taken for one, likewise.
const CODE_MAX: u32 = 0x20;
/// Most bytes that a side may allow the other to send at once (RFC 9113, section 6.9.1).
const WINDOW_MAX: u32 = i32::MAX.cast_unsigned();
/// Extension frame `PRIORITY_UPDATE` (RFC 9218, section 7.1), which browsers send.
const PRIORITY_UPDATE: u8 = 0x10;

/// What bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Frames. The flow is known where a header block tells: only requests have `:method`, only responses `:status`.
    Frames(Option<Flow>),
    /// What may be frames, and is too little to tell.
    Perhaps,
    /// No frames.
    Other,
}

/// Judges bytes that begin a call in the middle of a connection: they must be a chain of legal frame heads, each where
/// the one before ends, with HEADERS among them, or at least two frames that end exactly with the bytes.
pub fn looks_like_frames(bytes: &[u8]) -> Verdict {
    let (mut rest, mut frames, mut any, mut headers, mut flow) = (bytes, 0_u32, false, false, None);
    while let Some((head, after)) = split_head(rest) {
        if !is_strict(&head) {
            return Verdict::Other;
        }
        let length = head.length as usize;
        let payload = after.get(..length).unwrap_or(after);
        if !is_plausible_payload(&head, payload) {
            return Verdict::Other;
        }
        if head.kind == Kind::Headers {
            match read_block(&head, payload) {
                Telling::Fields(of) => (headers, flow) = (true, flow.or(of)),
                Telling::Nothing => {}
                Telling::Broken => return Verdict::Other,
            }
        }
        frames += 1;
        any = true;
        let Some(next) = after.get(length..) else {
            rest = &[];
            frames = 0;
            break;
        };
        rest = next;
    }
    if headers || (frames >= 2 && rest.is_empty()) {
        Verdict::Frames(flow)
    } else if any {
        Verdict::Perhaps
    } else {
        Verdict::Other
    }
}

/// Whether bytes begin as a server's first frame must: SETTINGS (RFC 9113, section 3.4). A client's first frame follows
/// its preface, so whoever begins a connection with this is the server.
pub fn begins_with_settings(bytes: &[u8]) -> bool {
    split_head(bytes).is_some_and(|(head, after)| {
        let payload = after.get(..head.length as usize).unwrap_or(after);
        head.kind == Kind::Settings && head.flags == 0 && is_strict(&head) && is_plausible_payload(&head, payload)
    })
}

/// Whether a frame of this flow may begin here, on a connection that is known to speak HTTP/2: the head is legal, and so
/// is every further one as far as the bytes go.
pub(super) fn may_begin_frame(bytes: &[u8], flow: Flow, length_max: u32) -> bool {
    let Some((mut head, mut rest)) = split_head(bytes) else { return false };
    loop {
        let known = !matches!(head.kind, Kind::Other(_)) && head.flags & !head.kind.flags() == 0;
        if !known || head.reserved || head.length > length_max || !head.is_legal(flow) {
            return false;
        }
        let next = rest.get(head.length as usize..).and_then(split_head);
        let Some((next, after)) = next else { return true };
        (head, rest) = (next, after);
    }
}

fn split_head(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_LENGTH>()?;
    Some((Head::parse(*head), rest))
}

fn is_strict(head: &Head) -> bool {
    let pushed = head.stream != 0 && head.stream.is_multiple_of(2);
    let known = match head.kind {
        Kind::Other(kind) => kind == PRIORITY_UPDATE && head.stream == 0 && head.length >= 4,
        _ => head.is_legal(Flow::Requests) || head.is_legal(Flow::Responses),
    };
    known && !head.reserved && !pushed && head.flags & !head.kind.flags() == 0 && head.length <= PAYLOAD_USUAL
}

/// Judges what there is of a payload.
fn is_plausible_payload(head: &Head, payload: &[u8]) -> bool {
    let word = payload.first_chunk().map(|word| u32::from_be_bytes(*word));
    match head.kind {
        Kind::Settings => settings(payload).all(|(id, value)| is_plausible_setting(id, value)),
        Kind::WindowUpdate => word.is_none_or(|by| by > 0 && by <= WINDOW_MAX),
        Kind::Reset => word.is_none_or(|code| code <= CODE_MAX),
        Kind::GoAway => word.is_none_or(|last| last <= WINDOW_MAX),
        Kind::Data | Kind::Headers if head.has(PADDED) => {
            payload.first().is_none_or(|&padding| u32::from(padding) + 1 + head.priority() <= head.length)
        }
        _ => true,
    }
}

fn is_plausible_setting(id: u16, value: u32) -> bool {
    match id {
        0 => false,
        // ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES
        2 | 8 | 9 => value <= 1,
        // INITIAL_WINDOW_SIZE
        4 => value <= WINDOW_MAX,
        // MAX_FRAME_SIZE
        5 => (PAYLOAD_USUAL..1 << 24).contains(&value),
        _ => id <= SETTING_MAX || id >= SETTING_EXPERIMENTAL,
    }
}

/// What a header block tells.
enum Telling {
    /// It has fields, and of one flow if it has pseudo-headers.
    Fields(Option<Flow>),
    /// It is not seen as far as its first field.
    Nothing,
    /// It is none.
    Broken,
}

/// Reads the header block in the payload of HEADERS, as far as it goes: names of fields are in lower case.
fn read_block(head: &Head, payload: &[u8]) -> Telling {
    let padding = if head.padding() > 0 { payload.first().copied().unwrap_or(0) } else { 0 };
    let end = (head.length as usize).saturating_sub(usize::from(padding));
    let start = (head.padding() + head.priority()) as usize;
    let Some(block) = payload.get(start..end.min(payload.len())) else { return Telling::Nothing };
    let is_whole = head.has(END_HEADERS) && payload.len() == head.length as usize;

    let (mut fields, mut flow, mut proper) = (0_u32, None, true);
    let decoded = Decoder::new(Start::Middle).decode(
        block,
        |_| false,
        |field| {
            fields += 1;
            let Some(name) = field.name else { return };
            proper &= is_field_name(name);
            flow = flow.or(match name {
                b":status" => Some(Flow::Responses),
                [b':', ..] => Some(Flow::Requests),
                _ => None,
            });
        },
    );
    match decoded {
        Ok(()) if proper && fields > 0 => Telling::Fields(flow),
        Err(Error::Truncated) if proper && !is_whole && fields > 0 => Telling::Fields(flow),
        Ok(()) | Err(Error::Truncated) if proper && !is_whole => Telling::Nothing,
        _ => Telling::Broken,
    }
}

/// Whether it is a name as HTTP/2 has them (RFC 9113, section 8.2).
fn is_field_name(name: &[u8]) -> bool {
    let name = name.strip_prefix(b":").unwrap_or(name);
    !name.is_empty() && name.iter().all(|&byte| is_token(byte) && !byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http2::tests::frames::{
        END_HEADERS, END_STREAM, PRIORITY as WITH_PRIORITY, data, frame, get, settings,
    };

    #[test]
    fn frames_are_recognised_and_header_blocks_tell_the_flow() {
        let indexed = |bytes: &[u8]| frame(1, END_HEADERS, 5, bytes);
        let (requests, responses) = (Some(Flow::Requests), Some(Flow::Responses));
        for (bytes, flow) in [
            (indexed(&[0x82, 0x87, 0x41, 0x01, b'h', 0x84]), requests),
            (indexed(&[0x20, 0x3f, 0xe1, 0x1f, 0x83]), requests),
            (indexed(&[0x3f, 0x01, 0x88]), responses),
            (indexed(&[0x20, 0x83]), requests),
            (indexed(&[0x88]), responses),
            (indexed(&[0x48, 0x03, b'5', b'0', b'2']), responses),
            (get(1, "/")[..40].to_vec(), requests),
            (indexed(&[0xbe, 0xbf]), None),
            (get(7, "/"), requests),
            (frame(1, END_HEADERS | WITH_PRIORITY, 1, &[0, 0, 0, 0, 15, 0x82]), requests),
            ([frame(6, 0, 0, &[0; 8]), frame(8, 0, 0, &[0, 0, 1, 0])].concat(), None),
            ([settings(&[(3, 1)]), frame(4, 1, 0, &[])].concat(), None),
            ([data(1, 0, b"x"), data(1, END_STREAM, b"")].concat(), None),
            ([data(1, 0, b"x"), indexed(&[0x88])].concat()[..20].to_vec(), responses),
        ] {
            assert_eq!(looks_like_frames(&bytes), Verdict::Frames(flow), "{bytes:x?}");
        }
    }

    #[test]
    fn too_little_is_not_taken_for_frames() {
        assert_eq!(looks_like_frames(&data(1, 0, b"abc")[..8]), Verdict::Other);
        for bytes in [
            &get(1, "/")[..9],
            &data(1, 0, b"abc"),
            &data(1, 0, b"abc")[..10],
            &[data(1, 0, b"abc"), data(1, 0, b"abc")].concat()[..23],
            &settings(&[(1, 1)]),
        ] {
            assert_eq!(looks_like_frames(bytes), Verdict::Perhaps, "{bytes:x?}");
        }
    }

    #[test]
    fn other_protocols_are_not_taken_for_frames() {
        let samples: &[(&str, &[u8])] = &[
            ("TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00"),
            ("TLS data", b"\x17\x03\x03\x00\x20\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04"),
            ("HTTP/1 request", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            ("HTTP/1 response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            ("Redis command", b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"),
            ("Redis answer", b"$5\r\nhello\r\n+OK\r\n"),
            ("PostgreSQL TLS request", b"\x00\x00\x00\x08\x04\xd2\x16\x2f"),
            ("PostgreSQL start-up", b"\x00\x00\x00\x21\x00\x03\x00\x00user\0postgres\0database\0x\0\0"),
            ("PostgreSQL query", b"Q\x00\x00\x00\x0dSELECT 1\0"),
            ("PostgreSQL ready", b"Z\x00\x00\x00\x05I"),
            ("MySQL greeting", b"\x4a\x00\x00\x00\x0a8.0.36\0\x08\x00\x00\x00"),
            ("MySQL query", b"\x09\x00\x00\x00\x03SELECT 1"),
            ("MySQL OK", b"\x07\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00"),
            ("MySQL long packet", b"\x00\x01\x00\x00\x03SELECT 'aaaaaaaaaaaaaaaaaaaaaaa'"),
            ("MySQL long answer", b"\x00\x01\x00\x01\x01\x00\x00\x02\x03def\x00\x00\x00\x01"),
            ("Kafka request", b"\x00\x00\x01\x01\x00\x03\x00\x09\x00\x00\x00\x07\x00\x06client\x00"),
            ("Kafka metadata", b"\x00\x00\x00\x20\x00\x03\x00\x01\x00\x00\x00\x01\x00\x04test\x00\x00\x00\x01"),
            ("Kafka heartbeat", b"\x00\x00\x00\x08\x00\x0c\x00\x00\x00\x00\x00\x01"),
            ("Kafka answer", b"\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00"),
            ("Kafka answers", b"\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x02"),
            ("MongoDB", b"\x3a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00\x00\x00\x00\x00"),
            ("MongoDB of 256", b"\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00\x00\x00\x00\x00"),
            ("memcached", b"get key\r\n"),
            ("DNS over TCP", b"\x00\x1c\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x01b\x00\x00\x01"),
            ("AMQP", b"AMQP\x00\x00\x09\x01"),
            ("AMQP heartbeat", b"\x08\x00\x00\x00\x00\x00\x00\xce"),
            ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
            ("zeros", &[0; 64]),
            ("ones", &[0xff; 64]),
        ];
        for (name, bytes) in samples {
            assert!(!matches!(looks_like_frames(bytes), Verdict::Frames(_)), "{name}");
            assert!(!begins_with_settings(bytes), "{name}");
        }
    }

    #[test]
    fn a_server_begins_with_settings() {
        assert!(begins_with_settings(&settings(&[])));
        assert!(begins_with_settings(&settings(&[(3, 250), (5, 16_384), (4, 1 << 20)])));
        assert!(begins_with_settings(&settings(&[(3, 250), (4, 1 << 20)])[..9]));
        assert!(begins_with_settings(&settings(&[(4, 4_194_304), (5, 4_194_304), (6, 16_384), (0xfe03, 1)])));
        for other in
            [settings(&[(0, 1)]), settings(&[(0xefff, 1)]), settings(&[(2, 7)]), frame(4, 1, 0, &[]), get(1, "/")]
        {
            assert!(!begins_with_settings(&other), "{other:?}");
        }
    }
}
