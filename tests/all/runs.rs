//! A deployment ends with a run of its pipeline: what is answered afterwards is of the data and the
//! model that were deployed, for every series, however many there are.

use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::checkout::{Checkout, Said};
use crate::workspace::{edit_manifest, workspace};

const DATA_BUCKET: &str = "steppe-marriages-local-data-000000000000";

/// Three regions that grow by ten a year until `last`.
fn table(last: u32, scale: u32) -> String {
    let regions = (0..3).flat_map(|region| (2000..=last).map(move |year| (region, year)));
    let rows = regions.map(|(region, year)| {
        let value = scale * (1_000 * (region + 1) + 10 * (year - 2000));
        format!("R{region},{year},{value}\n")
    });
    format!("region,year,marriages\n{}", rows.collect::<String>())
}

#[test]
fn what_is_answered_is_of_what_was_deployed() {
    let checkout = Checkout::new();
    let before = checkout.csv(&table(2022, 1));
    let deployed = checkout.done(&["deploy", "--data", &before]);
    assert!(
        deployed.err.contains("the pipeline: 3 series forecast, 0 left out"),
        "{}",
        deployed.err
    );
    assert!(checkout.done(&["predict", "R0"]).out.contains("observed until 2022\n  2023 "));
    assert_eq!(checkout.mails().len(), 1);

    let unchanged = checkout.done(&["deploy", "--data", &before]);
    assert!(!unchanged.err.contains("the pipeline:"), "{}", unchanged.err);
    assert_eq!(checkout.mails().len(), 1, "nothing has changed, so nothing runs");

    let after = checkout.csv(&table(2023, 10));
    let not_run = checkout.done(&["deploy", "--no-run", "--data", &after]);
    assert!(not_run.err.contains("the pipeline was not run, as asked"), "{}", not_run.err);
    let refused = checkout.run(&["predict", "R0"]);
    let said = "were uploaded after the pipeline ran last";
    assert!(refused.code == Some(1) && refused.err.contains(said), "{}", refused.err);

    let plan = checkout.done(&["plan", "--data", &after]).out;
    assert!(plan.ends_with("run the pipeline once\n"), "{plan}");
    let run = checkout.done(&["deploy", "--data", &after]);
    assert!(run.err.contains("the pipeline: 3 series forecast"), "{}", run.err);
    let answer = checkout.done(&["predict", "R0"]).out;
    assert!(answer.contains("observed until 2023\n  2024       12"), "{answer}");
    let smoke = checkout.done(&["smoke-test"]);
    assert!(smoke.out.contains("72 clean + 0 rejected = 72 raw"), "{}", smoke.out);
}

/// Series that never change: the year that comes is as forecast, and nothing is found.
#[test]
fn constants_do_not_drift() {
    let checkout = Checkout::new();
    let table = |last: u32| {
        let regions = (0..12).flat_map(|region| (2000..=last).map(move |year| (region, year)));
        let rows = regions.map(|(region, year)| format!("R{region},{year},{}\n", 3 * region));
        format!("region,year,marriages\n{}", rows.collect::<String>())
    };
    for last in [2023, 2024] {
        let deployed = checkout.done(&["deploy", "--data", &checkout.csv(&table(last))]);
        assert!(deployed.err.contains("the pipeline: 12 series forecast"), "{}", deployed.err);
    }
    let drift = checkout.done(&["drift"]);
    let held = drift.out.lines().any(|line| line.contains(" 12 ") && line.contains("100.0"));
    assert!(held, "{}", drift.out);
    let predicted = checkout.done(&["predict", "R3"]).out;
    assert!(predicted.contains("2025           9   90 % interval 9 to 9"), "{predicted}");
}

#[tokio::test]
async fn a_deployment_whose_run_fails_says_what_stands() {
    let checkout = Checkout::new();
    checkout.done(&["deploy", "--data", &checkout.csv(&table(2022, 1))]);
    let foreign = Path::from("processed/marriages/marriages/own.parquet");
    checkout.bucket(DATA_BUCKET).put(&foreign, "x".into()).await.expect("written");
    let failed = checkout.run(&["deploy", "--data", &checkout.csv(&table(2023, 1))]);
    assert_eq!(failed.code, Some(1));
    let told = ["the stack is deployed, but its pipeline did not run to the end", "own.parquet"];
    assert!(told.iter().all(|words| failed.err.contains(words)), "{}", failed.err);
    checkout.bucket(DATA_BUCKET).delete(&foreign).await.expect("deleted");
    let again = checkout.done(&["deploy", "--data", &checkout.csv(&table(2023, 1))]);
    assert!(again.err.contains("the pipeline: 3 series forecast"), "{}", again.err);
}

/// The name of a place as long as names of places get.
fn place(number: usize) -> String {
    format!("Восточно-Казахстанская область, сельский округ имени Абая Кунанбаева № {number:04}")
}

#[test]
fn six_thousand_series_of_eight_values_are_forecast_in_one_run() {
    let checkout = Checkout::new();
    let folder = workspace(&checkout.path().join("project"));
    edit_manifest(&folder, "marriages", |line| match line {
        line if line.starts_with("kind = \"lstm\"") => "kind = \"last-value\"".to_owned(),
        line if line.starts_with("candidates = ") => "candidates = [\"last-value\"]".to_owned(),
        line if line.starts_with("emails = ") => "emails = [\"people@example.org\"]".to_owned(),
        line => line.to_owned(),
    });
    let places = (0..6_000).flat_map(|number| (2016..2024).map(move |year| (number, year)));
    let rows = places.map(|(number, year)| {
        format!("\"{}\",{year},{}\n", place(number), 1_000 + number + (number * year) % 37)
    });
    let file = checkout.csv(&format!("region,year,marriages\n{}", rows.collect::<String>()));
    let run = |arguments: &[&str]| {
        let said = Said::of(checkout.command(arguments).current_dir(&folder));
        assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
        said
    };
    let deployed = run(&["deploy", "--data", &file]);
    let all = "the pipeline: 6000 series forecast, 0 left out";
    assert!(deployed.err.contains(all), "{}", deployed.err);
    let stored = run(&["query", "select count(distinct series) as n from predictions"]);
    assert!(stored.out.ends_with("6000\n"), "{}", stored.out);
    assert!(run(&["predict", &place(5_999)]).out.starts_with(&place(5_999)));
    let near = Said::of(
        checkout.command(&["predict", &place(5_999).replace("имени", "им.")]).current_dir(&folder),
    );
    assert!(near.err.contains(&format!("did you mean `{}`", place(5_999))), "{}", near.err);
    let mail = checkout.mails().concat();
    assert!(mail.contains(&format!("{}, 2024: 1,0", place(0))), "{mail}");
    assert!(mail.contains("and 5900 more: cargo xtask query forecasts"), "{mail}");
}
