//! The model server: an instance that fetches its binary from S3 and reports when it is ready.

use serde_json::{Map, Value, json};
use steppe_wire::keys;

use super::{Alarm, Component, Cost, Fragment, Stack};
use crate::grants::{Cfn, Grant, Role, Statement};
use crate::made::Made;
use crate::stack::StackSpec;

const ROLE: &str = "ServerRole";
/// Port of the model server.
pub const SERVER_PORT: u16 = 8080;
/// Price of a GiB of gp3 for a month, in US dollars. <https://aws.amazon.com/ebs/pricing/>
const VOLUME_GIB_USD: f64 = 0.08;
/// Size of the instance's volume.
const VOLUME_GIB: u32 = 8;
const HOURS_A_MONTH: f64 = 730.0;

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    let id = stack.server_id.as_str();
    let spec = stack.spec;
    let unreachable = Alarm {
        logical_id: "ServerUnreachable".to_owned(),
        name: "server-unreachable".to_owned(),
        description: "The model server's instance fails its status checks",
        namespace: "AWS/EC2",
        metric: "StatusCheckFailed",
        dimension: "InstanceId",
        resource: id.to_owned(),
        period_secs: 300,
        // One check a minute: a single one may fail while the instance starts.
        threshold: 2,
    };
    let volume = f64::from(VOLUME_GIB) * VOLUME_GIB_USD;
    let idle = instance_hour_usd(instance_type(spec)).map(|usd| usd * HOURS_A_MONTH + volume);
    Some(Component {
        name: "server",
        resources: vec![Fragment::new("server.yaml.tera", instance(spec))],
        alarms: vec![unreachable],
        roles: vec![Role::of_ec2(ROLE, "server")],
        grants: grants(stack).map(|statement| Grant { role: ROLE, statement }).to_vec(),
        outputs: vec![
            // What the next deployment compares with, or keeps.
            ("ImageId", Cfn::Text(spec.site.image_id.clone())),
            ("Zones", Cfn::Text(spec.site.zones.join(","))),
            ("ServerInstanceId", Cfn::reference(id)),
            ("ServerUrl", url(id)),
        ],
        made: Made {
            instance_profiles: vec![format!("{}-server", spec.names.stack())],
            ..Made::default()
        },
        cost: Cost { idle_month: idle, ..Cost::default() },
        ..Component::default()
    })
}

/// Where functions reach the server.
pub(super) fn url(server_id: &str) -> Cfn {
    Cfn::sub(format!("http://${{{server_id}.PrivateIp}}:{SERVER_PORT}"))
}

/// What a function waits for that asks the server.
pub(super) fn when_ready(server_id: &str) -> Value {
    json!({ "DependsOn": format!("{server_id}Ready") })
}

fn instance_type<'a>(spec: &'a StackSpec<'_>) -> &'a str {
    spec.architecture.instance_type(spec.manifest)
}

/// What makes the instance, beside its logical ID.
pub(crate) fn instance(spec: &StackSpec<'_>) -> Value {
    let kind = instance_type(spec);
    let mut credits = Map::new();
    if is_burstable(kind) {
        // The default of T3 and T4g, `unlimited`, costs extra while the processor is busy.
        credits.insert("CreditSpecification".to_owned(), json!({ "CPUCredits": "standard" }));
    }
    json!({
        "image_id": spec.site.image_id,
        "instance_type": kind,
        "credits": credits,
        "volume_gib": VOLUME_GIB,
        "server_key": keys::server_binary(&spec.hashes.server),
        "server_sha256": spec.hashes.server,
    })
}

fn grants(stack: &Stack<'_>) -> [Statement; 3] {
    let names = stack.spec.names;
    let artifacts = format!("arn:${{AWS::Partition}}:s3:::{}", names.artifacts_bucket());
    let read = [
        Cfn::sub(format!("{artifacts}/bin/server/*")),
        Cfn::sub(format!("{artifacts}/models/{}/*", names.pipeline)),
    ];
    let data = [Cfn::sub("${DataBucket.Arn}/processed/*")];
    let bucket = [Cfn::arn("DataBucket")];
    [
        Statement::on_buckets("ReadBinaryAndModel", &["s3:GetObject"], &read),
        Statement::on_buckets("ReadDataSets", &["s3:GetObject"], &data),
        Statement::on_buckets("ListDataSets", &["s3:ListBucket"], &bucket)
            .of_prefixes(&["processed/*".to_owned()]),
    ]
}

/// Whether an instance type earns credits for bursts: `t3.micro`, `t4g.small`.
fn is_burstable(instance_type: &str) -> bool {
    let family = instance_type.strip_prefix('t').unwrap_or_default();
    family.starts_with(|c: char| c.is_ascii_digit())
}

/// On-demand price of an hour of Linux in us-east-1, in US dollars, where it is known; other
/// regions differ by up to a third. <https://aws.amazon.com/ec2/pricing/on-demand/>
fn instance_hour_usd(instance_type: &str) -> Option<f64> {
    Some(match instance_type {
        "t3.nano" => 0.0052,
        "t3.micro" => 0.0104,
        "t3.small" => 0.0208,
        "t3.medium" => 0.0416,
        "t4g.nano" => 0.0042,
        "t4g.micro" => 0.0084,
        "t4g.small" => 0.0168,
        "t4g.medium" => 0.0336,
        "c7g.medium" => 0.0363,
        "m7g.medium" => 0.0408,
        _ => return None,
    })
}
