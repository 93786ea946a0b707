//! The detectors of anomalies on the Numenta anomaly benchmark, scored as the benchmark does.
//!
//! It reads `$STEPPE_SHARED_DATA/nab` (the benchmark's `data` and `labels`) and prints, for every
//! real part that is there, each detector's normalised score of the three profiles, each with the
//! one threshold that is best for all files of the part, then what the standard profile's
//! threshold of the AWS part earns there.
//!
//! All options were chosen on the AWS part (`realAWSCloudwatch`, 17 files, 30 windows): windows of
//! 3 among 2 to 12 values, 5 neighbours among 1 to 20, a short mean of 10 among 1 to 15, single
//! values in a forest of 50 trees with 256 each among windows of 6 and 12, 20 to 50 trees and 256
//! to 1,024, memories of 5,000 among 1,000 to 5,000, the scale of scores among five, and for the
//! reconstruction windows of 4 with 2 components among 2 to 48 with 1 to 6. The rest of 50 values
//! hardly matters between 30 and 120. The other parts chose nothing, so they are the evidence; the
//! AWS part flatters.
//!
//! Published, standard / low FP / low FN, on the AWS part: random cut forest of AWS 61.4 / 50.7 /
//! 67.6, KNN-CAD 60.7 / 53.1 / 64.9, ARTime 69.9 / 61.6 / 75.5, HTM 73.4 / 68.7 / 76.7. On the
//! other real parts with one threshold, from the scores that the benchmark publishes: 52.2 / 38.3 /
//! 60.7, 58.4 / 42.0 / 66.0, 77.3 / 68.2 / 82.8 and 69.1 / 62.0 / 73.6.

#![expect(clippy::disallowed_macros, reason = "its table is the result")]

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use steppe_model::anomaly::cut_forest::CutForest;
use steppe_model::anomaly::deviation::Deviation;
use steppe_model::anomaly::nab::{Labelled, PROFILES, STANDARD, at_threshold, optimised};
use steppe_model::anomaly::nearest::NearestWindows;
use steppe_model::anomaly::reconstruction::reconstruction_scores;
use steppe_model::anomaly::rested::{REST, Rest, Rested};
use steppe_model::anomaly::vote::Vote;
use steppe_model::anomaly::{AnomalyError, Detector, scores};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The part on which options were chosen.
const CHOSEN_ON: &str = "realAWSCloudwatch";
/// Where the benchmark says which rows are anomalies.
const LABELS: &str = "labels/combined_windows.json";

/// Scores of a series.
type Scores = std::result::Result<Vec<f64>, AnomalyError>;
/// A detector's name, and what it says of a series.
type Scorer = (&'static str, fn(&[f64]) -> Scores);
/// Of each scorer, the files of a part with its scores.
type Answers = Vec<Vec<Labelled>>;

const SCORERS: [Scorer; 6] = [
    ("deviation", |values| Ok(rested(Deviation::new(&Default::default())?, values))),
    ("nearest windows", |values| Ok(rested(NearestWindows::new(Default::default())?, values))),
    ("random cut forest", |values| Ok(rested(CutForest::new(&Default::default())?, values))),
    ("vote without rest", |values| Ok(scores(&mut Vote::new(Default::default())?, values))),
    ("vote", |values| Ok(rested(Vote::new(Default::default())?, values))),
    ("reconstruction", |values| {
        let mut rest = Rest::new(REST);
        let scores = reconstruction_scores(values, &Default::default())?;
        Ok(scores.into_iter().map(|score| rest.keep(score)).collect())
    }),
];

fn rested(detector: impl Detector, values: &[f64]) -> Vec<f64> {
    scores(&mut Rested::new(detector, REST), values)
}

/// A file of the benchmark.
struct File {
    values: Vec<f64>,
    windows: Vec<RangeInclusive<usize>>,
}

fn main() -> Result<()> {
    let shared = std::env::var("STEPPE_SHARED_DATA").unwrap_or_else(|_| "../shared/data".into());
    let folder = PathBuf::from(shared).join("nab");
    if !folder.join(LABELS).is_file() {
        let missing = folder.join(LABELS);
        eprintln!(
            "there is no {}; set STEPPE_SHARED_DATA to the folder that holds `nab`, the data and \
             labels of github.com/numenta/NAB",
            missing.display()
        );
        return Ok(());
    }
    let parts = parts(&folder)?;
    let answers: Vec<Answers> =
        parts.iter().map(|(_, files)| answers(files)).collect::<Result<_>>()?;
    println!("{:22}standard  low FP  low FN   found  false  AWS\'s threshold", "");
    let aws: Vec<f64> =
        answers[0].iter().map(|files| optimised(files, &STANDARD).threshold).collect();
    for ((part, files), answers) in parts.iter().zip(&answers) {
        let rows: usize = files.iter().map(|file| file.values.len()).sum();
        println!("{part}: {} files, {rows} values", files.len());
        print_table(answers, &aws);
    }
    if answers.len() == 1 {
        eprintln!("there is no other real part in {}: nothing is kept back", folder.display());
        return Ok(());
    }
    println!("all real parts but {CHOSEN_ON}, with one threshold");
    let together = |scorer: usize| answers[1..].iter().flat_map(|a| a[scorer].clone()).collect();
    print_table(&(0..SCORERS.len()).map(together).collect(), &aws);
    Ok(())
}

/// A line for every detector; `thresholds` are theirs on the AWS part.
fn print_table(answers: &Answers, thresholds: &[f64]) {
    for (((name, _), files), threshold) in SCORERS.iter().zip(answers).zip(thresholds) {
        let [standard, low_fp, low_fn] = PROFILES.map(|profile| optimised(files, &profile));
        let kept = at_threshold(files, &STANDARD, *threshold).score;
        let scores = format!("{:8.1} {:7.1} {:7.1}", standard.score, low_fp.score, low_fn.score);
        let found = format!("{:3}/{:<3}", standard.found, standard.windows);
        let alarms = standard.false_alarms;
        println!("  {name:20}{scores} {found} {alarms:5}  {kept:8.1} at {threshold:.3}");
    }
}

fn answers(files: &[File]) -> Result<Answers> {
    let labelled = |scorer: fn(&[f64]) -> Scores, file: &File| -> Result<Labelled> {
        Ok(Labelled { scores: scorer(&file.values)?, windows: file.windows.clone() })
    };
    let all = |(_, scorer): &Scorer| files.par_iter().map(|file| labelled(*scorer, file)).collect();
    SCORERS.iter().map(all).collect()
}

/// Files of every real part of which there is data, that of AWS first.
fn parts(folder: &Path) -> Result<Vec<(String, Vec<File>)>> {
    type Windows = BTreeMap<String, Vec<[String; 2]>>;
    let windows: Windows = serde_json::from_slice(&std::fs::read(folder.join(LABELS))?)?;
    let mut parts: BTreeMap<String, Vec<File>> = BTreeMap::new();
    for (path, windows) in windows {
        let data = folder.join("data").join(&path);
        let part = path.split('/').next().unwrap_or_default().to_owned();
        if part.starts_with("real") && data.is_file() {
            parts.entry(part).or_default().push(file(&data, &windows)?);
        }
    }
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_by_key(|(part, _)| part != CHOSEN_ON);
    match parts.first() {
        Some((part, _)) if part == CHOSEN_ON => Ok(parts),
        _ => Err(format!("there is no data of {CHOSEN_ON} in {}", folder.display()).into()),
    }
}

fn file(path: &Path, windows: &[[String; 2]]) -> Result<File> {
    let rows: Vec<(String, f64)> =
        csv::Reader::from_path(path)?.deserialize().collect::<std::result::Result<_, _>>()?;
    // Labels have fractions of seconds, data have not.
    let row = |time: &str| {
        let found = rows.iter().position(|(at, _)| time.starts_with(at.as_str()));
        found.ok_or_else(|| format!("{} has no row of {time}", path.display()))
    };
    let window = |[start, end]: &[String; 2]| Ok(row(start)?..=row(end)?);
    let windows = windows.iter().map(window).collect::<Result<_>>()?;
    Ok(File { values: rows.into_iter().map(|(_, value)| value).collect(), windows })
}
