//! Champion and challenger: whether a newly trained model is better than the one in service.
//!
//! The two are compared on cases of which neither had seen the answer. A model knows everything up
//! to its training, so only cases that were asked later are fair to it; the challenger answers them
//! from the fits of its trials, none of which had seen them. Where there are no later cases (other
//! configuration, corrected data), both configurations are judged anew on what was known.

use std::collections::{BTreeSet, HashMap};

use steppe_wire::registry::{Basis, Contest};

use crate::artifact::Artifact;
use crate::error::TrainError;
use crate::host::Stage;
use crate::task::Task;
use crate::trials::{Better, Case, Score, Trials, recorded};
use steppe_spec::Training;

/// A trained challenger and what is to become of it.
#[derive(Debug, Clone)]
pub struct Retrained<T: Task> {
    /// The challenger.
    pub artifact: Artifact<T>,
    /// How it compared with the champion, if the two could be compared.
    pub contest: Option<Contest>,
    /// Whether it should be put into service.
    pub better: bool,
    /// Why, or why not.
    pub reason: String,
}

/// Trains on `data` and compares with the model in service.
pub fn retrain<T: Task>(
    data: &T::Data,
    spec: &T::Spec,
    champion: Option<&Artifact<T>>,
    stage: &Stage<'_>,
) -> Result<Retrained<T>, TrainError> {
    T::check_data(data, spec)?;
    let trials = T::trials(data, spec, stage)?;
    let artifact = Artifact::from_trials(data, spec, &trials, stage)?;
    let (contest, better, reason) = match champion {
        None => (None, true, "there was no model in service".to_owned()),
        Some(champion) => judge((data, spec), &trials, champion, stage)?,
    };
    Ok(Retrained { artifact, contest, better, reason })
}

type Judgement = (Option<Contest>, bool, String);

fn judge<'a, T: Task>(
    (data, spec): (&'a T::Data, &T::Spec),
    trials: &T::Trials<'a>,
    champion: &Artifact<T>,
    stage: &Stage<'_>,
) -> Result<Judgement, TrainError> {
    let old = &champion.card.spec;
    if !old.reads_like(spec) {
        let reason =
            "the model in service was made for other columns and cannot answer about these data";
        return Ok((None, true, reason.to_owned()));
    }
    let onward = T::onward(champion, data, trials)?;
    let compared = match on_new_cases(onward.as_ref().unwrap_or(trials), champion) {
        Some(compared) => Some(compared),
        None if old != spec => of_configurations::<T>(data, trials, old, stage)?,
        None => None,
    };
    let Some(Compared { basis, asked, cases, champion, challenger, p_value }) = compared else {
        let (what, since) = (T::NOTHING_NEW, T::known(&champion.card));
        return Ok((None, false, format!("nothing to compare on: {what} since {since}")));
    };
    let (new, old) = (challenger[0], champion[0]);
    let better = new.beats(&old);
    let verb = match (better, new.better) {
        (true, Better::Lower) => "is smaller than",
        (false, Better::Lower) => "is not smaller than",
        (true, Better::Higher) => "is larger than",
        (false, Better::Higher) => "is not larger than",
    };
    let p = p_value.map_or_else(String::new, |p| format!(" (p = {p:.3})"));
    let (name, new, old, what) = (new.name, new.value, old.value, T::CASES);
    let reason = format!("{name} {new:.3} {verb} {old:.3} on {cases} {what}{p}");
    let contest = Contest {
        basis,
        origins: asked,
        cases,
        champion: recorded(&champion),
        challenger: recorded(&challenger),
        p_value,
    };
    Ok((Some(contest), better, reason))
}

/// Both sides on the cases that both answered.
struct Compared {
    basis: Basis,
    /// When the cases were asked.
    asked: Vec<String>,
    cases: usize,
    /// Never empty; the first score decides.
    champion: Vec<Score>,
    challenger: Vec<Score>,
    p_value: Option<f64>,
}

/// The answers of both sides in one case.
struct Pair<A> {
    case: usize,
    champion: A,
    challenger: A,
}

/// The champion as it is against the challenger's fits, over cases after the champion's training.
fn on_new_cases<T: Task>(trials: &T::Trials<'_>, champion: &Artifact<T>) -> Option<Compared> {
    let (unseen, chosen) = T::unseen(champion, trials)?;
    let answered = T::answered(champion, trials, unseen);
    let answers = trials.answers(chosen);
    let pair = |(case, champion)| Pair { case, champion, challenger: answers[case].clone() };
    compare(Basis::NewPeriods, trials, &answered.into_iter().map(pair).collect::<Vec<_>>())
}

/// Both configurations, judged anew on the cases that both have.
fn of_configurations<T: Task>(
    data: &T::Data,
    trials: &T::Trials<'_>,
    old: &T::Spec,
    stage: &Stage<'_>,
) -> Result<Option<Compared>, TrainError> {
    let before = T::trials(data, old, &stage.part("champion"))?;
    let places: HashMap<Case, usize> = before.cases().zip(0..).collect();
    let (champion, challenger) = (before.answers(before.chosen()), trials.answers(trials.chosen()));
    let pair = |(number, case): (usize, Case)| {
        let place = *places.get(&case)?;
        let (champion, challenger) = (champion[place].clone(), challenger[number].clone());
        Some(Pair { case: number, champion, challenger })
    };
    let pairs: Vec<_> = trials.cases().enumerate().filter_map(pair).collect();
    Ok(compare(Basis::Configurations, trials, &pairs))
}

/// Scores both sides; `None` without any pair.
fn compare<Q: Trials>(basis: Basis, trials: &Q, pairs: &[Pair<Q::Answer>]) -> Option<Compared> {
    let cases: Vec<Case> = trials.cases().collect();
    let scores = |side: fn(&Pair<Q::Answer>) -> Q::Answer| {
        trials.scores(&pairs.iter().map(|pair| (pair.case, side(pair))).collect::<Vec<_>>())
    };
    let both = |Pair { case, champion, challenger }: &Pair<Q::Answer>| {
        (*case, challenger.clone(), champion.clone())
    };
    let asked: BTreeSet<i64> = pairs.iter().map(|pair| cases[pair.case].asked).collect();
    Some(Compared {
        basis,
        asked: asked.into_iter().map(|asked| trials.label(asked)).collect(),
        cases: pairs.len(),
        champion: scores(|pair| pair.champion.clone())?,
        challenger: scores(|pair| pair.challenger.clone())?,
        p_value: trials.p_value(&pairs.iter().map(both).collect::<Vec<_>>()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::dataset::{Dataset, Series};
    use crate::forecast::{Forecast, backtest};
    use crate::host::Quiet;
    use crate::training_key::tests::spec;
    use steppe_spec::{Family, Kind, TrainSpec};

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
        Dataset::new(steppe_spec::Frequency::Yearly, (0..12).map(series).collect())
    }

    fn of(family: Family) -> TrainSpec {
        spec().with(|s| {
            s.model.kind = Kind::Of(family);
            s.task.horizon = 1;
        })
    }

    fn train(data: &Dataset, spec: &TrainSpec) -> Artifact<Forecast> {
        Artifact::train(data, spec, &Stage::new(&Quiet)).expect("trains")
    }

    fn against(
        data: &Dataset,
        spec: &TrainSpec,
        champion: &Artifact<Forecast>,
    ) -> Retrained<Forecast> {
        retrain(data, spec, Some(champion), &Stage::new(&Quiet)).expect("trains")
    }

    #[test]
    fn the_first_model_needs_no_contest() {
        let (data_then, spec) = (data(2020, 2019), of(Family::Drift));
        let first = retrain::<Forecast>(&data_then, &spec, None, &Stage::new(&Quiet));
        let first = first.expect("trains");
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
        let retrained =
            against(&data(2018, 2024), &spec.clone().with(|s| s.backtest.origins = 4), &champion);
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
        let renamed = of(Family::LastValue).with(|s| s.task.target = "other".into());
        let retrained = against(&data(2030, 2022), &renamed, &champion);
        assert!(retrained.better && retrained.contest.is_none());
    }

    #[test]
    fn auto_is_judged_by_the_family_it_had_before_the_contest() {
        let auto = spec().with(|s| {
            s.model.kind = Kind::Auto;
            s.task.horizon = 1;
            s.model.candidates = Some(vec![Family::Theta]);
        });
        let trials_data = data(2021, 2024);
        let trials = backtest::run(&trials_data, &auto, &Stage::new(&Quiet)).expect("runs");
        let known = 2022;
        let past = |e: usize| trials.deciding(e, &|case| case.answered <= known).expect("cases");
        let chosen = trials.chosen_at(known);
        assert!((0..trials.entrants.len()).all(|e| past(chosen) <= past(e)));
    }
}
