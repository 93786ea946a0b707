//! Unusual rows beside scikit-learn, on the same tables: isolation forests, k-means, DBSCAN, and
//! the seconds that both took, the fastest of three times, on all cores.
//!
//! It reads what `tests/peers/unusual.py` has written to `accuracy/unusual/` in the target folder.
//! Forests are drawn, so the peer's own agreement with another seed is how much can be expected.

#![expect(clippy::disallowed_macros, reason = "its table is the result")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;
use steppe_model::rows::dbscan::{self, Dbscan};
use steppe_model::rows::isolation::{self, Isolation};
use steppe_model::rows::k_means::{self, Candidate, KMeans};
use steppe_model::rows::matrix::Matrix;
use steppe_model::rows::metrics::mean;
use steppe_model::rows::suspicions::rank_correlation;
use steppe_model::rows::table::Column;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SEED: u64 = 1;
/// Times whose fastest counts.
const TIMES: usize = 3;

/// A table, and what the peer said of its rows.
struct Told {
    columns: Matrix,
    scores: Vec<f64>,
    scores_of_other_seed: Vec<f64>,
    labels: Vec<Option<usize>>,
}

fn folder() -> PathBuf {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    Path::new(&target).join("accuracy/unusual")
}

fn told(name: &str) -> Result<Told> {
    let mut reader = csv::Reader::from_path(folder().join(name).with_extension("csv"))?;
    let width = reader.headers()?.len() - 3;
    let (mut values, mut scores, mut others, mut labels) = (vec![], vec![], vec![], vec![]);
    for record in reader.records() {
        let record = record?;
        for value in record.iter().take(width) {
            values.push(value.parse()?);
        }
        scores.push(record[width].parse()?);
        others.push(record[width + 1].parse()?);
        // Noise is -1.
        labels.push(record[width + 2].parse().ok());
    }
    let columns = Matrix::from_rows(width, &values);
    Ok(Told { columns, scores, scores_of_other_seed: others, labels })
}

/// An answer, and the seconds of the fastest of some times.
fn timed<T>(what: impl Fn() -> Result<T>) -> Result<(T, f64)> {
    let mut best = f64::INFINITY;
    let mut last = None;
    for _ in 0..TIMES {
        let start = Instant::now();
        last = Some(what()?);
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok((last.ok_or("no time counts")?, best))
}

fn number(of: &Value, name: &str) -> Result<f64> {
    Ok(of[name].as_f64().ok_or_else(|| format!("peers.json has no number `{name}`"))?)
}

fn isolation(told: &Told, peer: &Value, trees: usize) -> Result<()> {
    let options = Isolation { trees, ..Isolation::default() };
    let (scores, seconds) = timed(|| {
        let forest = isolation::fit(&told.columns, &options, SEED)?;
        Ok(forest.scores(&told.columns)?)
    })?;
    let agreement = |scores: &[f64]| {
        let correlation = rank_correlation(&Column::Number(scores.to_vec()), &told.scores);
        let more = mean(scores.iter().zip(&told.scores).map(|(one, peer)| one - peer));
        format!("{:.4}, {more:+.4}", correlation.unwrap_or(f64::NAN))
    };
    let own = format!("rank correlation {} on average", agreement(&scores));
    let expected = format!("{} (other seed)", agreement(&told.scores_of_other_seed));
    line("isolation forest", &own, &expected, seconds, number(peer, "isolation_seconds")?);
    Ok(())
}

fn k_means(told: &Told, peer: &Value) -> Result<()> {
    let clusters = number(peer, "clusters")? as usize;
    let (found, seconds) =
        timed(|| Ok(k_means::fit(&told.columns, clusters, &KMeans::default(), SEED)?))?;
    let inertia = number(peer, "inertia")?;
    let more = (found.inertia / inertia - 1.0) * 100.0;
    let own = format!("inertia {:.3}, {more:+.4} %", found.inertia);
    let name = format!("k-means, {clusters} groups");
    line(&name, &own, &format!("{inertia:.3}"), seconds, number(peer, "k_means_seconds")?);
    Ok(())
}

fn dbscan(told: &Told, peer: &Value) -> Result<()> {
    let options =
        Dbscan { eps: number(peer, "eps")?, min_points: number(peer, "min_points")? as usize };
    let (found, seconds) = timed(|| Ok(dbscan::fit(&told.columns, &options)?))?;
    let equal = found.labels.iter().zip(&told.labels).filter(|(own, peer)| own == peer).count();
    let noise = found.labels.iter().filter(|label| label.is_none()).count();
    let own = format!("{equal} of {} labels equal", told.labels.len());
    let expected = format!("{} groups, {noise} noise", found.clusters);
    let name = format!("DBSCAN, eps {:.3}", options.eps);
    line(&name, &own, &expected, seconds, number(peer, "dbscan_seconds")?);
    Ok(())
}

/// What is chosen from the rows themselves, and how long that takes.
fn chosen(told: &Told, peer: &Value) -> Result<()> {
    let min_points = number(peer, "min_points")? as usize;
    let (eps, seconds) = timed(|| Ok(dbscan::knee(&told.columns, min_points)?))?;
    println!("  the knee is at eps {eps:.3} ({seconds:.3} s)");
    let (choice, seconds) =
        timed(|| Ok(k_means::choose(&told.columns, 2..=10, &KMeans::default(), SEED)?))?;
    let shown = |c: &Candidate| {
        format!("{} {:.2}/{:.2}", c.clusters, c.silhouette.unwrap_or(f64::NAN), c.stability)
    };
    let each: Vec<String> = choice.candidates.iter().map(shown).collect();
    let count = choice.clusters.centres.count();
    println!("  {count} groups are chosen ({seconds:.3} s) of silhouette/stability:");
    println!("    {}", each.join(", "));
    Ok(())
}

fn line(name: &str, own: &str, expected: &str, seconds: f64, peer_seconds: f64) {
    println!("  {name:<20}{own:<44}{expected:<30}{seconds:>9.3}{peer_seconds:>9.3}");
}

fn main() -> Result<()> {
    let path = folder().join("peers.json");
    if !path.exists() {
        println!("{} is not there; tests/peers/unusual.py writes it", path.display());
        return Ok(());
    }
    let peers: Value = serde_json::from_slice(&fs::read(path)?)?;
    println!("Unusual rows; peer: {}\n", peers["versions"].as_str().unwrap_or("unknown"));
    println!("  {:<20}{:<44}{:<30}{:>9}{:>9}", "", "steppe", "peer", "s", "peer's s");
    for peer in peers["tables"].as_array().into_iter().flatten() {
        let name = peer["name"].as_str().ok_or("a table has no name")?;
        let told = told(name)?;
        println!("{name}: {} rows, {} columns", told.columns.rows(), told.columns.columns());
        isolation(&told, peer, number(&peers, "trees")? as usize)?;
        k_means(&told, peer)?;
        dbscan(&told, peer)?;
        chosen(&told, peer)?;
    }
    Ok(())
}
