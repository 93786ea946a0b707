//! What holds for all detectors that read value by value.

use super::alarms::{AlarmOptions, Alarms};
use super::cut_forest::{CutForest, CutForestOptions};
use super::deviation::{Deviation, DeviationOptions};
use super::nearest::{NearestOptions, NearestWindows};
use super::rested::{REST, Rested};
use super::vote::{Vote, VoteOptions};
use super::{Detector, scores};

fn vote() -> Rested<Vote> {
    Rested::new(Vote::new(VoteOptions::default()).expect("good options"), REST)
}

fn detectors() -> Vec<(&'static str, Box<dyn Detector>)> {
    let deviation = Deviation::new(&DeviationOptions::default()).expect("good options");
    let nearest = NearestWindows::new(NearestOptions::default()).expect("good options");
    let forest = CutForest::new(&CutForestOptions::default()).expect("good options");
    vec![
        ("deviation", Box::new(deviation)),
        ("nearest windows", Box::new(nearest)),
        ("random cut forest", Box::new(forest)),
        ("vote", Box::new(vote())),
    ]
}

fn noise(rows: usize) -> Vec<f64> {
    let mut rng = fastrand::Rng::with_seed(11);
    (0..rows).map(|_| 1e6 + (0..12).map(|_| rng.f64()).sum::<f64>()).collect()
}

fn all(detector: &mut dyn Detector, values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| detector.score(*value)).collect()
}

#[test]
fn the_future_changes_no_score() {
    let values = noise(900);
    let mut scrambled = values.clone();
    fastrand::Rng::with_seed(1).shuffle(&mut scrambled[600..]);
    scrambled[600] = -1e9;
    for ((name, mut one), (_, mut other)) in detectors().into_iter().zip(detectors()) {
        let (one, other) = (all(&mut *one, &values), all(&mut *other, &scrambled));
        assert_eq!(one[..600], other[..600], "{name}");
        assert_ne!(one[600..], other[600..], "{name}");
        assert!(one.iter().all(|score| (0.0..=1.0).contains(score)), "{name}");
    }
}

#[test]
fn constant_series_are_usual() {
    for constant in [0.0, 0.1, -1e30] {
        for (name, mut detector) in detectors() {
            assert_eq!(all(&mut *detector, &[constant; 700]), [0.0; 700], "{name}");
        }
    }
}

#[test]
fn missing_values_leave_no_trace() {
    let values = noise(500);
    let gaps: Vec<f64> = values.iter().flat_map(|value| [*value, f64::NAN]).collect();
    for ((name, mut one), (_, mut other)) in detectors().into_iter().zip(detectors()) {
        let (without, with) = (all(&mut *one, &values), all(&mut *other, &gaps));
        let expected: Vec<f64> = without.iter().flat_map(|score| [*score, 0.0]).collect();
        assert_eq!(with, expected, "{name}");
    }
}

#[test]
fn large_values_are_judged_and_larger_ones_missing() {
    let values: Vec<f64> = noise(300).iter().map(|value| value * 1e23).collect();
    let mut spiked = values.clone();
    spiked[200] = -1e29;
    spiked[250] = f64::MAX;
    for (name, mut detector) in detectors() {
        let scores = all(&mut *detector, &spiked);
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{name}");
        assert!(scores[200] > 0.5 && scores[250] == 0.0, "{name}");
    }
}

#[test]
fn a_spike_is_found() {
    let mut values = noise(1_000);
    values[800] += 60.0;
    for (name, mut detector) in detectors() {
        let scores = all(&mut *detector, &values);
        let before = scores[..800].iter().copied().fold(0.0, f64::max);
        assert!(scores[800] >= before && scores[800] > 0.5, "{name}: {before}, {}", scores[800]);
    }
}

#[test]
fn a_change_of_level_is_heard_of_once() {
    let mut values = noise(1_000);
    values[800..].iter_mut().for_each(|value| *value += 12.0);
    let mut alarms = Alarms::new(vote(), AlarmOptions { threshold: 0.45, probation: 300 });
    let heard: Vec<usize> =
        (0..1_000).filter(|row| alarms.update(values[*row]).is_some()).collect();
    assert!(heard.iter().all(|row| (800..820).contains(row)), "{heard:?}");
    assert!((1..10).contains(&heard.len()), "{heard:?}");
}

#[test]
fn there_is_no_alarm_in_the_probation() {
    let mut values = noise(400);
    values[200] += 60.0;
    let alarms = |probation: usize| -> usize {
        let mut alarms = Alarms::new(vote(), AlarmOptions { threshold: 0.5, probation });
        values.iter().filter(|value| alarms.update(**value).is_some()).count()
    };
    assert_eq!((alarms(200), alarms(201), alarms(500)), (1, 0, 0));
    // Even where every score would be one, and a missing value is none.
    let mut any = Alarms::new(vote(), AlarmOptions { threshold: 0.0, probation: 3 });
    let heard = [1.0, f64::NAN, 1.0, 1.0, f64::NAN, 1.0].map(|value| any.update(value).is_some());
    assert_eq!(heard, [false, false, false, false, false, true]);
}

#[test]
fn a_stored_detector_goes_on_where_it_was() {
    let values = noise(800);
    let mut detector = vote();
    scores(&mut detector, &values[..500]);
    let stored = serde_json::to_string(&detector).expect("serialisable");
    let mut restored: Rested<Vote> = serde_json::from_str(&stored).expect("what was written");
    assert_eq!(scores(&mut restored, &values[500..]), scores(&mut detector, &values[500..]));
}

#[test]
fn the_state_is_bounded() {
    let options = VoteOptions {
        deviation: DeviationOptions { memory: 100, ..Default::default() },
        nearest: NearestOptions { memory: 100, ..Default::default() },
        forest: CutForestOptions { trees: 5, capacity: 32, memory: 100, seed: 1 },
    };
    let mut detector = Rested::new(Vote::new(options).expect("good options"), REST);
    let mut bytes = |values: &[f64]| {
        scores(&mut detector, values);
        serde_json::to_string(&detector).expect("serialisable").len()
    };
    let values = noise(6_000);
    let (early, late) = (bytes(&values[..1_000]), bytes(&values[1_000..]));
    assert!(late < early + early / 4, "{early} bytes, then {late}");
}

#[test]
fn options_of_nothing_are_refused() {
    let deviation = DeviationOptions { short: 0, ..Default::default() };
    let refused = Deviation::new(&deviation).expect_err("no values");
    assert_eq!(refused.to_string(), "`short` must be at least 1");
    let nearest = NearestOptions { neighbours: 0, ..Default::default() };
    assert!(NearestWindows::new(nearest).is_err());
    let forest = CutForestOptions { trees: 0, ..Default::default() };
    assert!(Vote::new(VoteOptions { forest, ..Default::default() }).is_err());
}
