//! Champion and challenger: whether a newly trained model is better than the one in service.
//!
//! The two are compared on forecasts of which neither had seen the answer. A model knows everything
//! up to its training, so only later periods are fair to it; the challenger forecasts them from
//! fits that ended at each origin, as its backtest made them. Where no later period is there (other
//! configuration, corrected data), both configurations are fitted anew on what was known.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use steppe_wire::registry::{Basis, Contest, Score};

use crate::artifact::Artifact;
use crate::error::TrainError;
use crate::families::Forecaster;
use crate::forecast::backtest::{self, Entrant, Trials};
use crate::forecast::dataset::Dataset;
use crate::forecast::leakage;
use crate::forecast::metrics::{IntervalOutcome, Outcome, errors, holds};
use crate::host::Stage;
use crate::spec::TrainSpec;
use crate::stats::signed_rank_p_value;
use steppe_spec::Kind;

/// A trained challenger and what is to become of it.
#[derive(Debug, Clone)]
pub struct Retrained {
    /// The challenger.
    pub artifact: Artifact,
    /// How it compared with the champion, if the two could be compared.
    pub contest: Option<Contest>,
    /// Whether it should be put into service.
    pub better: bool,
    /// Why, or why not.
    pub reason: String,
}

/// Trains on `data` and compares with the model in service.
pub fn retrain(
    data: &Dataset,
    spec: &TrainSpec,
    champion: Option<&Artifact>,
    stage: &Stage<'_>,
) -> Result<Retrained, TrainError> {
    leakage::check_data(data, spec)?;
    let trials = backtest::run(data, spec, stage)?;
    let artifact = Artifact::from_trials(data, spec, &trials, stage)?;
    let (contest, better, reason) = match champion {
        None => (None, true, "there was no model in service".to_owned()),
        Some(champion) => judge(&trials, spec, champion, stage)?,
    };
    Ok(Retrained { artifact, contest, better, reason })
}

type Judgement = (Option<Contest>, bool, String);

fn judge(
    trials: &Trials<'_>,
    spec: &TrainSpec,
    champion: &Artifact,
    stage: &Stage<'_>,
) -> Result<Judgement, TrainError> {
    let old = &champion.card.spec;
    if old.columns() != spec.columns() {
        return Ok((
            None,
            true,
            "the model in service was made for other columns and cannot forecast these data"
                .to_owned(),
        ));
    }
    let contest = match on_new_periods(trials, spec, champion) {
        Some(contest) => Some(contest),
        None if old != spec => of_configurations(trials, old, stage)?,
        None => None,
    };
    let Some(contest) = contest else {
        let reason = format!(
            "nothing to compare on: no whole horizon has been observed since {}",
            champion.card.data.last
        );
        return Ok((None, false, reason));
    };
    let (new, old) = (contest.challenger.errors.mase, contest.champion.errors.mase);
    let better = new < old;
    let verb = if better { "is smaller than" } else { "is not smaller than" };
    let p = contest.p_value.map_or_else(String::new, |p| format!(" (p = {p:.3})"));
    let reason = format!("MASE {new:.3} {verb} {old:.3} on {} forecasts{p}", contest.cases);
    Ok((Some(contest), better, reason))
}

/// One forecast of one side, with its interval.
#[derive(Debug, Clone, Copy)]
struct Entry {
    point: f64,
    lower: f64,
    upper: f64,
}

/// Both sides on one case, by its number.
struct Pair {
    case: usize,
    champion: Entry,
    challenger: Entry,
}

/// An entrant's forecast of a case.
fn entry(entrant: &Entrant, intervals: &[IntervalOutcome], case: usize) -> Entry {
    Entry {
        point: entrant.points[case],
        lower: intervals[case].lower,
        upper: intervals[case].upper,
    }
}

/// The champion as it is against the challenger's fits, over periods after the champion's training.
fn on_new_periods(trials: &Trials<'_>, spec: &TrainSpec, champion: &Artifact) -> Option<Contest> {
    let known = trials.data().calendar().parse(&champion.card.data.last)?;
    let forecasts = champion_forecasts(trials, champion, known);
    let entrant = chosen_before(trials, spec, known);
    let intervals = trials.intervals(entrant);
    let pair = |(case, champion): (usize, Entry)| Pair {
        case,
        champion,
        challenger: entry(entrant, &intervals, case),
    };
    score(Basis::NewPeriods, trials, &forecasts.into_iter().map(pair).collect::<Vec<_>>())
}

/// The champion's forecasts of every case whose origin is not before `known` and whose history is
/// long enough.
fn champion_forecasts(
    trials: &Trials<'_>,
    champion: &Artifact,
    known: i64,
) -> BTreeMap<usize, Entry> {
    let horizon = champion.card.spec.horizon;
    let mut by_view: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (i, case) in trials.cases.iter().enumerate() {
        if trials.origins[case.origin] >= known && case.step < horizon {
            by_view.entry((case.series, case.origin)).or_default().push(i);
        }
    }
    let view = |(series, origin): (usize, usize)| {
        trials.data().series()[series].until(trials.origins[origin])
    };
    by_view.retain(|place, _| view(*place).len() >= champion.model.min_history());
    let predictions =
        champion.forecast(&by_view.keys().map(|place| view(*place)).collect::<Vec<_>>(), horizon);
    let mut entries = BTreeMap::new();
    for (cases, prediction) in by_view.values().zip(predictions) {
        for &i in cases {
            let step = &prediction.steps[trials.cases[i].step];
            entries.insert(i, Entry { point: step.value, lower: step.lower, upper: step.upper });
        }
    }
    entries
}

/// The family that the challenger would have had at `known`: the contest's own periods must not
/// choose it.
fn chosen_before<'t>(trials: &'t Trials<'_>, spec: &TrainSpec, known: i64) -> &'t Entrant {
    let past =
        |e: &Entrant| trials.errors_of(e, |case| trials.target(case) <= known).map(|e| e.mase);
    let best = || {
        trials
            .entrants
            .iter()
            .filter_map(|e| Some((e, past(e)?)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
    };
    match spec.kind {
        Kind::Auto => best().map_or_else(|| trials.chosen(), |(entrant, _)| entrant),
        Kind::Of(_) => trials.chosen(),
    }
}

/// Both configurations, fitted anew at each origin that both have.
fn of_configurations(
    trials: &Trials<'_>,
    old: &TrainSpec,
    stage: &Stage<'_>,
) -> Result<Option<Contest>, TrainError> {
    let before = backtest::run(trials.data(), old, &stage.part("champion"))?;
    let place = |trials: &Trials<'_>, i: usize| {
        (trials.cases[i].series, trials.origins[trials.cases[i].origin], trials.cases[i].step)
    };
    let places: HashMap<_, usize> =
        (0..before.cases.len()).map(|i| (place(&before, i), i)).collect();
    let (champion, challenger) = (before.chosen(), trials.chosen());
    let (champion_intervals, challenger_intervals) =
        (before.intervals(champion), trials.intervals(challenger));
    let pair = |case: usize| {
        let at = *places.get(&place(trials, case))?;
        let (champion, challenger) = (
            entry(champion, &champion_intervals, at),
            entry(challenger, &challenger_intervals, case),
        );
        Some(Pair { case, champion, challenger })
    };
    Ok(score(
        Basis::Configurations,
        trials,
        &(0..trials.cases.len()).filter_map(pair).collect::<Vec<_>>(),
    ))
}

/// Scores both sides; `None` without any pair.
fn score(basis: Basis, trials: &Trials<'_>, pairs: &[Pair]) -> Option<Contest> {
    let score = |side: fn(&Pair) -> Entry| {
        let outcome = |pair: &Pair| {
            let case = &trials.cases[pair.case];
            Outcome {
                forecast: side(pair).point,
                actual: case.actual,
                naive_scale: case.naive_scale,
            }
        };
        let inside = |pair: &&Pair| {
            holds(side(pair).lower, side(pair).upper, trials.cases[pair.case].actual)
        };
        let coverage = pairs.iter().filter(inside).count() as f64 / pairs.len() as f64;
        Some(Score { errors: errors(pairs.iter().map(outcome))?, coverage })
    };
    let origins: BTreeSet<i64> =
        pairs.iter().map(|p| trials.origins[trials.cases[p.case].origin]).collect();
    Some(Contest {
        basis,
        origins: origins.into_iter().map(|o| trials.data().calendar().label(o)).collect(),
        cases: pairs.len(),
        champion: score(|p| p.champion)?,
        challenger: score(|p| p.challenger)?,
        p_value: signed_rank_p_value(&differences(trials, pairs)),
    })
}

/// Mean difference of the scaled errors of each series.
fn differences(trials: &Trials<'_>, pairs: &[Pair]) -> Vec<f64> {
    let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for Pair { case, champion, challenger } in pairs {
        let case = &trials.cases[*case];
        let error = |side: &Entry| (side.point - case.actual).abs() / case.scale();
        let (sum, count) = sums.entry(case.series).or_default();
        (*sum, *count) = (*sum + error(challenger) - error(champion), *count + 1.0);
    }
    sums.into_values().map(|(sum, count)| sum / count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::dataset::Series;
    use crate::host::Quiet;
    use crate::spec::tests::spec;
    use steppe_spec::Family;

    /// Twelve series whose growth changes at `turn`, up to and including `last`.
    fn data(turn: i64, last: i64) -> Dataset {
        let value = |s: i64, t: i64| {
            let (before, after) = (t.min(turn - 2000), (t - (turn - 2000)).max(0));
            100.0 * (s + 1) as f64 * 1.02f64.powi(before as i32) * 0.9f64.powi(after as i32)
                + f64::from((t * 7 % 5) as i32)
        };
        let series = |s: i64| {
            Series::new(format!("s{s:02}"), 2000, (0..=last - 2000).map(|t| value(s, t)).collect())
        };
        Dataset::new(crate::forecast::calendar::Frequency::Yearly, (0..12).map(series).collect())
    }

    fn of(family: Family) -> TrainSpec {
        TrainSpec { kind: Kind::Of(family), horizon: 1, ..spec() }
    }

    fn train(data: &Dataset, spec: &TrainSpec) -> Artifact {
        Artifact::train(data, spec, &Stage::new(&Quiet)).expect("trains")
    }

    fn against(data: &Dataset, spec: &TrainSpec, champion: &Artifact) -> Retrained {
        retrain(data, spec, Some(champion), &Stage::new(&Quiet)).expect("trains")
    }

    #[test]
    fn the_first_model_needs_no_contest() {
        let first = retrain(&data(2020, 2019), &of(Family::Drift), None, &Stage::new(&Quiet))
            .expect("trains");
        assert!(first.better && first.contest.is_none());
        assert_eq!(
            first.artifact.version(),
            train(&data(2020, 2019), &of(Family::Drift)).version(),
            "as trained by itself"
        );
    }

    #[test]
    fn a_champion_that_the_world_has_left_behind_is_replaced() {
        // What the pooled autoregression learnt before 2018 is wrong after it.
        let spec = of(Family::PooledAutoregression);
        let champion = train(&data(2018, 2018), &spec);
        let retrained = against(
            &data(2018, 2024),
            &TrainSpec {
                backtest: steppe_spec::Backtest { origins: 4, ..spec.backtest.clone() },
                ..spec.clone()
            },
            &champion,
        );
        let contest = retrained.contest.as_ref().expect("compared");
        assert_eq!(
            (contest.basis, contest.cases, contest.origins.len()),
            (Basis::NewPeriods, 12 * 4, 4)
        );
        assert!(retrained.better, "{}", retrained.reason);
        assert!(retrained.reason.contains("is smaller than"), "{}", retrained.reason);
        assert!(contest.p_value.is_some_and(|p| p < 0.05));
    }

    #[test]
    fn only_periods_that_the_champion_has_not_seen_count() {
        let spec = of(Family::PooledAutoregression);
        let champion = train(&data(2030, 2022), &spec);
        let contest = against(&data(2030, 2024), &spec, &champion).contest.expect("compared");
        assert_eq!(contest.origins, ["2022", "2023"]);
    }

    #[test]
    fn without_a_new_period_the_same_configuration_is_not_promoted() {
        let spec = of(Family::PooledAutoregression);
        let champion = train(&data(2030, 2022), &spec);
        let again = against(&data(2030, 2022), &spec, &champion);
        assert!(
            !again.better && again.contest.is_none() && again.reason.contains("since 2022"),
            "{}",
            again.reason
        );
    }

    #[test]
    fn without_a_new_period_configurations_are_compared() {
        let (lazy, keen) = (of(Family::MeanOfThree), of(Family::Drift));
        let (data, champion) = (data(2030, 2022), train(&data(2030, 2022), &lazy));
        let retrained = against(&data, &keen, &champion);
        let contest = retrained.contest.as_ref().expect("compared");
        assert_eq!(
            (contest.basis, retrained.better),
            (Basis::Configurations, true),
            "{}",
            retrained.reason
        );
        let back = against(&data, &lazy, &train(&data, &keen));
        assert!(!back.better, "{}", back.reason);
    }

    #[test]
    fn a_champion_for_other_columns_is_replaced_without_a_contest() {
        let champion = train(&data(2030, 2022), &of(Family::Drift));
        let renamed = TrainSpec { target_column: "other".into(), ..of(Family::LastValue) };
        let retrained = against(&data(2030, 2022), &renamed, &champion);
        assert!(retrained.better && retrained.contest.is_none());
    }

    #[test]
    fn auto_is_judged_by_the_family_it_had_before_the_contest() {
        let auto =
            TrainSpec { kind: Kind::Auto, horizon: 1, candidates: vec![Family::Theta], ..spec() };
        let trials_data = data(2021, 2024);
        let trials = backtest::run(&trials_data, &auto, &Stage::new(&Quiet)).expect("runs");
        let known = 2022;
        let past =
            |e: &Entrant| trials.errors_of(e, |c| trials.target(c) <= known).expect("cases").mase;
        let chosen = chosen_before(&trials, &auto, known);
        assert!(trials.entrants.iter().all(|e| past(chosen) <= past(e)));
    }
}
