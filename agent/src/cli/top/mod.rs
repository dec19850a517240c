//! `netspan top`: a full screen of what goes on, by what a running agent keeps: groups, a group's spans, one span.

mod app;
mod column;
mod filter;
mod view;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};
use serde_json::Value as Json;

use self::app::{After, App, Question};
use super::client::Agent;

/// How often the agent is asked.
const EVERY: Duration = Duration::from_secs(1);
/// How often keys and answers are looked for.
const TURN: Duration = Duration::from_millis(50);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `netspan top`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Filter at the start, as after `/`: text, or words such as status=5xx path=/api
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    #[command(flatten)]
    agent: Agent,
}

type Answer = (Question, Result<Json, String>);

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !io::stdout().is_terminal() {
        bail!("top draws on a terminal, and standard output is none; `netspan stat` prints the same once");
    }
    // An agent that is not there is told of before the screen is taken.
    args.agent.get("/healthz", &[], PATIENCE)?;
    let mut app = App::new();
    args.filter.join(" ").chars().for_each(|c| app.filter.push(c));
    let (questions, asked) = channel();
    let (answers, answered) = channel();
    let agent = args.agent.clone();
    thread::Builder::new().name("ask".into()).spawn(move || ask(&agent, &asked, &answers)).context("no thread")?;
    let mut terminal = ratatui::try_init().context("the terminal can't be drawn on")?;
    let result = turns(&mut terminal, &mut app, &questions, &answered);
    ratatui::restore();
    result.context("the terminal failed")?;
    Ok(ExitCode::SUCCESS)
}

/// Asks one question after the other; of several that wait only the last counts.
fn ask(agent: &Agent, questions: &Receiver<Question>, answers: &Sender<Answer>) {
    while let Ok(mut question) = questions.recv() {
        while let Ok(newer) = questions.try_recv() {
            question = newer;
        }
        let words: Vec<(&str, String)> =
            question.words.iter().map(|(word, value)| (word.as_str(), value.clone())).collect();
        let answer = agent.get(question.path, &words, PATIENCE).and_then(|body| Ok(serde_json::from_slice(&body)?));
        if answers.send((question, answer.map_err(|error| format!("{error:#}")))).is_err() {
            return;
        }
    }
}

/// Draws, and waits for keys and answers, until it is over.
fn turns(
    terminal: &mut DefaultTerminal,
    app: &mut App,
    questions: &Sender<Question>,
    answers: &Receiver<Answer>,
) -> io::Result<()> {
    let (mut is_new, mut next) = (true, Instant::now());
    loop {
        if is_new {
            terminal.draw(|frame| view::draw(frame, app))?;
            is_new = false;
        }
        if Instant::now() >= next {
            next = Instant::now() + EVERY;
            if let Some(question) = app.question().filter(|_| !app.paused) {
                // The thread ends only after this one.
                let _ = questions.send(question);
            }
        }
        if event::poll(TURN)? {
            is_new = true;
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
            {
                match app.key(key) {
                    After::Draw => {}
                    After::Ask => next = Instant::now(),
                    After::Quit => return Ok(()),
                }
            }
        }
        while let Ok((question, answer)) = answers.try_recv() {
            app.answer(&question, answer);
            is_new = true;
        }
    }
}
