//! Runs that score their series in batches: many parts by executions of their own, each once, and a
//! run whose cloud was killed, or that failed by itself, goes on where it was.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::json;

use crate::checkout::{Checkout, Said};
use crate::workspace::{edit_manifest, workspace};

const DATA_BUCKET: &str = "steppe-marriages-local-data-000000000000";
const REGIONS: usize = 60;

/// A workspace whose parts are one series each, so that there are too many for the run itself.
fn of_many_parts(checkout: &Checkout) -> PathBuf {
    let folder = workspace(&checkout.path().join("workspace"));
    edit_manifest(&folder, "marriages", |line| match line {
        "[stack]" => "[stack]\nscoring = \"batch\"\npart_size = 1".to_owned(),
        line if line.starts_with("map_concurrency = ") => "map_concurrency = 1".to_owned(),
        line if line.starts_with("kind = \"lstm\"") => "kind = \"theta\"".to_owned(),
        line if line.starts_with("candidates = ") => "candidates = [\"theta\"]".to_owned(),
        line => line.to_owned(),
    });
    folder
}

fn table() -> String {
    let regions = (0..REGIONS).flat_map(|region| (2000..2023).map(move |year| (region, year)));
    let rows = regions.map(|(region, year)| {
        let value = 1_000 * (region + 1) + 10 * (year - 2000) + (region * year) % 7;
        format!("R{region:02},{year},{value}\n")
    });
    format!("region,year,marriages\n{}", rows.collect::<String>())
}

struct Work<'a> {
    checkout: &'a Checkout,
    folder: PathBuf,
}

impl Work<'_> {
    fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.checkout.command(arguments).current_dir(&self.folder))
    }

    fn done(&self, arguments: &[&str]) -> Said {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
        said
    }

    /// Objects below a prefix by key.
    async fn objects(&self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let bucket = self.checkout.bucket(DATA_BUCKET);
        let mut listed = bucket.list(Some(&Path::from(prefix)));
        let mut found = BTreeMap::new();
        while let Some(object) = listed.next().await {
            let key = object.expect("listed").location;
            let bytes = bucket.get(&key).await.expect("there").bytes().await.expect("bytes");
            found.insert(key.to_string(), bytes.to_vec());
        }
        found
    }

    fn count(&self, sql: &str) -> usize {
        let said = self.done(&["query", sql]);
        let last = said.out.lines().last().unwrap_or_default();
        last.trim().parse().unwrap_or_else(|_| panic!("{}", said.out))
    }
}

#[tokio::test]
async fn many_parts_are_scored_by_executions_of_their_own_and_a_killed_run_goes_on() {
    let checkout = Checkout::new();
    let work = Work { folder: of_many_parts(&checkout), checkout: &checkout };
    let file = checkout.csv(&table());
    let deployed = work.done(&["deploy", "--yes", "--data", &file]);
    let all = "the pipeline: 60 series forecast, 0 left out";
    assert!(deployed.err.contains(all), "{}", deployed.err);
    let checks = work.done(&["smoke-test"]).out;
    for expected in ["60 of 60 series", "20 looked at: equal to POST /predict", " inside"] {
        assert!(checks.contains(expected), "{checks}");
    }
    let written = work.objects("runs/marriages").await;
    let ends = |end: &str| written.keys().filter(|key| key.ends_with(end)).count();
    assert_eq!((ends("/parts.jsonl"), ends("/manifest.json")), (2, 2), "{:?}", written.keys());
    let nothing = work.run(&["redrive"]);
    assert!(nothing.err.contains("the newest run succeeded"), "{}", nothing.err);

    let before = work.objects("batches/").await;
    let mut running = checkout.command(&["smoke-test"]);
    let running = running.current_dir(&work.folder).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = running.spawn().expect("runs");
    let bucket = checkout.bucket(DATA_BUCKET);
    for _ in 0..6_000 {
        if bucket.list(Some(&Path::from("batches"))).count().await > before.len() + 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let killed = Command::new("kill").args(["-9", &checkout.cloud_pid()]).status();
    assert!(killed.expect("runs").success());
    assert!(!running.wait().expect("ends").success(), "its cloud is gone");

    work.done(&["local", "start"]);
    let cut_off = work.objects("batches/").await;
    assert!(cut_off.len() > before.len() + 5, "it was cut off: {}", cut_off.len());
    until_the_newest_run_succeeded(&work).await;
    let whole = work.objects("batches/").await;
    assert_eq!(whole.len(), before.len() + 2 * REGIONS);
    for (key, bytes) in &cut_off {
        assert_eq!(&whole[key], bytes, "{key} is the same object");
    }
    let newest = "from predictions where scored_at = (select max(scored_at) from predictions) \
                  and not backtest";
    assert_eq!(work.count(&format!("select count(*) as n {newest}")), REGIONS);
    assert_eq!(work.count(&format!("select count(distinct series) as n {newest}")), REGIONS);
    assert!(work.done(&["logs", "score"]).code == Some(0));
    goes_on_after_its_own_failure(&work).await;
}

/// A run that lost its cloud goes on by itself when the cloud is there again.
async fn until_the_newest_run_succeeded(work: &Work<'_>) {
    for _ in 0..600 {
        if work.run(&["redrive", "--dry-run"]).err.contains("the newest run succeeded") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the run does not end");
}

/// One part may not write, so the run fails; it is told how to go on, and does.
async fn goes_on_after_its_own_failure(work: &Work<'_>) {
    let denied = json!({ "service": "s3", "operation": "PutObject", "from_call": 60, "effect": {
        "refuse": { "status": 403, "code": "AccessDenied", "message": "Access Denied" } } });
    let script = json!({ "rules": [denied] }).to_string();
    let faults = work.checkout.path().join("local/faults.json");
    work.done(&["local", "stop"]);
    std::fs::write(&faults, script).expect("written");
    work.done(&["local", "start"]);
    let before = work.objects("batches/").await;
    let failed = work.run(&["retrain"]);
    assert_eq!(failed.code, Some(1), "{}", failed.err);
    assert!(failed.err.contains("`cargo xtask redrive` goes on where it failed"), "{}", failed.err);
    assert!(failed.err.contains("States.ExceedToleratedFailureThreshold"), "{}", failed.err);
    let cut_off = work.objects("batches/").await;
    let part = cut_off.len() - before.len();
    assert!(part > 5 && part < 2 * REGIONS, "some parts are there: {part}");
    let plan = work.done(&["redrive", "--dry-run"]).out;
    assert!(plan.contains("which ended FAILED"), "{plan}");
    work.done(&["redrive"]);
    let whole = work.objects("batches/").await;
    assert_eq!(whole.len(), before.len() + 2 * REGIONS);
    for (key, bytes) in &cut_off {
        assert_eq!(&whole[key], bytes, "{key} is the same object");
    }
}
