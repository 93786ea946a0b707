//! The pipeline of share prices, on its sample, and on prices that were split.

use crate::checkout::Checkout;
use crate::tools::root;

const PIPELINE: [&str; 2] = ["--pipeline", "stocks"];

/// What a deployment of `stocks` says, and its checks.
fn checked(checkout: &Checkout, data: &[&str], series: usize) -> String {
    let deployed = checkout.done(&[&["deploy", "--yes"], &PIPELINE[..], data].concat());
    let all = format!("{series} series forecast, 0 left out");
    assert!(deployed.err.contains(&all), "{}", deployed.err);
    checkout.done(&[&["smoke-test"], &PIPELINE[..]].concat()).out
}

#[test]
fn the_sample_is_forecast_and_nothing_beats_the_last_value() {
    let checkout = Checkout::new();
    let checks = checked(&checkout, &[], 4);
    assert!(
        checks.contains("quotes: 4000 clean + 0 rejected = 4000 raw; prices: 4000"),
        "{checks}"
    );
    assert!(checks.contains("largest-move   ok"), "{checks}");
    assert!(checks.contains("4 looked at: equal to POST /predict"), "{checks}");
    assert!(checks.contains("2416 of the backtest beside what came"), "{checks}");
    let crawled = "crawled_close: 17 columns as they are declared, ";
    assert!(checks.contains(crawled), "{checks}");
    let predicted = checkout.done(&[&["predict"], &PIPELINE[..], &["SAIGA"]].concat()).out;
    assert!(predicted.contains("  2025-11-18 "), "the next day with trade: {predicted}");
    let card = checkout.done(&[&["model"], &PIPELINE[..]].concat()).out;
    assert!(card.contains("by more than chance") || card.contains("no family beats"), "{card}");
    for query in ["closes", "forecasts", "real-predicted", "restless"] {
        let said = checkout.done(&[&["query", query], &PIPELINE[..]].concat()).out;
        assert!(said.lines().count() > 4, "{query}: {said}");
    }
    checkout.done(&[&["query", "real-predicted", "--chart"], &PIPELINE[..]].concat());
    let page = checkout.path().join("reports/stocks/real-predicted.html");
    let page = std::fs::read_to_string(page).expect("a page");
    assert_eq!(page.matches("<figure>").count(), 4, "a chart per symbol");
    checkout.done(&[&["destroy", "--yes"], &PIPELINE[..]].concat());
}

#[test]
fn a_split_that_is_left_in_the_prices_is_found() {
    let sample = root().join("model/pipelines/stocks/sample.csv");
    let sample = std::fs::read_to_string(sample).expect("the sample");
    let split = |line: &str| -> String {
        let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
        if cells[6] == "SAIGA" && cells[0].as_str() >= "2024-06-03" {
            for price in &mut cells[1..5] {
                *price = format!("{:.2}", price.parse::<f64>().expect("a price") / 7.0);
            }
        }
        cells.join(",")
    };
    let mut lines = sample.lines();
    let header = lines.next().expect("a header").to_owned();
    // The newest year of one symbol: what is looked for is in it.
    let newest = lines.filter(|line| line.ends_with("SAIGA") && *line >= "2023-12-01");
    let lines: Vec<String> = std::iter::once(header).chain(newest.map(split)).collect();
    let checkout = Checkout::new();
    let alone = "2025-11-17,10.00,10.00,10.00,10.00,0,LONE".to_owned();
    let lines = [&lines[..], &[alone]].concat();
    let file = checkout.csv(&lines.join("\n"));
    checkout.done(&[&["deploy", "--yes"], &PIPELINE[..], &["--data", &file]].concat());
    // One price, and no trade: the last value, and an interval as wide as others have.
    let lone = checkout.done(&[&["predict"], &PIPELINE[..], &["LONE"]].concat()).out;
    let ends = lone.lines().nth(1).and_then(|line| line.split("interval ").nth(1));
    let (low, high) = ends.and_then(|ends| ends.split_once(" to ")).expect("an interval");
    let [low, high] = [low, high].map(|end| end.trim().parse::<f64>().expect("a number"));
    assert!(low < 9.9 && high > 10.1, "no change is known of one price: {lone}");
    let said = checkout.run(&[&["smoke-test"], &PIPELINE[..]].concat());
    assert_eq!(said.code, Some(3), "{}", said.out);
    let text = format!("{}{}", said.out, said.err);
    assert!(text.contains("largest-move") && text.contains("a split 2:1 is 0.69"), "{text}");
    checkout.done(&[&["destroy", "--yes"], &PIPELINE[..]].concat());
}
