//! The service's name: the one place that says how a process gets it.
//!
//! The first of these that gives a name wins:
//! 1. a rule of the configuration ([`NameRule`]), for the operator has the last word;
//! 2. `service.name` of the process context that it publishes (see [`super::context`]), as soon as that was read: its SDK's last word,
//!    which knows the environment and what the program's own code says;
//! 3. the process's own `OTEL_SERVICE_NAME`, or `service.name` in its `OTEL_RESOURCE_ATTRIBUTES`;
//! 4. its pod's service, in the order of OpenTelemetry's conventions for Kubernetes (see [`super::kubernetes`]), as soon as the pod is
//!    known;
//! 5. the systemd unit it runs in, without `.service` (see [`Place`] for which units count);
//! 6. for an interpreter, the script, module, class or jar that it runs (see [`super::interpreter`]); when it wrote over
//!    its command line, what the title names (see [`super::title`]);
//! 7. the executable's file name; the name it was called by instead, for a program of many names (busybox), and where a
//!    link called it by a name that it keeps (`redis-server` may be a link to `redis-check-rdb`);
//! 8. the command name, without the extension of a script;
//! 9. the container's short id, for a container's name is known to its runtime only;
//! 10. `unknown_service`.
//!
//! A process that was forked without `exec` has its parent's program: where its own command line or environment was
//! written over, or holds only code (`python -c`, as multiprocessing starts its workers), it takes the parent's name by
//! 2, 3 or 6. (A title also destroys the environment below it: gunicorn with setproctitle has none left. What such a process
//! declares is known only if the agent was there when it began.) A title of a program that is no interpreter (`nginx: worker process`) never changes its name.

use std::str::FromStr;

use super::{
    Identity, NameSource, Place,
    context::ProcessContext,
    interpreter::{Interpreter, stem},
    read::Facts,
    root::file_name,
    title,
};
use crate::control::{Dimension, FilterRules, RuleError};

/// The service name where nothing is known (the semantic conventions' default for `service.name`).
pub(super) const UNKNOWN: &str = "unknown_service";
/// Bytes of a service name at most.
pub const NAME_MAX: usize = 128;
/// Digits of a container's short id.
const SHORT_ID: usize = 12;
/// Executables that are many programs, told apart by the name they are called by.
const MULTI_CALL: [&str; 3] = ["busybox", "toybox", "coreutils"];

/// A rule of the configuration: processes that match it are called so. Written `DIMENSION:PATTERN=NAME`, where the
/// dimension is `exe`, `comm`, `cgroup` or `container` and the pattern is that of the filter of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRule {
    matches: FilterRules,
    name: String,
}

/// Why a naming rule makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameRuleError {
    /// Not of the form.
    #[error(
        "not a naming rule: give DIMENSION:PATTERN=NAME, such as exe:/usr/sbin/nginx=edge; the dimensions are exe, comm, cgroup, container"
    )]
    Form,
    /// The name is too long, or has control characters.
    #[error("not a service name: give 1 to {NAME_MAX} bytes without control characters")]
    Name,
    /// The pattern is wrong.
    #[error(transparent)]
    Pattern(#[from] RuleError),
}

impl FromStr for NameRule {
    type Err = NameRuleError;

    fn from_str(text: &str) -> Result<Self, NameRuleError> {
        let (dimension, rest) = text.split_once(':').ok_or(NameRuleError::Form)?;
        let (pattern, name) = rest.rsplit_once('=').ok_or(NameRuleError::Form)?;
        let dimension = match dimension.trim() {
            "exe" => Dimension::Exe,
            "comm" => Dimension::Comm,
            "cgroup" => Dimension::Cgroup,
            "container" => Dimension::Container,
            _ => return Err(NameRuleError::Form),
        };
        let name = clean(name).filter(|clean| clean == name.trim()).ok_or(NameRuleError::Name)?;
        let mut matches = FilterRules::default();
        matches.include.add(dimension, pattern)?;
        Ok(Self { matches, name })
    }
}

/// Gives `identity` its name, by the rule at the top of this file. `facts` is what was read of the process, if it could
/// be read; `parent` is who it was forked from, if that is known.
pub(super) fn name(
    identity: &mut Identity,
    facts: Option<&Facts>,
    rules: &[NameRule],
    place: &Place,
    parent: Option<&Identity>,
) {
    let (name, from) = configured(identity, rules)
        .or_else(|| found(facts.and_then(|facts| facts.declared.service.clone()), NameSource::Declared))
        .or_else(|| inherited(identity, facts, parent, NameSource::Declared))
        .or_else(|| found(place.unit_name.clone(), NameSource::Unit))
        .or_else(|| found(facts.and_then(|facts| script(facts, identity)), NameSource::Script))
        .or_else(|| inherited(identity, facts, parent, NameSource::Script))
        .or_else(|| found(facts.and_then(titled), NameSource::Script))
        .or_else(|| found(executable(identity), NameSource::Executable))
        .or_else(|| found(Some(stem(&identity.comm).to_owned()), NameSource::Comm))
        .or_else(|| {
            found(
                identity.container.as_ref().map(|id| id.get(..SHORT_ID).unwrap_or(id).to_owned()),
                NameSource::Container,
            )
        })
        .unwrap_or_else(|| (UNKNOWN.to_owned(), NameSource::Unknown));
    identity.service = name;
    identity.service_from = from;
}

/// Gives an identity whose pod is known the pod's service, unless there is a better name.
pub(super) fn of_pod(identity: &mut Identity) {
    let Some(workload) = identity.kubernetes.as_ref().filter(|_| identity.service_from >= NameSource::Kubernetes)
    else {
        return;
    };
    if let Some((name, from)) = found(Some(workload.service.clone()), NameSource::Kubernetes) {
        identity.service = name;
        identity.service_from = from;
    }
}

/// Takes over what a process publishes of itself: its name, unless a rule gives another, and its attributes, which replace those that
/// its environment declares.
pub(super) fn of_context(identity: &mut Identity, context: &ProcessContext) {
    if identity.service_from >= NameSource::ProcessContext
        && let Some((name, from)) = found(context.service.clone(), NameSource::ProcessContext)
    {
        identity.service = name;
        identity.service_from = from;
    }
    for (name, value) in &context.attributes {
        identity.declared.retain(|(present, _)| present != name);
        identity.declared.push((name.clone(), value.clone()));
    }
}

/// Gives a recorded identity another name where a rule says so.
pub(super) fn rename(identity: &mut Identity, rules: &[NameRule]) {
    if let Some((name, from)) = configured(identity, rules) {
        identity.service = name;
        identity.service_from = from;
    }
}

type Found = Option<(String, NameSource)>;

fn found(name: Option<String>, from: NameSource) -> Found {
    Some((clean(&name?)?, from))
}

/// A name without the white space at its ends, if it is one: of a sensible length and without control characters.
fn clean(name: &str) -> Option<String> {
    let name = name.trim();
    let fits = !name.is_empty() && name.len() <= NAME_MAX && !name.contains(char::is_control);
    fits.then(|| name.to_owned())
}

fn configured(identity: &Identity, rules: &[NameRule]) -> Found {
    let rule = rules.iter().find(|rule| rule.matches.admits_replayed(identity))?;
    Some((rule.name.clone(), NameSource::Configured))
}

fn interpreter(identity: &Identity) -> Option<Interpreter> {
    Interpreter::of(file_name(identity.exe.as_deref().or(identity.command.as_deref())?)?)
}

fn script(facts: &Facts, identity: &Identity) -> Option<String> {
    if facts.is_rewritten {
        return None;
    }
    interpreter(identity)?.script(&facts.argv, facts.cwd.as_deref())
}

fn titled(facts: &Facts) -> Option<String> {
    let exe = facts.exe.as_deref().and_then(file_name)?;
    Interpreter::of(exe)?;
    facts.argv.first().filter(|_| facts.is_rewritten).and_then(|written| title::service(written))
}

/// The parent's name, for a process that runs the parent's program but can't say itself what that is.
fn inherited(identity: &Identity, facts: Option<&Facts>, parent: Option<&Identity>, from: NameSource) -> Found {
    let (facts, parent) = (facts?, parent?);
    let same_program = identity.exe.is_some() && identity.exe == parent.exe && identity.container == parent.container;
    let is_mute = match from {
        NameSource::Declared => facts.is_rewritten,
        _ => interpreter(identity).is_some(),
    };
    let has_it = [from, NameSource::ProcessContext].contains(&parent.service_from);
    (same_program && is_mute && has_it).then(|| (parent.service.clone(), parent.service_from))
}

fn executable(identity: &Identity) -> Option<String> {
    let name = file_name(identity.exe.as_deref()?)?;
    let called = identity.command.as_deref().and_then(file_name).map(|name| name.trim_start_matches('-'));
    if MULTI_CALL.contains(&name) {
        return called.map(str::to_owned);
    }
    // At `exec` the kernel takes the command name from the path that was executed, which may be a link; a program that
    // gives itself a title changes one of the two, hardly both to the same word.
    let linked = called.filter(|called| *called == identity.comm && !name.starts_with(*called));
    Some(stem(linked.unwrap_or(name)).to_owned())
}

#[cfg(test)]
mod tests;
