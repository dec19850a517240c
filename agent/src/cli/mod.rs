//! The command line: the tree of commands, and how errors are told. Each command has a file; nothing is computed here.
#![forbid(unsafe_code)]

mod client;
pub mod config;
pub mod doctor;
mod export;
pub mod flags;
pub mod generate;
mod kubernetes;
pub mod link;
pub mod map;
mod output;
pub mod paths;
pub mod query;
pub mod record;
pub mod replay;
pub mod run;
mod session;
pub mod stat;
mod summary;
mod table;
pub mod top;
pub mod trace;
pub mod traces;
mod usage;
pub mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use log::LevelFilter;

use self::{
    config::{ConfigError, Flags, Options, Spec},
    flags::CommonFlags,
};

/// Sees HTTP requests in the kernel and links them into traces. No application is changed.
#[derive(Debug, Parser)]
#[command(name = "netspan", version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Capture, link and export until told to stop
    Run(Box<run::Args>),
    /// Show spans or whole traces as they finish
    Watch(watch::Args),
    /// Record what is captured, for a replay
    Record(record::Args),
    /// Run a recording through the same pipeline
    Replay(replay::Args),
    /// Find the parents of spans in a file
    Link(link::Args),
    /// List traces that a running agent keeps
    Traces(traces::Args),
    /// Show a trace that a running agent keeps
    Trace(trace::Args),
    /// Show rates, errors and durations of what a running agent keeps, by group
    Stat(stat::Args),
    /// Show who calls whom, by what a running agent keeps
    Map(map::Args),
    /// Show which ways requests take, and where their time goes, by what a running agent keeps
    Paths(paths::Args),
    /// Show on a full screen what goes on, by what a running agent keeps
    Top(top::Args),
    /// Tell what this host lets netspan see, and what not and why
    Doctor(doctor::Args),
    /// Print completions for a shell
    Completions(generate::CompletionsArgs),
    /// Write the manual pages
    Man(generate::ManArgs),
}

/// Runs the command that the arguments of this process name.
///
/// The code is 0 when the command did what it was asked, 1 when it could not, 2 when it was called wrongly. An error is
/// one line on standard error: what, why, what to do.
pub fn main() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error),
    };
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Link(args) => link::run(&args),
        Command::Traces(args) => traces::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Stat(args) => stat::run(&args),
        Command::Map(args) => map::run(&args),
        Command::Paths(args) => paths::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => generate::completions(&args, command()),
        Command::Man(args) => generate::man(&args, command()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("netspan: {}", one_line(&format!("{error:#}")));
        let is_usage = error.downcast_ref::<ConfigError>().is_some_and(ConfigError::is_usage);
        ExitCode::from(if is_usage { usage::CODE } else { 1 })
    })
}

/// Loads the options of a command and starts the log; what is odd about the options is logged.
pub fn prepare(common: &CommonFlags, flags: &[&dyn Flags]) -> Result<Options, ConfigError> {
    let all: Vec<&dyn Flags> = std::iter::once(common as &dyn Flags).chain(flags.iter().copied()).collect();
    let options = Options::load(common.config.as_deref(), &all)?;
    // A second start (two commands in one test process) keeps the first log.
    let _ = env_logger::Builder::new()
        .filter_level(options.log.min(LevelFilter::Warn)) // What libraries tell helps nobody who runs netspan.
        .filter_module("netspan", options.log)
        .format_target(false)
        .try_init();
    for warning in &options.warnings {
        log::warn!("{warning}");
    }
    Ok(options)
}

/// Commands that ask a running agent. Their flags go to it as they are and are no options of this process.
const ASKING: [&str; 6] = ["traces", "trace", "stat", "map", "paths", "top"];

/// The tree of commands; the help of each option says its variable and its key in the file.
fn command() -> clap::Command {
    Cli::command().mut_subcommands(|command| {
        if ASKING.contains(&command.get_name()) {
            return command;
        }
        command.mut_args(|arg| {
            let Some(spec) = arg.get_long().and_then(Spec::by_flag) else { return arg };
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.long_help(format!("{help} [env: {}] [file: {}]", spec.variable(), spec.key))
        })
    })
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_option_has_a_flag_and_its_help_names_variable_and_key() {
        let mut seen = BTreeSet::new();
        for subcommand in command().get_subcommands().filter(|command| !ASKING.contains(&command.get_name())) {
            for arg in subcommand.get_arguments() {
                let Some(spec) = arg.get_long().and_then(Spec::by_flag) else { continue };
                seen.insert(spec.key);
                let help = arg.get_long_help().expect("a help text").to_string();
                assert!(help.contains(&spec.variable()) && help.contains(spec.key), "{help}");
            }
        }
        let all: BTreeSet<_> = Spec::ALL.iter().map(|spec| spec.key).collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn all_commands_but_the_replay_share_the_capture_flags_and_all_share_the_filters() {
        for subcommand in command().get_subcommands() {
            let has = |flag: &str| subcommand.get_arguments().any(|arg| arg.get_long() == Some(flag));
            let name = subcommand.get_name();
            if ASKING.contains(&name) {
                assert!(has("agent") && has("token") && !has("config"), "{name}");
                continue;
            }
            if ["completions", "man"].contains(&name) {
                // They are of netspan itself.
                assert!(!has("config") && !has("pid"), "{name}");
                continue;
            }
            if name == "link" {
                // It has no processes to choose from.
                assert!(has("config") && has("log") && has("min-confidence") && !has("pid"));
                continue;
            }
            assert!(["config", "log", "pid", "exclude-container", "service-rule"].into_iter().all(has), "{name}");
            assert_eq!(has("family"), name != "replay", "{name}");
        }
    }
}
