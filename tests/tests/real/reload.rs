//! Destinations that change while the agent runs: each span is at the one that was configured when it came.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use netspan_tests::{
    agent::Agent,
    apps::Kind,
    drive::{self, Ask, Talk},
    scope::{Scope, kill},
    span::JsonSpan,
    truth::{Seen, same},
    wait,
};
use rustix::process::Signal;

/// Time for spans to be in a file, and for signals to have their effect.
const SOON: Duration = Duration::from_secs(20);

fn file(name: &str, path: &Path) -> String {
    format!("[[export]]\nkind = \"file\"\nname = \"{name}\"\npath = \"{}\"\n", path.display())
}

fn written(path: &Path) -> Result<Vec<Seen>> {
    wait::whole_lines(path).iter().map(|line| JsonSpan::parse(line).map(|span| span.seen())).collect()
}

#[test]
fn destinations_change_while_the_agent_runs_and_no_span_is_lost_or_told_twice() -> Result<()> {
    let _machine = crate::together();
    let scope = Scope::new()?;
    let node = Kind::Node.start(&scope)?;
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    let (config, stays, first, second) = (at("netspan.toml"), at("stays"), at("first"), at("second"));
    fs::write(&config, [file("stays", &stays), file("moves", &first)].concat())?;
    let mut command = Agent::command()?;
    command.args(["run", "--cgroup", &scope.name()?, "--config"]).arg(&config);
    // With a queue: who takes over finds it given up.
    command.env_remove("NETSPAN_QUEUE_OFF").arg("--queue").arg(at("queue"));
    let agent = Agent::start(command)?;
    let ask = |path: &str| drive::run(&node.address, &[Talk::InTurn(vec![Ask::get(path), Ask::get("/bytes/7")])]);
    let reload = |text: &str, said: &str| -> Result<()> {
        fs::write(&config, text)?;
        kill(agent.pid(), Signal::HUP)?;
        wait::until(said, SOON, || Ok(agent.printed().contains(said).then_some(())))
    };

    let before = ask("/hello")?;
    wait::until("the first spans", SOON, || Ok((written(&first)?.len() == before.len()).then_some(())))?;
    reload(&[file("stays", &stays), file("moves", &second)].concat(), "destinations started: moves; ended: none")?;
    let after = ask("/missing")?;
    wait::until("the next spans", SOON, || Ok((written(&second)?.len() == after.len()).then_some(())))?;
    // Nonsense leaves them as they are.
    reload("[[export]]\nkind = \"pigeon\"\n", "the options stay as they are")?;
    let refused = ask("/status/404")?;
    let count = after.len() + refused.len();
    wait::until("spans all the same", SOON, || Ok((written(&second)?.len() == count).then_some(())))?;
    reload(&file("stays", &stays), "destinations started: none; ended: moves")?;
    let last = ask("/bytes/9")?;
    let all = [&before[..], &after, &refused, &last].concat();
    wait::until("the last spans", SOON, || Ok((written(&stays)?.len() == all.len()).then_some(())))?;
    let errors = agent.stop()?.errors;
    same(before.clone(), written(&first)?)?;
    same([after, refused].concat(), written(&second)?)?;
    same(all.clone(), written(&stays)?)?;
    let told = |name: &str| {
        let line = errors.lines().find(|line| line.contains(&format!("sink.{name}: spans")));
        line.with_context(|| format!("nothing of {name} in {errors}"))
    };
    ensure!(told("stays")?.contains(&format!("spans {} + recovered 0 = sent {}", all.len(), all.len())), "{errors}");
    ensure!(told("moves (until a reload)")?.contains(&format!("spans {} ", before.len())), "{errors}");
    Ok(())
}

#[test]
fn a_header_that_asks_for_traces_may_be_given_while_the_agent_runs() -> Result<()> {
    let _machine = crate::together();
    let scope = Scope::new()?;
    let node = Kind::Node.start(&scope)?;
    let directory = tempfile::tempdir()?;
    let (config, spans) = (directory.path().join("netspan.toml"), directory.path().join("spans"));
    let few = "[sampling]\nratio = 0\nerrors = \"chance\"\nrare = 0\ndelay = \"100ms\"\n";
    fs::write(&config, [few, &file("all", &spans)].concat())?;
    let mut command = Agent::command()?;
    command.args(["run", "--cgroup", &scope.name()?, "--config"]).arg(&config);
    let agent = Agent::start(command)?;
    let ask = |header: &str| {
        let asks = ["/hello", "/bytes/7"].map(|path| Ask { headers: header.to_owned(), ..Ask::get(path) });
        drive::run(&node.address, &[Talk::InTurn(asks.into())])
    };

    ask("X-Debug: 1\r\n")?;
    let read = "sampling and destinations were read anew";
    let (header, file) = ("header = \"x-debug\"\n", file("all", &spans));
    fs::write(&config, [few, header, &file].concat())?;
    kill(agent.pid(), Signal::HUP)?;
    wait::until(read, SOON, || Ok(agent.printed().contains(read).then_some(())))?;
    ask("")?;
    let asked = ask("X-Debug: 1\r\n")?;
    wait::until("the spans that were asked for", SOON, || Ok((written(&spans)?.len() >= asked.len()).then_some(())))?;
    agent.stop()?;
    same(asked, written(&spans)?)
}
