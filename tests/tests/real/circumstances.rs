//! Bad circumstances: one clear line that says what, why and what to do, and an exit code that fits.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use netspan_tests::{
    agent::Agent,
    apps::Kind,
    bench::programs,
    drive::{self, Ask, Talk},
    paths, ports,
    scope::{Scope, kill},
    wait,
};
use rustix::process::Signal;

use crate::{alone, together};

/// Time for the agent to refuse.
const REFUSAL: Duration = Duration::from_secs(20);

/// Runs it to its end; one that does not end by itself is killed, and the test fails.
fn ended(command: &mut Command) -> Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if wait::exit(&mut child, REFUSAL)?.is_none() {
        child.kill()?;
        let output = child.wait_with_output()?;
        anyhow::bail!("it went on; it printed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(child.wait_with_output()?)
}

/// It ended with an error, by one line on standard error that has all these words.
fn refuses(command: &mut Command, words: &[&str]) -> Result<()> {
    let output = ended(command)?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code().is_some_and(|code| code != 0), "it ended with {}: {text}", output.status);
    for word in words {
        ensure!(text.to_lowercase().contains(&word.to_lowercase()), "no {word:?} in: {text}");
    }
    ensure!(text.trim().lines().count() == 1, "not one line: {text}");
    ensure!(output.stdout.is_empty(), "an error belongs on standard error");
    Ok(())
}

fn netspan(arguments: &[&str]) -> Result<Command> {
    let mut command = Agent::command()?;
    command.args(arguments);
    Ok(command)
}

/// The agent started by `setpriv`, from a copy that everybody may run.
fn by_setpriv(directory: &Path, privileges: &[&str], arguments: &[&str]) -> Result<Command> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    let copy = directory.join("netspan");
    fs::copy(paths::agent()?, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    let mut command = Agent::command_by_setpriv(&copy, privileges)?;
    command.args(arguments).current_dir(directory);
    Ok(command)
}

#[test]
fn without_root_it_says_what_is_missing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    refuses(&mut by_setpriv(directory.path(), &nobody, &["watch", "--pid", "1"])?, &["root"])
}

#[test]
fn without_a_capability_it_names_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let less = ["--bounding-set=-bpf,-sys_admin", "--inh-caps=-bpf,-sys_admin"];
    refuses(&mut by_setpriv(directory.path(), &less, &["watch", "--pid", "1"])?, &["CAP_BPF"])
}

#[test]
fn a_flag_value_that_is_no_number_is_refused() -> Result<()> {
    let output = ended(&mut netspan(&["watch", "--port", "banana"])?)?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && text.contains("banana") && text.contains("--port"), "{text}");
    Ok(())
}

#[test]
fn a_malformed_configuration_is_refused_with_its_place() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("netspan.toml");
    fs::write(&file, "[export]\notlp = \n")?;
    let path = file.to_string_lossy();
    refuses(&mut netspan(&["watch", "--pid", "1", "--config", &path])?, &["netspan.toml", "line 2"])
}

#[test]
fn an_unknown_option_in_the_configuration_is_refused_by_name() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("netspan.toml");
    fs::write(&file, "no_such_option = 1\n")?;
    let path = file.to_string_lossy();
    refuses(&mut netspan(&["watch", "--pid", "1", "--config", &path])?, &["netspan.toml", "no_such_option"])
}

/// A filter that matches nothing is said in one line, and the agent waits for what may come.
fn says_that_nothing_matches(options: &[&str], words: &[&str]) -> Result<()> {
    let _machine = together();
    let mut command = netspan(&["watch", "--json"])?;
    command.args(options);
    let agent = Agent::start(command)?;
    let warnings: Vec<String> =
        agent.printed().lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect();
    ensure!(warnings.len() == 1, "not one line: {warnings:?}");
    for word in words {
        ensure!(warnings[0].contains(word), "no {word:?} in: {}", warnings[0]);
    }
    ensure!(agent.stop()?.spans.is_empty(), "there is nothing to see");
    Ok(())
}

#[test]
fn a_cgroup_that_is_not_there_is_said_in_one_line() -> Result<()> {
    says_that_nothing_matches(&["--cgroup", "/no-such-cgroup"], &["/no-such-cgroup"])
}

#[test]
fn a_process_that_is_not_there_is_said_in_one_line() -> Result<()> {
    // The largest process id that Linux can be told to give out is 4194303.
    says_that_nothing_matches(&["--pid", "4194304"], &["4194304", "process"])
}

#[test]
fn an_executable_that_nothing_runs_is_said_in_one_line() -> Result<()> {
    says_that_nothing_matches(&["--exe", "/no/such/executable"], &["/no/such/executable"])
}

#[test]
fn a_recording_that_is_not_there_is_refused_by_name() -> Result<()> {
    refuses(&mut netspan(&["replay", "no-such-recording"])?, &["no-such-recording"])
}

#[test]
fn a_file_that_is_no_recording_is_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("nonsense");
    fs::write(&file, vec![7; 4096])?;
    refuses(&mut netspan(&["replay", &file.to_string_lossy()])?, &["nonsense", "recording"])
}

/// Records a few requests to a Node server; gives the file's bytes.
fn recorded(directory: &Path) -> Result<Vec<u8>> {
    let scope = Scope::new()?;
    let app = Kind::Node.start(&scope)?;
    let file = directory.join("recording");
    let mut command = Agent::command()?;
    command.arg("record").arg(&file).args(["--cgroup", &scope.name()?]);
    let agent = Agent::start(command)?;
    drive::run(&app.address, &[Talk::InTurn(vec![Ask::get("/hello"); 20])])?;
    agent.stop()?;
    fs::read(&file).context("no recording was written")
}

#[test]
fn a_recording_replays_to_the_same_spans_each_time() -> Result<()> {
    let _machine = together();
    let directory = tempfile::tempdir()?;
    recorded(directory.path())?;
    let file = directory.path().join("recording");
    let replay = || -> Result<String> {
        let output = ended(&mut netspan(&["replay", &file.to_string_lossy(), "--json"])?)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    let first = replay()?;
    ensure!(first.lines().count() == 20, "20 spans were expected:\n{first}");
    ensure!(first == replay()?, "two replays differ");
    Ok(())
}

#[test]
fn a_truncated_recording_gives_what_it_has_and_says_where_it_ends() -> Result<()> {
    let _machine = together();
    let directory = tempfile::tempdir()?;
    let whole = recorded(directory.path())?;
    let file = directory.path().join("truncated");
    fs::write(&file, &whole[..whole.len() * 2 / 3])?;
    let output = ended(&mut netspan(&["replay", &file.to_string_lossy(), "--json"])?)?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "a loss is no success: {text}");
    ensure!(text.contains("truncated"), "{text}");
    let spans = String::from_utf8_lossy(&output.stdout).lines().count();
    ensure!((1..20).contains(&spans), "{spans} spans of two thirds of 20 requests");
    Ok(())
}

#[test]
fn a_collector_that_is_not_there_stops_nothing_and_is_counted() -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let app = Kind::Node.start(&scope)?;
    let mut command = Agent::command()?;
    let nowhere = format!("http://127.0.0.1:{}", ports::free()?);
    command.args(["run", "--otlp", &nowhere, "--cgroup", &scope.name()?]);
    let agent = Agent::start(command)?;
    drive::run(&app.address, &[Talk::InTurn(vec![Ask::get("/hello"); 20])])?;
    let report = agent.stop()?;
    ensure!(report.errors.contains(&nowhere), "the collector is not named:\n{}", report.errors);
    Ok(())
}

#[test]
fn a_process_on_io_uring_is_reported_as_a_blind_spot_of_the_syscall_family() -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let agent = Agent::watch_with(&scope, ["--family", "syscall"])?;
    let app = Kind::Uring.start(&scope)?;
    drive::run(&app.address, &[Talk::InTurn(vec![Ask::get("/hello"); 3])])?;
    let report = agent.stop()?;
    ensure!(report.errors.contains("io_uring"), "io_uring is not named:\n{}", report.errors);
    ensure!(report.servers().count() == 0, "what cannot be seen was seen: {:#?}", report.spans);
    Ok(())
}

#[test]
fn sigterm_flushes_and_ends_with_success() -> Result<()> {
    let _machine = together();
    let scope = Scope::new()?;
    let app = Kind::Node.start(&scope)?;
    let agent = Agent::watch(&scope)?;
    drive::run(&app.address, &[Talk::InTurn(vec![Ask::get("/hello"); 5])])?;
    let report = agent.stop_by(Signal::TERM)?;
    ensure!(report.status.success(), "{}: {}", report.status, report.errors);
    ensure!(report.spans.len() == 5, "5 spans were expected: {:#?}", report.spans);
    Ok(())
}

#[test]
fn after_a_kill_nothing_stays_attached() -> Result<()> {
    // Other tests load programs too.
    let _machine = alone();
    let scope = Scope::new()?;
    let before = programs::all()?.len();
    let agent = Agent::watch(&scope)?;
    let during = programs::all()?.len();
    ensure!(during > before, "no program was loaded: {before}, {during}");
    kill(agent.pid(), Signal::KILL)?;
    drop(agent);
    wait::until("the end of the programs", Duration::from_secs(10), || {
        Ok((programs::all()?.len() <= before).then_some(()))
    })
}

#[test]
fn outside_of_the_hosts_pid_namespace_doctor_says_so() -> Result<()> {
    let _machine = together();
    let mut command = Command::new(paths::tool("unshare", "util-linux")?);
    command.args(["--pid", "--fork", "--mount-proc"]).arg(paths::agent()?);
    let output = ended(command.args(["doctor", "--comm", "nobody"]))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.contains("not the host's pid namespace"), "it says: {text}");
    let here = ended(&mut netspan(&["doctor", "--comm", "nobody"])?)?;
    let text = String::from_utf8_lossy(&here.stdout).into_owned();
    ensure!(!text.contains("not the host's pid namespace"), "it says here: {text}");
    Ok(())
}
