//! The first pipeline as its users have it: the manifest in the repository parses, and every
//! combination of its options renders.

use steppe_plan::catalogue::RawColumn;
use steppe_plan::elf::Architecture;
use steppe_plan::environment::Environment;
use steppe_plan::etl::{SqlFiles, etl_plan};
use steppe_plan::names::Names;
use steppe_plan::site::Site;
use steppe_plan::stack::{ArtifactHashes, StackSpec};
use steppe_spec::{Action, Manifest};
use steppe_wire::etl::InputPlan;

const FILE: &str = include_str!("../../../model/pipelines/marriages/pipeline.toml");

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
        raw_headers: vec![["region", "year", "marriages"].map(RawColumn::plain).to_vec().into()],
        hashes: ArtifactHashes {
            server: hash(server),
            predictor: hash("b"),
            jobs: hash("f"),
            train_spec: hash("9"),
            tasks: hash("8"),
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
    let quiet = |m: &mut Manifest| {
        (m.retrain, m.drift, m.stack.notify) = (None, None, false);
    };
    assert!(has(&|_| (), "AWS::Events::Rule") && !has(&quiet, "AWS::Events::Rule"));
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

fn input_plan(manifest: &Manifest) -> InputPlan {
    etl_plan(manifest, &SqlFiles::new(), "s3://b/").inputs.remove(0)
}

#[test]
fn rules_reach_the_plan_with_their_action() {
    let plan = input_plan(&manifest());
    let fatal = ["region_given", "year_valid", "marriages_valid", "year_unreadable"];
    assert_eq!(plan.fatal_rules[..4], fatal);
    assert_eq!(plan.fatal_rules[4..], ["marriages_unreadable", "unique"]);
    assert!(plan.rejects_sql.contains("'partial_period' THEN 'the newest year is incomplete"));
    let mut lenient = manifest();
    lenient.inputs[0].duplicates = Action::Reject;
    assert!(!input_plan(&lenient).fatal_rules.contains(&"unique".to_owned()));
}

#[test]
fn periods_that_are_texts_are_compared_by_their_order() {
    let hourly = FILE
        .replace("target = \"marriages\"", "target = \"marriages\"\nfrequency = \"hourly\"")
        .replace("year = \"int\"", "year = \"string\"");
    let manifest = Manifest::parse("pipeline.toml", &hourly).expect("valid");
    let sql = input_plan(&manifest).judged_sql;
    assert!(sql.contains("MAX(_period)") && !sql.contains("newest._period - 1"), "{sql}");
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
        environment.check("pipeline.toml", FILE, &manifest).map_err(|e| e.to_string())
    };
    let error = check(&["a@example.org", "b@mail.example.com", "c@x.test"], &aws);
    assert_eq!(error.expect_err("examples").matches("its domain is reserved").count(), 3);
    let line = FILE.lines().position(|line| line.starts_with("emails = ")).expect("emails") + 1;
    let error = check(&["forecasts@example.org"], &aws).expect_err("an example");
    assert!(error.starts_with(&format!("pipeline.toml:{line}:11: ")), "{error}");
    assert_eq!(check(&["a@example.org"], &Environment::Embedded { port: 0 }), Ok(()));
    assert_eq!(check(&["a@notexample.org", "b@example.org.kz"], &aws), Ok(()));
}
