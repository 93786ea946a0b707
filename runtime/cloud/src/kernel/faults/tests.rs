//! Tests of faults by themselves; `tests/all/faults.rs` has those over HTTP.

use super::*;

#[test]
fn rules_act_on_the_calls_that_they_name() {
    let faults = Faults::default();
    let script = r#"{"rules": [{"service": "cloudformation", "operation": "DescribeStacks",
        "from_call": 2, "calls": 2, "effect": "stale"},
        {"service": "cloudformation", "operation": "DeleteResource",
        "effect": {"fail_resource": {"named": "A", "reason": "busy"}}}]}"#;
    faults.set(script.as_bytes()).expect("a script");
    let seen: Vec<bool> =
        (0..4).map(|_| faults.is_stale("cloudformation", "DescribeStacks")).collect();
    assert_eq!(seen, [false, true, true, false]);
    assert_eq!(faults.resource("DeleteResource", "B", "T"), Ok(()));
    assert_eq!(faults.resource("DeleteResource", "A", "T"), Err("busy".to_owned()));
    assert_eq!(faults.resource("DeleteResource", "A", "T"), Ok(()));
}

#[tokio::test]
async fn calls_are_refused_in_the_services_words_or_done_without_an_answer() {
    let faults = Faults::default();
    let rule = |service: &str, effect: &str| {
        format!(r#"{{"service": "{service}", "operation": "Describe", "effect": "{effect}"}}"#)
    };
    let rules = [
        rule("cloudformation", "throttle"),
        rule("ec2", "throttle"),
        rule("glue", "server_error"),
        rule("sns", "lost_response"),
    ];
    let script = format!(r#"{{"rules": [{}]}}"#, rules.join(", "));
    faults.set(script.as_bytes()).expect("a script");
    let calls = std::sync::atomic::AtomicU32::new(0);
    let call = async |service: &str| {
        let done = async {
            calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(serde_json::json!({}))
        };
        match faults.around(service, "Describe", done).await {
            Outcome::Answered(Err(error)) => format!("{} {}", error.status, error.code),
            Outcome::Answered(Ok(_)) => "done".to_owned(),
            Outcome::Lost => "lost".to_owned(),
        }
    };
    let mut said = Vec::new();
    for service in ["cloudformation", "ec2", "glue", "sns", "sns"] {
        said.push(call(service).await);
    }
    let expected =
        ["400 Throttling", "503 RequestLimitExceeded", "500 InternalFailure", "lost", "done"];
    assert_eq!(said, expected);
    assert_eq!(calls.into_inner(), 2, "what is lost was done");
}

#[test]
fn what_cannot_be_done_is_an_error() {
    let faults = Faults::default();
    let refused = |text: &str| faults.set(text.as_bytes()).map_err(|e| format!("{e:#}"));
    for (effect, why) in [
        (r#""explode""#, "unknown variant `explode`"),
        (r#""stale""#, "only DescribeStacks can be stale"),
        (r#"{"fail_resource": {"named": "A", "reason": "r"}}"#, "resources fail in"),
        (r#"{"fail_boot": "launch"}"#, "ec2's BootInstance"),
        (r#"{"fail_unit": {"named": "u"}}"#, "ec2's StartUnit"),
        (r#"{"slow": {"seconds": 901}}"#, "1 to 900 seconds"),
        (r#""throttle", "every": 0"#, "counted from 1"),
        (r#""throttle", "every": 2, "probability": 0.5"#, "`every` or `probability`"),
        (r#""throttle", "probability": 1.5"#, "above 0 and at most 1"),
        (r#""throttle", "seed": 1"#, "a seed is of a probability"),
    ] {
        let rule = format!(
            r#"{{"rules": [{{"service": "s3", "operation": "PutObject", "effect": {effect}}}]}}"#
        );
        let error = refused(&rule).expect_err("refused");
        assert!(error.contains(why), "{error}");
    }
    let point = r#"{"rules": [{"service": "ec2", "operation": "StartUnit", "effect": "reset"}]}"#;
    assert!(refused(point).expect_err("refused").contains("this point has other effects"));
    assert!(refused(r#"{"rules": [], "more": 1}"#).is_err());
}

/// The calls of the first `many` on which a rule acts.
fn acting(rule: &str, many: u64) -> Vec<u64> {
    let faults = Faults::default();
    let script = format!(
        r#"{{"rules": [{{"service": "s3", "operation": "GetObject", "effect": "throttle",
            {rule}}}]}}"#
    );
    faults.set(script.as_bytes()).expect("a script");
    let acts = |call: &u64| {
        let _ = call;
        faults.strike("s3", "GetObject", Effect::is_of_calls).is_some()
    };
    (1..=many).filter(acts).collect()
}

#[test]
fn rules_act_on_each_nth_call_or_with_a_probability_that_is_the_same_each_time() {
    assert_eq!(acting(r#""every": 3, "from_call": 2"#, 12), [2, 5, 8, 11]);
    assert_eq!(acting(r#""every": 3, "from_call": 2, "calls": 2"#, 12), [2, 5]);
    let seldom = acting(r#""probability": 0.25, "seed": 7"#, 1_000);
    assert_eq!(acting(r#""probability": 0.25, "seed": 7"#, 1_000), seldom);
    assert!((200..300).contains(&seldom.len()), "{}", seldom.len());
    assert_ne!(acting(r#""probability": 0.25, "seed": 8"#, 1_000), seldom);
    assert_eq!(acting(r#""probability": 0.25, "seed": 7, "calls": 3"#, 1_000), seldom[..3]);
    assert_eq!(acting(r#""probability": 1"#, 3), [1, 2, 3]);
}

#[tokio::test]
async fn a_slow_call_is_made_when_the_clock_says_so_and_a_reset_one_never() {
    let faults = std::sync::Arc::new(Faults::default());
    let script = r#"{"rules": [
        {"service": "s3", "operation": "PutObject", "effect": {"slow": {"seconds": 60}}},
        {"service": "s3", "operation": "PutObject", "from_call": 2, "effect": "reset"}]}"#;
    faults.set(script.as_bytes()).expect("a script");
    let slow = tokio::spawn({
        let faults = faults.clone();
        async move { faults.around("s3", "PutObject", async { Ok(1) }).await }
    });
    tokio::task::yield_now().await;
    assert!(!slow.is_finished());
    faults.clock.advance(Duration::from_secs(60));
    assert!(matches!(slow.await.expect("no panic"), Outcome::Answered(Ok(1))));
    let made = std::cell::Cell::new(false);
    let call = async {
        made.set(true);
        Ok(1)
    };
    assert!(matches!(faults.around("s3", "PutObject", call).await, Outcome::Lost));
    assert!(!made.get(), "a call that is reset is not made");
}
