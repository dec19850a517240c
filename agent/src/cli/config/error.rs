//! What is wrong with an option: one line each, which says where it stands, why it can't be, and what to give.

use std::{fmt, path::PathBuf};

/// Where an option was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line; the flag without its dashes.
    Flag(&'static str),
    /// In the environment; the variable.
    Variable(String),
    /// In the file, in this line (from 1), under this key.
    File(PathBuf, usize, String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path, line, key) => write!(f, "{}: line {line}: {key}", path.display()),
        }
    }
}

/// Why the options can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value that the option can't have.
    #[error("{origin} {value:?}: {why}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The value.
        value: String,
        /// What is wrong with it, and what to give.
        why: String,
    },
    /// The file has a key that is no option.
    #[error("{}: line {line}: {key}: no such option: {advice}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// What may have been meant.
        advice: String,
    },
    /// The file has a value of the wrong kind.
    #[error("{}: line {line}: {key}: {found} can't be its value: give {wanted}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// What stands there.
        found: &'static str,
        /// What may stand there.
        wanted: &'static str,
    },
    /// A destination in the file can't be what it says.
    #[error("{}: line {line}: export: {why}", path.display())]
    Export {
        /// The file.
        path: PathBuf,
        /// The line where it begins, from 1.
        line: usize,
        /// What is wrong with it, and what to give.
        why: String,
    },
    /// The file isn't TOML.
    #[error("{}: line {line}: not TOML: {why}; correct the line", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The parser's reason.
        why: String,
    },
    /// The file can't be read.
    #[error("{}: can't be read: {why}; name a readable file with --config, or none", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
}

impl ConfigError {
    /// Whether the command line itself is wrong.
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Value { origin: Origin::Flag(_), .. })
    }
}
