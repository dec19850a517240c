//! Text from the network made safe to print, and cut to columns. What was captured never reaches the terminal as a
//! command to it.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// `text` with every character that would control the terminal, or hide or reorder other text, spelled out.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hazard) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_hazard(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Control characters, line and paragraph separators, and what is invisible or turns the direction of writing.
fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{e0000}'..='\u{e007f}' | '\u{61c}' | '\u{ad}')
}

/// Columns that `text` takes.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// `text` in at most `width` columns; where it is longer it ends in `…`.
pub fn fit(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut used = 0;
    let kept = text.char_indices().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used >= width
    });
    let end = kept.map_or(text.len(), |(at, _)| at);
    Cow::Owned(if width == 0 { String::new() } else { format!("{}…", &text[..end]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_text_cannot_command_the_terminal() {
        assert_eq!(clean("/a b/ü/漢"), "/a b/ü/漢");
        assert_eq!(clean("\x1b[2J\r\n\x07"), "\\u{1b}[2J\\r\\n\\u{7}");
        assert_eq!(clean("a\u{9b}31mb"), "a\\u{9b}31mb");
        assert_eq!(clean("a\u{202e}b\u{200b}c"), "a\\u{202e}b\\u{200b}c");
    }

    #[test]
    fn text_is_cut_by_columns_not_by_characters() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdef", 5), "abcd…");
        assert_eq!(fit("漢字漢字", 5), "漢字…");
        assert_eq!(fit("漢字漢字", 4), "漢…");
        assert_eq!((fit("abc", 1), fit("abc", 0)), ("…".into(), "".into()));
        for width in 0..12 {
            for text in ["abcdef", "漢字漢字", "e\u{301}e\u{301}e\u{301}", "a漢b字c"] {
                assert!(columns(&fit(text, width)) <= width, "{text} in {width}");
            }
        }
    }
}
