//! What goes on right now, as a few lines for a terminal.

use std::time::{Duration, Instant};

use steppe_plan::events::words::{doing, progress};
use steppe_plan::events::{Event, Resource, Step};
use steppe_plan::status::Happened;

use crate::terminal::shown;

/// Steps that are done sooner are not worth a look.
const WORTH_A_LOOK: Duration = Duration::from_millis(300);
/// Steps that are shown, the innermost ones.
const STEPS_MAX: usize = 3;

/// Steps and resources that something is done with.
#[derive(Debug, Default)]
pub struct Live {
    steps: Vec<Running>,
    resources: Vec<(Resource, Instant)>,
    is_paused: bool,
}

#[derive(Debug)]
struct Running {
    step: Step,
    began: Instant,
    text: String,
    progress: String,
    expected: Option<f64>,
}

impl Live {
    /// Nothing is shown from now on.
    pub fn pause(&mut self) {
        self.is_paused = true;
    }

    /// What goes on is shown again.
    pub fn go_on(&mut self) {
        self.is_paused = false;
    }

    /// Takes notice of an event.
    pub fn see(&mut self, event: &Event) {
        match event {
            Event::StepStarted { step, of, expected_seconds } => self.steps.push(Running {
                step: *step,
                began: Instant::now(),
                text: shown(&doing(*step, of.as_deref())).into_owned(),
                progress: String::new(),
                expected: *expected_seconds,
            }),
            Event::Progress { step, done, total, unit } => {
                if let Some(running) = self.steps.iter_mut().rfind(|r| r.step == *step) {
                    running.progress = progress(*done, *total, *unit);
                }
            }
            Event::StepDone { did, .. } => self.end(did.step()),
            Event::StepFailed { step, .. } => self.end(*step),
            Event::Resource(resource) => {
                let known =
                    self.resources.iter().position(|(r, _)| r.logical_id == resource.logical_id);
                match (resource.happened, known) {
                    (Happened::Begun, None) => {
                        self.resources.push((resource.clone(), Instant::now()));
                    }
                    (Happened::Begun, Some(_)) | (_, None) => {}
                    (_, Some(place)) => drop(self.resources.remove(place)),
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, step: Step) {
        if let Some(place) = self.steps.iter().rposition(|r| r.step == step) {
            self.steps.remove(place);
        }
        if matches!(
            step,
            Step::CreateStack | Step::UpdateStack | Step::DeleteStack | Step::ContinueRollback
        ) {
            self.resources.clear();
        }
    }

    /// What is to be seen now; `None` when whatever is drawn has to stay as it is.
    pub fn lines(&self, now: Instant, width: usize) -> Option<Vec<String>> {
        if self.is_paused {
            return None;
        }
        let worth = |r: &&Running| now.duration_since(r.began) >= WORTH_A_LOOK;
        let steps: Vec<&Running> = self.steps.iter().filter(worth).collect();
        let innermost = steps.len().saturating_sub(STEPS_MAX);
        let mut lines: Vec<String> = steps[innermost..].iter().map(|s| s.line(now)).collect();
        if !lines.is_empty() {
            lines.extend(self.waited_for(now, width));
        }
        Some(lines)
    }

    /// The resources that take longest, as many as fit into a line.
    fn waited_for(&self, now: Instant, width: usize) -> Option<String> {
        let mut line = format!("{:>12}  waiting for ", "");
        let (all, mut named) = (self.resources.len(), 0);
        for (resource, began) in &self.resources {
            let seconds = now.duration_since(*began).as_secs();
            let part = format!("{} {}", shown(&resource.logical_id), clock(seconds));
            let separator = if named > 0 { ", " } else { "" };
            // Room for how many more there are.
            if named > 0 && line.chars().count() + part.chars().count() + 14 > width {
                break;
            }
            line += &format!("{separator}{part}");
            named += 1;
        }
        if named < all {
            line += &format!(", {} more", all - named);
        }
        (all > 0).then_some(line)
    }
}

impl Running {
    /// `0:05 of 0:12  training the model: 43 %`, where the second time is what to expect.
    fn line(&self, now: Instant) -> String {
        let colon = if self.progress.is_empty() { "" } else { ": " };
        let elapsed = clock(now.duration_since(self.began).as_secs());
        let expected = self.expected.map(|seconds| clock(seconds.ceil() as u64));
        let time = expected.map_or(elapsed.clone(), |expected| format!("{elapsed} of {expected}"));
        format!("{time:>12}  {}{colon}{}", self.text, self.progress)
    }
}

/// `2:05`: minutes and seconds.
fn clock(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use steppe_plan::events::Unit;

    use super::*;

    fn resource(logical_id: &str, happened: Happened) -> Event {
        Event::Resource(Resource {
            logical_id: logical_id.into(),
            resource_type: "AWS::EC2::Instance".into(),
            happened,
            status: None,
            reason: None,
            hints: vec![],
            seconds: None,
        })
    }

    #[test]
    fn what_is_waited_for_is_told_with_what_to_expect() {
        let mut live = Live::default();
        let step = Step::CreateStack;
        let (of, expected_seconds) = (Some("s".to_owned()), Some(75.0));
        live.see(&Event::StepStarted { step, of, expected_seconds });
        live.see(&Event::Progress { step, done: 2, total: 5, unit: Unit::Resources });
        for name in ["Server", "Predictor", "Done"] {
            live.see(&resource(name, Happened::Begun));
        }
        live.see(&resource("Done", Happened::Created));
        let soon = Instant::now();
        assert_eq!(live.lines(soon, 80), Some(vec![]), "too short to be worth a look");
        let later = soon + Duration::from_secs(9);
        let wide = "0:09 of 1:15  creating the stack s: 2 of 5 resources\n\
                    \x20             waiting for Server 0:09, Predictor 0:09";
        assert_eq!(live.lines(later, 200).map(|l| l.join("\n")).as_deref(), Some(wide));
        let narrow = live.lines(later, 50).expect("lines");
        assert!(narrow[1].ends_with("waiting for Server 0:09, 1 more"), "{narrow:?}");
        live.see(&Event::StepFailed { step, seconds: 9.0 });
        assert_eq!(live.lines(later, 80), Some(vec![]));
    }
}
