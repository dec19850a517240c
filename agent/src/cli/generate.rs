//! `netspan completions` and `netspan man`: what a package puts beside the binary, made from the tree of commands.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Command;
use clap_complete::Shell;

use super::table::print;

/// Arguments of `netspan completions`.
#[derive(clap::Args, Debug)]
pub struct CompletionsArgs {
    /// The shell that they are for
    shell: Shell,
}

/// Arguments of `netspan man`.
#[derive(clap::Args, Debug)]
pub struct ManArgs {
    /// An existing directory for the pages: netspan.1, and one for each command
    directory: PathBuf,
}

/// Prints completions for a shell.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> anyhow::Result<ExitCode> {
    let (name, mut script) = (command.get_name().to_owned(), Vec::new());
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the manual pages.
pub fn man(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    let directory = &args.directory;
    clap_mangen::generate_to(command, directory)
        .with_context(|| format!("cannot write pages into {}; is it a directory?", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_each_command_and_a_script_for_each_shell() {
        let directory = tempfile::tempdir().expect("a directory");
        let command = super::super::command();
        let names: Vec<_> =
            command.get_subcommands().map(|command| format!("netspan-{}.1", command.get_name())).collect();
        man(&ManArgs { directory: directory.path().to_owned() }, command).expect("they are written");
        for name in names.iter().map(String::as_str).chain(["netspan.1"]) {
            let page = std::fs::read_to_string(directory.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(page.contains(".SH SYNOPSIS"), "{name}");
        }
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut super::super::command(), "netspan", &mut script);
            let script = String::from_utf8(script).expect("text");
            assert!(script.contains("min-confidence") && script.contains("doctor"), "{shell}");
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_refused_by_name() {
        let error = man(&ManArgs { directory: "/no/such".into() }, super::super::command()).expect_err("not there");
        assert!(format!("{error:#}").contains("/no/such"), "{error:#}");
    }
}
