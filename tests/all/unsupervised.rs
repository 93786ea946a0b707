//! Searches without a target in a pipeline of half-hourly readings: values of series that are
//! unlike those before them, machines that are unlike the others, and groups of machines.

use std::fmt::Write as _;

use serde_json::Value;
use tempfile::TempDir;

use crate::checkout::{Checkout, Said, result};
use crate::workspace::workspace;

const MANIFEST: &str = r#"
schema_version = 2
name = "plant"

[[inputs]]
name = "readings"
unique = ["machine", "at"]
sample = "readings.csv"
columns = { machine = "string", at = { type = "timestamp", zone = "UTC" }, load = "double" }

[[inputs]]
name = "sums"
sample = "sums.csv"
columns = { site = "string", day = "date", load = "double" }

[[tables]]
name = "machines"
sql = "machines.sql"
columns = { machine = "string", mean = "double", idle = "bigint" }
keys = ["machine"]

[[tasks]]
name = "odd_loads"
kind = "anomaly"
table = "readings"
series = "machine"
time = "at"
target = "load"

[[tasks]]
name = "sums"
table = "sums"
series = "site"
time = "day"
target = "load"
frequency = "daily"
model = { kind = "theta", candidates = [] }

[[tasks]]
name = "odd_machines"
kind = "anomaly"
table = "machines"
entity = "machine"
share = 0.1
readings = { input = "readings", time = "at", value = "load" }

[[tasks]]
name = "kinds"
kind = "clustering"
table = "machines"
entity = "machine"
features = ["mean"]
"#;

const MACHINES: &str = "SELECT machine, AVG(load) AS mean,
  COUNT(CASE WHEN load < 0.01 THEN 1 END) AS idle FROM readings GROUP BY machine";

/// Machines of two kinds; one is idle for days, another one jumps once, within a half hour.
fn readings() -> String {
    let mut text = "machine,at,load\n".to_owned();
    for machine in 0..22_u32 {
        for step in 0..1_440_u32 {
            let level = if machine % 2 == 0 { 10.0 } else { 40.0 };
            let noise = f64::from((step * 7_919 + machine * 104_729) % 1_009) / 1_009.0;
            let mut load = level + (f64::from(step % 48) * 0.13).sin() + noise;
            if machine == 4 && (300..600).contains(&step) {
                load = 0.0;
            }
            if machine == 7 && step == 1_100 {
                load += 500.0;
            }
            let (day, half) = (step / 48 + 1, step % 48);
            let (hour, minute) = (half / 2, half % 2 * 30);
            writeln!(text, "m{machine:02},2026-01-{day:02} {hour:02}:{minute:02}:00.250,{load:.3}")
                .expect("a text");
        }
    }
    text
}

fn sums() -> String {
    let line = |day: u32| format!("all,2026-01-{:02},{}\n", day + 1, 100 + day % 7);
    format!("site,day,load\n{}", (0..28).map(line).collect::<String>())
}

#[test]
fn values_rows_and_groups_are_found_on_this_machine_and_in_the_cloud() {
    let folder = TempDir::new().expect("a folder");
    let root = workspace(folder.path());
    let pipeline = root.join("model/pipelines/plant");
    std::fs::create_dir_all(&pipeline).expect("a folder");
    let files = [
        ("pipeline.toml", MANIFEST.to_owned()),
        ("machines.sql", MACHINES.to_owned()),
        ("readings.csv", readings()),
        ("sums.csv", sums()),
    ];
    files.iter().for_each(|(name, text)| std::fs::write(pipeline.join(name), text).expect("put"));
    let checkout = Checkout::new();
    let xtask = |arguments: &[&str]| {
        let mut command = checkout.command(&[arguments, &["--pipeline", "plant"]].concat());
        let said = Said::of(command.current_dir(&root));
        assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
        said
    };
    let report = result(&xtask(&["evaluate", "--json"]).out);
    let found = &report["unsupervised"];
    let alarms = found["odd_loads"]["alarms"].as_array().expect("alarms");
    let jump =
        |alarm: &&Value| alarm["series"] == "m07" && alarm["time"] == "2026-01-23 22:00:00.25";
    assert_eq!(alarms.iter().filter(jump).count(), 1, "{alarms:?}");
    // Faults go through CSV and SQL with the very times, so that rows differ by the fault alone.
    let faults = found["odd_machines"]["proof"]["faults"].as_array().expect("faults");
    let planted: Vec<u64> = faults.iter().filter_map(|fault| fault["planted"].as_u64()).collect();
    assert_eq!(planted, [22, 22, 22, 22], "{faults:?}");
    let flagged = found["odd_machines"]["flagged"].as_array().expect("rows");
    assert_eq!(flagged[0]["entity"], "m04");
    assert_eq!(flagged[0]["reasons"][0]["column"], "idle");
    let groups = found["kinds"]["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 2, "{groups:?}");

    xtask(&["deploy", "--yes"]);
    let checks = xtask(&["smoke-test"]).out;
    assert!(checks.contains("unusual values, each of them in `readings`"), "{checks}");
    assert!(checks.contains("2 of 22 rows flagged, with reasons"), "{checks}");
    assert!(checks.contains("22 rows in 2 groups"), "{checks}");
    let sql = "SELECT time FROM odd_loads WHERE series = 'm07' AND value > 400";
    let answer = result(&xtask(&["query", sql, "--json"]).out);
    assert_eq!(answer["rows"][0][0], "2026-01-23 22:00:00.25", "{answer}");
}
