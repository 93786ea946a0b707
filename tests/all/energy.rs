//! The pipeline of London's smart meters, on its sample and on the public data.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use serde_json::Value;

use crate::checkout::Checkout;
use crate::tools::{root, shared_data};

/// Its data bucket in the embedded cloud.
const DATA: &str = "steppe-energy-local-data-000000000000";

/// A checkout whose `energy` chooses among families that are soon trained: for what does not depend
/// on the forecast.
fn soon_trained() -> Checkout {
    Checkout::with("energy", |line| match line {
        line if line.starts_with("candidates = ") => "candidates = [\"theta\"]".to_owned(),
        line => line.to_owned(),
    })
}

/// The checks of a deployment of `energy`, all of which must hold.
fn checked(checkout: &Checkout, data: &[&str]) -> String {
    let pipeline = ["--pipeline", "energy"];
    let deployed = checkout.done(&[&["deploy", "--yes"], &pipeline[..], data].concat());
    assert!(deployed.err.contains("1 series forecast, 0 left out"), "{}", deployed.err);
    checkout.done(&[&["smoke-test"], &pipeline[..]].concat()).out
}

#[test]
fn the_sample_is_forecast_and_the_join_is_not_a_day_off() {
    let checkout = Checkout::new();
    let checks = checked(&checkout, &[]);
    assert!(checks.contains("warmth-and-load  ok"), "{checks}");
    assert!(checks.contains("readings: 12906 clean + 54 rejected = 12960 raw"), "{checks}");
    let predicted = checkout.done(&["predict", "--pipeline", "energy", "London"]).out;
    assert_eq!(predicted.matches("procure").count(), 7, "{predicted}");
    // What the mail says of the first day is what the predictor answers.
    let first = predicted.lines().nth(1).expect("a day");
    let procure = first.rsplit(' ').next().expect("a number");
    let mails = checkout.mails();
    let mail = mails.last().expect("a mail");
    assert!(mail.contains(&format!("; procure {procure}")), "{procure}\n{mail}");
    let evaluated = checkout.done(&["evaluate", "--pipeline", "energy"]);
    assert!(evaluated.out.contains("procure    the quantile 0.75"), "{}", evaluated.out);
    let page = checkout.path().join("reports/energy/evaluation.html");
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("<h2>How much to procure</h2><p>By the quantile 0.75,"));
    // The meter of one household of the sample is dead for some weeks.
    assert!(checks.contains("1 of 24 rows flagged, with reasons"), "{checks}");
    assert!(checks.contains("24 rows in "), "{checks}");
    assert!(checks.contains("unusual values, each of them in `demand`"), "{checks}");
    assert!(checks.contains("182 of the backtest beside what came"), "{checks}");
    for told in ["unusual: 1 of 24 rows are unusual", "unusual_days: 1 unusual value in 1 series"] {
        assert!(mail.contains(told), "{mail}");
    }
    for query in ["forecasts", "real-predicted", "unusual-days"] {
        let said = checkout.done(&["query", query, "--pipeline", "energy"]).out;
        assert!(said.lines().count() > 2, "{query}: {said}");
    }
    let asked = checkout.done(&["query", "unusual", "--pipeline", "energy"]).out;
    assert_eq!(asked.matches("SYN0").count(), 1, "{asked}");
    assert!(asked.contains("SYN000005") && asked.contains("zero_days"), "{asked}");
    let groups = checkout.done(&["query", "habits", "--pipeline", "energy"]).out;
    assert!(groups.contains("households"), "{groups}");
    assert!(evaluated.out.contains("weeks of zeros     24"), "{}", evaluated.out);
    let page = checkout.path().join("reports/energy/unusual/001-SYN000005.html");
    let page = std::fs::read_to_string(page).expect("a page of the household");
    assert!(page.contains("<svg") && page.contains("zero_days"));
    assert!(checkout.path().join("reports/energy/habits.html").exists());
    checkout.done(&["destroy", "--yes", "--pipeline", "energy"]);
}

/// Nobody says which households are faulty: what is planted in copies of them must be found.
#[test]
fn planted_faults_are_found_among_the_public_households_and_their_columns_named() {
    let Some(folder) = shared_data("energy") else { return };
    let checkout = soon_trained();
    let folder = folder.display().to_string();
    checkout.done(&["evaluate", "--pipeline", "energy", "--data", &folder]);
    let file = checkout.path().join("reports/energy/evaluation.json");
    let report: Value =
        serde_json::from_slice(&std::fs::read(file).expect("a report")).expect("JSON");
    let proof = &report["unsupervised"]["unusual"]["proof"];
    let faults = proof["faults"].as_array().expect("faults");
    assert_eq!(faults.len(), 4, "{proof}");
    for fault in faults {
        let number = |name: &str| fault[name].as_u64().expect("a number");
        let (planted, flagged) = (number("planted"), number("flagged"));
        assert!(planted == 40 && 10 * flagged >= 8 * planted, "{fault}");
        assert!(10 * number("named") >= 9 * flagged, "{fault}");
    }
    assert_eq!(proof["halves"]["rows"], 95, "{proof}");
}

#[test]
fn the_public_data_are_sorted_to_inputs_and_joined_by_the_local_day() {
    let Some(folder) = shared_data("energy") else { return };
    let checkout = soon_trained();
    let folder = folder.display().to_string();
    let checks = checked(&checkout, &["--data", &folder]);
    assert!(checks.contains("readings: 57055 clean + 695 rejected = 57750 raw"), "{checks}");
    assert!(checks.contains("warmth-and-load  ok") && checks.contains("-0.351"), "{checks}");
    checkout.done(&["destroy", "--yes", "--pipeline", "energy"]);
}

/// Readings that are sent in several parts: most of each line is a column that no pipeline reads.
fn padded(readings: &str) -> String {
    let mut lines = readings.lines();
    let mut text = format!("{},note\n", lines.next().expect("a header"));
    let note = "n".repeat(2_700);
    lines.for_each(|line| text += &format!("{line},{note}\n"));
    text
}

#[tokio::test]
async fn large_files_arrive_whole_and_what_an_earlier_upload_left_goes() {
    let checkout = soon_trained();
    let sample = root().join("model/pipelines/energy/sample");
    let folder = checkout.path().join("data");
    std::fs::create_dir(&folder).expect("a folder");
    for name in ["weather.csv", "holidays.csv", "households.csv"] {
        std::fs::copy(sample.join(name), folder.join(name)).expect("copied");
    }
    let readings = std::fs::read_to_string(sample.join("readings.csv")).expect("readings");
    let (header, records) = readings.split_once('\n').expect("a header");
    let half = records.len() / 2 + records[records.len() / 2..].find('\n').expect("lines") + 1;
    let large = padded(&format!("{header}\n{}", &records[..half]));
    std::fs::write(folder.join("first.csv"), &large).expect("written");
    let second = padded(&format!("{header}\n{}", &records[half..]));
    std::fs::write(folder.join("second.csv"), &second).expect("written");

    let (pipeline, data) = (["--pipeline", "energy"], folder.display().to_string());
    let deploy = [&["deploy", "--yes", "--json", "--data", &data], &pipeline[..]].concat();
    let told = checkout.done(&deploy).out;
    let bytes = |event: &Value| (event["unit"] == "bytes").then(|| event["done"].as_u64());
    let events = told.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let sent: Vec<u64> = events.filter_map(|event| bytes(&event).flatten()).collect();
    assert!(sent.is_sorted() && sent.len() >= 6, "{sent:?}");
    let given: u64 = std::fs::read_dir(&folder)
        .expect("files")
        .map(|file| file.expect("a file").metadata().expect("a size").len())
        .sum();
    assert_eq!(sent.last(), Some(&given));

    let sizes = |names: &[&str]| {
        let size = |name: &&str| folder.join(name).metadata().expect("a size").len();
        names.iter().map(|name| ((*name).to_owned(), size(name))).collect::<Vec<_>>()
    };
    let others = ["holidays.csv", "households.csv"];
    let expected = sizes(&[&others[..], &["first.csv", "second.csv", "weather.csv"]].concat());
    assert_eq!(raw_files(&checkout).await, expected);

    std::fs::remove_file(folder.join("first.csv")).expect("removed");
    std::fs::remove_file(folder.join("second.csv")).expect("removed");
    std::fs::copy(sample.join("readings.csv"), folder.join("all.csv")).expect("copied");
    checkout.done(&deploy);
    assert_eq!(
        raw_files(&checkout).await,
        sizes(&[&others[..], &["all.csv", "weather.csv"]].concat())
    );
    let checks = checkout.done(&[&["smoke-test"], &pipeline[..]].concat()).out;
    assert!(checks.contains("readings: 12906 clean + 54 rejected = 12960 raw"), "{checks}");
}

/// Names and sizes of the raw data in the bucket, by input, without the note beside them.
async fn raw_files(checkout: &Checkout) -> Vec<(String, u64)> {
    let bucket = checkout.bucket(DATA);
    let listed = bucket.list(Some(&Path::from("raw/energy")));
    let mut found: Vec<_> = listed.try_collect().await.expect("a list");
    found.sort_by(|a, b| a.location.cmp(&b.location));
    let name =
        |file: ObjectMeta| (file.location.filename().unwrap_or_default().to_owned(), file.size);
    let note = |(name, _): &(String, u64)| !name.starts_with('_');
    found.into_iter().map(name).filter(note).collect()
}
