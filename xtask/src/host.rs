//! Who is told what a verb does, and who is asked: a terminal, a pipe, or a program.
//!
//! Verbs tell [`Event`]s. On a terminal finished things scroll by and what goes on is drawn below
//! them; a pipe gets a line per finished thing; a program gets every event as a line of JSON on
//! standard output (`--json`). Standard output carries results only, and `--json` is one.

mod durations;
mod live;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value, json};
use steppe_plan::events::words::{self, Line, Tone};
use steppe_plan::events::{Answerer, Did, Event, Fact, Finding, Outcome, SCHEMA, Step, Unit};
use steppe_wire::hint::text;

use crate::cli::Args;
use crate::terminal::{ask, draw, err, out, out_json, shown, shown_lines, width};
use durations::Durations;
use live::Live;

/// How often what goes on is drawn.
const FRAME: Duration = Duration::from_millis(250);
/// Columns of what was done, up to where its time stands.
const WHAT_COLUMNS: usize = 66;
/// Columns of the verb before it.
const VERB_COLUMNS: usize = 14;
/// Columns of the time behind it.
const TIME_COLUMNS: usize = 9;
/// What goes before a line that continues the one before.
const INDENT: &str = "\n              ";

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// To people who watch.
    Terminal,
    /// To whoever reads it later.
    Pipe,
    /// To a program.
    Json,
}

impl Show {
    /// What standard error is, unless a program asks.
    pub fn of(args: &Args) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        match (args.json, std::io::stderr().is_terminal()) {
            (true, _) => Self::Json,
            (false, true) if !dumb => Self::Terminal,
            (false, _) => Self::Pipe,
        }
    }
}

/// Who is told and asked.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    show: Show,
    verb: &'static str,
    colour: bool,
    began: Instant,
    state: Arc<Mutex<State>>,
    /// Ends the drawing when it is dropped.
    drawing: Mutex<Option<Sender<()>>>,
}

/// What is remembered of what was told.
#[derive(Default)]
struct State {
    durations: Durations,
    live: Live,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    /// A host for one run of a verb.
    pub fn new(show: Show, verb: &'static str) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let drawing = (show == Show::Terminal).then(|| {
            let (ends, ended) = channel();
            let state = Arc::clone(&state);
            std::thread::spawn(move || draw_until(&ended, &state));
            ends
        });
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let host = Self(Arc::new(Inner {
            show,
            verb,
            colour: colour && std::io::stderr().is_terminal(),
            began: Instant::now(),
            state,
            drawing: Mutex::new(drawing),
        }));
        host.tell(Event::Began { verb: verb.to_owned() });
        host
    }

    /// Durations of steps are kept in `file`, apart for each deployment.
    pub fn remember(&self, file: PathBuf, deployment: &str) {
        lock(&self.0.state).durations = Durations::load(file, deployment);
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.0.began.elapsed()
    }

    /// Tells an event.
    pub fn tell(&self, event: Event) {
        if self.0.show == Show::Json {
            return out_json(&document(&event));
        }
        lock(&self.0.state).live.see(&event);
        if let Some(line) = words::line(&event) {
            self.write(&line);
        }
        if let Event::Error { message, causes, hints } = &event {
            let parts: Vec<&str> =
                std::iter::once(message).chain(causes).map(String::as_str).collect();
            let message = format!("error: {}", shown_lines(&parts.join(": ")));
            err(&text(&message, hints.iter().map(|hint| shown(hint))));
        }
    }

    /// Tells a fact.
    pub fn fact(&self, fact: Fact) {
        self.tell(Event::Fact(fact));
    }

    /// Tells a finding.
    pub fn found(&self, finding: Finding) {
        self.tell(Event::Finding(finding));
    }

    /// Tells what the whole verb has done.
    pub fn did(&self, did: Did) {
        self.tell(Event::StepDone { seconds: self.elapsed().as_secs_f64(), did });
    }

    /// Tells what will be done.
    pub fn planned(&self, plan: &impl Serialize) {
        self.tell(Event::Planned { plan: value(plan) });
    }

    /// Gives the result: `value` to a program, `text` to people.
    pub fn result(&self, result: &impl Serialize, text: &str) {
        match self.0.show {
            Show::Json => self.tell(Event::Result { result: value(result) }),
            Show::Pipe => out(text),
            Show::Terminal if std::io::stdout().is_terminal() => out(&fitted(text, width())),
            Show::Terminal => out(text),
        }
    }

    /// Begins a step, which is waited for until it is [`Work::done`].
    pub fn begin(&self, step: Step, of: impl Into<Option<String>>) -> Work {
        let of = of.into();
        let expected_seconds = lock(&self.0.state).durations.of(step, of.as_deref());
        self.tell(Event::StepStarted { step, of: of.clone(), expected_seconds });
        Work { host: self.clone(), step, of, began: Instant::now(), is_done: false }
    }

    /// Asks what only a person can answer; where nobody is, the answer is no.
    pub fn ask(&self, question: &str) -> bool {
        let there = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        let agreed = there && {
            lock(&self.0.state).live.pause();
            ask(&format!("{question} [y/N] "));
            let mut answer = String::new();
            let read = std::io::stdin().read_line(&mut answer).is_ok();
            lock(&self.0.state).live.go_on();
            read && matches!(answer.trim(), "y" | "Y" | "yes")
        };
        let by = if there { Answerer::Person } else { Answerer::Nobody };
        self.tell(Event::Question { question: question.to_owned(), agreed, by });
        agreed
    }

    /// Tells the end, and keeps how long its steps took.
    pub fn end(&self, outcome: Outcome) {
        lock(&self.0.state).durations.save();
        self.stop_drawing();
        self.tell(Event::Ended {
            verb: self.0.verb.to_owned(),
            outcome,
            exit_code: outcome.exit_code(),
            seconds: self.elapsed().as_secs_f64(),
        });
    }

    fn stop_drawing(&self) {
        let drawing = self.0.drawing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if drawing.is_some() {
            lock(&self.0.state).live = Live::default();
            draw(Vec::new());
        }
    }

    /// Writes a line: `    uploaded  the model server (7.1 MB)            0.2 s`.
    fn write(&self, line: &Line) {
        let what = shown(line.what.trim_end());
        if line.verb.is_empty() {
            return err(&what);
        }
        let mut parts = self.parts(&what, if line.seconds.is_some() { TIME_COLUMNS } else { 0 });
        let columns = self.columns(TIME_COLUMNS);
        if let (Some(seconds), Some(last)) = (line.seconds, parts.last_mut()) {
            *last = format!("{last:<columns$} {seconds:>6.1} s");
        }
        err(&format!("{}  {}", self.verb_column(line), parts.join(INDENT)));
        for hint in &line.hints {
            err(&format!("{:>12}  {}", "hint", self.parts(&shown(hint), 0).join(INDENT)));
        }
    }

    /// Columns for what was done, before so many others.
    fn columns(&self, behind: usize) -> usize {
        let fits = width().saturating_sub(VERB_COLUMNS + 1 + behind);
        match (self.0.show, behind) {
            (Show::Terminal, 0) => fits,
            (Show::Terminal, _) => WHAT_COLUMNS.min(fits),
            (Show::Pipe | Show::Json, _) => WHAT_COLUMNS,
        }
    }

    /// What was done, in as many lines as a terminal needs.
    fn parts(&self, what: &str, behind: usize) -> Vec<String> {
        match self.0.show {
            Show::Terminal => wrapped(what, self.columns(behind)),
            Show::Pipe | Show::Json => vec![what.to_owned()],
        }
    }

    fn verb_column(&self, line: &Line) -> String {
        let colour = match line.tone {
            Tone::Good => "32",
            Tone::Plain => "36",
            Tone::Bad => "31",
        };
        if self.0.colour {
            format!("\u{1b}[1;{colour}m{:>12}\u{1b}[0m", line.verb)
        } else {
            format!("{:>12}", line.verb)
        }
    }
}

/// A step that goes on. One that is dropped before it is done has failed.
pub struct Work {
    host: Host,
    step: Step,
    of: Option<String>,
    began: Instant,
    is_done: bool,
}

impl Work {
    /// Tells how far it is.
    pub fn progress(&self, done: u64, total: u64, unit: Unit) {
        self.host.tell(Event::Progress { step: self.step, done, total, unit });
    }

    /// Tells that it is done.
    pub fn done(mut self, did: Did) {
        self.is_done = true;
        let seconds = self.began.elapsed().as_secs_f64();
        lock(&self.host.0.state).durations.note(self.step, self.of.as_deref(), seconds);
        self.host.tell(Event::StepDone { seconds, did });
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.is_done {
            let seconds = self.began.elapsed().as_secs_f64();
            self.host.tell(Event::StepFailed { step: self.step, seconds });
        }
    }
}

/// Draws what goes on until the other end of the channel is dropped.
fn draw_until(ended: &Receiver<()>, state: &Mutex<State>) {
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(FRAME) {
        // Drawn under the lock, so that nothing is drawn after the end.
        let state = lock(state);
        if let Some(lines) = state.live.lines(Instant::now(), width()) {
            draw(lines);
        }
    }
}

/// A text in lines of at most so many columns, unless a word is longer.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one from the beginning");
        let is_full = last.chars().count() + 1 + word.chars().count() > columns;
        if is_full && !last.is_empty() {
            lines.push(word.to_owned());
        } else {
            let space = if last.is_empty() { "" } else { " " };
            *last += &format!("{space}{word}");
        }
    }
    lines
}

/// A text whose rules, such as those of tables, are no wider than the screen.
fn fitted(text: &str, width: usize) -> String {
    let is_rule = |line: &str| line.chars().all(|c| matches!(c, '─' | ' ' | '\n'));
    let fit = |line: &str| match is_rule(line) {
        true => line.chars().filter(|c| *c != '\n').take(width - 1).chain(['\n']).collect(),
        false => line.to_owned(),
    };
    text.split_inclusive('\n').map(fit).collect()
}

/// An event as a document of one line.
fn document(event: &Event) -> String {
    let mut document = Map::new();
    document.insert("schema".to_owned(), json!(SCHEMA));
    if let Value::Object(fields) = value(event) {
        document.extend(fields);
    }
    document.insert("at".to_owned(), json!(jiff::Timestamp::now().to_string()));
    Value::Object(document).to_string()
}

fn value(data: &impl Serialize) -> Value {
    serde_json::to_value(data).expect("the tool's own data have names as keys")
}

#[cfg(test)]
mod tests {
    use super::{fitted, wrapped};

    #[test]
    fn long_lines_break_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("s3://a-very-long-name x", 7), ["s3://a-very-long-name", "x"]);
        assert_eq!(fitted("a\n\n──────\nabcdefgh\n", 5), "a\n\n────\nabcdefgh\n");
    }
}
