//! The public table of 4,088 patients, where it is there.

use std::path::PathBuf;

use steppe_model::drift::Tally;
use steppe_model::rows::table::{Column, Table};
use steppe_model::tabular::data::Rows;
use steppe_model::tabular::{Artifact, Asked, Tabular};
use steppe_model::task::Task;
use steppe_spec::tabular::{TabularKind, TabularSpec};
use steppe_spec::{ColumnType, Family, Kind};

use crate::made::{self, rows, trained};

/// The patients; none where `$STEPPE_SHARED_DATA` does not have them.
fn patients() -> Option<Rows> {
    let folder = std::env::var_os("STEPPE_SHARED_DATA")?;
    let mut reader =
        csv::Reader::from_path(PathBuf::from(folder).join("stroke/stroke.csv")).ok()?;
    let names: Vec<String> = reader.headers().ok()?.iter().map(str::to_owned).collect();
    let records: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().ok()?;
    let mut table = Table::new(records.len());
    let mut codes = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let texts = records.iter().map(|record| &record[at]);
        let column = match name.as_str() {
            "id" => continue,
            "stroke" => {
                codes = texts.map(|text| usize::from(text == "1")).collect();
                continue;
            }
            "age" | "avg_glucose_level" | "bmi" => {
                Column::Number(texts.map(|text| text.parse().unwrap_or(f64::NAN)).collect())
            }
            "hypertension" | "heart_disease" => {
                Column::Boolean(texts.map(|text| Some(text == "1")).collect())
            }
            _ => Column::category(texts.map(Some)),
        };
        table.push(name, column).expect("a column");
    }
    Some(Rows::plain(table, Some(made::classes(&["0", "1"], codes))))
}

fn spec(data: &Rows) -> TabularSpec {
    let kind = |column: &Column| match column {
        Column::Number(_) => ColumnType::Double,
        Column::Boolean(_) => ColumnType::Boolean,
        Column::Category { .. } => ColumnType::String,
    };
    let columns: Vec<(&str, ColumnType)> =
        data.table.columns().map(|(name, column)| (name, kind(column))).collect();
    TabularSpec::new("stroke", TabularKind::Classification, "stroke", &columns).with(|spec| {
        spec.task.split.repeats = Some(1);
        spec.task.model.kind = Kind::Of(Family::Logistic);
        spec.task.model.candidates = Some(vec![]);
    })
}

/// Statistics that drift when patients are drawn anew, each so many years older.
fn drifted(artifact: &Artifact, data: &Rows, seed: u64, older: f64) -> Vec<String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let drawn: Vec<usize> = (0..data.rows()).map(|_| rng.usize(..data.rows())).collect();
    let drawn = data.select(&drawn);
    let mut table = Table::new(drawn.rows());
    for (name, column) in drawn.table.columns() {
        let mut column = column.clone();
        if let (Column::Number(values), "age") = (&mut column, name) {
            values.iter_mut().for_each(|age| *age += older);
        }
        table.push(name, column).expect("a column");
    }
    let drawn = Rows { table, ..drawn };
    let (reference, queries) = (&artifact.card.reference, rows(&drawn));
    let mut tally = Tally::new(reference);
    let answers = artifact.answer(&queries, Asked { reasons: false });
    for (query, answer) in queries.into_iter().zip(&answers) {
        tally.add(reference, &Tabular::statistics(artifact, query, answer).expect("some"));
    }
    let compared = tally.compare(reference).into_iter();
    compared.filter(|drift| drift.drifted).map(|drift| drift.statistic).collect()
}

#[test]
fn patients_ten_years_older_are_found_and_the_same_ones_are_not() {
    let Some(data) = patients() else {
        eprintln!("skipped: $STEPPE_SHARED_DATA has no stroke/stroke.csv");
        return;
    };
    let artifact = trained(&data, &spec(&data));
    for seed in 0..20 {
        assert_eq!(drifted(&artifact, &data, seed, 0.0), [""; 0], "seed {seed}");
        let older = drifted(&artifact, &data, seed, 10.0);
        assert!(older.contains(&"age".to_owned()), "seed {seed}: {older:?}");
    }
}

#[test]
fn a_model_of_patients_is_better_than_their_age() {
    let Some(data) = patients() else {
        eprintln!("skipped: $STEPPE_SHARED_DATA has no stroke/stroke.csv");
        return;
    };
    let section = trained(&data, &spec(&data)).card.section;
    assert_eq!((section.data.rows, section.target.counts[1]), (4_088, 199));
    let told = &section.out_of_fold;
    assert!(told.score("ROC-AUC").is_some_and(|auc| auc > 0.83), "{told:?}");
    assert!(told.score("log loss").is_some_and(|loss| loss < 0.157), "{told:?}");
    assert!(told.calibration_error.is_some_and(|error| error < 0.012), "{told:?}");
    let candidate = |family| {
        let found = section.candidates.iter().find(|candidate| candidate.family == family);
        found.expect("took part").scores[0].value
    };
    assert!(candidate(Family::Logistic) < candidate(Family::BestColumn));
    assert!(candidate(Family::BestColumn) < candidate(Family::Prior));
    assert_eq!(section.importance[0].column, "age");
}
