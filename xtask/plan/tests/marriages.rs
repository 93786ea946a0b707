//! The first pipeline as its users have it: the manifest in the repository parses, and every
//! combination of its options renders.

use steppe_plan::catalogue::RawColumn;
use steppe_plan::elf::Architecture;
use steppe_plan::environment::Environment;
use steppe_plan::etl::etl_plan;
use steppe_plan::names::Names;
use steppe_plan::sample::sample_csv;
use steppe_plan::site::Site;
use steppe_plan::stack::{ArtifactHashes, StackSpec};
use steppe_spec::{Action, Manifest};

const FILE: &str = include_str!("../../../model/pipelines/marriages/pipeline.toml");
const SQL: &str = include_str!("../../../model/pipelines/marriages/etl.sql");

fn manifest() -> Manifest {
    Manifest::parse("pipeline.toml", FILE).expect("the manifest in the repository is valid")
}

fn render(manifest: &Manifest, server: &str) -> String {
    let names = Names {
        project: "steppe".into(),
        pipeline: "marriages".into(),
        environment: "local".into(),
        account: "000000000000".into(),
        region: "us-east-1".into(),
    };
    let hash = |c: &str| c.repeat(64);
    let spec = StackSpec {
        names: &names,
        manifest,
        query_sql: manifest.queries.iter().map(|_| "SELECT 1".to_owned()).collect(),
        raw_header: ["region", "year", "marriages"].map(RawColumn::plain).to_vec().into(),
        hashes: ArtifactHashes {
            server: hash(server),
            predictor: hash("b"),
            jobs: hash("f"),
            train_spec: hash("9"),
            glue_script: hash("c"),
            etl_plan: hash("d"),
        },
        architecture: Architecture::X86_64,
        site: &Site::embedded(Architecture::X86_64),
    };
    spec.render().expect("renders")
}

fn new_data(manifest: &mut Manifest) {
    manifest.retrain.iter_mut().for_each(|r| r.on_new_data = true);
}

#[test]
fn options_decide_which_resources_there_are() {
    let has = |change: &dyn Fn(&mut Manifest), text: &str| {
        let mut manifest = manifest();
        change(&mut manifest);
        render(&manifest, "a").contains(text)
    };
    assert!(
        has(&|_| (), "AWS::SNS::Topic") && !has(&|m| m.stack.notify = false, "AWS::SNS::Topic")
    );
    assert!(
        has(&|_| (), "AWS::CloudWatch::Alarm")
            && !has(&|m| m.stack.alarms = false, "AWS::CloudWatch::Alarm")
    );
    assert!(has(&|_| (), "Handler: train") && !has(&|m| m.retrain = None, "Handler: train"));
    assert!(has(&|_| (), "Handler: drift") && !has(&|m| m.drift = None, "Handler: drift"));
    assert!(!has(&|_| (), "EventBridgeEnabled") && has(&|m| new_data(m), "EventBridgeEnabled"));
    assert!(
        has(&|_| (), "AWS::Events::Rule")
            && !has(&|m| (m.retrain, m.drift) = (None, None), "AWS::Events::Rule")
    );
    assert!(
        has(&|_| (), "athena:startQueryExecution")
            && !has(&|m| m.stack.verify = false, "athena:startQueryExecution")
    );
}

#[test]
fn another_server_is_another_instance_and_nothing_else_changes_its_name() {
    let id = |text: &str| {
        text.lines()
            .find(|l| l.starts_with("  ModelServer") && l.ends_with("Ready:"))
            .map(str::to_owned)
    };
    let mut louder = manifest();
    louder.stack.alarms = false;
    assert_ne!(id(&render(&manifest(), "a")), id(&render(&manifest(), "e")));
    assert_eq!(id(&render(&manifest(), "a")), id(&render(&louder, "a")));
}

#[test]
fn the_sample_is_reproducible_and_has_twenty_regions() {
    let csv = sample_csv(&manifest()).expect("a sample");
    assert_eq!(sample_csv(&manifest()), Some(csv.clone()));
    assert_eq!(csv.lines().count(), 1 + 20 * 24);
    assert_eq!(csv.lines().next(), Some("region,year,marriages"));
}

#[test]
fn rules_reach_the_plan_with_their_action() {
    let plan = etl_plan(&manifest(), SQL);
    assert_eq!(plan.fatal_rules, ["region_given", "year_valid", "marriages_valid", "unique"]);
    assert!(plan.rejects_sql.contains("'partial_period' THEN 'the newest year is incomplete"));
    let mut lenient = manifest();
    lenient.quality.unique.iter_mut().for_each(|u| u.action = Action::Reject);
    assert_eq!(etl_plan(&lenient, SQL).fatal_rules.len(), 3);
}

#[test]
fn everything_wrong_with_a_manifest_is_reported_at_once() {
    let broken = FILE
        .replace("horizon = 1", "horizon = 0")
        .replace("series = \"region\"", "series = \"oblast\"")
        .replace("log_retention_days = 30", "log_retention_days = 31");
    let message = Manifest::parse("pipeline.toml", &broken).expect_err("three defects").to_string();
    assert_eq!(message.lines().count(), 3, "{message}");
    assert!(message.contains("`task.series` is `oblast`, but `data.columns` has no such column"));
}

#[test]
fn other_frequencies_have_their_times_as_text_and_features_are_numbers() {
    let hourly = FILE.replace("frequency = \"yearly\"", "frequency = \"hourly\"\ncovariates = [\"warmth\"]").replace(
        "name = \"year\"\ntype = \"int\"",
        "name = \"year\"\ntype = \"string\"\n\n[[data.columns]]\nname = \"warmth\"\ntype = \"double\"",
    );
    let manifest = Manifest::parse("pipeline.toml", &hourly).expect("valid");
    let sql = etl_plan(&manifest, SQL).clean_sql;
    assert!(sql.contains("MAX(_period)") && !sql.contains("newest._period - 1"), "{sql}");
    let message =
        |text: &str| Manifest::parse("pipeline.toml", text).expect_err("invalid").to_string();
    assert!(
        message(&FILE.replace("frequency = \"yearly\"", "frequency = \"hourly\""))
            .contains("`string`, dates and times in ISO 8601")
    );
    assert!(
        message(&FILE.replace("frequency = \"yearly\"", "frequency = \"weakly\""))
            .contains("weakly")
    );
    assert!(
        message(&hourly.replace("[\"warmth\"]", "[\"rain\"]"))
            .contains("the feature `rain` is not in `data.columns`")
    );
    assert!(
        message(&hourly.replace("[\"warmth\"]", "[\"region\"]"))
            .contains("the feature `region` must be a number")
    );
    assert!(
        message(&hourly.replace("[\"warmth\"]", "[\"marriages\"]"))
            .contains("it is the target or the time")
    );
    assert!(
        message(&FILE.replace("\"theta\",", "\"combination\","))
            .contains("a `combination` is made of them")
    );
}

#[test]
fn a_schedule_is_checked_before_anything_is_made() {
    let error = |from: &str, to: &str| {
        assert!(FILE.contains(from));
        Manifest::parse("p.toml", &FILE.replace(from, to)).expect_err("refused").to_string()
    };
    let schedule = |text: &str| error("rate(1 day)", text);
    assert!(
        schedule("daily").contains("`drift.schedule` is `daily`, which is neither"),
        "{}",
        schedule("daily")
    );
    assert!(
        schedule("rate(1 days)").contains("a unit that agrees with it")
            && schedule("rate(x days)").contains("a whole number")
    );
    assert!(
        schedule("cron(0 6 * * *)").contains("six fields")
            && schedule("cron(0 6 * * * *)").contains("needs `?`")
    );
    assert!(
        schedule("cron(0 6 1 * ? * \\n)").contains("six fields"),
        "nothing gets into the template"
    );
    assert!(
        error("verify = true", "verify = false").contains("`retrain` needs `stack.verify = true`")
    );
    let misspelt = FILE.replace("on_new_data = false", "on_new_date = false");
    let problems = Manifest::parse("p.toml", &misspelt).expect_err("refused");
    assert_eq!(problems.hints().collect::<Vec<_>>(), ["did you mean `on_new_data`?"]);
}

#[test]
fn a_copied_folder_must_have_its_own_name() {
    let parse = |file: &str| Manifest::parse(file, FILE).map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(parse("model/pipelines/marriages/pipeline.toml"), Ok(()));
    let error = parse("model/pipelines/weddings/pipeline.toml").expect_err("a copy");
    assert!(error.contains("the name is `marriages`, but the folder is `weddings`"), "{error}");
}

#[test]
fn examples_of_emails_are_refused_where_emails_are_sent() {
    let aws = Environment::Aws {
        account: "123456789012".into(),
        region: "eu-central-1".into(),
        profile: None,
        zones: None,
    };
    let check = |emails: &[&str], environment: &Environment| {
        let mut manifest = manifest();
        manifest.stack.emails = emails.iter().map(|e| (*e).to_owned()).collect();
        environment.check("pipeline.toml", &manifest).map_err(|e| e.to_string())
    };
    let error = check(&["a@example.org", "b@mail.example.com", "c@x.test"], &aws);
    assert_eq!(error.expect_err("examples").matches("its domain is reserved").count(), 3);
    assert_eq!(check(&["a@example.org"], &Environment::Embedded { port: 0 }), Ok(()));
    assert_eq!(check(&["a@notexample.org", "b@example.org.kz"], &aws), Ok(()));
}

#[test]
fn names_are_declared_once_and_the_delimiter_can_be_one() {
    let error = |from: &str, to: &str| {
        assert!(FILE.contains(from));
        Manifest::parse("p.toml", &FILE.replace(from, to)).expect_err("refused").to_string()
    };
    assert!(error("name = \"growth\"", "name = \"totals\"").contains("`totals` is declared twice"));
    assert!(
        error("name = \"year_valid\"", "name = \"region_given\"")
            .contains("the rule `region_given` is declared twice")
    );
    assert!(error("delimiter = \",\"", "delimiter = \"x\"").contains("expected one ASCII"));
    assert!(error("\"t3.micro\"", "\"t3: micro\"").contains("is not an instance type"));
}
