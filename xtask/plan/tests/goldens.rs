//! Whole templates, as files in `tests/goldens/templates/`: with everything that a manifest may
//! ask for, and with nothing of it.
//!
//! `EXPECTORATE=overwrite cargo test --package steppe-plan --test goldens` writes them anew.

use steppe_plan::catalogue::{RawColumn, RawHeader};
use steppe_plan::elf::Architecture;
use steppe_plan::names::Names;
use steppe_plan::site::Site;
use steppe_plan::stack::{ArtifactHashes, StackSpec, combinations};
use steppe_spec::Manifest;

const FILE: &str = include_str!("../../../model/pipelines/marriages/pipeline.toml");

#[test]
fn whole_templates() {
    let names = Names {
        project: "steppe".into(),
        pipeline: "marriages".into(),
        environment: "dev".into(),
        account: "123456789012".into(),
        region: "eu-central-1".into(),
    };
    let site = Site {
        image_id: "ami-0123456789abcdef0".into(),
        zones: ["euc1-az2".into(), "euc1-az3".into()],
        s3_prefix_list: "pl-6ea54007".into(),
    };
    let combinations = combinations(&Manifest::parse("pipeline.toml", FILE).expect("valid"));
    let named = |wanted: &str| {
        let found = combinations.iter().find(|(name, _)| name == wanted);
        &found.unwrap_or_else(|| panic!("no combination `{wanted}`")).1
    };
    for (golden, architecture) in
        [("everything", Architecture::X86_64), ("nothing", Architecture::Arm64)]
    {
        let manifest = named(golden);
        let hash = |digit: &str| digit.repeat(64);
        let spec = StackSpec {
            names: &names,
            manifest,
            query_sql: manifest.queries.iter().map(|q| format!("SELECT '{}'", q.name)).collect(),
            raw_headers: vec![RawHeader::from(vec![RawColumn::plain("region")])],
            hashes: ArtifactHashes {
                server: hash("a"),
                predictor: hash("b"),
                jobs: hash("c"),
                train_spec: hash("d"),
                tasks: hash("c"),
                glue_script: hash("e"),
                etl_plan: hash("f"),
            },
            architecture,
            site: &site,
        };
        let file = format!("../../tests/goldens/templates/{golden}.yaml");
        expectorate::assert_contents(file, &spec.render().expect("renders"));
    }
}
