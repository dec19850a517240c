//! Asks where output goes how it should look. The only file of the module that looks outside.

use std::{io::IsTerminal, os::fd::AsFd};

use jiff::tz::TimeZone;

use super::Look;

/// How output to `stream` should look: plain unless it is a terminal; that as wide as it is now, in colours unless
/// `NO_COLOR` is set (no-color.org) or the terminal can do none. Stamps are in the system's time zone (`TZ`).
pub fn look_of(stream: &(impl AsFd + IsTerminal)) -> Look {
    let zone = TimeZone::system();
    if !stream.is_terminal() {
        return Look::plain(zone);
    }
    let columns = rustix::termios::tcgetwinsize(stream).ok().map(|size| size.ws_col).filter(|&columns| columns > 0);
    let no_color = std::env::var("NO_COLOR").ok();
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb").then(|| "1".to_owned());
    Look::terminal(columns, no_color.filter(|value| !value.is_empty()).or(dumb).as_deref(), zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_terminal() {
        let file = tempfile::tempfile().expect("a file");
        assert_eq!(look_of(&file).width(), None);
    }

    #[test]
    fn a_terminal_has_its_width() {
        let controller = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR).expect("a terminal");
        let size = rustix::termios::Winsize { ws_row: 50, ws_col: 97, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&controller, size).expect("its size is settable");
        assert_eq!(look_of(&std::fs::File::from(controller)).width(), Some(97));
    }
}
