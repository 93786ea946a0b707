//! Probabilities that mean what they say: a map from what a model answers to what happens, fitted
//! on answers that the model gave without having seen the row.

use serde::{Deserialize, Serialize};

use super::error::RowsError;
use super::logistic::{self, log_odds, probability};
use super::matrix::{Matrix, select};
use super::metrics::mean;

/// A map from a probability to a probability. It never turns two around.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Calibration {
    /// Answers stay as they are.
    #[default]
    None,
    /// A straight line in log odds (Platt 1999).
    Platt {
        /// What log odds are multiplied by.
        slope: f64,
        /// What is added.
        intercept: f64,
    },
    /// The best rising step function, linear between steps (Zadrozny and Elkan 2002).
    Isotonic {
        /// Probabilities as they are answered, rising.
        answered: Vec<f64>,
        /// What each becomes, never falling.
        calibrated: Vec<f64>,
    },
}

impl Calibration {
    /// What a probability becomes.
    pub fn apply(&self, answer: f64) -> f64 {
        match self {
            Self::None => answer,
            Self::Platt { slope, intercept } => probability(slope * log_odds(answer) + intercept),
            Self::Isotonic { answered, calibrated } => between(answered, calibrated, answer),
        }
    }

    /// Its name for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Platt { .. } => "platt",
            Self::Isotonic { .. } => "isotonic",
        }
    }

    /// Refuses a map that falls, ends nowhere, or leaves 0 to 1: one that was read is what somebody
    /// wrote.
    pub fn check(&self) -> Result<(), RowsError> {
        let defect = |why: &str| Err(RowsError::stored("a calibration", why));
        match self {
            Self::None => Ok(()),
            Self::Platt { slope, intercept } if slope.is_finite() && intercept.is_finite() => {
                if *slope < 0.0 {
                    return defect("it turns probabilities around");
                }
                Ok(())
            }
            Self::Platt { .. } => defect("it has numbers that are not finite"),
            Self::Isotonic { answered, calibrated } => {
                let share = |p: &f64| (0.0..=1.0).contains(p);
                if answered.is_empty() || answered.len() != calibrated.len() {
                    return defect("it has no steps, or steps without values");
                }
                if !answered.iter().chain(calibrated).all(share) {
                    return defect("it has numbers that are no probabilities");
                }
                let rises = answered.windows(2).all(|pair| pair[0] < pair[1]);
                match rises && calibrated.windows(2).all(|pair| pair[0] <= pair[1]) {
                    true => Ok(()),
                    false => defect("it does not rise"),
                }
            }
        }
    }
}

/// Linear between points, constant outside.
fn between(places: &[f64], values: &[f64], place: f64) -> f64 {
    let after = places.partition_point(|p| *p <= place);
    match after {
        0 => values[0],
        _ if after == places.len() => values[after - 1],
        _ => {
            let (a, b) = (places[after - 1], places[after]);
            let (low, high) = (values[after - 1], values[after]);
            low + (high - low) * ((place - a) / (b - a))
        }
    }
}

/// Platt's line, with his smoothing of targets: a class of n rows counts as (n + 1) / (n + 2), so
/// that few rows are no certainty.
pub fn fit_platt(labels: &[bool], answers: &[f64]) -> Result<Calibration, RowsError> {
    let ones = labels.iter().filter(|label| **label).count() as f64;
    let zeros = labels.len() as f64 - ones;
    let target = |label: bool| match label {
        true => (ones + 1.0) / (ones + 2.0),
        false => 1.0 / (zeros + 2.0),
    };
    // A row that happens to a share is two rows: one that happens and one that does not.
    let odds = answers.iter().map(|answer| log_odds(*answer));
    let twice: Vec<f64> = odds.clone().chain(odds).collect();
    let rows = labels.len();
    let of_two: Vec<bool> = (0..2 * rows).map(|row| row < rows).collect();
    let happens = labels.iter().map(|label| target(*label));
    let weights: Vec<f64> = happens.clone().chain(happens.map(|share| 1.0 - share)).collect();
    let options = logistic::Options { weights: Some(&weights), ..Default::default() };
    let line = logistic::fit(&Matrix::new(2 * rows, 1, twice), &of_two, &options)?;
    Ok(Calibration::Platt { slope: line.coefficients[0], intercept: line.intercept })
}

/// A run of answers that become one value.
#[derive(Debug, Clone, Copy)]
struct Block {
    first: f64,
    last: f64,
    hits: f64,
    rows: f64,
}

impl Block {
    fn share(&self) -> f64 {
        self.hits / self.rows
    }
}

/// The best rising step function by squared error, by pooling adjacent violators; as scikit-learn's
/// `IsotonicRegression(out_of_bounds="clip")` has it.
pub fn fit_isotonic(labels: &[bool], answers: &[f64]) -> Calibration {
    steps(&blocks(labels, answers), Block::share)
}

/// The same, but no rows make a certainty: a step of only ones or zeros is moved as far as one more
/// row of the usual mixture would move it, and not beyond the next step.
pub fn fit_cautious_isotonic(labels: &[bool], answers: &[f64]) -> Calibration {
    let usual = mean(labels.iter().map(|label| f64::from(u8::from(*label))));
    let blocks = blocks(labels, answers);
    let inner = |block: &&Block| block.hits > 0.0 && block.hits < block.rows;
    let lowest = blocks.iter().find(inner).map_or(usual, Block::share);
    let highest = blocks.iter().rfind(inner).map_or(usual, Block::share);
    steps(&blocks, |block| {
        let mixed = (block.hits + usual) / (block.rows + 1.0);
        match block.hits {
            0.0 => mixed.min(lowest),
            hits if hits == block.rows => mixed.max(highest),
            _ => block.share(),
        }
    })
}

fn blocks(labels: &[bool], answers: &[f64]) -> Vec<Block> {
    let mut rows: Vec<usize> = (0..answers.len()).collect();
    rows.sort_by(|&a, &b| answers[a].total_cmp(&answers[b]));
    let mut blocks: Vec<Block> = Vec::new();
    for tied in rows.chunk_by(|&a, &b| answers[a] == answers[b]) {
        let hits = tied.iter().filter(|row| labels[**row]).count() as f64;
        let at = answers[tied[0]];
        let mut block = Block { first: at, last: at, hits, rows: tied.len() as f64 };
        while let Some(before) = blocks.pop_if(|before| before.share() >= block.share()) {
            block = Block {
                first: before.first,
                last: block.last,
                hits: before.hits + block.hits,
                rows: before.rows + block.rows,
            };
        }
        blocks.push(block);
    }
    blocks
}

fn steps(blocks: &[Block], value: impl Fn(&Block) -> f64) -> Calibration {
    let (mut answered, mut calibrated) = (Vec::new(), Vec::new());
    for block in blocks {
        answered.push(block.first);
        calibrated.push(value(block));
        if block.last > block.first {
            answered.push(block.last);
            calibrated.push(value(block));
        }
    }
    Calibration::Isotonic { answered, calibrated }
}

/// Answers of a model that had not seen the rows.
#[derive(Debug, Clone, Copy)]
pub struct OutOfFold<'a> {
    /// What happened.
    pub labels: &'a [bool],
    /// What was answered.
    pub answers: &'a [f64],
    /// The fold of each row.
    pub folds: &'a [usize],
}

/// How a calibration did on folds that it was not fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Brier score of the answers as they are.
    pub none: f64,
    /// Brier score with Platt's line; none where it cannot be fitted.
    pub platt: Option<f64>,
    /// Brier score with the step function; likewise.
    pub isotonic: Option<f64>,
}

/// Deviations of a mean by which a map must be better than a simpler one: answers that are right as
/// they are would else be changed for chance, and steps tie what was told apart.
const DEVIATIONS: f64 = 1.0;

/// The calibration with the smallest Brier score, each fitted on all folds but one and judged on
/// that one, and then fitted on all. Each has to be better than every simpler one by more than
/// chance: none is simpler than a line, and a line than steps.
pub fn choose(out_of_fold: &OutOfFold<'_>) -> (Calibration, Comparison) {
    let OutOfFold { labels, answers, .. } = *out_of_fold;
    let mut chosen = (Calibration::None, out_of_fold.losses(&|_, _| Some(Calibration::None)));
    let mut comparison = Comparison { none: score(&chosen.1), platt: None, isotonic: None };
    let fits: [Fit<'_>; 2] = [&rising_platt, &|l, a| Some(fit_cautious_isotonic(l, a))];
    let scores = [&mut comparison.platt, &mut comparison.isotonic];
    for (fit, place) in fits.into_iter().zip(scores) {
        let losses = out_of_fold.losses(fit);
        *place = (!losses.is_empty()).then(|| score(&losses));
        if !losses.is_empty() && better(&chosen.1, &losses) > DEVIATIONS {
            chosen = (fit(labels, answers).unwrap_or_default(), losses);
        }
    }
    (chosen.0, comparison)
}

type Fit<'a> = &'a dyn Fn(&[bool], &[f64]) -> Option<Calibration>;

fn rising_platt(labels: &[bool], answers: &[f64]) -> Option<Calibration> {
    fit_platt(labels, answers).ok().filter(|map| map.check().is_ok())
}

fn score(losses: &[f64]) -> f64 {
    mean(losses.iter().copied())
}

impl OutOfFold<'_> {
    /// Squared errors of rows with a map that was fitted on other folds; none if it cannot be.
    fn losses(&self, fit: Fit<'_>) -> Vec<f64> {
        let Self { labels, answers, folds } = *self;
        let mut losses = vec![0.0; labels.len()];
        for fold in 0..folds.iter().max().map_or(0, |last| last + 1) {
            let (asked, known): (Vec<usize>, Vec<usize>) =
                (0..labels.len()).partition(|&row| folds[row] == fold);
            let Some(map) = fit(&select(labels, &known), &select(answers, &known)) else {
                return Vec::new();
            };
            for row in asked {
                let happened = f64::from(u8::from(labels[row]));
                losses[row] = (map.apply(answers[row]) - happened).powi(2);
            }
        }
        losses
    }
}

/// By how many deviations of their mean difference the second losses are smaller.
fn better(losses: &[f64], others: &[f64]) -> f64 {
    let differences = || losses.iter().zip(others).map(|(a, b)| a - b);
    let centre = mean(differences());
    let variance = mean(differences().map(|d| (d - centre).powi(2)));
    centre / (variance / losses.len() as f64).sqrt().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [bool; 12] =
        [false, false, true, true, false, true, false, false, true, false, true, false];
    const ANSWERS: [f64; 12] = [0.1, 0.4, 0.35, 0.8, 0.4, 0.4, 0.05, 0.9, 0.7, 0.1, 0.6, 0.5];

    /// scikit-learn 1.9.1: `IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")`.
    #[test]
    fn steps_are_those_of_scikit_learn() {
        let steps = fit_isotonic(&LABELS, &ANSWERS);
        let expected = Calibration::Isotonic {
            answered: vec![0.05, 0.1, 0.35, 0.5, 0.6, 0.9],
            calibrated: vec![0.0, 0.0, 0.4, 0.4, 0.75, 0.75],
        };
        assert_eq!(steps, expected);
        let asked = [0.0, 0.05, 0.1, 0.2, 0.35, 0.45, 0.5, 0.55, 0.65, 0.85, 0.95];
        let expected = [0.0, 0.0, 0.0, 0.16, 0.4, 0.4, 0.4, 0.575, 0.75, 0.75, 0.75];
        for (asked, expected) in asked.into_iter().zip(expected) {
            assert!((steps.apply(asked) - expected).abs() < 1e-12, "{asked}");
        }
    }

    /// scikit-learn 1.9.1: `_SigmoidCalibration` on the answers' log odds, whose own search ends a
    /// little before the minimum.
    #[test]
    fn platts_line_is_that_of_scikit_learn() {
        let Calibration::Platt { slope, intercept } = fit_platt(&LABELS, &ANSWERS).expect("a line")
        else {
            panic!("a line")
        };
        assert!((slope - 0.450_158_274).abs() < 1e-4, "{slope}");
        assert!((intercept + 0.186_587_732).abs() < 1e-4, "{intercept}");
    }

    #[test]
    fn no_rows_make_a_certainty() {
        let Calibration::Isotonic { calibrated, .. } = fit_cautious_isotonic(&LABELS, &ANSWERS)
        else {
            panic!("steps")
        };
        let expected = (5.0 / 12.0) / 4.0;
        assert!((calibrated[0] - expected).abs() < 1e-12, "{calibrated:?}");
        assert_eq!(calibrated[2..], [0.4, 0.4, 0.75, 0.75]);
    }

    /// Rows whose probability is the true one, and folds.
    fn sample(rows: usize, seed: u64) -> (Vec<bool>, Vec<f64>, Vec<usize>) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let truth: Vec<f64> = (0..rows).map(|_| rng.f64().powi(3)).collect();
        let labels = truth.iter().map(|p| rng.f64() < *p).collect();
        (labels, truth, (0..rows).map(|row| row % 5).collect())
    }

    #[test]
    fn right_answers_stay_as_they_are_and_wrong_ones_are_put_right() {
        let mut kept = 0;
        for seed in 0..20 {
            let (labels, truth, folds) = sample(2_000, seed);
            let chosen =
                |answers: &[f64]| choose(&OutOfFold { labels: &labels, answers, folds: &folds });
            kept += usize::from(chosen(&truth).0 == Calibration::None);
            let timid: Vec<f64> = truth.iter().map(|p| probability(log_odds(*p) / 3.0)).collect();
            let (map, comparison) = chosen(&timid);
            assert_eq!(map.name(), "platt", "{comparison:?}");
            let bent: Vec<f64> =
                truth.iter().map(|p| if *p < 0.3 { *p } else { p / 2.0 + 0.15 }).collect();
            let (map, comparison) = chosen(&bent);
            assert_ne!(map, Calibration::None, "{comparison:?}");
            assert_eq!(map.check(), Ok(()));
        }
        assert!(kept >= 15, "{kept} of 20 kept");
    }

    #[test]
    fn a_map_that_is_none_is_refused() {
        let steps = |answered: &[f64], calibrated: &[f64]| {
            let (answered, calibrated) = (answered.to_vec(), calibrated.to_vec());
            Calibration::Isotonic { answered, calibrated }.check()
        };
        assert_eq!(steps(&[0.1, 0.2], &[0.0, 0.3]), Ok(()));
        assert!(steps(&[], &[]).is_err());
        assert!(steps(&[0.2, 0.1], &[0.0, 0.3]).is_err());
        assert!(steps(&[0.1, 0.2], &[0.3, 0.0]).is_err());
        assert!(steps(&[0.1, 0.2], &[0.0, 1.3]).is_err());
        assert!(steps(&[0.1, f64::NAN], &[0.0, 0.3]).is_err());
        assert!(Calibration::Platt { slope: -1.0, intercept: 0.0 }.check().is_err());
        assert!(Calibration::Platt { slope: f64::INFINITY, intercept: 0.0 }.check().is_err());
    }

    #[test]
    fn what_is_stored_is_what_is_read() {
        for map in [
            Calibration::None,
            Calibration::Platt { slope: 0.1 + 0.2, intercept: -1.0 / 3.0 },
            fit_isotonic(&LABELS, &ANSWERS),
        ] {
            let text = serde_json::to_string(&map).expect("text");
            assert_eq!(serde_json::from_str::<Calibration>(&text).expect("map"), map);
        }
    }
}
