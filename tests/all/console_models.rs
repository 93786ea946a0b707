//! What the console shows of pipelines: model cards, forecasts with their history, rows of files.

use serde_json::json;

use crate::console::Browser;
use crate::tools::clean_table;

const VERSION: &str = "3f9a0c11";

fn step(step: u32) -> serde_json::Value {
    let value = f64::from(100 + step);
    json!({
        "step": step, "period": (2022 + step).to_string(), "value": value, "lower": value - 10.0,
        "upper": value + 10.0, "level": 0.9,
    })
}

fn forecast(series: &str) -> String {
    let mut stored = json!({
        "schema_version": 1, "execution": "arn:aws:states:us-east-1:000000000000:execution:m:e",
        "series": series, "observed_until": "2022", "decimals": 1, "model_id": "p-theta",
        "model_version": VERSION, "backtest_mae": 1.0, "backtest_rmse": 1.0, "backtest_mape": 1.0,
        "backtest_mase": 0.5, "steps": [step(1), step(2)],
    });
    for (name, value) in step(1).as_object().expect("members") {
        stored[name] = value.clone();
    }
    stored.to_string()
}

#[tokio::test]
async fn forecasts_are_shown_with_their_history_and_their_model() {
    let browser = Browser::inside().await;
    browser.bucket();
    let card = json!({
        "schema_version": 9, "task": "forecast", "id": "p-theta", "family": "theta",
        "members": [{ "family": "theta", "weight": 1.0 }],
        "spec": { "pipeline": "p", "table": "t", "task": {
            "series": "region", "time": "year", "target": "n",
        } },
        "data": { "series": 2, "first": "2020", "last": "2022" },
        "backtest": { "cases": 12, "model": { "mae": 1.25, "mase": 0.5 }, "candidates": [
            { "family": "naive", "errors": { "mae": 2.5, "mase": 0.75 }, "p_value": 0.01 },
        ] },
    });
    browser.put(&format!("models/p/{VERSION}/card.json"), card.to_string().as_bytes());
    let pointer = json!({ "version": VERSION, "since": "2026-01-31T12:00:00Z", "by": "training" });
    browser.put("models/p/current.json", pointer.to_string().as_bytes());
    browser.put("reports/p/growth.html", b"<h1>Growth</h1>");
    let rows = "region,year,n\nAlmaty,2021,90\nAlmaty,2022,95\nAstana,2022,7777\n";
    let table = clean_table(rows, &[("region", "string"), ("year", "int"), ("n", "bigint")]);
    browser.put("processed/p/t/part-00000.parquet", &table);
    let lines = format!("{}\n{}\n", forecast("Almaty"), forecast("<b>Astana"));
    browser.put("predictions/output_1.json", lines.as_bytes());

    let models = browser.page("models", &[]).await;
    for part in [
        VERSION,
        "p-theta",
        "naive",
        "1.25",
        "training",
        "report?bucket=bucket&amp;key=reports%2Fp%2Fgrowth.html",
    ] {
        assert!(models.contains(part), "{part}: {models}");
    }
    let all = browser.page("forecasts", &[]).await;
    assert!(
        all.contains(">Almaty</a>") && all.contains("&lt;b&gt;Astana") && all.contains("101.0"),
        "{all}"
    );
    let fields = [("bucket", "bucket"), ("key", "predictions/output_1.json"), ("series", "Almaty")];
    let one = browser.page("forecast", &fields).await;
    for part in [
        "<svg",
        "observed: 2 values from 90 to 95.",
        "prediction interval",
        "111.0",
        "model?bucket",
    ] {
        assert!(one.contains(part), "{part}: {one}");
    }
    assert!(!one.contains("7777"), "{one}");
    let key = ("key", "processed/p/t/part-00000.parquet");
    let file = browser.page("object", &[("bucket", "bucket"), key]).await;
    assert!(file.contains("year (bigint)") && file.contains("7777"), "{file}");
    browser.put("damaged.parquet", b"PAR1 this is not one");
    let damaged = browser.page("object", &[("bucket", "bucket"), ("key", "damaged.parquet")]).await;
    assert!(damaged.contains("The engine cannot read it"), "{damaged}");
}
