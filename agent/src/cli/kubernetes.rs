//! What commands that look at processes do about Kubernetes: ask it, or know why not.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::config::{KubernetesMode, KubernetesOptions};
use crate::capture::count::Account;
use crate::host::{
    Pods,
    kubernetes::{Cluster, DIRECTORY, Missing, Watch, look},
};

/// How long the start waits for the first list, so that processes that are there already have their names from the first span on.
const FIRST_LIST: Duration = Duration::from_secs(3);

/// What is known of pods, or why nothing is.
#[derive(Debug)]
pub struct Kubernetes {
    watch: Option<Watch>,
    told: Told,
}

/// What can be told of it, also later and elsewhere.
#[derive(Clone, Debug)]
pub struct Told(Result<Pods, String>);

/// Whom to ask, or why nobody.
fn cluster(options: &KubernetesOptions) -> Result<Result<Cluster, String>, Missing> {
    let directory = Path::new(DIRECTORY);
    match options.cluster(|name| std::env::var(name).ok(), directory) {
        None => Ok(Err("switched off by the options".to_owned())),
        Some(Ok(cluster)) => Ok(Ok(cluster)),
        Some(Err(missing)) if options.mode == KubernetesMode::On => Err(missing),
        Some(Err(Missing::Service)) => Ok(Err("the agent does not run in a pod".to_owned())),
        Some(Err(missing)) => Ok(Err(missing.to_string())),
    }
}

impl Kubernetes {
    /// Begins to watch, if that is wanted and possible. To be called before privileges are given up.
    pub fn start(options: &KubernetesOptions) -> anyhow::Result<Self> {
        let off = match cluster(options).context("--kubernetes on")? {
            Ok(cluster) => {
                let watch = Watch::start(cluster).context("the thread that watches pods")?;
                return Ok(Self { told: Told(Ok(watch.pods())), watch: Some(watch) });
            }
            Err(off) => off,
        };
        // In a pod that could ask if it had been given what it takes, somebody may miss the names.
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && options.mode != KubernetesMode::Off {
            log::warn!("names of Kubernetes are not known: {off}; or say --kubernetes off");
        }
        Ok(Self { watch: None, told: Told(Err(off)) })
    }

    /// What is known of pods, if they are watched.
    pub fn pods(&self) -> Option<Pods> {
        self.watch.as_ref().map(Watch::pods)
    }

    /// Waits for the first list, for a moment.
    pub fn wait(&self) {
        if let Some(watch) = &self.watch {
            watch.pods().wait(FIRST_LIST);
        }
    }

    /// What can be told of it.
    pub fn told(&self) -> Told {
        self.told.clone()
    }
}

impl Told {
    /// Lists once, for a command that does not watch.
    pub fn look(options: &KubernetesOptions) -> Self {
        let cluster = cluster(options).unwrap_or_else(|missing| Err(missing.to_string()));
        Self(cluster.and_then(|cluster| look(&cluster, FIRST_LIST).map_err(|error| error.to_string())))
    }

    /// What is known of pods.
    pub fn pods(&self) -> Option<Pods> {
        self.0.as_ref().ok().cloned()
    }

    /// Adds what happened so far to an account.
    pub fn count(&self, account: &mut Account) {
        if let Ok(pods) = &self.0 {
            account.add("kubernetes", pods.counted());
        }
    }

    /// For `/v1/health` and the doctor.
    pub fn to_json(&self) -> Value {
        match &self.0 {
            Ok(pods) => pods.to_json(),
            Err(why) => json!({ "state": "off", "reason": why }),
        }
    }

    /// In a line, for the doctor.
    pub fn line(&self) -> String {
        let Ok(pods) = &self.0 else {
            return format!("off: {}", self.to_json()["reason"].as_str().unwrap_or_default());
        };
        let (json, state) = (pods.to_json(), pods.state());
        let known = format!("{} pods of node {}", json["pods"], json["node"].as_str().unwrap_or_default());
        state.why().map_or(known, |why| format!("{}: {why}", state.name()))
    }
}
