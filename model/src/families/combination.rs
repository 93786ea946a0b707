//! A weighted, trimmed mean of models. Averages of different methods have beaten the methods
//! themselves in every forecasting competition since Bates and Granger (1969); without the
//! outermost ones they hold out against a member that runs away (Jose and Winkler 2008). Members see features
//! as they do alone; it reads none itself.

use crate::forecast::dataset::View;
use steppe_spec::{TrainSpec, Transform};

use crate::artifact::ArtifactError;
use crate::error::TrainError;
use crate::family::Family;
use crate::forecast::dataset::Dataset;
use crate::forecast::{Forecast, Forecaster};
use crate::host::Stage;
use crate::stored::{Saved, Stored};

use super::Model;

/// Models and their weights, which add up to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Combination {
    /// Weights and models.
    pub members: Vec<(f64, Model)>,
    /// The scale on which the mean is taken.
    pub transform: Transform,
}

/// A combination is put together from models that were fitted, and an artifact holds those.
impl Family<Forecast> for Combination {
    const QUICK: bool = false;

    fn fit(_: &Dataset, _: &TrainSpec, _: &Stage<'_>) -> Result<Self, TrainError> {
        Err(TrainError::Unusable("a combination has no model of its own".to_owned()))
    }

    fn save(&self, _: &mut Saved) {}

    fn load(_: &Stored<'_>, _: &TrainSpec) -> Result<Self, ArtifactError> {
        Err(ArtifactError::Model("a combination cannot be a member".to_owned()))
    }
}

impl Forecaster for Combination {
    fn min_history(&self) -> usize {
        self.members.iter().map(|(_, m)| m.min_history()).max().unwrap_or(1)
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        let weights: Vec<f64> = self.members.iter().map(|(weight, _)| *weight).collect();
        let points: Vec<Vec<Vec<f64>>> =
            self.members.iter().map(|(_, member)| member.forecast(views, horizon)).collect();
        let mean = |view: usize, step: usize| {
            mean(self.transform, &weights, points.iter().map(|points| points[view][step]))
        };
        let one = |view: usize| (0..horizon).map(|step| mean(view, step)).collect();
        (0..views.len()).map(one).collect()
    }
}

/// Share of the weights that is cut off at each end.
const TRIMMED: f64 = 0.2;

/// The weighted mean of forecasts of one value, without the lowest and the highest ones: taken on
/// the transformed scale, in units of the target.
pub fn mean(transform: Transform, weights: &[f64], points: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<(f64, f64)> =
        points.map(|point| transform.apply(point)).zip(weights.iter().copied()).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = weights.iter().sum();
    let (low, high) = (TRIMMED * total, (1.0 - TRIMMED) * total);
    let (mut below, mut sum) = (0.0, 0.0);
    for (value, weight) in sorted {
        let up_to: f64 = below + weight;
        let kept = (up_to.min(high) - f64::max(below, low)).max(0.0);
        // What is cut off is not even multiplied: it may be infinite.
        sum += if kept > 0.0 { kept * value } else { 0.0 };
        below = up_to;
    }
    transform.invert(sum / (high - low))
}

/// Weights on the simplex that make the weighted mean's absolute error small: `errors[m][i]` is the
/// signed error of member `m` on case `i`, on the scale of the mean.
///
/// Exponentiated gradient descent (Kivinen and Warmuth 1997) from `prior`; few cases leave the
/// weights near it: weights close to equal are hard to beat (the "forecast combination puzzle").
pub fn weights(errors: &[Vec<f64>], prior: &[f64]) -> Vec<f64> {
    let members = errors.len();
    let total: f64 = prior.iter().sum();
    let start: Vec<f64> = prior.iter().map(|p| p / total).collect();
    let cases = errors.first().map_or(0, Vec::len);
    let scale =
        errors.iter().flatten().map(|e| e.abs()).sum::<f64>() / (members * cases).max(1) as f64;
    if members < 2 || scale <= 0.0 {
        return start;
    }
    // The more cases, the further from the prior.
    let rounds = (cases as f64).sqrt().ceil().min(200.0) as usize;
    let (mut weights, mut mean) = (start, vec![0.0; members]);
    for round in 0..rounds {
        let mut gradient = vec![0.0; members];
        for case in 0..cases {
            let error: f64 = weights.iter().zip(errors).map(|(w, e)| w * e[case]).sum();
            gradient.iter_mut().zip(errors).for_each(|(g, e)| *g += error.signum() * e[case]);
        }
        let rate = 0.5 / (1.0 + round as f64 / 20.0).sqrt() / (cases as f64 * scale);
        weights.iter_mut().zip(&gradient).for_each(|(w, g)| *w *= (-rate * g).exp());
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= total);
        mean.iter_mut().zip(&weights).for_each(|(m, w)| *m += w / rounds as f64);
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::naive::{LastValue, Mean};
    use crate::forecast::dataset::Series;

    #[test]
    fn the_better_member_weighs_more_and_opposite_errors_cancel() {
        let good: Vec<f64> = (0..400).map(|i| if i % 2 == 0 { 0.1 } else { -0.1 }).collect();
        let bad: Vec<f64> = (0..400).map(|i| if i % 3 == 0 { 1.0 } else { -1.0 }).collect();
        let w = weights(&[good, bad], &[1.0; 2]);
        assert!(w[0] > 0.9 && (w[0] + w[1] - 1.0).abs() < 1e-9, "{w:?}");
        let w = weights(&[vec![1.0; 400], vec![-1.0; 400]], &[1.0; 2]);
        assert!((w[0] - 0.5).abs() < 0.05, "{w:?}");
        assert_eq!(weights(&[vec![], vec![]], &[3.0, 1.0]), [0.75, 0.25]);
    }

    #[test]
    fn the_mean_is_taken_on_the_transformed_scale() {
        let members =
            vec![(0.5, Model::LastValue(LastValue)), (0.5, Model::MeanOfThree(Mean { of: 3 }))];
        let series = Series::new("A", 0, vec![3.0, 3.0, 0.0]);
        let forecast =
            Combination { members, transform: Transform::None }.forecast(&[series.view()], 1);
        assert_eq!(forecast, [[1.0]]);
    }

    #[test]
    fn the_outermost_forecasts_are_cut_off() {
        let of = |weights: &[f64], points: &[f64]| {
            mean(Transform::None, weights, points.iter().copied())
        };
        assert!((of(&[1.0; 5], &[1.0, 1e300, 2.0, 3.0, -1e300]) - 2.0).abs() < 1e-12);
        assert!((of(&[0.5, 0.5], &[1.0, 3.0]) - 2.0).abs() < 1e-12);
        // Of 0.7 a half is left, of 0.3 a tenth.
        assert!((of(&[0.7, 0.3], &[1.0, 7.0]) - 2.0).abs() < 1e-12);
        assert!((of(&[0.9, 0.1], &[1.0, f64::INFINITY]) - 1.0).abs() < 1e-12);
        assert_eq!(mean(Transform::Log, &[1.0; 2], [0.0, 0.0].into_iter()), 0.0);
    }
}
