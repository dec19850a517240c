//! Options from flags, environment and file, as one struct with checked values. It reads files and variables; it starts
//! nothing.
//!
//! Each option can be given in three places; a flag wins over the environment, the environment over the file, the file
//! over the default. A list given in one place replaces the list of a lower one, it isn't joined with it. The table of
//! options ([`Spec::ALL`]) is the only list of them: flags, variables, keys, help text and checks all come from there.
//!
//! | place | an option such as `filter.port` |
//! |---|---|
//! | flag | `--port 80 --port 443` |
//! | environment | `NETSPAN_FILTER_PORT=80,443` |
//! | file | `[filter]` and `port = [80, 443]` |
//!
//! The file is that of `--config`, else of `NETSPAN_CONFIG`, else [`DEFAULT_FILE`] if it is there.
#![forbid(unsafe_code)]

mod destination;
mod environment;
mod error;
mod file;
mod kubernetes;
mod options;
mod otlp;
mod sampling;
mod serve;
mod similar;
mod table;

use std::path::{Path, PathBuf};

pub use self::{
    destination::{Destination, QueueOptions},
    error::{ConfigError, Origin},
    kubernetes::{KubernetesMode, KubernetesOptions},
    options::{CaptureOptions, FamilyChoice, HookChoice, Options, RING_BYTES_MAX, RING_BYTES_MIN},
    otlp::OtlpOptions,
    serve::{ApiOptions, StoreOptions, state_dir},
    table::{Shape, Spec},
};

/// The file that is read without being named, if it is there.
pub const DEFAULT_FILE: &str = "/etc/netspan/netspan.toml";
/// The variable that names the file.
pub const FILE_VARIABLE: &str = "NETSPAN_CONFIG";

/// Options given in one place: the option's key, its values as text, and where exactly they stand.
pub(super) type Layer = Vec<Given>;

/// One option given in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) key: &'static str,
    pub(super) values: Vec<String>,
    pub(super) origin: Origin,
}

/// Flags of a command that are options.
pub trait Flags {
    /// The options that were given, by key.
    fn given(&self) -> Vec<(&'static str, Vec<String>)>;
}

impl Options {
    /// Reads all places: the flags, this process's environment, and the file named by `config` or found as described at
    /// the top.
    pub fn load(config: Option<&Path>, flags: &[&dyn Flags]) -> Result<Self, ConfigError> {
        let variables: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::resolve(config, flags, &variables, Path::new(DEFAULT_FILE))
    }

    /// As [`Self::load`], of the environment and default file given.
    pub fn resolve(
        config: Option<&Path>,
        flags: &[&dyn Flags],
        variables: &[(String, String)],
        default_file: &Path,
    ) -> Result<Self, ConfigError> {
        let (environment, warnings) = environment::layer(variables);
        let file = match chosen_file(config, variables) {
            Some(path) => file::contents(&path)?,
            None if default_file.exists() => file::contents(default_file)?,
            None => file::Contents::default(),
        };
        let mut options = Self { warnings, destinations: file.destinations, ..Self::default() };
        for spec in Spec::ALL {
            let given = [flag_layer(spec, flags), of(spec, environment.as_slice()), of(spec, &file.layer)];
            let Some(given) = given.into_iter().flatten().next() else { continue };
            for value in &given.values {
                (spec.set)(&mut options, value, &given.origin).map_err(|why| ConfigError::Value {
                    origin: given.origin.clone(),
                    value: value.clone(),
                    why,
                })?;
            }
        }
        Ok(options)
    }
}

fn chosen_file(config: Option<&Path>, variables: &[(String, String)]) -> Option<PathBuf> {
    let named = || variables.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
    config.map(Path::to_owned).or_else(|| named().map(|(_, value)| PathBuf::from(value)))
}

fn flag_layer(spec: &Spec, flags: &[&dyn Flags]) -> Option<Given> {
    let (key, values) = flags.iter().flat_map(|flags| flags.given()).find(|(key, _)| *key == spec.key)?;
    Some(Given { key, values, origin: Origin::Flag(spec.flag) })
}

fn of(spec: &Spec, layer: &[Given]) -> Option<Given> {
    layer.iter().find(|given| given.key == spec.key).cloned()
}

#[cfg(test)]
mod tests;
