//! What a segment of a path is: a word of the program, or a value that differs from request to request. Judged by its
//! looks alone, so that the same segment is always judged alike.

/// Bytes of a segment from which on it is a value, whatever it looks like.
const LONG_MIN: usize = 48;
/// Hexadecimal digits from which on they are an id, if one of them is a decimal digit.
const HEX_MIN: usize = 8;
/// Decimal digits from which on they are an id although letters stand beside them (`order-12345`).
const NUMBER_MIN: usize = 4;
/// Letters and digits from which on they are an id if they change often enough between digits, capitals and small letters.
const TOKEN_MIN: usize = 10;
/// Letters and digits from which on [`TOKEN_DIGITS`] decimal digits among them are enough.
const TOKEN_LONG: usize = 20;
const TOKEN_DIGITS: usize = 3;
/// Bytes of a file's extension at most.
const EXTENSION_MAX: usize = 5;

/// A value that differs from request to request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// Something that was counted up or drawn: a number, a UUID, a hash, a ULID, an address.
    Id,
    /// A day, or a moment of it.
    Date,
    /// An e-mail address.
    Email,
    /// Any other value.
    Value,
}

impl Variable {
    /// What stands for it in a route.
    pub const fn placeholder(self) -> &'static str {
        match self {
            Self::Id => "{id}",
            Self::Date => "{date}",
            Self::Email => "{email}",
            Self::Value => "{value}",
        }
    }

    /// What the segment is, unless it is a word.
    pub fn of(segment: &[u8]) -> Option<Self> {
        if segment.is_empty() {
            return None;
        }
        if is_email(segment) {
            return Some(Self::Email);
        }
        let stem = without_extension(segment);
        if is_date(stem) {
            Some(Self::Date)
        } else if is_id(stem) {
            Some(Self::Id)
        } else if segment.len() >= LONG_MIN || segment.iter().any(|byte| STRANGE[usize::from(*byte)]) {
            Some(Self::Value)
        } else {
            None
        }
    }
}

/// Bytes that are in no word: what is escaped, lists, sentences, other alphabets.
const STRANGE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = !(byte as u8).is_ascii_graphic();
        byte += 1;
    }
    let marks = b"%,=+(){}<>[]\"'`|^*\\";
    let mut mark = 0;
    while mark < marks.len() {
        table[marks[mark] as usize] = true;
        mark += 1;
    }
    table
};

/// The segment without what names its format (`.json`).
fn without_extension(segment: &[u8]) -> &[u8] {
    match segment.iter().rposition(|byte| *byte == b'.').map(|at| segment.split_at(at)) {
        Some((stem, [_, extension @ ..]))
            if !stem.is_empty()
                && extension.len() <= EXTENSION_MAX
                && extension.first().is_some_and(u8::is_ascii_alphabetic)
                && extension.iter().all(u8::is_ascii_alphanumeric) =>
        {
            stem
        }
        _ => segment,
    }
}

/// `name@host.letters`, the sign also as `%40`.
fn is_email(segment: &[u8]) -> bool {
    let found = segment.iter().position(|byte| *byte == b'@').map(|at| (at, 1));
    let escaped = || segment.windows(3).position(|three| three == b"%40").map(|at| (at, 3));
    let found = found.or_else(|| segment.contains(&b'%').then(escaped).flatten());
    let Some((name, host)) = found.and_then(|(at, len)| Some((segment.get(..at)?, segment.get(at + len..)?))) else {
        return false;
    };
    let top = host.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    // `logo@2x.png` is a picture.
    let is_host = host.first().is_some_and(u8::is_ascii_alphabetic);
    is_host
        && !name.is_empty()
        && top.len() >= 2
        && top.len() + 1 < host.len()
        && top.iter().all(u8::is_ascii_alphabetic)
}

/// `YYYY-MM-DD` or `YYYY-MM`, whatever follows the day (`T12:00`).
fn is_date(stem: &[u8]) -> bool {
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0, |all, digit| digit.is_ascii_digit().then(|| all * 10 + u32::from(digit - b'0')))
    };
    let [y1, y2, y3, y4, b'-', m1, m2, rest @ ..] = stem else { return false };
    let is_month = number(&[*y1, *y2, *y3, *y4]).is_some_and(|year| (1900..2200).contains(&year))
        && number(&[*m1, *m2]).is_some_and(|month| (1..=12).contains(&month));
    is_month
        && match rest {
            [] => true,
            [b'-', d1, d2, after @ ..] => {
                number(&[*d1, *d2]).is_some_and(|day| (1..=31).contains(&day))
                    && matches!(after.first(), None | Some(b'T' | b't' | b'_' | b' ' | b'%'))
            }
            _ => false,
        }
}

fn is_id(stem: &[u8]) -> bool {
    if !stem.iter().any(u8::is_ascii_digit) {
        return false;
    }
    let unsigned = stem.strip_prefix(b"-").unwrap_or(stem);
    let is_address = || {
        stem.split(|byte| *byte == b'.').count() == 4 && stem.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
    };
    unsigned.iter().all(u8::is_ascii_digit)
        || is_hex(stem)
        || is_address()
        || stem.split(|byte| matches!(byte, b'-' | b'_' | b'.' | b'~' | b':' | b'@')).any(is_drawn)
        || is_token(stem)
}

/// Hexadecimal digits, also in groups as a UUID's are.
fn is_hex(piece: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b':' | b'{' | b'}');
    piece.len() >= HEX_MIN && piece.iter().all(is_digit) && piece.iter().any(u8::is_ascii_digit)
}

/// Whether a part of a segment between signs was counted up or drawn.
fn is_drawn(piece: &[u8]) -> bool {
    (piece.len() >= NUMBER_MIN && piece.iter().all(u8::is_ascii_digit)) || is_hex(piece) || is_token(piece)
}

/// Letters and digits as no word has them: it is what changes between their classes that tells `k3j9x0qpl2` from
/// `base64decode`. Signs of base64url are passed over.
fn is_token(piece: &[u8]) -> bool {
    let (mut len, mut digits, mut capitals, mut changes, mut before) = (0, 0, 0, 0, None);
    for byte in piece {
        let class = match byte {
            b'0'..=b'9' => 0,
            b'a'..=b'z' => 1,
            b'A'..=b'Z' => 2,
            b'-' | b'_' => continue,
            _ => return false,
        };
        len += 1;
        digits += usize::from(class == 0);
        capitals += usize::from(class == 2);
        // A capital before a small letter begins a word.
        changes += usize::from(before.is_some_and(|before| before != class && (before, class) != (2, 1)));
        before = Some(class);
    }
    let is_long = len == piece.len() && len >= TOKEN_LONG;
    // More than one capital in four letters is no way to write words.
    let is_odd = digits >= TOKEN_DIGITS || (capitals * 4 > len && capitals + digits < len);
    digits > 0 && ((len >= TOKEN_MIN && changes * 3 > len) || (is_long && is_odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_from_words() {
        for (segments, expected) in [
            (
                &[
                    "users",
                    "v1",
                    "v2.1",
                    "2fa",
                    "oauth2",
                    "oauth2callback",
                    "i18n",
                    "s3",
                    "k8s",
                    "utf-8",
                    "sha-256",
                    "h264",
                    "base64decode",
                    "convertBase64ToUtf8",
                    "getUserV2",
                    "index.html",
                    "app.js",
                    "logo@2x.png",
                    "me",
                    "~alice",
                    "deadbeef",
                    "facade",
                    "feedface",
                    "well-known",
                    ".env",
                    "wp-login.php",
                    "lodash@4.17.21",
                    "1.2",
                    "users:batchGet",
                    "..",
                    "a",
                    "web3-provider",
                    "introducing-version-2-of-our-product",
                    "feed.xml",
                ][..],
                None,
            ),
            (
                &[
                    "0",
                    "17",
                    "-1",
                    "123.json",
                    "20240131",
                    "3f2a9c0d",
                    "DEADBEE1",
                    "3f2a9c0de1b4",
                    "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                    "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}",
                    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
                    "cus_NffrFeUfNV2Hib",
                    "aZ9_-bcD3fGhI7kL0",
                    "order-12345",
                    "invoice_2024000123.pdf",
                    "app.3f2a9c0d.js",
                    "10.0.0.1",
                    "fe80:0:0:1",
                    "507f1f77bcf86cd799439011",
                    "k3j9x0qpl2m4",
                    "sha256:9f86d081884c7d659a2feaa0c55ad015",
                    "dQw4w9WgXcQ8",
                ],
                Some(Variable::Id),
            ),
            (&["2024-01-31", "2024-01", "2024-01-31T12:00:00Z", "2024-12-01.csv"], Some(Variable::Date)),
            (&["a.b@example.org", "bob%40mail.example.com"], Some(Variable::Email)),
            (
                &[
                    "John%20Doe",
                    "a,b,c",
                    "\u{4f60}\u{597d}",
                    "x=1",
                    "q+r",
                    "<script>",
                    "it's",
                    "how-to-make-a-really-good-coffee-at-home-in-nine-easy-steps",
                ],
                Some(Variable::Value),
            ),
        ] {
            for segment in segments {
                assert_eq!(Variable::of(segment.as_bytes()), expected, "{segment}");
            }
        }
        assert_eq!(Variable::of(b""), None);
    }

    #[test]
    fn dates_that_are_none_are_ids_or_words() {
        for (segment, expected) in [
            ("2024-13-01", Some(Variable::Id)),
            ("2024-01-32", Some(Variable::Id)),
            ("1024-01", Some(Variable::Id)),
            ("2024-1", Some(Variable::Id)),
            ("24-01-31", Some(Variable::Id)),
        ] {
            assert_eq!(Variable::of(segment.as_bytes()), expected, "{segment}");
        }
    }

    #[test]
    fn drawn_tokens_are_nearly_always_found() {
        let alphabet = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut state = 1_u64;
        let mut draw = |from: &[u8], len: usize| -> Vec<u8> {
            let mut one = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                from[(state >> 33) as usize % from.len()]
            };
            (0..len).map(|_| one()).collect()
        };
        for (name, from, len, share) in [
            ("ULID", &b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[..], 26, 990),
            ("base36", &alphabet[..36], 24, 980),
            ("base62", alphabet, 22, 930),
            ("hex", &alphabet[..16], 12, 990),
            ("UUID without signs", &alphabet[..16], 32, 999),
        ] {
            let found = (0..1000).filter(|_| Variable::of(&draw(from, len)).is_some()).count();
            assert!(found >= share, "{name}: {found}");
        }
    }
}
