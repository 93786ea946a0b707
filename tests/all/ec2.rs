//! Instances: services, metadata, console, zones, images, and what is listed of them.

use crate::serving::now;
use axum::http::{HeaderMap, HeaderValue, Method};
use base64::Engine;
use serde_json::{Value, json};
use steppe_cloud::kernel::error::{ApiError, ApiResult};
use steppe_cloud::services::{cloudformation, ec2};

use crate::in_process::{InProcess, is_alive, role, until};

const X86: &str = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";

fn machine(script: &str, properties: Value) -> Value {
    let mut all = json!({ "ImageId": "ami-x", "UserData": { "Fn::Base64": script } });
    for (name, value) in properties.as_object().expect("properties") {
        all[name] = value.clone();
    }
    json!({ "Machine": { "Type": "AWS::EC2::Instance", "Properties": all } })
}

fn call(home: &InProcess, operation: &str, params: Value) -> ApiResult {
    now(&home.cloud, &home.cloud.identities.administrator(), "ec2", operation, &params)
}

fn only_instance(home: &InProcess) -> (String, String) {
    let all = home.cloud.services.ec2.instances.all();
    let [(id, instance)] = all.as_slice() else { panic!("{} instances", all.len()) };
    (id.clone(), instance.token.clone())
}

/// Writes a unit into an instance.
fn put_unit(home: &InProcess, id: &str, name: &str, text: &str) {
    let folder = home.folder().join("instances").join(id).join("root/etc/systemd/system");
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(folder.join(name), text).expect("written");
}

async fn systemctl(
    home: &InProcess,
    token: &str,
    verb: &str,
    unit: &str,
) -> Result<String, String> {
    ec2::systemctl(&home.cloud, token, verb, unit).await
}

#[tokio::test]
async fn services_are_given_up_as_their_unit_says_and_have_no_paths_as_names() {
    let home = InProcess::start().await;
    home.created("s", machine("#!/bin/bash\n", json!({}))).await;
    let (id, token) = only_instance(&home);
    for name in ["../../x", "/etc/x", "a/b.service", "..", "x.timer"] {
        let error = systemctl(&home, &token, "start", name).await.expect_err("refused");
        assert!(error.contains("Invalid unit name") || error.contains(".timer"), "{error}");
    }
    put_unit(&home, &id, "odd.service", "[Service]\nExecStart=/bin/true\nMemoryMax=1G\n");
    let error = systemctl(&home, &token, "start", "odd").await.expect_err("refused");
    assert!(error.contains("does not know the directive `MemoryMax`"), "{error}");
    // Five starts in ten seconds are systemd's limit, unless the unit says otherwise.
    let starts = home.folder().join("starts");
    let script =
        format!("[Service]\nExecStart=/bin/bash -c \"echo >> '{}'; exit 1\"\n", starts.display());
    let restarting = format!("{script}Restart=on-failure\nRestartSec=0\n");
    put_unit(&home, &id, "limited.service", &restarting);
    let endless =
        format!("[Unit]\nStartLimitIntervalSec=0\n{}", restarting.replace("starts", "endless"));
    put_unit(&home, &id, "endless.service", &endless);
    for unit in ["limited", "endless.service"] {
        systemctl(&home, &token, "start", unit).await.expect("started");
    }
    let count = |name: &str| {
        std::fs::read_to_string(home.folder().join(name)).unwrap_or_default().lines().count()
    };
    until("a service without limit is started often", || count("endless") > 20).await;
    let mut state = systemctl(&home, &token, "is-active", "limited").await;
    while state != Err("failed".to_owned()) {
        tokio::task::yield_now().await;
        state = systemctl(&home, &token, "is-active", "limited").await;
    }
    assert_eq!(count("starts"), 5);
    systemctl(&home, &token, "stop", "endless").await.expect("stopped");
    let state = systemctl(&home, &token, "is-active", "endless").await;
    assert_eq!(state, Err("inactive".to_owned()));
    let journal = home.folder().join("instances").join(&id).join("journal/limited.journal");
    let journal = std::fs::read_to_string(journal).expect("a journal");
    assert!(journal.contains("Start request repeated too quickly."), "{journal}");
}

/// An instance that is complete when its user data says so.
fn signalling(code: u32) -> Value {
    let script = format!("#!/bin/bash\ncfn-signal -e {code} --stack s --resource Machine\n");
    let mut resources = machine(&script, json!({}));
    resources["Machine"]["CreationPolicy"] = json!({ "ResourceSignal": { "Timeout": "PT15M" } });
    resources
}

#[tokio::test]
async fn an_instance_with_a_creation_policy_waits_for_its_own_signal() {
    let home = InProcess::start().await;
    let (id, status) = home.create("s", signalling(0)).await;
    let told = home.reasons(&id).await;
    assert_eq!(status, "CREATE_COMPLETE", "{told:#?}");
    let (instance, token) = only_instance(&home);
    let words = format!("Received SUCCESS signal with UniqueId {instance}");
    assert!(told.iter().any(|reason| reason.contains(&words)), "{told:#?}");
    // It may signal only in its own stack, and nothing that is complete.
    let signal = |stack: &str| {
        let asked = json!({ "stack": stack, "resource": "Machine", "status": "SUCCESS" });
        let (instance, _) = ec2::with_token(&home.cloud, &token).expect("an instance");
        cloudformation::signal_by_instance(&home.cloud, &instance, &asked)
    };
    let complete = signal("s").expect_err("refused").to_string();
    assert!(complete.contains("is in CREATE_COMPLETE state and cannot be signaled"), "{complete}");
    home.create("other", json!({ "T": { "Type": "AWS::SNS::Topic" } })).await;
    let foreign = signal("other").expect_err("refused").to_string();
    assert!(foreign.contains("does not belong to stack"), "{foreign}");
    home.delete(&id).await;
    let (id, status) = home.create("s", signalling(1)).await;
    assert_eq!(status, "ROLLBACK_COMPLETE", "{:#?}", home.reasons(&id).await);
}

#[tokio::test]
async fn a_terminated_instance_leaves_no_process_and_is_listed_for_a_while() {
    let home = InProcess::start().await;
    let script = "#!/bin/bash\nsetsid sleep 1000 &\necho $! > escaped\n";
    let id = home.created("s", machine(script, json!({}))).await;
    let (machine, _) = only_instance(&home);
    let file = home.folder().join("instances").join(&machine).join("root/escaped");
    let noted = || std::fs::read_to_string(&file).ok()?.trim().parse::<u64>().ok();
    until("user data has run", || noted().is_some()).await;
    let escaped = noted().expect("a process");
    assert!(is_alive(escaped));
    assert_eq!(home.delete(&id).await, "DELETE_COMPLETE");
    until("the process is gone", || !is_alive(escaped)).await;
    let states = |filter: Value| {
        let set =
            call(&home, "DescribeInstances", json!({ "Filters": filter })).expect("described");
        let set = set["Reservations"].as_array().cloned().expect("a set");
        let state = |r: &Value| r["Instances"][0]["State"]["Name"].clone();
        set.iter().map(state).collect::<Vec<_>>()
    };
    assert_eq!(states(json!([])), ["terminated"]);
    let live = json!([{ "Name": "instance-state-name", "Values": ["pending", "running"] }]);
    assert_eq!(states(live), Vec::<Value>::new());
    let unknown = json!({ "Filters": [{ "Name": "hypervisor", "Values": ["xen"] }] });
    let error = call(&home, "DescribeInstances", unknown).expect_err("refused");
    assert!(error.message.contains("does not filter by `hypervisor`"), "{error}");
    let error = call(&home, "DescribeInstances", json!({ "DryRun": "true" })).expect_err("refused");
    assert!(error.message.contains("DryRun of ec2:DescribeInstances"), "{error}");
    let error = call(&home, "DescribeInstances", json!({ "InstanceIds": ["i-1"] }));
    assert_eq!(error.expect_err("none").code, "InvalidInstanceID.NotFound");
}

#[tokio::test]
async fn the_console_is_as_of_the_last_transition_unless_the_latest_is_asked_for() {
    let home = InProcess::start().await;
    home.created("s", machine("#!/bin/bash\necho booted\n", json!({ "InstanceType": "t3.micro" })))
        .await;
    let (id, token) = only_instance(&home);
    let console = |latest: Option<bool>| {
        let params = json!({ "InstanceId": id, "Latest": latest });
        let output = call(&home, "GetConsoleOutput", params).expect("answered")["Output"].clone();
        let bytes = base64::engine::general_purpose::STANDARD.decode(output.as_str()?);
        Some(String::from_utf8(bytes.expect("base64")).expect("text"))
    };
    until("the boot is posted", || console(None).is_some()).await;
    assert_eq!(console(None).as_deref(), Some("booted\n"));
    let unit = "[Service]\nExecStart=/bin/echo later\nStandardOutput=journal+console\n";
    put_unit(&home, &id, "x.service", unit);
    put_unit(&home, &id, "quiet.service", "[Service]\nExecStart=/bin/echo hidden\n");
    for unit in ["x", "quiet"] {
        systemctl(&home, &token, "start", unit).await.expect("started");
    }
    let journal = home.folder().join("instances").join(&id).join("journal/quiet.journal");
    let has = |text: &str| std::fs::read_to_string(&journal).is_ok_and(|t| t.contains(text));
    until("the quiet service has written", || has("hidden")).await;
    until("the latest shows the service", || {
        console(Some(true)).is_some_and(|t| t.contains("later"))
    })
    .await;
    assert!(!console(Some(true)).expect("text").contains("hidden"), "only the journal has it");
    assert_eq!(console(None).as_deref(), Some("booted\n"), "nothing was posted since");
}

#[tokio::test]
async fn the_metadata_service_asks_for_what_awss_asks_for() {
    let home = InProcess::start().await;
    let mut resources =
        machine("#!/bin/bash\n", json!({ "IamInstanceProfile": { "Ref": "Profile" } }));
    resources["Role"] = role("r", "ec2.amazonaws.com", &["s3:GetObject"]);
    resources["Profile"] = json!({
        "Type": "AWS::IAM::InstanceProfile", "Properties": { "Roles": [{ "Ref": "Role" }] },
    });
    home.created("s", resources).await;
    let (id, secret) = only_instance(&home);
    let ask = |method: Method, first: &str, rest: &str, headers: &[(&'static str, String)]| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::try_from(value).expect("a value"));
        }
        let answer = ec2::metadata(&home.cloud, &method, first, rest, &map);
        async move {
            let status = answer.status().as_u16();
            let body = axum::body::to_bytes(answer.into_body(), 10_000).await.expect("a body");
            (status, String::from_utf8(body.to_vec()).expect("text"))
        }
    };
    let ttl = |seconds: &str| ("x-aws-ec2-metadata-token-ttl-seconds", seconds.to_owned());
    let token_path = "latest/api/token";
    let token =
        |headers: Vec<(&'static str, String)>| ask(Method::PUT, &secret, token_path, &headers);
    assert_eq!(token(vec![]).await.0, 400, "a lifetime is needed");
    assert_eq!(token(vec![ttl("21601")]).await.0, 400);
    let proxied = ("x-forwarded-for", "10.0.0.1".to_owned());
    assert_eq!(token(vec![ttl("60"), proxied]).await.0, 403);
    let (status, session) = token(vec![ttl("60")]).await;
    assert_eq!(status, 200);
    let given = ("x-aws-ec2-metadata-token", session);
    let instance = ("x-steppe-instance", secret.clone());
    let path = "latest/meta-data/instance-id";
    let answered = ask(Method::GET, &secret, path, std::slice::from_ref(&given)).await;
    assert_eq!(answered, (200, id.clone()));
    // The address without the secret needs the header that has it.
    let rest = "meta-data/instance-id";
    assert_eq!(ask(Method::GET, "latest", rest, &[given.clone(), instance]).await, (200, id));
    assert_eq!(ask(Method::GET, "latest", rest, std::slice::from_ref(&given)).await.0, 404);
    assert_eq!(ask(Method::GET, "guess", path, std::slice::from_ref(&given)).await.0, 404);
    assert_eq!(ask(Method::GET, &secret, path, &[]).await.0, 401);
    let ended = ("x-aws-ec2-metadata-token", format!("1.{}", &given.1[11..]));
    assert_eq!(ask(Method::GET, &secret, path, &[ended]).await.0, 401);
    let credentials = "latest/meta-data/iam/security-credentials/r";
    let (status, first) =
        ask(Method::GET, &secret, credentials, std::slice::from_ref(&given)).await;
    let key =
        |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["AccessKeyId"].clone();
    let (_, second) = ask(Method::GET, &secret, credentials, &[given]).await;
    assert_eq!((status, key(&first)), (200, key(&second)), "the same until they end");
}

fn parameter(home: &InProcess, name: &str) -> Result<Value, ApiError> {
    let caller = home.cloud.identities.administrator();
    let answer = now(&home.cloud, &caller, "ssm", "GetParameter", &json!({ "Name": name }))?;
    Ok(answer["Parameter"].clone())
}

#[tokio::test]
async fn a_released_image_is_what_the_parameter_says_from_then_on() {
    let home = InProcess::start().await;
    let first = parameter(&home, X86).expect("a parameter");
    assert_eq!(first["Version"], 1);
    let release = json!([{
        "image": "ami-0123456789abcdef0", "architecture": "x86_64",
        "created": "2026-12-01T00:00:00Z",
    }]);
    std::fs::write(home.folder().join("images.json"), release.to_string()).expect("written");
    let second = parameter(&home, X86).expect("a parameter");
    assert_eq!(
        (second["Value"].as_str(), &second["Version"]),
        (Some("ami-0123456789abcdef0"), &json!(2))
    );
    assert_ne!(first["Value"], second["Value"]);
    let arm = parameter(&home, &X86.replace("x86_64", "arm64")).expect("a parameter");
    assert_eq!(arm["Version"], 1);
    assert_eq!(parameter(&home, "/mine").expect_err("none").code, "ParameterNotFound");
    let template = json!({
        "Parameters": {
            "Image": { "Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>", "Default": X86 },
        },
        "Resources": machine("#!/bin/bash\n", json!({ "ImageId": { "Ref": "Image" } })),
    });
    let params = json!({ "StackName": "s", "TemplateBody": template.to_string() });
    home.call("CreateStack", params).await.expect("accepted");
    until("the instance is there", || !home.cloud.services.ec2.instances.all().is_empty()).await;
    assert_eq!(home.cloud.services.ec2.instances.all()[0].1.image, "ami-0123456789abcdef0");
    let images = call(&home, "DescribeImages", json!({ "ImageIds": [second["Value"]] }));
    let images = images.expect("described");
    assert_eq!(images["Images"][0]["CreationDate"], "2026-12-01T00:00:00.000Z");
    let error = call(&home, "DescribeImages", json!({ "ImageIds": ["ami-0"] })).expect_err("none");
    assert_eq!(error.code, "InvalidAMIID.NotFound");
    // A role needs the permission.
    let roles = json!({ "Role": role("r", "ec2.amazonaws.com", &["ec2:DescribeImages"]) });
    home.created("roles", roles).await;
    let arn = "arn:aws:iam::000000000000:role/r";
    let caller = home.cloud.assume(arn, "ec2.amazonaws.com", "x").expect("trusted");
    let denied = now(&home.cloud, &caller, "ssm", "GetParameter", &json!({ "Name": X86 }));
    assert_eq!(denied.expect_err("denied").code, "AccessDeniedException");
}

#[tokio::test]
async fn a_zone_may_not_offer_what_another_does() {
    let home = InProcess::start().await;
    let offer = json!({ "letters": "abe", "not_offered": { "a": ["t3.micro"] } });
    std::fs::write(home.folder().join("zones.json"), offer.to_string()).expect("written");
    let zones = call(&home, "DescribeAvailabilityZones", json!({})).expect("described");
    let zones = zones["AvailabilityZones"].as_array().expect("zones");
    let names: Vec<&Value> = zones.iter().map(|z| &z["ZoneName"]).collect();
    assert_eq!(names, ["us-east-1a", "us-east-1b", "us-east-1e"]);
    let params = json!({
        "LocationType": "availability-zone-id",
        "Filters": [{ "Name": "instance-type", "Values": ["t3.micro"] }],
    });
    let offerings = call(&home, "DescribeInstanceTypeOfferings", params).expect("described");
    let offerings = offerings["InstanceTypeOfferings"].as_array().expect("a set");
    let places: Vec<&Value> = offerings.iter().map(|o| &o["Location"]).collect();
    assert_eq!(places, [&zones[1]["ZoneId"], &zones[2]["ZoneId"]]);
    let (id, status) = home.create("s", machine("", json!({ "InstanceType": "t3.micro" }))).await;
    assert_eq!(status, "ROLLBACK_COMPLETE");
    let reasons = home.reasons(&id).await.join("\n");
    let words = "Your requested instance type (t3.micro) is not supported in your requested \
                 Availability Zone (us-east-1a). Please retry your request by not specifying an \
                 Availability Zone or choosing us-east-1b, us-east-1e.";
    assert!(reasons.contains(words), "{reasons}");
    // A subnet in another zone, named by its ID, has it.
    let chosen = json!({ "InstanceType": "t3.micro", "SubnetId": { "Ref": "Subnet" } });
    let mut resources = machine("", chosen);
    resources["Vpc"] =
        json!({ "Type": "AWS::EC2::VPC", "Properties": { "CidrBlock": "10.0.0.0/16" } });
    resources["Subnet"] = json!({
        "Type": "AWS::EC2::Subnet",
        "Properties": {
            "VpcId": { "Ref": "Vpc" }, "CidrBlock": "10.0.0.0/24",
            "AvailabilityZoneId": zones[1]["ZoneId"],
        },
    });
    let id = home.created("chosen", resources).await;
    assert_eq!(home.cloud.services.ec2.instances.all()[0].1.zone, "us-east-1b");
    let error = call(&home, "DescribeSubnets", json!({ "SubnetIds": ["subnet-1"] }));
    assert_eq!(error.expect_err("none").code, "InvalidSubnetID.NotFound");
    assert_eq!(home.delete(&id).await, "DELETE_COMPLETE");
}
