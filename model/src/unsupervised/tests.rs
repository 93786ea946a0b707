//! Households of two groups, some of them odd: what is found, why, and what is refused.

use steppe_spec::unsupervised::anomaly::{AnomalyFamily, AnomalyTask};
use steppe_spec::unsupervised::clustering::{ClusteringFamily, ClusteringTask};

use super::rows::{Judged, find};
use super::{Entities, Readings, clustering, series};
use crate::rows::matrix::Matrix;

/// Households in two groups: their level, and days without energy; the last one of each group has
/// an odd one, which would be nothing in the other group.
fn households() -> Entities {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut normal = || (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
    let (mut names, mut groups, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (group, level) in [("flats", 4.0), ("houses", 40.0)] {
        for number in 0..60 {
            names.push(format!("{group}{number}"));
            groups.push(Some(group.to_owned()));
            let other = if level < 10.0 { 40.0 } else { 4.0 };
            let own = if number == 59 { other } else { level * (1.0 + 0.1 * normal()) };
            values.extend([own, if number == 7 { 21.0 } else { (2.0 * normal()).max(0.0) }]);
        }
    }
    let columns = vec!["kwh".to_owned(), "zero_days".to_owned()];
    Entities { names, groups, columns, values: Matrix::from_rows(2, &values) }
}

fn task(kind: AnomalyFamily) -> AnomalyTask {
    let mut task = AnomalyTask::of_rows("household");
    task.within = Some("group".to_owned());
    task.model.kind = kind;
    task
}

fn flagged(rows: &[Judged]) -> Vec<&str> {
    rows.iter().filter(|row| row.flagged).map(|row| &*row.entity).collect()
}

#[test]
fn a_row_is_unusual_among_its_own_group_and_says_why() {
    let kinds = AnomalyFamily::OF_ROWS.into_iter().chain([AnomalyFamily::Vote]);
    for kind in kinds {
        let found = find(&households(), &task(kind)).expect("found").rows;
        for odd in ["flats59", "houses59", "flats7", "houses7"] {
            let row = found.iter().find(|row| row.entity == odd).expect("there");
            assert!(row.flagged && row.rank <= 3, "{kind:?}: {row:?}");
            let column = if odd.ends_with("59") { "kwh" } else { "zero_days" };
            assert_eq!(row.reasons[0].column, column, "{kind:?}: {row:?}");
            assert!(row.reasons[0].share > 0.5, "{kind:?}: {row:?}");
            assert!(row.families.contains(&AnomalyFamily::Tails), "{row:?}");
        }
        // Three of each sixty.
        assert_eq!(flagged(&found).len(), 6, "{kind:?}");
        assert!(found.iter().filter(|row| !row.flagged).all(|row| row.reasons.is_empty()));
    }
}

#[test]
fn small_groups_and_rows_of_none_are_compared_with_all() {
    let mut table = households();
    for row in 0..5 {
        table.groups[row] = Some("palaces".to_owned());
    }
    table.groups[5] = None;
    let found = find(&table, &task(AnomalyFamily::Tails)).expect("found");
    assert!(found.notes[0].starts_with("`palaces` has fewer than 20 rows"), "{:?}", found.notes);
    assert!(found.rows[..6].iter().all(|row| row.within.is_none()));
    assert!(found.rows[6..].iter().all(|row| row.within.is_some()));
}

#[test]
fn what_is_missing_constant_or_zero_is_no_reason() {
    let mut table = households();
    let rows = table.names.len();
    for (name, value) in [("nothing", f64::NAN), ("constant", 7.0), ("zero", 0.0)] {
        table.columns.push(name.to_owned());
        table.values.push(&vec![value; rows]);
    }
    let mut gaps = table.values.column(0).to_vec();
    gaps[3] = f64::NAN;
    table.columns.push("gaps".to_owned());
    table.values.push(&gaps);
    for kind in AnomalyFamily::OF_ROWS {
        let found = find(&table, &task(kind)).expect("found");
        assert!(found.notes[0].contains("`nothing` has no value"), "{:?}", found.notes);
        let reasons = found.rows.iter().flat_map(|row| &row.reasons);
        for reason in reasons {
            assert!(!["nothing", "constant", "zero"].contains(&&*reason.column), "{reason:?}");
        }
    }
    // All rows alike: nobody is unusual, and nothing fails.
    let (columns, values) = (vec!["kwh".to_owned()], Matrix::new(rows, 1, vec![0.0; rows]));
    let table = Entities { columns, values, ..table };
    for kind in AnomalyFamily::OF_ROWS.into_iter().chain([AnomalyFamily::Vote]) {
        let found = find(&table, &task(kind)).expect("found").rows;
        assert_eq!(flagged(&found), Vec::<&str>::new(), "{kind:?}");
    }
}

#[test]
fn what_cannot_be_looked_at_is_refused() {
    let mut table = households();
    let mut logs = task(AnomalyFamily::Tails);
    logs.log = vec!["zero_days".to_owned()];
    assert!(find(&table, &logs).is_ok());
    let rows = table.names.len();
    table.columns.push("change".to_owned());
    table.values.push(&vec![-1.0; rows]);
    logs.log = vec!["change".to_owned()];
    let refused = find(&table, &logs).expect_err("no logarithm");
    assert_eq!(refused.to_string(), "`change` of `flats0` is -1");
    let nothing = Entities {
        values: Matrix::new(rows, 1, vec![f64::NAN; rows]),
        columns: vec!["kwh".to_owned()],
        ..table.clone()
    };
    assert!(find(&nothing, &task(AnomalyFamily::Tails)).is_err());
    let infinite = Entities {
        values: Matrix::new(rows, 1, vec![f64::INFINITY; rows]),
        columns: vec!["kwh".to_owned()],
        ..table.clone()
    };
    assert!(find(&infinite, &task(AnomalyFamily::Tails)).is_err());
    let mut none = task(AnomalyFamily::DbscanNoise);
    none.model.eps = Some(0.0);
    assert!(find(&table, &none).expect_err("no distance").to_string().contains("eps = 0"));
    let mut many = task(AnomalyFamily::KMeansDistance);
    many.model.clusters = Some(100);
    let many = find(&table, &many).expect_err("more groups than rows").to_string();
    assert!(many.contains("100 groups were asked for, and only 60 rows are different"), "{many}");
}

#[test]
fn one_row_is_usual() {
    let table = Entities {
        names: vec!["alone".to_owned()],
        groups: vec![None],
        columns: vec!["kwh".to_owned()],
        values: Matrix::new(1, 1, vec![3.0]),
    };
    let found = find(&table, &task(AnomalyFamily::Vote)).expect("found").rows;
    assert_eq!(flagged(&found), Vec::<&str>::new());
}

#[test]
fn groups_are_found_and_said_in_words() {
    let all = households();
    let values = Matrix::new(120, 1, all.values.column(0).to_vec());
    let table = Entities { columns: vec!["kwh".to_owned()], values, ..all };
    let mut task = ClusteringTask::new("household");
    let found = clustering::find(&table, &task).expect("groups");
    assert_eq!(found.profiles.len(), 2, "{:?}", found.candidates);
    assert_eq!(found.profiles.iter().map(|group| group.rows).sum::<usize>(), 120);
    let words: Vec<&str> = found.profiles.iter().map(|group| &*group.words).collect();
    assert!(words.contains(&"high kwh") && words.contains(&"low kwh"), "{words:?}");
    assert!(found.silhouette.expect("two groups") > 0.5);
    task.model.kind = ClusteringFamily::Dbscan;
    task.model.eps = Some(0.02);
    let dense = clustering::find(&table, &task).expect("groups");
    assert!(dense.labels.iter().any(Option::is_none), "noise");
    assert!(dense.profiles.is_sorted_by_key(|group| std::cmp::Reverse(group.rows)));
    task.model.eps = Some(0.0);
    assert!(clustering::find(&table, &task).is_err());
}

#[test]
fn few_rows_one_group_and_too_many_groups_have_their_answers() {
    let table = households();
    let mut task = ClusteringTask::new("household");
    task.model.clusters = Some(1);
    let one = clustering::find(&table, &task).expect("one group");
    assert_eq!((one.profiles.len(), one.silhouette), (1, None));
    assert_eq!(one.profiles[0].words, "like all rows");
    task.model.clusters = Some(100);
    let few = Entities {
        names: vec!["a".to_owned(), "b".to_owned()],
        groups: vec![None; 2],
        columns: vec!["kwh".to_owned()],
        values: Matrix::new(2, 1, vec![1.0, 2.0]),
    };
    let refused = clustering::find(&few, &task).expect_err("too many").to_string();
    assert!(refused.contains("100 groups were asked for, and only 2 rows"), "{refused}");
    task.model.clusters = None;
    // Two groups of one row each say no more than the rows.
    assert_eq!(clustering::find(&few, &task).expect("groups").profiles.len(), 1);
    let equal = Entities { values: Matrix::new(2, 1, vec![1.0; 2]), ..few };
    assert_eq!(clustering::find(&equal, &task).expect("one").profiles.len(), 1);
}

#[test]
fn a_value_unlike_those_before_it_is_an_alarm_once() {
    let mut rng = fastrand::Rng::with_seed(2);
    let mut values: Vec<f64> = (0..600).map(|i| (f64::from(i) * 0.3).sin() + rng.f64()).collect();
    values[400] += 30.0;
    values[401] += 30.0;
    values[300] = f64::NAN;
    let times = (0..600).map(|i| i.to_string()).collect();
    let series = Readings { series: "a".to_owned(), times, values };
    for kind in [AnomalyFamily::Vote, AnomalyFamily::Deviation, AnomalyFamily::NearestWindows] {
        let mut task = AnomalyTask::of_series(["series", "time", "value"]);
        task.model.kind = kind;
        let alarms = series::alarms(&series, &task).expect("alarms");
        let near = alarms.iter().filter(|alarm| (400..=450).contains(&alarm.at));
        let near: Vec<&str> = near.map(|alarm| &*alarm.time).collect();
        assert!(["400", "401"].contains(&near[0]) && near.len() <= 2, "{kind:?}: {alarms:?}");
        task.model.probation = Some(590);
        assert!(series::alarms(&series, &task).expect("alarms").iter().all(|a| a.at > 590));
    }
    let constant = Readings { values: vec![1.0; 600], ..series };
    let task = AnomalyTask::of_series(["series", "time", "value"]);
    assert_eq!(series::alarms(&constant, &task).expect("none"), vec![]);
}
