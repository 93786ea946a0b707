//! What a backtest says of the model beside the baselines, in words.

use crate::stats::BY_CHANCE;
use steppe_spec::Family;

/// A family, its MASE, and the probability of its difference from the model by chance.
pub type Compared = (Family, f64, Option<f64>);

/// Whether the model `served` beats the baselines by more than chance; none where a baseline has
/// the smaller MASE, or where the backtest is too small to tell.
pub fn against_baselines(served: Family, all: &[Compared]) -> Option<String> {
    let own = all.iter().find(|(family, ..)| *family == served)?.1;
    let others = all.iter().filter(|(family, ..)| *family != served);
    let nearest = |baseline: bool| {
        let of_kind = others.clone().filter(|(family, ..)| family.is_baseline() == baseline);
        of_kind.min_by(|a, b| a.1.total_cmp(&b.1))
    };
    let (family, mase, p) = nearest(!served.is_baseline())?;
    let (name, p) = (family.name(), (*p)?);
    if *mase < own {
        return None;
    }
    Some(match (served.is_baseline(), p < BY_CHANCE) {
        (true, _) => format!(
            "no family beats the baseline `{}`: the next best, `{name}`, has MASE {mase:.3} \
             instead of {own:.3} (p = {p:.3})",
            served.name()
        ),
        (false, false) => format!(
            "nothing beats the baseline `{name}` by more than chance: MASE {own:.3} instead of \
             {mase:.3} (p = {p:.3})"
        ),
        (false, true) => format!(
            "it beats the best baseline, `{name}`: MASE {own:.3} instead of {mase:.3} (p = {p:.3})"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_no_better_than_a_baseline_says_so() {
        let told = |served, p| {
            let all = [
                (Family::LastValue, 1.01, p),
                (Family::Drift, 1.02, Some(0.5)),
                (Family::Lstm, 1.0, p),
                (Family::Theta, 1.3, p),
            ];
            against_baselines(served, &all)
        };
        let chance = told(Family::Lstm, Some(0.4)).expect("a verdict");
        let nothing = "nothing beats the baseline `last-value` by more than chance: MASE 1.000 \
                       instead of 1.010 (p = 0.400)";
        assert_eq!(chance, nothing);
        let sure = told(Family::Lstm, Some(0.01)).expect("a verdict");
        assert!(sure.starts_with("it beats the best baseline, `last-value`"), "{sure}");
        assert_eq!(told(Family::Lstm, None), None, "too few to tell");
        assert_eq!(told(Family::Theta, Some(0.2)), None, "a baseline is better");
        assert_eq!(told(Family::LastValue, Some(0.2)), None, "a family is better");
        let all = [(Family::LastValue, 1.0, None), (Family::Lstm, 1.1, Some(0.3))];
        let baseline = against_baselines(Family::LastValue, &all).expect("a verdict");
        assert!(baseline.starts_with("no family beats the baseline `last-value`"), "{baseline}");
    }
}
