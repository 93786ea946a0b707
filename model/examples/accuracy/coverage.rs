//! How many actual values lie inside of intervals, over all data sets: a model is trained on what
//! was known at each of several origins, and its intervals are compared with what came next.

use rayon::prelude::*;
use steppe_model::forecast::dataset::View;
use steppe_model::forecast::metrics::{holds, naive_scale};
use steppe_model::host::{Quiet, Stage};
use steppe_model::stats::conformal_quantile;
use steppe_model::{Artifact, Series, TrainError};

use crate::Result;
use crate::sets::Set;

/// Nominal shares of actual values inside.
const LEVELS: [f64; 3] = [0.8, 0.9, 0.95];

/// What became of the intervals of a set.
#[derive(Default)]
struct Seen {
    /// Per level, per actual value: whether it was inside.
    inside: [Vec<bool>; 3],
    /// How far each actual value is from its forecast, in half widths of the 90 % interval.
    distances: Vec<f64>,
    families: Vec<&'static str>,
    /// Errors, in those of the naive forecast.
    errors: Vec<f64>,
    /// Coverage per level of all origins but the one whose 90 % intervals held least: how much of
    /// what is missing is one event. None of a single origin.
    but_hardest: Option<[f64; 3]>,
}

impl Seen {
    fn coverage(&self, level: usize) -> f64 {
        let inside = self.inside[level].iter().filter(|inside| **inside).count();
        100.0 * inside as f64 / self.inside[level].len().max(1) as f64
    }

    fn mase(&self) -> f64 {
        self.errors.iter().sum::<f64>() / self.errors.len().max(1) as f64
    }

    /// The 90 % intervals' width, as a multiple of what would have held exactly 90 %.
    fn width(&self) -> f64 {
        let mut sorted = self.distances.clone();
        sorted.sort_by(f64::total_cmp);
        conformal_quantile(&sorted, 0.9).map_or(f64::NAN, |needed| 1.0 / needed)
    }
}

/// Prints the table; only sets whose name contains one of `wanted`, all without any.
pub fn run(sets: &[Set], wanted: &[String]) -> Result<()> {
    println!("\nActual values inside of intervals, % (width: of the 90 % interval, in widths of");
    println!("that which would have held exactly 90 %; `*`: rules may be decided by it; last: all");
    println!("origins but the one whose 90 % intervals held least)\n");
    println!(
        "{:<34}{:>7}{:>9}{:>8}{:>8}{:>8}{:>8}{:>8}  80, 90, 95 %     families",
        "", "origins", "judged", "80 %", "90 %", "95 %", "width", "MASE"
    );
    let mut rows = Vec::new();
    let named = |set: &&Set| wanted.is_empty() || wanted.iter().any(|w| set.name.contains(w));
    for set in sets.iter().filter(named) {
        let seen = judge(set)?;
        let name = format!("{}{}", set.name, if set.decides { " *" } else { "" });
        let covers = [0, 1, 2].map(|level| seen.coverage(level));
        println!(
            "{name:<34}{:>7}{:>9}{:>8.1}{:>8.1}{:>8.1}{:>8.2}{:>8.4}  {:<17}{}",
            set.spec.backtest.origins,
            seen.inside[0].len(),
            covers[0],
            covers[1],
            covers[2],
            seen.width(),
            seen.mase(),
            seen.but_hardest.map_or(String::new(), |covers| covers
                .map(|cover| format!("{cover:.1}"))
                .join(" ")),
            families(&seen.families)
        );
        rows.push((set.decides, covers));
    }
    for (what, decides) in [("sets that decide", true), ("the others", false)] {
        let covers = |level: usize| {
            let of = rows.iter().filter(|row| row.0 == decides).map(|row| row.1[level]);
            let mut covers: Vec<f64> = of.collect();
            covers.sort_by(f64::total_cmp);
            covers
        };
        let middle = |level: usize| {
            let covers = covers(level);
            let n = covers.len();
            if n == 0 { f64::NAN } else { (covers[(n - 1) / 2] + covers[n / 2]) / 2.0 }
        };
        let worst = |level: usize| covers(level).first().copied().unwrap_or(f64::NAN);
        for (kind, of) in [("median", &middle as &dyn Fn(usize) -> f64), ("worst", &worst)] {
            println!(
                "{:<50}{:>8.1}{:>8.1}{:>8.1}",
                format!("{kind} of {what}"),
                of(0),
                of(1),
                of(2)
            );
        }
    }
    Ok(())
}

/// Distinct families, the commonest first.
fn families(all: &[&'static str]) -> String {
    let mut distinct: Vec<&str> = all.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.sort_by_key(|name| std::cmp::Reverse(all.iter().filter(|n| *n == name).count()));
    distinct.join(", ")
}

fn judge(set: &Set) -> Result<Seen> {
    let stride = set.spec.stride() as i64;
    let newest = set.data.last() - set.spec.task.horizon as i64;
    let origins: Vec<i64> = (0..set.judged as i64).map(|back| newest - back * stride).collect();
    let seen = origins.par_iter().map(|origin| stand_at(set, *origin)).collect::<Vec<_>>();
    let seen = seen.into_iter().collect::<std::result::Result<Vec<Seen>, _>>()?;
    let hardest = seen.iter().min_by(|a, b| a.coverage(1).total_cmp(&b.coverage(1)));
    let mut all = Seen::default();
    if let Some(hardest) = hardest.filter(|_| seen.len() > 1) {
        all.but_hardest = Some([0, 1, 2].map(|level| {
            let others = seen.iter().filter(|seen| !std::ptr::eq(*seen, hardest));
            let inside = others.flat_map(|seen| &seen.inside[level]);
            let (sum, count) =
                inside.fold((0, 0), |(sum, count), inside| (sum + usize::from(*inside), count + 1));
            100.0 * sum as f64 / f64::from(count.max(1))
        }));
    }
    for seen in seen {
        all.inside.iter_mut().zip(seen.inside).for_each(|(all, of)| all.extend(of));
        all.distances.extend(seen.distances);
        all.families.extend(seen.families);
        all.errors.extend(seen.errors);
    }
    Ok(all)
}

fn stand_at(set: &Set, origin: i64) -> std::result::Result<Seen, TrainError> {
    let (spec, mut seen) = (&set.spec, Seen::default());
    let known = set.data.until(origin);
    let artifact = Artifact::train(&known, spec, &Stage::new(&Quiet))?;
    seen.families.push(artifact.card.family.name());
    let there = |view: &View<'_>| view.last() == origin && artifact.suits(*view);
    let views: Vec<View<'_>> = known.series().iter().map(Series::view).filter(there).collect();
    for (view, prediction) in views.iter().zip(artifact.forecast(&views, spec.task.horizon)) {
        let whole = set.data.find(&view.series().name).expect("known before");
        let scale = naive_scale(view.history(), spec.frequency().season());
        for (ahead, step) in (1..).zip(&prediction.steps) {
            let Some(actual) = whole.observed(origin + ahead) else { continue };
            let quantiles = artifact.calibration_of(&prediction).quantiles(&step.spread);
            let at = |p: f64| {
                let distance = |q: &&(f64, f64)| (q.0 - p).abs();
                let nearest = quantiles.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
                nearest.expect("there are quantiles").1
            };
            for (level, inside) in LEVELS.iter().zip(&mut seen.inside) {
                let tail = (1.0 - level) / 2.0;
                inside.push(holds(at(tail), at(1.0 - tail), actual));
            }
            if scale > 0.0 {
                seen.errors.push((actual - step.value).abs() / scale);
            }
            let transform = |value: f64| spec.model.transform.apply(value);
            let end = if actual < step.value { at(0.05) } else { at(0.95) };
            let half = (transform(end) - transform(step.value)).abs();
            let error = (transform(actual) - transform(step.value)).abs();
            seen.distances.push(if error > 0.0 { error / half } else { 0.0 });
        }
    }
    Ok(seen)
}
