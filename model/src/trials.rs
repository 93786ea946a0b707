//! Every entrant on the same cases: what chooses a model, and what two models are compared by.
//!
//! A case is one thing that models are judged on, such as one value that was forecast. Nothing here
//! knows what a case is about.

use std::collections::BTreeMap;

use crate::stats::signed_rank_p_value;
use steppe_spec::{Family, Kind};
use steppe_wire::registry::{self, Scores};

/// One thing that models are judged on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Case {
    /// What it belongs to: losses within a group say much the same, so they count once.
    pub group: usize,
    /// When it was asked: nothing later was known to whoever answered.
    pub asked: i64,
    /// When the right answer was known.
    pub answered: i64,
}

/// Whether less or more of a score is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// An error.
    Lower,
    /// A share of right answers.
    Higher,
}

/// Scores as records have them.
pub fn recorded(scores: &[Score]) -> Scores {
    let one = |score: &Score| registry::Score { name: score.name.to_owned(), value: score.value };
    Scores(scores.iter().map(one).collect())
}

/// How well somebody did on some cases, by one measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// What people call it: `MASE`.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// Which way is up.
    pub better: Better,
}

impl Score {
    /// Whether this one is better than `other`, which is of the same measure.
    pub fn beats(&self, other: &Self) -> bool {
        match self.better {
            Better::Lower => self.value < other.value,
            Better::Higher => self.value > other.value,
        }
    }
}

/// What every entrant said in every case.
pub trait Trials {
    /// What one entrant said in one case.
    type Answer: Clone;

    /// The cases; never empty.
    fn cases(&self) -> impl ExactSizeIterator<Item = Case>;

    /// Families of the entrants. Baselines always take part.
    fn families(&self) -> Vec<Family>;

    /// What is asked for.
    fn wanted(&self) -> Kind;

    /// What the entrant with the given number consists of: itself, or the parts of a combination
    /// with their shares.
    fn shares(&self, entrant: usize) -> Vec<(Family, f64)>;

    /// The answers of an entrant, one per case.
    fn answers(&self, entrant: usize) -> Vec<Self::Answer>;

    /// How wrong an answer is, in a unit that is the same for all groups.
    fn loss(&self, case: usize, answer: &Self::Answer) -> f64;

    /// Every score over some cases, by their numbers, with somebody's answers; the first one
    /// decides. None without cases.
    fn scores(&self, answered: &[(usize, Self::Answer)]) -> Option<Vec<Score>>;

    /// The deciding score of an entrant over the cases that `keep` keeps; less is better.
    fn deciding(&self, entrant: usize, keep: &dyn Fn(&Case) -> bool) -> Option<f64>;

    /// Probability of a difference at least this large between two that answered the same cases,
    /// when there is none. Each item is a case, and what one and the other said.
    fn p_value(&self, pairs: &[(usize, Self::Answer, Self::Answer)]) -> Option<f64> {
        let groups: Vec<usize> = self.cases().map(|case| case.group).collect();
        let losses = pairs.iter().map(|(case, one, other)| {
            (groups[*case], self.loss(*case, one), self.loss(*case, other))
        });
        paired_p_value(losses)
    }

    /// A name for people of when a case was asked.
    fn label(&self, asked: i64) -> String;

    /// The entrant to serve: the one asked for, or the best one.
    fn chosen(&self) -> usize {
        self.asked().or_else(|| self.best(&|_| true)).expect("baselines always take part")
    }

    /// The entrant that would have been chosen when nothing after `known` was known: cases that
    /// were answered later must not choose it.
    fn chosen_at(&self, known: i64) -> usize {
        let past = || self.best(&|case| case.answered <= known);
        self.asked().or_else(past).unwrap_or_else(|| self.chosen())
    }

    /// The entrant whose family is asked for, if one is and takes part.
    fn asked(&self) -> Option<usize> {
        self.families().iter().position(|family| self.wanted() == Kind::Of(*family))
    }

    /// The entrant to serve by the cases that `keep` keeps, when none is asked for; none without
    /// such cases.
    fn best(&self, keep: &dyn Fn(&Case) -> bool) -> Option<usize> {
        self.least(keep)
    }

    /// The entrant with the best deciding score over the cases that `keep` keeps.
    fn least(&self, keep: &dyn Fn(&Case) -> bool) -> Option<usize> {
        let scored = |entrant| Some((entrant, self.deciding(entrant, keep)?));
        let scored = (0..self.families().len()).filter_map(scored);
        scored.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(entrant, _)| entrant)
    }
}

/// Probability of a difference at least this large between two that answered the same cases, when
/// there is none: Wilcoxon's signed-rank test over the groups' mean losses. Each item is a case's
/// group and both losses; `None` for too few groups.
pub fn paired_p_value(losses: impl Iterator<Item = (usize, f64, f64)>) -> Option<f64> {
    let mut sums: BTreeMap<usize, (f64, f64, f64)> = BTreeMap::new();
    for (group, one, other) in losses {
        let (a, b, count) = sums.entry(group).or_default();
        (*a, *b, *count) = (*a + one, *b + other, *count + 1.0);
    }
    let difference = |(a, b, count): (f64, f64, f64)| a / count - b / count;
    signed_rank_p_value(&sums.into_values().map(difference).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_one_group_count_once() {
        let case = |i: usize| (i / 10, 1.0 + (i / 10) as f64, 0.5);
        let few = paired_p_value((0..50).map(case));
        assert_eq!(few, None, "five groups say nothing");
        let many = paired_p_value((0..120).map(case)).expect("twelve groups");
        assert!(many < 0.01, "{many}");
    }

    #[test]
    fn a_score_knows_which_way_is_up() {
        let score = |value, better| Score { name: "s", value, better };
        assert!(score(1.0, Better::Lower).beats(&score(2.0, Better::Lower)));
        assert!(score(2.0, Better::Higher).beats(&score(1.0, Better::Higher)));
        assert!(!score(1.0, Better::Lower).beats(&score(1.0, Better::Lower)));
    }
}
