//! Runs other programs, and makes of their failure one line that says which program it was. It adds no policy.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs a program whose output the user sees.
///
/// # Errors
/// When it can't be started or says that it failed.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` failed ({status}); its messages are above", line(command));
    }
    Ok(())
}

/// Runs a program and gives what it printed.
///
/// # Errors
/// When it can't be started, or fails: then with what it said.
pub fn capture(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", line(command), output.status, said.trim());
    }
    Ok(output.stdout)
}

/// As [`capture`], for programs that print text.
///
/// # Errors
/// As [`capture`]; or what was printed is no UTF-8.
pub fn text(command: &mut Command) -> Result<String> {
    String::from_utf8(capture(command)?).with_context(|| format!("`{}` printed what is no text", line(command)))
}

/// Whether a program is there and says that it succeeded.
pub fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let quiet = |command: &mut Command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|end| end.success())
    };
    quiet(Command::new(program).args(arguments))
}

/// The command as somebody would type it; for messages only, nothing is quoted.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command) -> String {
    format!("can't start {}", command.get_program().display())
}
