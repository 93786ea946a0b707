//! The pipeline of London's smart meters, on its sample and on the public data.

use crate::checkout::Checkout;
use crate::tools::shared_data;

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
    assert!(checks.contains("readings: 4308 clean + 12 rejected = 4320 raw"), "{checks}");
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
    checkout.done(&["destroy", "--yes", "--pipeline", "energy"]);
}

#[test]
fn the_public_data_are_sorted_to_inputs_and_joined_by_the_local_day() {
    let Some(folder) = shared_data("energy") else { return };
    let checkout = Checkout::new();
    let folder = folder.display().to_string();
    let checks = checked(&checkout, &["--data", &folder]);
    assert!(checks.contains("readings: 57055 clean + 695 rejected = 57750 raw"), "{checks}");
    assert!(checks.contains("warmth-and-load  ok") && checks.contains("-0.351"), "{checks}");
    checkout.done(&["destroy", "--yes", "--pipeline", "energy"]);
}
