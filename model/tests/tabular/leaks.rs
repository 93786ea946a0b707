//! Answers that reach a model by another way.

use steppe_model::leaks;
use steppe_model::rows::table::{Column, Table};
use steppe_model::tabular::Tabular;
use steppe_model::tabular::data::{Rows, Target};
use steppe_model::task::Task;
use steppe_spec::Family;
use steppe_spec::tabular::{SplitKind, TabularKind, TabularSpec};

use crate::made::{self, spec, usual};

fn refused(data: &Rows, spec: &TabularSpec) -> Option<String> {
    Tabular::check_data(data, spec).err().map(|error| error.to_string())
}

/// Patients with one more column.
fn with(name: &str, column: &dyn Fn(&Rows) -> Column) -> Rows {
    let mut data = usual(400, 1);
    let column = column(&data);
    data.table.push(name, column).expect("a column");
    data
}

fn codes(data: &Rows) -> Vec<usize> {
    data.target().classes()
}

fn classification() -> TabularSpec {
    spec(TabularKind::Classification)
}

#[test]
fn columns_that_give_the_answer_away_are_refused() {
    assert_eq!(refused(&usual(400, 1), &classification()), None);
    let id = with("id", &|_| Column::Number((0..400).map(|row| f64::from(row * 7)).collect()));
    let told = refused(&id, &classification()).expect("a leak");
    assert!(told.contains("`id` is different in every row, as ids are"), "{told}");
    let meant = classification().with(|s| s.task.features = Some(vec!["id".to_owned()]));
    assert_eq!(refused(&id, &meant), None, "it was named");
    let names: Vec<String> = (0..400).map(|row| format!("p{row}")).collect();
    let names = names.iter().map(|name| Some(name.as_str()));
    let text = with("name", &|_| Column::category(names.clone()));
    assert!(refused(&text, &classification()).is_some_and(|told| told.contains("`name`")));
    // Levels of rows that were left out for want of a target change nothing.
    let part = text.select(&(0..300).collect::<Vec<_>>());
    let told = refused(&part, &classification()).expect("a leak");
    assert!(told.contains("is different in every row"), "{told}");
    let copy = with("copy", &|data| {
        Column::Number(codes(data).into_iter().map(|code| code as f64).collect())
    });
    let told = refused(&copy, &classification()).expect("a leak");
    assert!(told.contains("`copy` tells `stroke` by itself (ROC-AUC 1.0000)"), "{told}");
    let near = with("near", &|data| {
        let value = |(row, code): (usize, usize)| code as f64 + 0.0025 * (row % 399) as f64;
        Column::Number(codes(data).into_iter().enumerate().map(value).collect())
    });
    assert!(refused(&near, &classification()).is_some_and(|told| told.contains("`near`")));
    let word = with("word", &|data| {
        let texts = codes(data).into_iter().map(|code| Some(["alive", "dead"][code]));
        Column::category(texts)
    });
    assert!(refused(&word, &classification()).is_some_and(|told| told.contains("`word`")));
}

#[test]
fn a_copy_of_a_number_is_refused_too() {
    let mut data = made::with_costs(400, 1);
    let Some(Target::Numbers(values)) = &data.target else { panic!("numbers") };
    let scaled = values.iter().map(|value| 3.0 - 0.5 * value).collect();
    data.table.push("euros", Column::Number(scaled)).expect("a column");
    let told = refused(&data, &spec(TabularKind::Regression)).expect("a leak");
    assert!(told.contains("`euros` tells `stroke` by itself (rank correlation 1.0000)"), "{told}");
}

#[test]
fn rows_that_are_on_both_sides_are_refused() {
    let data = usual(400, 2);
    let twice: Vec<usize> = (0..400).chain(0..16).collect();
    let told = refused(&data.select(&twice), &classification()).expect("a leak");
    assert!(told.contains("are the same as rows that are learnt from"), "{told}");
    let one = data.select(&(0..400).chain([7]).collect::<Vec<_>>());
    assert_eq!(refused(&one, &classification()), None, "one may be chance");
}

#[test]
fn what_knows_of_each_other_is_not_told_apart_by_chance() {
    let by_chance = |kind| classification().with(|s| s.task.split.kind = Some(kind));
    let mut visits = usual(400, 3);
    visits.entities = Some((0..400).map(|row| format!("p{}", row / 2)).collect());
    visits.groups = Some((0..400).map(|row| row / 2).collect());
    let told = refused(&visits, &by_chance(SplitKind::Stratified)).expect("a leak");
    assert!(told.contains("rows 0 and 1 are both about `p0`"), "{told}");
    assert_eq!(refused(&visits, &classification()), None, "by group on its own");
    let mut dated = usual(400, 3);
    dated.times = Some((0..400).map(|row| row * 1_000_000).collect());
    let told = refused(&dated, &by_chance(SplitKind::KFold)).expect("a leak");
    assert!(told.contains("row 399, the newest, is learnt from, and row 0, the oldest"), "{told}");
    assert_eq!(refused(&dated, &classification()), None, "by time on its own");
}

#[test]
fn no_family_learns_of_rows_that_are_asked_about() {
    let kinds = [
        (TabularKind::Classification, usual(300, 4)),
        (TabularKind::Classification, made::with_stays(300, 4)),
        (TabularKind::Regression, made::with_costs(300, 4)),
    ];
    for (kind, data) in kinds {
        let families = spec(kind).task.model.families(data.target().is_number());
        assert!(families.len() == 5 && families.contains(&Family::RandomForest));
        let checked = leaks::check::<Tabular>(&data, &spec(kind), &families).expect("no leak");
        assert_eq!(checked, families);
    }
}

/// Few columns with few values have rows that are alike, and no copies.
#[test]
fn rows_that_are_alike_by_chance_are_no_copies() {
    for seed in 0..10 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let ages: Vec<f64> = (0..600).map(|_| f64::from(rng.u32(20..80))).collect();
        let bmi: Vec<f64> = (0..600).map(|_| f64::from(rng.u32(180..400)) / 10.0).collect();
        let mut table = Table::new(600);
        table.push("age", Column::Number(ages)).expect("a column");
        table.push("bmi", Column::Number(bmi)).expect("a column");
        let codes = (0..600).map(|_| usize::from(rng.f64() < 0.1)).collect();
        let data = Rows::plain(table, Some(made::classes(&["no", "yes"], codes)));
        assert_eq!(refused(&data, &classification()), None, "{seed}");
        // Those that happen ten times each, as some people balance classes.
        let happened = data.target().happened(0);
        let often = (0..600).flat_map(|row| vec![row; if happened[row] { 10 } else { 1 }]);
        let told = refused(&data.select(&often.collect::<Vec<_>>()), &classification());
        assert!(told.is_some_and(|told| told.contains("are the same as rows")), "{seed}");
    }
}
