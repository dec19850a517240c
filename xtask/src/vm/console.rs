//! What a line of the guest's console means. It reads nothing and waits for nothing.

/// What `init.sh` and `guest.sh` begin their lines with.
const MARK: &str = "netspan-vm: ";

/// What the kernel prints when it, or a task in it, will not go on.
const FATAL: [&str; 8] = [
    "Kernel panic - not syncing",
    "BUG: unable to handle",
    "BUG: kernel NULL pointer",
    "kernel BUG at ",
    "general protection fault",
    "soft lockup",
    "detected stall",
    "blocked for more than",
];

/// What it prints when a processor of its own stands still. An emulated one may be what stands still.
const STALL: [&str; 2] = ["soft lockup", "detected stall"];

/// Whether a fatal line is about a processor that stands still.
pub fn is_stall(line: &str) -> bool {
    STALL.iter().any(|marker| line.contains(marker))
}

/// Whether the kernel said a line: those begin with the seconds since its start, in brackets.
pub fn is_kernels(line: &str) -> bool {
    let stamp = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    stamp.is_some_and(|(seconds, _)| seconds.contains('.') && seconds.trim_start().parse::<f64>().is_ok())
}

/// A line's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The job begins: what comes next is its output.
    Job,
    /// The job ended with this exit code.
    Verdict(i32),
    /// The guest can't run the job.
    Stopped,
    /// The kernel panics or stalls.
    Fatal,
    /// Nothing special.
    Text,
}

/// Reads a line, without its end.
pub fn read(line: &str) -> Meaning {
    // A job may leave a line without an end before ours.
    if let Some((_, said)) = line.split_once(MARK) {
        if said == "job" {
            return Meaning::Job;
        }
        if let Some(code) = said.strip_prefix("verdict ").and_then(|code| code.parse().ok()) {
            return Meaning::Verdict(code);
        }
        if said.starts_with("stopped") {
            return Meaning::Stopped;
        }
    }
    if FATAL.iter().any(|marker| line.contains(marker)) { Meaning::Fatal } else { Meaning::Text }
}

/// A line without control characters and the terminal's commands (the firmware clears the screen).
pub fn plain(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => skip_command(&mut characters),
            '\t' => out.push('\t'),
            _ if character.is_control() => {}
            _ => out.push(character),
        }
    }
    out
}

/// After an escape: either one character, or `[` and all up to a letter or `@` to `~`.
fn skip_command(characters: &mut std::str::Chars) {
    if characters.next() == Some('[') {
        characters.by_ref().find(|character| ('@'..='~').contains(character));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jobs_end_is_its_exit_code_even_after_an_unfinished_line() {
        assert_eq!(read("netspan-vm: verdict 0"), Meaning::Verdict(0));
        assert_eq!(read("no end of linenetspan-vm: verdict 137"), Meaning::Verdict(137));
        assert_eq!(read("netspan-vm: verdict "), Meaning::Text);
    }

    #[test]
    fn a_panic_and_a_stall_are_fatal_and_other_lines_are_not() {
        assert_eq!(read("[    3.1] Kernel panic - not syncing: VFS"), Meaning::Fatal);
        assert_eq!(read("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"), Meaning::Fatal);
        assert_eq!(read("watchdog: BUG: soft lockup - CPU#1 stuck for 26s!"), Meaning::Fatal);
        assert_eq!(read("5 passed, 0 failed"), Meaning::Text);
        assert!(is_stall("rcu: INFO: rcu_sched self-detected stall on CPU"));
        assert!(!is_stall("[    3.1] Kernel panic - not syncing: VFS"), "that is the kernel's own");
    }

    #[test]
    fn what_the_kernel_says_is_told_from_what_a_job_prints() {
        assert!(is_kernels(
            "[  600.928469] trace_kprobe: This probe might be able to register after target module is loaded."
        ));
        assert!(is_kernels("[1100.442951] x"));
        assert!(!is_kernels("[1, 2]"));
        assert!(!is_kernels("{\"requests\":300}"));
    }

    #[test]
    fn commands_to_a_terminal_are_left_out() {
        assert_eq!(plain(b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r"), "SeaBIOS");
        assert_eq!(plain("\u{1b}[1;31mred\u{1b}[0m\tblue".as_bytes()), "red\tblue");
    }
}
