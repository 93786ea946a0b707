//! Whole scenarios through the command line, each in a `.steppe` and on a port of its own.

use std::process::Command;

use crate::checkout::Checkout;
use crate::tools::shared_data;

#[test]
fn from_nothing_to_a_notified_forecast_and_back() {
    let checkout = Checkout::new();
    let deployed = checkout.done(&["deploy"]);
    assert!(
        deployed.err.contains("synthetic sample, invented numbers")
            && deployed.err.contains("created  StateMachine"),
        "{}",
        deployed.err
    );
    let smoke = checkout.done(&["smoke-test"]);
    for seen in [
        "20 forecasts",
        "480 clean + 0 rejected = 480 raw",
        "20 of 20 series in S3; 20 looked at: valid, equal to POST /predict",
        "1 email in the outbox",
        "none denied",
    ] {
        assert!(smoke.out.contains(seen), "{}\n{}", smoke.out, smoke.err);
    }
    let again = checkout.done(&["deploy"]);
    assert!(
        again.err.contains("unchanged")
            && !again.err.contains("uploaded")
            && !again.err.contains("created"),
        "{}",
        again.err
    );
    let predicted = checkout.done(&["predict", "Almaty"]);
    assert!(
        predicted.out.starts_with("Almaty: marriages, observed until 2023\n  2024"),
        "{}",
        predicted.out
    );
    let unknown = checkout.run(&["predict", "Almatty"]);
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.err.contains("there is no series `Almatty`; did you mean `Almaty`?"),
        "{}",
        unknown.err
    );
    assert!(
        checkout.done(&["query", "select count(*) as n from marriages"]).out.ends_with("480\n")
    );
    assert!(checkout.done(&["query", "totals"]).out.contains("2023"));
    assert!(checkout.done(&["query", "forecasts", "--limit", "3"]).out.contains("Abai"));
    assert!(checkout.run(&["query", "total"]).err.contains("did you mean `totals`?"));
    let refused = checkout.run(&["query", "drop table marriages"]).err;
    assert!(refused.contains("`query` only reads"), "{refused}");
    assert!(checkout.done(&["status"]).out.contains("CREATE_COMPLETE"));
    assert!(checkout.done(&["outputs", "--json"]).out.contains("StateMachineArn"));
    assert!(checkout.done(&["logs", "predictor"]).out.contains("REPORT RequestId"));
    assert!(checkout.done(&["logs", "clean"]).out.contains("\"clean_rows\":480"));
    assert!(checkout.done(&["model"]).out.contains("last-value"));
    // The id of the predictor's invocation is in the server's access log, which is written within
    // half a second.
    let traced = |log: &str| {
        log.lines()
            .any(|l| l.contains("\"path\":\"/predict\"") && l.contains("\"trace_id\":\"Root=1-"))
    };
    let logged = (0..200).any(|_| traced(&checkout.done(&["logs", "server"]).out));
    assert!(logged, "{}", checkout.done(&["logs", "server"]).out);
    let destroyed = checkout.done(&["destroy"]);
    assert!(destroyed.err.contains("nothing left"), "{}", destroyed.err);
    assert!(!destroyed.err.contains("not seen"), "{}", destroyed.err);
    assert!(checkout.done(&["local", "status"]).out.contains("does not run"));
    assert!(
        checkout.done(&["destroy"]).err.contains("nothing left"),
        "a second destroy finds nothing"
    );
}

#[test]
fn every_series_is_forecast_however_many_there_are() {
    let checkout = Checkout::new();
    let rows = (0..1_200).flat_map(|s| {
        (2000..2020)
            .map(move |year| format!("R{s:04},{year},{}\n", 1_000 + s + 10 * (year - 1_999)))
    });
    let table = checkout.csv(&format!("region,year,marriages\n{}", rows.collect::<String>()));
    checkout.done(&["deploy", "--data", &table]);
    let smoke = checkout.done(&["smoke-test"]);
    assert!(smoke.out.contains("1200 of 1200 series in S3"), "{}\n{}", smoke.out, smoke.err);
    let rest = "and 1100 more: cargo xtask query forecasts";
    let mails = checkout.mails();
    let mail = mails.iter().find(|m| m.contains(rest)).unwrap_or_else(|| panic!("{mails:?}"));
    assert!(mail.contains("R0099, 2020: ") && !mail.contains("R0100, 2020: "), "{mail}");
}

/// Five regions of 24 years, two that were made last year, and one that ended.
#[test]
fn short_series_are_forecast_and_ended_ones_are_told() {
    let checkout = Checkout::new();
    let mut rows = String::from("region,year,marriages\n");
    for year in 2000..2024 {
        for region in 0..5 {
            rows += &format!("R{region},{year},{}\n", 1_000 * (region + 1) + 10 * (year - 2000));
        }
        if year < 2013 {
            rows += &format!("Ended,{year},{}\n", 700 + year - 2000);
        }
        if year > 2021 {
            rows += &format!("New A,{year},{}\nNew B,{year},{}\n", 300 + year, 5_000 - year);
        }
    }
    let deployed = checkout.done(&["deploy", "--data", &checkout.csv(&rows)]);
    assert!(deployed.err.contains("`Ended` ends in 2012"), "{}", deployed.err);
    let smoke = checkout.done(&["smoke-test"]);
    let counted = "7 of 8 series in S3, 1 left out, 2 with a note: New A, New B";
    assert!(smoke.out.contains(counted), "{}", smoke.out);
    let mails = checkout.mails().join("\n");
    assert!(mails.contains("New A, 2024: ") && mails.contains("too few for the model"), "{mails}");
    assert!(mails.contains("Not forecast: 1") && mails.contains("`Ended` ends in 2012"), "{mails}");
    assert!(!mails.contains("Ended, 2013"), "{mails}");
    let refused = checkout.run(&["predict", "Ended"]);
    assert!(refused.err.contains("Ended is not forecast: `Ended` ends in 2012"), "{}", refused.err);
    assert!(checkout.done(&["predict", "New B"]).out.contains("note: 2 values are too few"));
}

#[test]
fn other_data_and_a_killed_cloud_converge() {
    let checkout = Checkout::new();
    let rows: String = (0..3)
        .flat_map(|s| {
            (2000..2020).map(move |y| format!("R{s},{y},{}\n", 100 * (s + 1) + (y - 2000)))
        })
        .collect();
    let file =
        checkout.csv(&format!("region,year,marriages,remark\n{}", rows.replace('\n', ",x\n")));
    checkout.done(&["deploy", "--data", &file]);
    let status = Command::new("kill")
        .args(["-s", "KILL", &checkout.cloud_pid()])
        .status()
        .expect("kill runs");
    assert!(status.success());
    let stopped = checkout.run(&["predict", "R1"]);
    assert!(
        stopped.code == Some(1) && stopped.err.contains("the embedded cloud does not run"),
        "{}",
        stopped.err
    );
    checkout.done(&["local", "start"]);
    let smoke = checkout.done(&["smoke-test", "R1", "R2"]);
    assert!(
        smoke.out.contains("2 of 2 series in S3; 2 looked at: valid, equal to POST /predict")
            && smoke.out.contains("60 clean + 0 rejected"),
        "{}",
        smoke.out
    );
    let back = checkout.done(&["deploy"]);
    assert!(
        back.err.contains("in service") && back.err.contains("updated  RawMarriages"),
        "{}",
        back.err
    );
    assert!(checkout.done(&["smoke-test", "Astana"]).out.contains("480 clean"));
    checkout.done(&["destroy"]);
}

#[test]
fn a_deployment_that_was_killed_is_continued_by_the_next() {
    let checkout = Checkout::new();
    let mut first = checkout
        .command(&["deploy"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("xtask runs");
    let told = std::io::BufReader::new(first.stderr.take().expect("a pipe"));
    // The data bucket is made early in the stack's creation.
    let reached =
        std::io::BufRead::lines(told).map_while(Result::ok).any(|line| line.contains("DataBucket"));
    first.kill().expect("killed");
    first.wait().expect("ended");
    assert!(reached, "the first deployment ended before it made the bucket");
    let second = checkout.done(&["deploy"]);
    assert!(second.err.contains("steppe-marriages-local in environment local"), "{}", second.err);
    assert!(
        checkout
            .done(&["smoke-test", "Almaty"])
            .out
            .contains("1 of 1 series in S3; 1 looked at: valid")
    );
    checkout.done(&["destroy"]);
}

#[test]
fn bad_input_is_refused_before_anything_is_made() {
    let checkout = Checkout::new();
    let short: String = (2000..2008).map(|y| format!("A,{y},5\n")).collect();
    let header = "region,year,marriages\n";
    let total = |year: i32| format!("A,{year},{year}\nB,{year},9\nRepublic,{year},{}\n", year + 9);
    let with_total = format!("{header}{}", (2000..2024).map(total).collect::<String>());
    let cases = [
        (format!("{header}A,2000,x\n"), "data.csv:2: column `marriages`"),
        (format!("{header}{short}"), "the longest has 8 values"),
        (format!("{header}{short}"), "fewer `origins` in `[backtest]`"),
        (
            "a,b\n1,2\n".to_owned(),
            "data.csv: line 1: column `region`, `year`, `marriages` is missing",
        ),
        (String::new(), "the file is empty"),
        (with_total, "`Republic` is the sum of all other series"),
    ];
    for (text, expected) in cases {
        let said = checkout.run(&["deploy", "--data", &checkout.csv(&text)]);
        assert!(
            said.code == Some(1) && said.err.contains(expected),
            "expected: {expected}\n{}",
            said.err
        );
    }
    let said = checkout.run(&["deploy", "--data", "no-such-file.csv"]);
    assert!(said.err.contains("cannot read the data no-such-file.csv"), "{}", said.err);
    assert!(checkout.run(&["deploy", "--env", "locla"]).err.contains("did you mean `local`?"));
    assert!(
        checkout
            .run(&["deploy", "--pipeline", "marriage"])
            .err
            .contains("did you mean `marriages`?")
    );
    assert!(checkout.run(&["smoke-test"]).err.contains("the embedded cloud does not run"));
    assert!(!checkout.path().join("local").exists(), "nothing may be made");
}

#[test]
fn a_second_command_is_told_who_holds_the_lock() {
    let checkout = Checkout::new();
    let lock = checkout.path().join("steppe-marriages-local.lock");
    std::fs::write(&lock, "`cargo xtask deploy`, process 1, since 10:00:00 UTC").expect("written");
    let held = std::fs::File::options().read(true).write(true).open(&lock).expect("opens");
    held.lock().expect("locks");
    let said = checkout.run(&["deploy"]);
    let expected = "another command works on steppe-marriages-local: `cargo xtask deploy`, process 1, since 10:00:00 UTC";
    assert!(said.code == Some(1) && said.err.contains(expected), "{}", said.err);
}

#[test]
fn a_taken_port_is_named() {
    let checkout = Checkout::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let output = checkout
        .command(&["local", "start"])
        .env("STEPPE_PORT", &port)
        .output()
        .expect("xtask runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains(&format!("port {port} on 127.0.0.1 is taken"))
            && error.contains("hint: set another `port`"),
        "{error}"
    );
}

#[test]
fn the_swedish_table_goes_all_the_way() {
    let Some(file) = shared_data("marriages/sweden_county_marriages_2000_2022.csv") else { return };
    let checkout = Checkout::new();
    let deployed = checkout.done(&["deploy", "--data", &file.display().to_string()]);
    assert!(
        deployed.err.contains("rejected  21 rows by the rule `partial_period`"),
        "{}",
        deployed.err
    );
    let smoke = checkout.done(&["smoke-test"]);
    assert!(
        smoke.out.contains("462 clean + 21 rejected = 483 raw")
            && smoke.out.contains("21 of 21 series in S3"),
        "{}",
        smoke.out
    );
    assert!(checkout.done(&["predict", "Stockholm county"]).out.contains("observed until 2021"));
    checkout.done(&["destroy"]);
}

#[test]
fn a_plan_changes_nothing() {
    let checkout = Checkout::new();
    let plan = checkout.done(&["plan"]);
    assert!(
        plan.out
            .starts_with("  1. create the bucket steppe-marriages-local-artifacts-000000000000\n"),
        "{}",
        plan.out
    );
    assert!(plan.out.contains("create the stack steppe-marriages-local"));
    assert!(checkout.done(&["status"]).out.contains("not deployed"));
}
