//! A run, live: on a terminal redrawn in place, elsewhere a line for each thing that happens.
//!
//! The server says "look again" over SSE; where that does not come through, the run is looked at every two seconds. A server that is
//! away for a while is waited for: the run goes on without anybody watching.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use reqwest::Response;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::exit::{Exit, Failure};
use super::run::ended;
use super::server::{MUTE, Server};
use super::steps::{flat, header, lines, paused};
use super::words::{Ink, clock, mark, paint, time, word};
use crate::terminal::{Screen, remark, say};

/// Without a word from the server, a run is looked at so often.
const UNHEARD: Duration = Duration::from_secs(2);
/// … and so often with one, because a word may be lost.
const HEARD: Duration = Duration::from_secs(15);
/// So long a server that is away is waited for.
const AWAY: Duration = Duration::from_secs(120);

/// Watches until the run has ended, or, where nobody sits at the terminal, until a person must decide.
pub(super) async fn to_the_end(server: &Server, run: &str, json: bool) -> anyhow::Result<ExitCode> {
    let told = tokio::select! {
        told = follow(server, run, json) => told?,
        _ = tokio::signal::ctrl_c() => {
            remark(goes_on(run));
            return Ok(ExitCode::from(130));
        }
    };
    if json {
        say(format!("{told:#}"));
    }
    let exit = ended(&told);
    if exit == Exit::Waits {
        remark(format!("a person must decide: see `firebreak show {run}`, or {}/runs/{run}", server.url));
    }
    Ok(exit.into())
}

/// What whoever stops watching is told.
fn goes_on(run: &str) -> String {
    format!(
        "the run goes on; `firebreak watch {run}` shows it, `firebreak abort {run} --reason \"…\"` ends it"
    )
}

async fn follow(server: &Server, run: &str, json: bool) -> Result<Value, Failure> {
    let path = format!("/api/v1/runs/{run}");
    let mut view = View::new(json);
    let (mut ear, mut away) = (None, None);
    let mut listen = Instant::now();
    loop {
        let told = {
            let mut asked = pin!(server.look(&path));
            tokio::select! {
                told = &mut asked => told,
                () = sleep(MUTE) => {
                    view.unheard(&server.url);
                    asked.await
                }
            }
        };
        let told = match told {
            Ok(told) => told,
            Err(failure) if failure.exit == Exit::Unreachable => {
                let since = *away.get_or_insert_with(Instant::now);
                if since.elapsed() > AWAY {
                    return Err(failure);
                }
                view.unheard(&server.url);
                sleep(UNHEARD).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        away = None;
        view.draw(&told);
        view.heard();
        let row = &told["run"];
        let decide = ["paused", "stuck", "outcome_unknown"].contains(&word(row, "state"));
        if !row["ended_at"].is_null() || decide && !view.is_live() {
            return Ok(told);
        }
        if ear.is_none() && listen <= Instant::now() {
            ear = server.listen(&format!("{path}/events")).await.ok();
            // Who is kept waiting for the stream looks meanwhile.
            listen = Instant::now() + HEARD;
        }
        wait(&mut ear, &mut view, &told).await;
    }
}

/// Until the server says that something changed, or it is time to look anyway.
async fn wait(ear: &mut Option<Response>, view: &mut View, told: &Value) {
    let until = Instant::now() + if ear.is_some() { HEARD } else { UNHEARD };
    loop {
        let heard = async {
            match ear.as_mut() {
                Some(stream) => stream.chunk().await.ok().flatten(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            chunk = heard => match chunk {
                Some(bytes) if bytes.windows(7).any(|w| w == b"changed") => return,
                Some(_) => {} // it only says that it is alive
                None => {
                    *ear = None;
                    sleep(UNHEARD).await;
                    return;
                }
            },
            () = sleep(Duration::from_secs(1)), if view.is_live() => view.draw(told),
            () = sleep_until(until) => return,
        }
    }
}

/// What has been shown.
struct View {
    screen: Option<Screen>,
    silent: bool,
    /// The status of each step, by path, and of the run.
    shown: HashMap<String, String>,
    /// What stands on the screen.
    all: (Vec<String>, usize),
    /// Has it been said that the server does not answer?
    unheard: bool,
}

impl View {
    fn new(json: bool) -> Self {
        let live = std::io::stdout().is_terminal() && !json;
        Self {
            screen: live.then(Screen::default),
            silent: json,
            shown: HashMap::new(),
            all: (Vec::new(), 0),
            unheard: false,
        }
    }

    fn is_live(&self) -> bool {
        self.screen.is_some()
    }

    fn draw(&mut self, told: &Value) {
        if let Some(screen) = &mut self.screen {
            let mut all = header(told);
            let top = all.len();
            all.extend(lines(told));
            screen.draw(&all, top);
            self.all = (all, top);
        } else if !self.silent {
            self.news(told);
        }
    }

    /// Says, once, that the server does not answer; what stands there is what it said last.
    fn unheard(&mut self, url: &str) {
        if std::mem::replace(&mut self.unheard, true) {
            return;
        }
        let says = format!("{url} does not answer; the run may go on meanwhile");
        match &mut self.screen {
            Some(screen) => {
                let (mut all, top) = self.all.clone();
                all.push(paint(Ink::Warn, &says));
                screen.draw(&all, top);
            }
            None => remark(says),
        }
    }

    fn heard(&mut self) {
        if std::mem::take(&mut self.unheard) && !self.is_live() {
            remark("it answers again");
        }
    }

    /// A line for each thing that is not as it was, in the order in which it happened.
    fn news(&mut self, told: &Value) {
        let mut news = Vec::new();
        for step in flat(told) {
            let (path, status) = (word(step, "path"), word(step, "status"));
            let known = self.shown.insert(path.to_owned(), status.to_owned());
            if known.as_deref() == Some(status)
                || known.is_none() && matches!(status, "not reached" | "to come")
            {
                continue;
            }
            let (sign, ink) = mark(status);
            let at = if step["ended_at"].is_null() { &step["started_at"] } else { &step["ended_at"] };
            let error = step["error"]["message"].as_str().map(|e| format!(": {e}")).unwrap_or_default();
            let line = format!("{}  {} {}  {status}{error}", clock(at), paint(ink, sign), named(step));
            news.push((time(at), line));
        }
        news.sort_by_key(|(at, _)| *at);
        news.into_iter().for_each(|(_, line)| say(line));
        let (row, state) = (&told["run"], word(&told["run"], "state"));
        if self.shown.insert(String::new(), state.to_owned()).as_deref() != Some(state) {
            let (sign, ink) = mark(state);
            let state = state.replace('_', " ");
            let says = match row["message"].as_str().or_else(|| paused(told)) {
                Some(message) if message.starts_with(&state) => message.to_owned(),
                Some(message) => format!("{state}: {message}"),
                None => state,
            };
            let title = paint(Ink::Bold, word(row, "title"));
            say(format!("{}  {} {title}  {says}", clock(&row["updated_at"]), paint(ink, sign)));
        }
    }
}

/// A step's title, with the item that it is done for: several items are at work side by side, and each line stands alone.
fn named(step: &Value) -> String {
    let (path, title) = (word(step, "path"), word(step, "title"));
    let item = path.rsplit_once(']').and_then(|(before, _)| Some(before.rsplit_once('[')?.1));
    match item {
        Some(item) if item != title => format!("{item}: {title}"),
        _ => title.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    #[test]
    fn what_is_advised_can_be_typed() {
        let said = super::goes_on("0190c0de-0000-7000-8000-000000000000");
        let commands: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
        assert_eq!(commands.len(), 2);
        for command in commands {
            assert!(crate::Cli::try_parse_from(command.split(' ')).is_ok(), "{command}");
        }
    }

    #[test]
    fn each_line_says_for_which_item_it_is() {
        let named = |path: &str, title: &str| super::named(&json!({ "path": path, "title": title }));
        assert_eq!(named("remove[i-1].drain", "Let clients finish"), "i-1: Let clients finish");
        assert_eq!(named("remove[i-1]", "i-1"), "i-1");
        assert_eq!(named("look", "Look at the group"), "Look at the group");
    }
}
