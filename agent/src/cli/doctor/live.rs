//! The doctor within a running agent: what was attached at its start, and the processes as they are when somebody asks.

use serde_json::Value;

use super::{Examined, capture_json, kernel_json, process_json, report_json, tls};
use crate::{
    cli::{config::Options, kubernetes::Told},
    host::{ProcRoot, Processes, survey},
    live::boot_ns,
    probe::{Kernel, Probes},
};

/// A function that examines the host, for the API.
pub fn doctor(options: &Options, probes: &Probes, kubernetes: Told) -> impl Fn() -> Value + Send + Sync + use<> {
    let kernel = kernel_json(&Kernel::read());
    let capture = capture_json(Ok(probes));
    let (family, asker) = (probes.family, probes.tls().map(crate::probe::tls::Watch::asker));
    let (rules, services) = (options.filter.clone(), options.services.clone());
    move || {
        let mut processes = Processes::new(ProcRoot::host(), services.clone());
        processes.ask_pods(kubernetes.pods());
        processes.read_contexts();
        let surveyed =
            survey(&mut processes, boot_ns(), |identity| rules.is_empty() || rules.admits_replayed(identity));
        let examined = surveyed.into_iter().map(|process| {
            let mut libraries = asker.as_ref().map(|asker| asker.report(process.identity.pid)).unwrap_or_default();
            libraries.extend(tls::foreign(&process.foreign_tls));
            process_json(Some(family), &Examined { process, tls: libraries })
        });
        report_json(&kernel, &capture, &kubernetes, &examined.collect::<Vec<_>>())
    }
}
