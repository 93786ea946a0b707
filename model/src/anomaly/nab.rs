//! The score of the Numenta anomaly benchmark (Lavin and Ahmad 2015, "Evaluating real-time anomaly
//! detection algorithms"), as version 1.1 of its scorer computes it.
//!
//! An alarm inside a labelled window is worth more the earlier it comes, and only the first one
//! counts; an alarm outside costs more the further it is behind the window before it. One threshold
//! serves all files, and it is the one that is best for the profile: the benchmark judges scores,
//! not the choice of a threshold, so its numbers are upper bounds of what a user will see.

use std::ops::RangeInclusive;

/// Share of a file's rows that are not scored, so that a detector can learn.
const PROBATION_SHARE: f64 = 0.15;
/// Rows beyond which the part that is not scored grows no further.
const PROBATION_ROWS_OF: f64 = 5_000.0;
/// Steepness of the curve of rewards.
const STEEPNESS: f64 = 5.0;
/// Widths of a window behind which an alarm is as bad as one without a window before it.
const FAR_BEHIND: f64 = 3.0;

/// What an application gains and loses: the weights of the benchmark's cost matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// The benchmark's name of it.
    pub name: &'static str,
    /// Gain of a window that is found at its first row.
    pub true_positive: f64,
    /// Cost of an alarm far from any window.
    pub false_positive: f64,
    /// Cost of a window that is missed.
    pub false_negative: f64,
}

/// The benchmark's default profile.
pub const STANDARD: Profile =
    Profile { name: "standard", true_positive: 1.0, false_positive: 0.11, false_negative: 1.0 };

/// False alarms cost twice as much.
pub const REWARD_LOW_FP_RATE: Profile =
    Profile { name: "reward_low_FP_rate", false_positive: 0.22, ..STANDARD };

/// Windows that are missed cost twice as much.
pub const REWARD_LOW_FN_RATE: Profile =
    Profile { name: "reward_low_FN_rate", false_negative: 2.0, ..STANDARD };

/// The benchmark's three profiles, in its order.
pub const PROFILES: [Profile; 3] = [STANDARD, REWARD_LOW_FP_RATE, REWARD_LOW_FN_RATE];

/// A detector's answers about one file, and where the file's anomalies are.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// One score per row, higher for more unusual ones; NaN never alarms.
    pub scores: Vec<f64>,
    /// Rows of each anomaly, in order and apart from each other.
    pub windows: Vec<RangeInclusive<usize>>,
}

/// What a detector earned with one threshold on all files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Rows with at least this score are alarms; infinite where none is.
    pub threshold: f64,
    /// Percent of the way from a detector without alarms (0) to a perfect one (100); not a number
    /// where there are no windows.
    pub score: f64,
    /// Windows with an alarm.
    pub found: usize,
    /// Windows with scored rows.
    pub windows: usize,
    /// Alarms outside all windows.
    pub false_alarms: usize,
}

/// Rows at a file's start that are not scored: 15 percent of it, 750 at most.
pub fn probation(rows: usize) -> usize {
    let share = (PROBATION_SHARE * rows as f64).floor();
    share.min(PROBATION_SHARE * PROBATION_ROWS_OF) as usize
}

/// What the threshold earns that is best for the profile on all files together.
pub fn optimised(files: &[Labelled], profile: &Profile) -> Outcome {
    let mut best = Sweep::new(files, profile);
    let mut sweep = best.clone();
    let alarms = alarms(files, profile);
    for equal in alarms.chunk_by(|a, b| a.score == b.score) {
        equal.iter().for_each(|alarm| sweep.add(alarm));
        if sweep.total() > best.total() {
            best = sweep.clone();
        }
    }
    best.outcome()
}

/// What a given threshold earns.
pub fn at_threshold(files: &[Labelled], profile: &Profile, threshold: f64) -> Outcome {
    let mut sweep = Sweep::new(files, profile);
    for alarm in alarms(files, profile).iter().take_while(|alarm| alarm.score >= threshold) {
        sweep.add(alarm);
    }
    Outcome { threshold, ..sweep.outcome() }
}

/// Reward of an alarm at a place relative to a window: −1 is its first row, 0 its end, beyond that
/// the place is in widths of the window behind it.
fn scaled_sigmoid(place: f64) -> f64 {
    if place >= FAR_BEHIND { -1.0 } else { 2.0 / (1.0 + (STEEPNESS * place).exp()) - 1.0 }
}

/// A row as an alarm: the detector's score and what the benchmark makes of it.
struct Alarm {
    score: f64,
    worth: f64,
    /// Number of the window among those of all files.
    window: Option<usize>,
}

/// All scored rows of all files, the most unusual first.
fn alarms(files: &[Labelled], profile: &Profile) -> Vec<Alarm> {
    let mut all = Vec::new();
    let mut windows_before = 0;
    for file in files {
        let scored = probation(file.scores.len())..file.scores.len();
        let rows = scored.filter(|row| !file.scores[*row].is_nan());
        all.extend(rows.map(|row| alarm(file, row, windows_before, profile)));
        windows_before += file.windows.len();
    }
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    all
}

fn alarm(file: &Labelled, row: usize, windows_before: usize, profile: &Profile) -> Alarm {
    let score = file.scores[row];
    let begun = file.windows.partition_point(|window| *window.start() <= row);
    let Some(number) = begun.checked_sub(1) else {
        return Alarm { score, worth: -profile.false_positive, window: None };
    };
    let window = &file.windows[number];
    let width = (window.end() - window.start() + 1) as f64;
    if *window.end() < row {
        // Behind a window of one row nothing is near: the division gives infinity.
        let place = (row - window.end()) as f64 / (width - 1.0);
        return Alarm {
            score,
            worth: scaled_sigmoid(place) * profile.false_positive,
            window: None,
        };
    }
    let place = -((window.end() - row + 1) as f64) / width;
    let worth = scaled_sigmoid(place) / scaled_sigmoid(-1.0) * profile.true_positive;
    Alarm { score, worth, window: Some(windows_before + number) }
}

/// The score while the threshold falls.
#[derive(Clone)]
struct Sweep<'a> {
    profile: &'a Profile,
    /// What each window of all files gives; `None` where none of its rows are scored.
    windows: Vec<Option<f64>>,
    outside: f64,
    false_alarms: usize,
    threshold: f64,
}

impl<'a> Sweep<'a> {
    fn new(files: &[Labelled], profile: &'a Profile) -> Self {
        let missed = |file: &Labelled| -> Vec<Option<f64>> {
            let scored = probation(file.scores.len());
            let of_window = |window: &RangeInclusive<usize>| {
                (*window.end() >= scored).then_some(-profile.false_negative)
            };
            file.windows.iter().map(of_window).collect()
        };
        Self {
            profile,
            windows: files.iter().flat_map(missed).collect(),
            outside: 0.0,
            false_alarms: 0,
            threshold: f64::INFINITY,
        }
    }

    fn add(&mut self, alarm: &Alarm) {
        self.threshold = alarm.score;
        match alarm.window {
            None => {
                self.outside += alarm.worth;
                self.false_alarms += 1;
            }
            // The earliest alarm of a window is worth most.
            Some(number) => {
                let before = self.windows[number].unwrap_or(-self.profile.false_negative);
                self.windows[number] = Some(before.max(alarm.worth));
            }
        }
    }

    fn total(&self) -> f64 {
        self.outside + self.windows.iter().flatten().sum::<f64>()
    }

    fn outcome(&self) -> Outcome {
        let windows = self.windows.iter().flatten().count();
        let none = -self.profile.false_negative * windows as f64;
        let perfect = self.profile.true_positive * windows as f64;
        let missed = |worth: &&f64| **worth == -self.profile.false_negative;
        Outcome {
            threshold: self.threshold,
            score: 100.0 * (self.total() - none) / (perfect - none),
            found: windows - self.windows.iter().flatten().filter(missed).count(),
            windows,
            false_alarms: self.false_alarms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred rows of which these alarm, with one anomaly in rows 50 to 59.
    fn file(alarms: &[usize]) -> Labelled {
        let score = |row: usize| f64::from(u8::from(alarms.contains(&row)));
        Labelled { scores: (0..100).map(score).collect(), windows: vec![50..=59] }
    }

    #[track_caller]
    fn check(alarms: &[usize], profile: &Profile, expected: f64) {
        let score = at_threshold(&[file(alarms)], profile, 1.0).score;
        assert!((score - expected).abs() < 5e-4, "{score}");
    }

    #[test]
    fn the_probation_is_a_share_up_to_a_bound() {
        assert_eq!([100, 4032, 5000, 22_695].map(probation), [15, 604, 750, 750]);
    }

    #[test]
    fn early_alarms_are_worth_more() {
        check(&[], &STANDARD, 0.0);
        check(&[50], &STANDARD, 100.0);
        // Six rows before the end of ten: (2 / (1 + e⁻³) − 1) / (2 / (1 + e⁻⁵) − 1) = 0.917429.
        check(&[54, 55, 59], &STANDARD, 100.0 * 1.917_429 / 2.0);
        check(&[54], &REWARD_LOW_FN_RATE, 100.0 * 2.917_429 / 3.0);
    }

    #[test]
    fn false_alarms_cost_more_far_from_a_window() {
        // Before all windows the whole weight, five rows behind one of ten rows 2 / (1 + e^(25/9))
        // − 1 = −0.882943 of it, three widths behind it all again.
        check(&[20, 50], &STANDARD, 100.0 * (2.0 - 0.11) / 2.0);
        check(&[50, 64], &STANDARD, 100.0 * (2.0 - 0.11 * 0.882_943) / 2.0);
        check(&[50, 64], &REWARD_LOW_FP_RATE, 100.0 * (2.0 - 0.22 * 0.882_943) / 2.0);
        check(&[50, 86], &STANDARD, 100.0 * (2.0 - 0.11) / 2.0);
        // The probation costs nothing.
        check(&[14, 50], &STANDARD, 100.0);
    }

    #[test]
    fn one_threshold_serves_all_files() {
        let mut quiet = file(&[]);
        quiet.scores[54] = 0.5;
        quiet.scores[30] = f64::NAN;
        let mut loud = file(&[50]);
        (20..24).for_each(|row| loud.scores[row] = 0.5);
        let outcome = optimised(&[quiet.clone(), loud.clone()], &STANDARD);
        assert_eq!((outcome.threshold, outcome.found, outcome.false_alarms), (0.5, 2, 4));
        // The second window is worth four false alarms, not forty.
        (20..49).for_each(|row| loud.scores[row] = 0.5);
        let outcome = optimised(&[quiet, loud], &STANDARD);
        assert_eq!((outcome.threshold, outcome.found, outcome.score), (1.0, 1, 50.0));
        assert_eq!(outcome.windows, 2);
    }

    #[test]
    fn without_alarms_the_score_is_zero() {
        let mut early = file(&[]);
        early.windows.insert(0, 3..=5);
        let outcome = at_threshold(&[early], &STANDARD, 1.0);
        assert_eq!((outcome.score, outcome.windows, outcome.found), (0.0, 1, 0));
        let constant = Labelled { scores: vec![0.5; 100], windows: vec![50..=59] };
        assert!(optimised(&[constant], &STANDARD).threshold.is_infinite());
    }
}
