//! Whether bytes from the middle of a connection are frames of HTTP/2. It is strict: what it accepts is read as HTTP/2
//! from then on.

use super::frame::{HEAD_LENGTH, Head, Kind, PADDED, PAYLOAD_USUAL};
use crate::protocol::Flow;

/// Largest value of a settings parameter's id that is taken for one; the registry ends far below.
const SETTING_MAX: u16 = 0x20;
/// Largest error code that is taken for one, likewise.
const CODE_MAX: u32 = 0x20;
/// Most bytes that a side may allow the other to send at once (RFC 9113, section 6.9.1).
const WINDOW_MAX: u32 = i32::MAX.cast_unsigned();
/// Extension frame PRIORITY_UPDATE (RFC 9218, section 7.1), which browsers send.
const PRIORITY_UPDATE: u8 = 0x10;

/// What bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Frames. The flow is known where a header block tells: only requests have `:method`, only responses `:status`.
    Frames(Option<Flow>),
    /// Nothing that must be HTTP/2.
    Other,
}

/// Judges bytes that begin a call in the middle of a connection: they must be a chain of legal frame heads, each where
/// the one before ends, with HEADERS among them, or at least two frames that end exactly with the bytes.
pub fn looks_like_frames(bytes: &[u8]) -> Verdict {
    let (mut rest, mut frames, mut headers, mut flow) = (bytes, 0_u32, false, None);
    loop {
        let Some((head, after)) = split_head(rest) else { break };
        if !is_strict(&head) {
            return Verdict::Other;
        }
        let length = head.length as usize;
        let payload = after.get(..length).unwrap_or(after);
        if !is_plausible_payload(&head, payload) {
            return Verdict::Other;
        }
        if head.kind == Kind::Headers {
            let Some(first) = block(&head, payload).and_then(representation) else { return Verdict::Other };
            headers = true;
            flow = flow.or(first);
        }
        frames += 1;
        let Some(next) = after.get(length..) else {
            rest = &[];
            frames = 0;
            break;
        };
        rest = next;
    }
    if headers || (frames >= 2 && rest.is_empty()) { Verdict::Frames(flow) } else { Verdict::Other }
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
        Kind::Settings => payload.chunks_exact(6).all(|setting| match *setting {
            [a, b, c, d, e, f] => is_plausible_setting(u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f])),
            _ => false,
        }),
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
        _ => id <= SETTING_MAX,
    }
}

/// The header block in the payload of HEADERS, as far as it goes.
fn block<'a>(head: &Head, payload: &'a [u8]) -> Option<&'a [u8]> {
    let before = head.padding() + head.priority();
    payload.get(before as usize..)
}

/// What the first representation of a header block (RFC 7541, section 6) tells of its flow; none if no encoder begins a
/// block with it: an indexed header of the static table that is no pseudo-header, or an index of 0.
fn representation(block: &[u8]) -> Option<Option<Flow>> {
    let first = *block.iter().find(|&&byte| byte & 0xe0 != 0x20)?;
    let index = match first {
        0x80.. => first & 0x7f,
        0x40.. => first & 0x3f,
        _ => first & 0x0f,
    };
    match (first, index) {
        (_, 2..=7) => Some(Some(Flow::Requests)),
        (_, 8..=14) => Some(Some(Flow::Responses)),
        // `:authority`, by name only.
        (..0x80, 1) => Some(Some(Flow::Requests)),
        (0x80.., 0..62) => None,
        _ => Some(None),
    }
}
