//! Runs that are kept: the recording of what the agent captured, and what belonged together. So two versions of the linker can be compared
//! on the same events, however busy the machine was.

use std::{
    fmt::{self, Write as _},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum as _;

use super::{Case, Outcome, Style, front::Made};
use crate::{
    agent::{Agent, Report},
    span::JsonSpan,
};

/// Where a run is kept: files of this name, but for their extensions.
pub(super) struct Kept(PathBuf);

impl Kept {
    pub(super) fn new(directory: &Path, case: Case) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let style = case.style.to_possible_value().context("a style without a name")?;
        Ok(Self(directory.join(format!("{}_{}_{}", style.get_name(), case.concurrency, case.seed))))
    }

    /// All in a directory, by their names.
    pub(super) fn all(directory: &Path) -> Result<Vec<Self>> {
        let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
        let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "truth"));
        paths.sort();
        Ok(paths.into_iter().map(|path| Self(path.with_extension(""))).collect())
    }

    /// The recording.
    pub(super) fn recording(&self) -> PathBuf {
        self.0.with_extension("netspan")
    }

    pub(super) fn write(&self, truth: &[Made]) -> Result<()> {
        let mut text = String::new();
        for ((a, b, c), (d, e, f)) in truth {
            writeln!(text, "{a} {b} {c} {d} {e} {f}")?;
        }
        fs::write(self.0.with_extension("truth"), text).context("cannot keep the truth")
    }

    /// Replays the recording with these options of the agent.
    pub(super) fn score(&self, options: &[String]) -> Result<Outcome> {
        let output = Agent::command()?.args(["replay", "--json"]).arg(self.recording()).args(options).output()?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "the replay ended with {}; it printed:\n{errors}", output.status);
        let lines: Vec<String> = String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect();
        let spans = lines.iter().map(|line| JsonSpan::parse(line)).collect::<Result<_>>()?;
        let report = Report { spans, lines, errors, status: output.status };
        Ok(Outcome::of(self.case()?, &self.truth()?, &report))
    }

    fn case(&self) -> Result<Case> {
        let name = self.0.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let parts: Vec<&str> = name.split('_').collect();
        let [style, concurrency, seed] = parts[..] else { anyhow::bail!("{name} is no kept run") };
        let style = Style::from_str(style, true).ok().with_context(|| format!("there is no style {style}"))?;
        let (length, delay) = (Duration::ZERO, Duration::ZERO);
        Ok(Case { style, concurrency: concurrency.parse()?, seed: seed.parse()?, length, delay })
    }

    fn truth(&self) -> Result<Vec<Made>> {
        let file = self.0.with_extension("truth");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        text.lines().map(|line| made(line).with_context(|| format!("{line:?} in {}", file.display()))).collect()
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

fn made(line: &str) -> Option<Made> {
    let mut words = line.split(' ');
    let mut place = || {
        let mut number = || words.next()?.parse::<u32>().ok();
        Some((u16::try_from(number()?).ok()?, u16::try_from(number()?).ok()?, number()?))
    };
    Some((place()?, place()?))
}
