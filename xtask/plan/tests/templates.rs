//! The rendered template, resource by resource, where AWS is stricter than it looks.

use steppe_plan::catalogue::{RawColumn, RawHeader, raw_header};
use steppe_plan::elf::Architecture;
use steppe_plan::etl::{SqlFiles, etl_plan};
use steppe_plan::names::Names;
use steppe_plan::site::Site;
use steppe_plan::stack::{ArtifactHashes, StackSpec};
use steppe_spec::Manifest;

const FILE: &str = include_str!("../../../model/pipelines/marriages/pipeline.toml");

fn manifest() -> Manifest {
    Manifest::parse("pipeline.toml", FILE).expect("valid")
}

struct Rendered(String);

impl Rendered {
    fn new(manifest: &Manifest, raw_header: RawHeader, site: &Site) -> Self {
        let names = Names {
            project: "steppe".into(),
            pipeline: "marriages".into(),
            environment: "dev".into(),
            account: "123456789012".into(),
            region: "eu-central-1".into(),
        };
        let hash = || "a".repeat(64);
        let spec = StackSpec {
            names: &names,
            manifest,
            query_sql: manifest.queries.iter().map(|_| "SELECT 1".to_owned()).collect(),
            raw_headers: vec![raw_header],
            hashes: ArtifactHashes {
                server: hash(),
                predictor: hash(),
                jobs: hash(),
                train_spec: hash(),
                tasks: hash(),
                glue_script: hash(),
                etl_plan: hash(),
            },
            architecture: Architecture::X86_64,
            site,
        };
        Self(spec.render().expect("renders"))
    }

    fn default() -> Self {
        Self::new(&manifest(), vec![RawColumn::plain("region")].into(), &site())
    }

    /// The text of one resource.
    fn resource(&self, id: &str) -> &str {
        let begin = format!("\n  {id}:\n");
        let at = self.0.find(&begin).unwrap_or_else(|| panic!("no {id}")) + begin.len();
        let rest = &self.0[at..];
        let next = rest.match_indices("\n  ").map(|(i, _)| i);
        let end = next
            .into_iter()
            .find(|i| rest[i + 3..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '#'));
        &rest[..end.unwrap_or(rest.len())]
    }

    /// The text of one statement of a policy.
    fn statement(&self, id: &str, sid: &str) -> &str {
        let resource = self.resource(id);
        let at = resource.find(&format!("- Sid: {sid}\n")).unwrap_or_else(|| panic!("no {sid}"));
        let rest = &resource[at..];
        &rest[..rest[2..].find("- Sid: ").map_or(rest.len(), |end| end + 2)]
    }

    /// Every statement, with the resource that it is in.
    fn statements(&self) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        let (mut id, mut rest) = ("", self.0.as_str());
        while let Some(at) = rest.find("- Sid: ") {
            let resource =
                |line: &&str| line.starts_with("  ") && !line[2..].starts_with([' ', '#']);
            if let Some(line) = rest[..at].lines().rfind(resource) {
                id = line.trim().trim_end_matches(':');
            }
            rest = &rest[at..];
            let end = rest[2..].find("- Sid: ").map_or(rest.len(), |end| end + 2);
            let statement = &rest[..end];
            let ends = statement.find("\n\n").unwrap_or(end);
            found.push((id, &statement[..ends]));
            rest = &rest[ends.min(end)..];
        }
        found
    }

    fn server_id(&self) -> &str {
        let line = self.0.lines().find(|l| l.starts_with("  ModelServer") && l.ends_with("Ready:"));
        line.expect("a server").trim().trim_end_matches("Ready:")
    }
}

fn site() -> Site {
    Site {
        image_id: "ami-0123456789abcdef0".into(),
        zones: ["euc1-az2".into(), "euc1-az3".into()],
        s3_prefix_list: "pl-6ea54007".into(),
    }
}

#[test]
fn the_cleaning_job_can_tell_what_is_missing_from_what_is_denied() {
    let rendered = Rendered::default();
    let list = rendered.statement("CleanRole", "SeeWhatIsMissing");
    assert!(!list.contains("s3:prefix"), "{list}");
    assert!(list.contains("s3:ListBucketMultipartUploads"));
    assert!(list.contains("steppe-marriages-dev-artifacts-123456789012\""), "{list}");
    let write = rendered.statement("CleanRole", "WriteResults");
    for folder in ["processed", "rejects", "reports"] {
        assert!(write.contains(&format!("${{DataBucket.Arn}}/{folder}\"")), "{write}");
        assert!(write.contains(&format!("${{DataBucket.Arn}}/{folder}/*\"")), "{write}");
    }
    assert!(write.contains("s3:AbortMultipartUpload"), "{write}");
    assert!(write.contains("s3:ListMultipartUploadParts"), "{write}");
    let job = rendered.resource("CleanJob");
    assert!(job.contains("--custom-logGroup-prefix: /steppe/marriages/dev/clean\n"), "{job}");
    for (id, group) in [("CleanLogsOutput", "output"), ("CleanLogsError", "error")] {
        let name = format!("LogGroupName: /steppe/marriages/dev/clean/{group}\n");
        assert!(rendered.resource(id).contains(&name));
        assert!(rendered.statement("CleanRole", "WriteLogs").contains(&format!("{id}.Arn")));
    }
}

#[test]
fn every_role_uses_only_buckets_of_the_own_account() {
    let rendered = Rendered::default();
    let (mut statements, mut roles) = (0, std::collections::BTreeSet::new());
    for (id, statement) in rendered.statements() {
        let on_buckets = statement.contains("Action: s3:") || statement.contains("- s3:");
        if on_buckets && statement.contains("Effect: Allow") && !statement.contains("Sid: Signal") {
            let own = "StringEquals:aws:ResourceAccount:!RefAWS::AccountId";
            let text: String = statement.split_whitespace().collect();
            assert!(text.contains(own), "{id}: {statement}");
            (statements, _) = (statements + 1, roles.insert(id));
        }
    }
    let expected = ["CheckJobRole", "CleanRole", "DriftJobRole", "PredictorRole", "ServerRole"];
    let expected = [&expected[..], &["StorageEndpoint", "TrainJobRole", "WorkflowRole"]].concat();
    assert_eq!(roles.into_iter().collect::<Vec<_>>(), expected);
    assert!(statements >= 20, "{statements}");
}

#[test]
fn athena_gets_what_it_asks_for_on_every_query() {
    let rendered = Rendered::default();
    assert!(rendered.statement("WorkflowRole", "ReadCatalogue").contains(":database/default\""));
    assert!(rendered.statement("WorkflowRole", "ReadDataCatalogue").contains("/AwsDataCatalog\""));
    let list = rendered.statement("WorkflowRole", "ListForQueries");
    assert!(list.contains("s3:ListBucketMultipartUploads") && !list.contains("s3:prefix"));
}

#[test]
fn network_and_subnets_outlive_the_functions_roles() {
    let rendered = Rendered::default();
    for id in ["PredictorSecurity", "SubnetAz2", "SubnetAz3"] {
        let resource = rendered.resource(id);
        for role in ["CheckJobRole", "PredictorRole", "TrainJobRole", "DriftJobRole"] {
            assert!(resource.contains(&format!("      - {role}\n")), "{id}: {resource}");
        }
    }
    assert!(rendered.resource("SubnetAz3").contains("AvailabilityZoneId: euc1-az3\n"));
    assert!(!rendered.0.contains("GetAZs"));
}

#[test]
fn what_makes_another_instance_gives_it_another_name() {
    let rendered = Rendered::default();
    let renamed = |site: &Site| {
        let other = Rendered::new(&manifest(), vec![RawColumn::plain("region")].into(), site);
        other.server_id() != rendered.server_id()
    };
    assert!(!renamed(&site()));
    assert!(renamed(&Site { image_id: "ami-1123456789abcdef0".into(), ..site() }), "the image");
    let zones = ["euc1-az1".into(), "euc1-az2".into()];
    assert!(renamed(&Site { zones, ..site() }), "the subnet");
    assert!(
        !rendered.0.contains("\nParameters:"),
        "an image is never chosen while a stack changes"
    );
    assert!(rendered.0.contains("  ImageId:\n    Value: ami-0123456789abcdef0\n"));
    assert!(rendered.0.contains("  Zones:\n    Value: \"euc1-az2,euc1-az3\"\n"));
}

#[test]
fn bursts_are_limited_where_there_are_bursts() {
    let rendered = Rendered::default();
    assert!(rendered.resource(rendered.server_id()).contains("CPUCredits: standard"));
    let mut manifest = manifest();
    manifest.stack.instance_type.insert("x86_64".into(), "m7i.large".into());
    let steady = Rendered::new(&manifest, vec![].into(), &site());
    assert!(!steady.0.contains("CreditSpecification"));
}

#[test]
fn the_only_way_out_leads_to_the_own_buckets() {
    let rendered = Rendered::default();
    assert!(!rendered.0.contains("0.0.0.0/0"));
    for id in ["PredictorSecurity", "ServerSecurity"] {
        assert!(rendered.resource(id).contains("DestinationPrefixListId: pl-6ea54007\n"));
    }
    let endpoint = rendered.resource("StorageEndpoint");
    assert!(endpoint.contains("steppe-marriages-dev-artifacts-123456789012/*\""), "{endpoint}");
    assert!(endpoint.contains(":s3:::cloudformation-waitcondition-${AWS::Region}/*\""));
    assert!(!endpoint.contains("s3:*") && !endpoint.contains("Resource: \"*\""), "{endpoint}");
}

#[test]
fn services_take_roles_on_for_this_account_only() {
    let rendered = Rendered::default();
    let roles = ["CleanRole", "PredictorRole", "TrainJobRole", "DriftJobRole", "WorkflowRole"];
    for id in roles.into_iter().chain(["CheckJobRole", "DriftRole", "FailureRole", "RulesRole"]) {
        let trust = rendered.resource(id).split("Policies:").next().unwrap_or_default();
        assert!(trust.contains("aws:SourceAccount: !Ref AWS::AccountId"), "{id}: {trust}");
    }
}

#[test]
fn alarms_are_about_what_failed_in_the_end() {
    let rendered = Rendered::default();
    let namespaces = |name: &str| rendered.0.matches(&format!("Namespace: {name}\n")).count();
    assert_eq!(namespaces("AWS/Lambda"), 0, "an attempt that is repeated is no failure");
    assert_eq!(namespaces("AWS/States"), 6, "three machines, failed and timed out");
    assert_eq!(namespaces("AWS/Events"), 3, "two schedules, and failures");
    assert_eq!(namespaces("AWS/EC2"), 1);
    assert!(rendered.resource("AlarmServerUnreachable").contains(rendered.server_id()));
    let training_secs = 7 * 900 + 1_800;
    let machine = rendered.resource("StateMachine");
    let (_, after) = machine.split_once("\"TimeoutSeconds\": ").expect("a limit");
    let limit: u32 = after.split(',').next().and_then(|n| n.parse().ok()).expect("a number");
    assert!(limit > training_secs + 3_600, "{limit}");
}

#[test]
fn the_raw_table_reads_the_file_as_it_is() {
    let mut manifest = manifest();
    manifest.inputs[0].delimiter = ';';
    manifest.inputs[0].skip_lines = 1;
    let plan = etl_plan(&manifest, &SqlFiles::new(), "s3://b/");
    let file = "Marriages\nnull;1e3;\"Район\n2\";region\n";
    let header = raw_header(file.as_bytes(), &plan.inputs[0]).expect("names");
    let rendered = Rendered::new(&manifest, header, &site());
    let table = rendered.resource("RawMarriages");
    for line in [
        "skip.header.line.count: \"3\"\n",
        "separatorChar: \";\"\n",
        "quoteChar: \"\\\"\"\n",
        "escapeChar: \"\\\\\"\n",
        "- Name: \"null\"\n",
        "- Name: \"1e3\"\n",
        "- Name: \"2\"\n",
        "Comment: \"\\u0420\\u0430\\u0439\\u043e\\u043d 2\"\n",
    ] {
        assert!(table.contains(line), "{line}{table}");
    }
    assert!(rendered.0.is_ascii(), "GetTemplate gives other characters back as `?`");
}

#[test]
fn unfinished_uploads_go_away() {
    let rendered = Rendered::default();
    assert!(rendered.resource("DataBucket").contains("DaysAfterInitiation: 7\n"));
}

#[test]
fn a_signal_that_is_refused_is_noticed_and_a_server_is_always_started_again() {
    let rendered = Rendered::default();
    let server = rendered.resource(rendered.server_id());
    assert!(server.contains("curl -sS --fail-with-body --retry 3"), "{server}");
    let unit = server.split("[Unit]").nth(1).and_then(|u| u.split("[Service]").next());
    assert!(unit.is_some_and(|u| u.contains("StartLimitIntervalSec=0\n")), "{server}");
}

#[test]
fn state_machines_know_their_partition_and_hold_what_they_are_given() {
    let rendered = Rendered::default();
    let machine = rendered.resource("StateMachine");
    assert!(machine.contains("\"arn:aws:states:::lambda:invoke\""));
    assert_eq!(machine.matches("\"MaxResults\": 500").count(), 2, "page by page");
    let predict = machine.split("\"Predict\": {").nth(1).expect("the predictor's state");
    let output = predict.lines().find(|l| l.contains("\"Output\"")).expect("an output");
    assert!(output.contains("'left_out'") && !output.contains("forecast.steps"), "{output}");
}

#[test]
fn the_raw_table_of_orc_finds_columns_by_their_names() {
    let mut manifest = manifest();
    manifest.inputs[0].format = steppe_spec::Format::Orc;
    let header = RawHeader { columns: vec![RawColumn::plain("region")], lines: 0 };
    let rendered = Rendered::new(&manifest, header, &site());
    let table = rendered.resource("RawMarriages");
    assert!(table.contains("OrcSerde") && table.contains("orc.column.index.access"), "{table}");
    assert!(!Rendered::default().0.contains("orc.column.index.access"));
}

#[test]
fn the_raw_table_of_sequence_files_is_read_as_athena_can() {
    let mut manifest = manifest();
    let input = &mut manifest.inputs[0];
    (input.container, input.delimiter) = (steppe_spec::Container::Sequence, '\t');
    let header = || RawHeader { columns: vec![RawColumn::plain("region")], lines: 0 };
    let rendered = Rendered::new(&manifest, header(), &site());
    let table = rendered.resource("RawMarriages");
    for part in ["mapred.SequenceFileInputFormat", "LazySimpleSerDe", r#"field.delim: "\x09""#] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(!table.contains("skip.header.line.count"), "{table}");
    manifest.inputs[0].format = steppe_spec::Format::Json;
    let rendered = Rendered::new(&manifest, header(), &site());
    assert!(!rendered.0.contains("RawMarriages"), "no reader has JSON in sequence files");
}
