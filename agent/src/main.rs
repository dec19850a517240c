//! The binary `netspan`; everything is in the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    netspan::cli::main()
}
