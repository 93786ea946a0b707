//! From which probability on the answer is yes, chosen on answers to rows that were not seen.

use serde::{Deserialize, Serialize};

use super::error::RowsError;
use super::metrics::{Confusion, tied_from_highest};

/// What a threshold is for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Aim {
    /// The highest F1.
    F1,
    /// At least this share of what happens is said, with the fewest false alarms.
    Recall(f64),
    /// At least this share of what is said happens, and as much as possible is said.
    Precision(f64),
    /// The least cost.
    Cost {
        /// Of one row that happened and was not said.
        missed: f64,
        /// Of one row that was said and did not happen.
        false_alarm: f64,
    },
}

/// A threshold and what it would have done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Every probability from here on is a yes.
    pub threshold: f64,
    /// What the rows' answers become.
    pub confusion: Confusion,
}

/// Every threshold that tells rows apart, from the one that says no to all down to the one that
/// says yes to all. Each lies in the middle between two answers, so that one that is near to an
/// answer is not decided by rounding; none is beyond 0 or 1.
pub fn sweep(labels: &[bool], probabilities: &[f64]) -> Vec<Choice> {
    let positives = labels.iter().filter(|label| **label).count();
    let mut confusion = Confusion {
        false_negatives: positives,
        true_negatives: labels.len() - positives,
        ..Confusion::default()
    };
    let tied = tied_from_highest(probabilities);
    let value = |group: &Vec<usize>| probabilities[group[0]];
    let highest = tied.first().map_or(0.0, value);
    // A probability above all answers: none, if an answer is already 1.
    let none = (highest < 1.0).then(|| middle(highest, 1.0));
    let mut choices: Vec<Choice> =
        none.map(|threshold| Choice { threshold, confusion }).into_iter().collect();
    for (at, group) in tied.iter().enumerate() {
        let ones = group.iter().filter(|row| labels[**row]).count();
        confusion.true_positives += ones;
        confusion.false_negatives -= ones;
        confusion.false_positives += group.len() - ones;
        confusion.true_negatives -= group.len() - ones;
        let threshold = tied.get(at + 1).map_or(0.0, |next| middle(value(next), value(group)));
        choices.push(Choice { threshold, confusion });
    }
    choices
}

/// A number above `low` and not above `high`, in the middle if there is one.
fn middle(low: f64, high: f64) -> f64 {
    let middle = f64::midpoint(low, high);
    if middle > low { middle } else { high }
}

/// The threshold that does best what is asked for. Between equals, the one that says yes to less.
pub fn choose(labels: &[bool], probabilities: &[f64], aim: Aim) -> Result<Choice, RowsError> {
    let choices = sweep(labels, probabilities);
    let best = |fits: &dyn Fn(&Confusion) -> bool, worth: &dyn Fn(&Confusion) -> f64| {
        let fitting = choices.iter().filter(|choice| fits(&choice.confusion));
        fitting.copied().reduce(|best, choice| {
            if worth(&choice.confusion) > worth(&best.confusion) { choice } else { best }
        })
    };
    let most = |measure: &dyn Fn(&Confusion) -> f64| {
        choices.iter().map(|choice| measure(&choice.confusion)).fold(0.0, f64::max)
    };
    let unreachable = |wish, wanted, best| RowsError::Unreachable { wish, wanted, best };
    let said = |confusion: &Confusion| confusion.true_positives + confusion.false_positives > 0;
    match aim {
        Aim::F1 => best(&|_| true, &Confusion::f1).filter(|choice| choice.confusion.f1() > 0.0),
        Aim::Recall(wanted) => best(&|c| c.recall() >= wanted, &Confusion::precision),
        Aim::Precision(wanted) => best(&|c| said(c) && c.precision() >= wanted, &Confusion::recall),
        Aim::Cost { missed, false_alarm } => best(&|_| true, &|c| {
            -(missed * c.false_negatives as f64 + false_alarm * c.false_positives as f64)
        }),
    }
    .ok_or_else(|| match aim {
        Aim::F1 => unreachable("an F1 above", 0.0, most(&Confusion::f1)),
        Aim::Precision(wanted) => {
            unreachable("a precision of", wanted, most(&Confusion::precision))
        }
        Aim::Recall(wanted) => unreachable("a recall of", wanted, most(&Confusion::recall)),
        Aim::Cost { .. } => RowsError::Unsuitable("there are no rows to choose by".to_owned()),
    })
}

/// At most `points` of the thresholds, for a table or a curve: the first and the last one, and
/// others at equal steps of rows that are told yes.
pub fn thinned(choices: &[Choice], points: usize) -> Vec<Choice> {
    let told = |choice: &Choice| choice.confusion.true_positives + choice.confusion.false_positives;
    let (Some(last), true) = (choices.last(), points > 1) else { return choices.to_vec() };
    let rows = told(last) as f64;
    let mut kept: Vec<Choice> = Vec::with_capacity(points);
    for choice in choices {
        let due = kept.len() as f64 * rows / (points - 1) as f64;
        if told(choice) as f64 >= due && kept.len() + 1 < points {
            kept.push(*choice);
        }
    }
    if kept.last() != Some(last) {
        kept.push(*last);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [bool; 10] = [true, true, false, true, false, false, true, false, false, false];
    const PROBABILITIES: [f64; 10] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1];

    fn chosen(aim: Aim) -> Choice {
        choose(&LABELS, &PROBABILITIES, aim).expect("reachable")
    }

    #[test]
    fn the_sweep_tells_what_each_threshold_does() {
        let choices = sweep(&LABELS, &PROBABILITIES);
        assert_eq!(choices.len(), 10, "nine different answers, and no to all");
        for Choice { threshold, confusion } in &choices {
            assert_eq!(Confusion::at(&LABELS, &PROBABILITIES, *threshold), *confusion);
        }
        assert_eq!(choices[0].confusion.false_negatives, 4);
        assert_eq!(choices[9].confusion.true_negatives, 0);
    }

    #[test]
    fn thresholds_do_what_they_are_for() {
        // Yes to four: 3 of them right, of 4. F1 = 6 / 8.
        assert_eq!(chosen(Aim::F1).threshold, 0.55);
        assert_eq!(chosen(Aim::F1).confusion.f1(), 0.75);
        assert_eq!(chosen(Aim::Recall(1.0)).threshold, 0.35);
        assert_eq!(chosen(Aim::Recall(0.5)).confusion.precision(), 1.0);
        assert_eq!(chosen(Aim::Precision(0.75)).threshold, 0.55);
        assert_eq!(chosen(Aim::Precision(1.0)).confusion.recall(), 0.5);
        let cost = |missed, false_alarm| chosen(Aim::Cost { missed, false_alarm });
        assert_eq!(cost(10.0, 1.0).confusion.false_negatives, 0);
        assert_eq!(cost(1.0, 10.0).confusion.false_positives, 0);
        assert_eq!(cost(0.0, 1.0).confusion.true_positives, 0, "nothing is worth an alarm");
    }

    #[test]
    fn what_cannot_be_reached_is_told_with_what_can() {
        let labels = [false, true];
        let unreachable = choose(&labels, &[0.9, 0.1], Aim::Precision(0.8)).expect_err("too high");
        assert_eq!(
            unreachable.to_string(),
            "no threshold reaches a precision of 0.8: the best one reaches 0.5000"
        );
        assert!(choose(&[false, false], &[0.9, 0.1], Aim::F1).is_err());
        assert!(choose(&[false, false], &[0.9, 0.1], Aim::Recall(0.5)).is_err());
    }

    #[test]
    fn answers_at_the_ends_and_next_to_each_other_are_told_apart() {
        let close = [1.0, 1.0 - f64::EPSILON / 2.0, 0.0];
        let choices = sweep(&[true, false, false], &close);
        for Choice { threshold, confusion } in &choices {
            assert_eq!(Confusion::at(&[true, false, false], &close, *threshold), *confusion);
        }
        assert_eq!(choices.len(), 3, "no threshold within 0 to 1 says no to 1");
    }

    #[test]
    fn a_long_sweep_is_thinned_to_its_ends_and_equal_steps() {
        let probabilities: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1000.0).collect();
        let labels: Vec<bool> = (0..1000).map(|i| i % 7 == 0).collect();
        let all = sweep(&labels, &probabilities);
        let thin = thinned(&all, 21);
        assert_eq!(thin.len(), 21);
        assert_eq!((thin.first(), thin.last()), (all.first(), all.last()));
        assert_eq!(thinned(&all[..3], 21), all[..3]);
    }
}
