//! Reasons, thresholds and wishes.

use steppe_model::TrainError;
use steppe_model::host::{Quiet, Stage};
use steppe_model::rows::table::Column;
use steppe_model::tabular::answers::{Answers, fitted};
use steppe_model::tabular::{Artifact, Asked, Row, Wanted};
use steppe_spec::Family;
use steppe_spec::tabular::{Cost, Maximise, TabularKind, Threshold};

use crate::made::{self, only, rows, spec, trained, usual};

#[test]
fn reasons_and_their_base_add_up_to_the_sum() {
    let (two, three, costs) = (usual(500, 1), made::with_stays(500, 1), made::with_costs(500, 1));
    let kinds = [
        (TabularKind::Classification, two),
        (TabularKind::Classification, three),
        (TabularKind::Regression, costs),
    ];
    for (kind, data) in kinds {
        let sources: Vec<&str> = data.table.columns().map(|(name, _)| name).collect();
        for family in spec(kind).task.model.families(data.target().is_number()) {
            let model = fitted(family, &data, &only(kind, family)).expect("fits");
            let artifact = trained(&data, &only(kind, family));
            assert_eq!(artifact.model, model, "what is served is fitted on all rows");
            let raw = Answers::by(&model, &data.table).expect("answers");
            let answered = artifact.answer(&rows(&data), Asked { reasons: true });
            for (row, answered) in answered.iter().enumerate() {
                let reasons = answered.reasons.as_ref().expect("asked for");
                let sum = reasons.base + reasons.effects.iter().map(|(_, e)| e).sum::<f64>();
                assert!(reasons.effects.iter().all(|(name, _)| sources.contains(&name.as_str())));
                let labels = data.target().labels();
                if labels.len() > 2 {
                    continue;
                }
                let link = family == Family::RandomForest || labels.is_empty();
                let answer = raw.0[0][row];
                let margin = if link { answer } else { (answer / (1.0 - answer)).ln() };
                assert!((sum - margin).abs() < 1e-6, "{family:?}: {sum} and {margin}");
            }
        }
    }
}

#[test]
fn a_missing_value_and_a_level_are_reasons_of_their_column() {
    let mut data = usual(800, 2);
    // Whoever has no weight measured, or smokes, has a stroke more often.
    let Some(Column::Number(bmi)) = data.table.column("bmi").cloned() else { panic!("numbers") };
    let Some(Column::Category { codes, .. }) = data.table.column("smoking").cloned() else {
        panic!("levels")
    };
    let mut rng = fastrand::Rng::with_seed(3);
    let ill = (0..800).map(|row| {
        let share = if bmi[row].is_nan() { 0.8 } else { 0.1 };
        usize::from(rng.f64() < if codes[row] == Some(0) { share + 0.2 } else { share })
    });
    data.target = Some(made::classes(&["no", "yes"], ill.collect()));
    let artifact = trained(&data, &only(TabularKind::Classification, Family::Logistic));
    let missing = (0..800).find(|row| bmi[*row].is_nan()).expect("some");
    let row = Row { table: &data.table, row: missing };
    let answered = &artifact.answer(&[row], Asked { reasons: true })[0];
    let wanted = Wanted { entity: Some("p"), threshold: None, most: 2 };
    let scored = artifact.scored(row, answered, &wanted).expect("finite");
    let reasons = scored.reasons.expect("reasons");
    assert_eq!((reasons.len(), reasons[0].column.as_str()), (2, "bmi"));
    assert!(reasons[0].value.is_null() && reasons[0].effect > 1.0, "{reasons:?}");
    assert_eq!(scored.label.as_deref(), Some("yes"));
    assert_eq!(scored.unknown_levels, Vec::<String>::new());
}

fn trained_for(threshold: Threshold) -> Result<Artifact, TrainError> {
    let data = usual(900, 4);
    let spec = only(TabularKind::Classification, Family::Logistic);
    Artifact::train(&data, &spec.with(|s| s.task.threshold = threshold), &Stage::new(&Quiet))
}

#[test]
fn a_threshold_does_what_was_asked_for() {
    let at = |threshold: Threshold| {
        let section = trained_for(threshold).expect("trains").card.section;
        let confusion = section.out_of_fold.at_threshold.expect("two classes").confusion;
        (section.threshold.expect("two classes"), confusion)
    };
    let (f1, usual) = at(Threshold::default());
    assert_eq!(f1, at(Threshold { maximise: Some(Maximise::F1), ..Threshold::default() }).0);
    let (_, recall) = at(Threshold { recall: Some(0.95), ..Threshold::default() });
    assert!(recall.recall() >= 0.95 && recall.recall() > usual.recall());
    let (_, precise) = at(Threshold { precision: Some(0.6), ..Threshold::default() });
    assert!(precise.precision() >= 0.6, "{precise:?}");
    let cost = |missed, false_alarm| {
        let cost = Some(Cost { missed, false_alarm });
        at(Threshold { cost, ..Threshold::default() }).0
    };
    assert!(cost(50.0, 1.0) < f1 && f1 < cost(1.0, 5.0));
}

#[test]
fn a_wish_that_nothing_fulfils_is_told_with_what_to_do() {
    let wish = Threshold { precision: Some(1.0), ..Threshold::default() };
    // The riskiest patients by chance may all be right: a hundred rows more are not.
    let error = match trained_for(wish) {
        Err(error) => error,
        Ok(_) => {
            let mut data = usual(900, 4);
            let mut rng = fastrand::Rng::with_seed(8);
            let codes = (0..900).map(|_| usize::from(rng.f64() < 0.1)).collect();
            data.target = Some(made::classes(&["no", "yes"], codes));
            let spec = only(TabularKind::Classification, Family::Prior);
            let spec = spec.with(|s| s.task.threshold = wish);
            Artifact::train(&data, &spec, &Stage::new(&Quiet)).expect_err("chance")
        }
    };
    assert!(error.to_string().contains("no threshold reaches a precision of 1"), "{error}");
    assert_eq!(error.hint(), Some("wish for less in `threshold` of the task"));
}
