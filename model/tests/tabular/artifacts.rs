//! Models as files: the same again, and nothing that is not one.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use steppe_model::rows::metrics::mean;
use steppe_model::rows::table::{Column, Table};
use steppe_model::tabular::data::{Rows, Target};
use steppe_model::tabular::{Artifact, Asked};
use steppe_spec::tabular::{SplitKind, TabularKind, Tune};
use steppe_spec::{Family, Kind};
use steppe_wire::predict::ModelPointer;

use crate::made::{self, Different, only, patients, rows, spec, trained, usual};

fn read_again(artifact: &Artifact) -> Artifact {
    let (card, weights) = (artifact.card_bytes.clone(), artifact.weights_bytes.clone());
    Artifact::load(card, weights, &artifact.pointer()).expect("loads")
}

#[test]
fn a_model_that_was_read_is_the_one_that_was_written() {
    let (two, three, costs) = (usual(600, 1), made::with_stays(600, 1), made::with_costs(600, 1));
    let kinds = [
        (TabularKind::Classification, &two),
        (TabularKind::Classification, &three),
        (TabularKind::Regression, &costs),
    ];
    for (kind, data) in kinds {
        for family in spec(kind).task.model.families(data.target().is_number()) {
            let artifact = trained(data, &only(kind, family));
            let again = trained(data, &only(kind, family));
            assert_eq!(artifact.card_bytes, again.card_bytes, "{family:?}");
            assert_eq!(artifact.weights_bytes, again.weights_bytes, "{family:?}");
            let read = read_again(&artifact);
            assert_eq!((&read.card, &read.model), (&artifact.card, &artifact.model));
            let asked = Asked { reasons: true };
            let (one, other) =
                (artifact.answer(&rows(data), asked), read.answer(&rows(data), asked));
            assert_eq!(one, other, "{family:?}");
            let text = artifact.card.to_text("v");
            assert!(text.contains("out of fold: "), "{text}");
        }
    }
}

#[test]
fn auto_finds_the_kind_and_the_best_family_and_other_seeds_are_other_models() {
    let data = usual(1_500, 2);
    let auto = spec(TabularKind::Auto);
    let artifact = trained(&data, &auto);
    let section = &artifact.card.section;
    let best =
        section.candidates.iter().min_by(|a, b| a.scores[0].value.total_cmp(&b.scores[0].value));
    assert_eq!(best.map(|best| best.family), Some(artifact.card.family));
    assert!(!artifact.card.family.is_baseline(), "{}", artifact.card.to_text("v"));
    let other = trained(&data, &auto.clone().with(|s| s.task.model.seed = 2));
    assert_ne!(artifact.card_bytes, other.card_bytes);
    assert!(artifact.card.to_text("v").contains("as `auto` has it from the data"));
}

#[test]
fn probabilities_are_near_the_true_ones() {
    let (data, _) = patients(4_000, 3, Different::default());
    let (new, risk) = patients(4_000, 4, Different::default());
    for family in [Family::Logistic, Family::GradientBoosting, Family::RandomForest] {
        let spec = only(TabularKind::Classification, family).with(|s| {
            s.task.model.boosting.rounds = 80;
            s.task.model.forest.trees = 60;
        });
        let artifact = trained(&data, &spec);
        let answered = artifact.answer(&rows(&new), Asked { reasons: false });
        let off = mean(answered.iter().zip(&risk).map(|(a, risk)| (a.answers[0] - risk).abs()));
        let prior = mean(risk.iter().copied());
        let of_prior = mean(risk.iter().map(|risk| (prior - risk).abs()));
        assert!(off < 0.45 * of_prior, "{family:?}: {off} instead of {of_prior}");
        let test = artifact.card.section.test.as_ref().expect("rows were kept");
        let (told, kept) = (&artifact.card.section.out_of_fold, test);
        for name in ["log loss", "ROC-AUC"] {
            let (a, b) = (told.score(name).expect("told"), kept.score(name).expect("told"));
            assert!((a - b).abs() < 0.1, "{family:?}: {name} {a} and {b}");
        }
    }
}

/// What somebody does to a card.
type Change<'a> = &'a dyn Fn(&mut Value);

/// A card with a change, as somebody would write it who can make hashes.
fn forged(artifact: &Artifact, change: Change<'_>) -> Result<Artifact, String> {
    let mut card: Value = serde_json::from_slice(&artifact.card_bytes).expect("JSON");
    let before = card.clone();
    change(&mut card);
    assert_ne!(card, before, "nothing was changed");
    let bytes = serde_json::to_vec(&card).expect("JSON");
    let card_sha256: String =
        Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let pointer = ModelPointer { version: card_sha256[..16].to_owned(), card_sha256 };
    let loaded = Artifact::load(bytes, artifact.weights_bytes.clone(), &pointer);
    loaded.map_err(|error| error.to_string())
}

#[test]
fn hostile_cards_are_refused() {
    let tuned = only(TabularKind::Classification, Family::Logistic).with(|s| {
        s.task.split.kind = Some(SplitKind::KFold);
        s.task.tune = Some(Tune { trials: 2, ..Tune::default() });
    });
    let artifact = trained(&usual(400, 5), &tuned);
    let changes: [(&str, Change<'_>); 13] = [
        ("no calibration", &|card| card["calibration"] = json!([])),
        ("two calibrations", &|card| {
            card["calibration"] = json!([{"method": "none"}, {"method": "none"}]);
        }),
        ("a falling calibration", &|card| {
            card["calibration"] = json!([{"method": "platt", "slope": -1.0, "intercept": 0.0}]);
        }),
        ("one label", &|card| card["target"]["labels"] = json!(["yes"])),
        ("a label too many", &|card| card["target"]["labels"] = json!(["no", "yes", "who"])),
        ("counts of three labels", &|card| card["target"]["counts"] = json!([1, 2, 3])),
        ("another column", &|card| card["data"]["columns"][0]["name"] = json!("weight")),
        ("another type", &|card| card["data"]["columns"][0]["kind"] = json!("categories")),
        ("a threshold above one", &|card| card["threshold"] = json!(1.5)),
        ("no threshold", &|card| card["threshold"] = Value::Null),
        ("too many decimals", &|card| card["target"]["decimals"] = json!(400)),
        ("a journal of other values", &|card| {
            card["tuning"]["journal"]["trials"][0]["values"] = json!([1e9]);
        }),
        ("seen rows that are no bits", &|card| card["data"]["seen"] = json!("xyz")),
    ];
    for (what, change) in changes {
        assert!(forged(&artifact, change).is_err(), "{what} was taken");
    }
    let harmless = |card: &mut Value| card["data"]["known"] = json!("yesterday");
    forged(&artifact, &harmless).expect("it is a card");
}

#[test]
fn odd_tables_have_a_model_or_a_reason() {
    let rows = 120;
    let number = |value: &dyn Fn(usize) -> f64| Column::Number((0..rows).map(value).collect());
    let mut table = Table::new(rows);
    let mut push = |name: &str, column| table.push(name, column).expect("a column");
    push("age", number(&|row| (row * 37 % 101) as f64));
    push("glucose", number(&|_| f64::NAN));
    push("bmi", number(&|_| 3.0));
    push("heart", Column::Boolean(vec![None; rows]));
    push("smoking", Column::category((0..rows).map(|_| None)));
    let codes: Vec<usize> = (0..rows).map(|row| usize::from(row * 37 % 101 > 60)).collect();
    let flipped = |row: usize, code: usize| if row.is_multiple_of(7) { 1 - code } else { code };
    let codes: Vec<usize> = codes.into_iter().enumerate().map(|(r, c)| flipped(r, c)).collect();
    let empty = Rows::plain(table, Some(made::classes(&["no", "yes"], codes)));
    let constant = Rows { target: Some(Target::Numbers(vec![7.0; rows])), ..empty.clone() };
    for (kind, data) in
        [(TabularKind::Classification, &empty), (TabularKind::Regression, &constant)]
    {
        for family in spec(kind).task.model.families(data.target().is_number()) {
            let artifact = trained(data, &only(kind, family));
            assert_eq!(read_again(&artifact).card, artifact.card);
        }
    }
    // A class of fewer rows than folds.
    let mut codes = vec![0; rows];
    (0..rows).for_each(|row| codes[row] = usize::from(row % 2 == 0));
    (codes[3], codes[4]) = (2, 2);
    let target = Some(made::classes(&["a", "b", "c"], codes));
    let rare = Rows { target, groups: Some((0..rows).map(|row| row / 4).collect()), ..empty };
    let by_group = only(TabularKind::Classification, Family::Logistic).with(|s| {
        s.task.split.kind = Some(SplitKind::Group);
        s.task.split.by = Some("clinic".to_owned());
        s.task.split.folds = 3;
    });
    for family in [Family::BestColumn, Family::GradientBoosting, Family::RandomForest] {
        let spec = by_group.clone().with(|s| s.task.model.kind = Kind::Of(family));
        trained(&rare, &spec);
    }
    let one_row = rare.select(&[0]);
    let spec = only(TabularKind::Classification, Family::Logistic);
    let stage = steppe_model::host::Stage::new(&steppe_model::host::Quiet);
    let refused = Artifact::train(&one_row, &spec, &stage).expect_err("one row").to_string();
    assert!(refused.contains("has 1 rows, too few"), "{refused}");
}

#[test]
fn many_levels_and_many_columns_are_no_trouble() {
    let rows = 400;
    let mut rng = fastrand::Rng::with_seed(9);
    let names: Vec<String> = (0..rows).map(|_| format!("l{}", rng.usize(..10_000))).collect();
    let mut data = usual(rows, 9);
    let towns = Column::category(names.iter().map(|name| Some(name.as_str())));
    data.table.push("town", towns).expect("a column");
    for number in 0..200 {
        let values = (0..rows).map(|_| rng.f64()).collect();
        data.table.push(&format!("n{number}"), Column::Number(values)).expect("a column");
    }
    let spec = only(TabularKind::Classification, Family::GradientBoosting).with(|s| {
        s.columns = data
            .table
            .columns()
            .map(|(name, column)| steppe_spec::tabular::FeatureColumn {
                name: name.to_owned(),
                kind: match column {
                    Column::Number(_) => steppe_spec::ColumnType::Double,
                    Column::Boolean(_) => steppe_spec::ColumnType::Boolean,
                    Column::Category { .. } => steppe_spec::ColumnType::String,
                },
            })
            .collect();
        s.task.split.folds = 2;
    });
    trained(&data, &spec);
}
