//! Wrong calls of the command line, told in one line; help and version as clap prints them.

use std::process::ExitCode;

use clap::error::ErrorKind;

/// Exit code of a wrong call.
pub(super) const CODE: u8 = 2;

/// Prints what clap has to say.
pub(super) fn report(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody is left to tell when standard output is closed.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(CODE)
        }
        _ => {
            eprintln!("netspan: {}", line(&error.render().to_string()));
            ExitCode::from(CODE)
        }
    }
}

/// What, why and what to do, of clap's several lines.
fn line(text: &str) -> String {
    let said = text.split("Usage:").next().unwrap_or(text);
    let said = said.split("For more information").next().unwrap_or(said);
    let said = super::one_line(said.strip_prefix("error: ").unwrap_or(said));
    format!(
        "{}: see `netspan --help`, or `--help` of the command",
        said.replace(" tip: ", ": ").trim_end_matches([':', ' '])
    )
}

#[cfg(test)]
mod tests {
    fn said(args: &[&str]) -> String {
        let error = crate::cli::command().try_get_matches_from(args).expect_err("a wrong call");
        super::line(&error.render().to_string())
    }

    #[test]
    fn a_wrong_call_is_one_line_with_advice() {
        for (args, beginning) in [
            (&["netspan", "rnu"][..], "unrecognized subcommand 'rnu': "),
            (&["netspan", "run", "--prot", "80"], "unexpected argument '--prot' found: "),
            (&["netspan", "run", "--port"], "a value is required for '--port <PORT>' but none was supplied: "),
            (&["netspan", "replay"], "the following required arguments were not provided: <FILE>: "),
        ] {
            let line = said(args);
            assert!(line.starts_with(beginning) && !line.contains('\n'), "{line}");
            assert!(line.ends_with("see `netspan --help`, or `--help` of the command"), "{line}");
        }
    }
}
