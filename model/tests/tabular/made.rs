//! Made-up patients whose true risks are known.

use std::sync::Arc;

use steppe_model::host::{Host, Quiet, Stage};
use steppe_model::rows::logistic::probability;
use steppe_model::rows::table::{Column, Table};
use steppe_model::tabular::data::{Rows, Target};
use steppe_model::tabular::{Artifact, Row};
use steppe_spec::tabular::{TabularKind, TabularSpec};
use steppe_spec::{ColumnType, Family, Kind};

/// Columns of a patient.
const COLUMNS: [(&str, ColumnType); 5] = [
    ("age", ColumnType::Double),
    ("glucose", ColumnType::Double),
    ("bmi", ColumnType::Double),
    ("heart", ColumnType::Boolean),
    ("smoking", ColumnType::String),
];

/// What is different about some patients.
#[derive(Debug, Clone, Copy, Default)]
pub struct Different {
    /// Years that they are older.
    pub older: f64,
    /// Share of missing glucose beside what is usual, which is none.
    pub missing: f64,
    /// Share whose smoking is of a level that others do not have.
    pub vapes: f64,
}

fn normal(rng: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
}

/// Patients, and the true risk of each.
pub fn patients(rows: usize, seed: u64, different: Different) -> (Rows, Vec<f64>) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut age, mut glucose, mut bmi) = (vec![], vec![], vec![]);
    let (mut heart, mut smoking, mut risk) = (vec![], vec![], vec![]);
    for _ in 0..rows {
        let years = 20.0 + 60.0 * rng.f64();
        let sugar = 100.0 + 25.0 * normal(&mut rng);
        let ill = rng.f64() < 0.1;
        let odds = 0.06 * years + 0.03 * (sugar - 100.0) + 1.5 * f64::from(u8::from(ill));
        risk.push(probability(odds - 5.0));
        age.push(years + different.older);
        glucose.push(if rng.f64() < different.missing { f64::NAN } else { sugar });
        let weight = 28.0 + 5.0 * normal(&mut rng);
        bmi.push(if rng.f64() < 0.05 { f64::NAN } else { weight });
        heart.push(Some(ill));
        let usual = ["never", "formerly", "smokes"][rng.usize(..3)];
        smoking.push(Some(if rng.f64() < different.vapes { "vapes" } else { usual }));
    }
    let mut table = Table::new(rows);
    let columns = [age, glucose, bmi].map(Column::Number);
    let columns = columns.into_iter().chain([Column::Boolean(heart), Column::category(smoking)]);
    for ((name, _), column) in COLUMNS.iter().zip(columns) {
        table.push(name, column).expect("a column");
    }
    let codes = risk.iter().map(|risk| usize::from(rng.f64() < *risk)).collect();
    (Rows::plain(table, Some(classes(&["no", "yes"], codes))), risk)
}

/// Patients as they usually are.
pub fn usual(rows: usize, seed: u64) -> Rows {
    patients(rows, seed, Different::default()).0
}

/// Classes by their places.
pub fn classes(labels: &[&str], codes: Vec<usize>) -> Target {
    let labels = Arc::new(labels.iter().map(|label| (*label).to_owned()).collect());
    Target::Classes { labels, codes }
}

/// The same patients, and what three years of treatment cost: a number.
pub fn with_costs(rows: usize, seed: u64) -> Rows {
    let (data, risk) = patients(rows, seed, Different::default());
    let mut rng = fastrand::Rng::with_seed(seed + 1);
    let cost = |risk: &f64| 500.0 * risk + 20.0 * normal(&mut rng);
    Rows { target: Some(Target::Numbers(risk.iter().map(cost).collect())), ..data }
}

/// The same patients in three classes: whether they stayed at home, came once, or stayed.
pub fn with_stays(rows: usize, seed: u64) -> Rows {
    let (data, risk) = patients(rows, seed, Different::default());
    let mut rng = fastrand::Rng::with_seed(seed + 2);
    let mut class = |risk: &f64| match rng.f64() {
        chance if chance < risk / 2.0 => 2,
        chance if chance < 2.0 * risk => 1,
        _ => 0,
    };
    let codes = risk.iter().map(&mut class).collect();
    Rows { target: Some(classes(&["home", "visit", "stay"], codes)), ..data }
}

/// A small configuration: every family is quick.
pub fn spec(kind: TabularKind) -> TabularSpec {
    TabularSpec::new("patients", kind, "stroke", &COLUMNS).with(|spec| {
        spec.task.split.repeats = Some(1);
        spec.task.model.boosting.rounds = 20;
        spec.task.model.forest.trees = 15;
    })
}

/// The same with one family beside the baselines.
pub fn only(kind: TabularKind, family: Family) -> TabularSpec {
    spec(kind).with(|spec| {
        spec.task.model.kind = Kind::Of(family);
        spec.task.model.candidates = Some(vec![]);
    })
}

/// The model that comes of it.
pub fn trained(data: &Rows, spec: &TabularSpec) -> Artifact {
    trained_by(data, spec, &Quiet)
}

/// The same in a program.
pub fn trained_by(data: &Rows, spec: &TabularSpec, host: &dyn Host) -> Artifact {
    Artifact::train(data, spec, &Stage::new(host)).expect("trains")
}

/// All rows, as questions.
pub fn rows(data: &Rows) -> Vec<Row<'_>> {
    (0..data.rows()).map(|row| Row { table: &data.table, row }).collect()
}
