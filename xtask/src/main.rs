//! netspan's development tasks, `cargo xtask TASK`: one file per task, beside the helpers that several tasks share.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod command;
mod demo;
mod package;
mod progress;
mod run;
mod setup;
mod test;
mod toolchain;
mod vm;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// netspan's development tasks
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what the other tasks need; each of them does its part of this by itself
    Setup,
    /// Build the agent with its BPF programs, as it is shipped
    Build,
    /// Build the agent, and run `netspan run` with the flags that are passed
    Run(run::Options),
    /// Open a small shop of unmodified programs, and show what the agent sees of it
    Demo(demo::Options),
    /// Run all tests, or some suites of them
    Test(test::Options),
    /// Run a job under other kernels, in virtual machines
    Vm(vm::Options),
    /// Make a Debian package, an archive, an SBOM and checksums
    Package(package::Options),
    /// The same, of what is committed and of one version
    Release,
    /// Measure what the agent costs
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let root = workspace();
    let result = match Options::parse().task {
        Task::Setup => setup::all(&root),
        Task::Build => build::run(&root),
        Task::Run(options) => run::run(&root, &options),
        Task::Demo(options) => demo::run(&root, &options),
        Task::Test(options) => test::run(&root, &options),
        Task::Vm(options) => vm::run(&root, &options),
        Task::Package(options) => package::run(&root, &options),
        Task::Release => package::release(&root),
        Task::Bench(options) => bench::run(&root, &options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's root: what cargo says while it runs us, else where we were built.
fn workspace() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}
