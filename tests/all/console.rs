//! The console of the embedded cloud: who gets in, what its pages show, and what they never do.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde_json::{Value, json};
use steppe_cloud::services::events;
use steppe_cloud::services::glue;
use steppe_cloud::services::lambda::Function;
use steppe_cloud::services::logs::{self, LogGroup};
use steppe_cloud::services::sns::{self, Subscription, Topic};
use steppe_cloud::services::states::StateMachine;

use crate::in_process::until;
use crate::signed::{Answer, Served, encoded};

/// A name that would be HTML.
const HOSTILE: &str = "<script>alert('1')</script>&\"x";

/// A cloud and a browser in it.
pub struct Browser {
    served: Served,
    cookie: String,
}

impl Deref for Browser {
    type Target = Served;
    fn deref(&self) -> &Served {
        &self.served
    }
}

impl Browser {
    async fn outside() -> Self {
        Self { served: Served::start().await, cookie: String::new() }
    }

    /// A browser that is logged in.
    pub async fn inside() -> Self {
        let mut browser = Self::outside().await;
        let answer = browser.get(&format!("login?token={}", browser.identity())).await;
        assert_eq!((answer.status, header(&answer, "location")), (303, "/_steppe/"));
        let cookie = header(&answer, "set-cookie");
        for part in ["HttpOnly", "SameSite=Strict", "Path=/_steppe/"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!answer.head.contains(&browser.identity()), "{}", answer.head);
        browser.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        browser
    }

    fn identity(&self) -> String {
        std::fs::read_to_string(self.cloud.path("identity")).expect("an identity")
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.cloud.config.port)
    }

    async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let host = if headers.contains("Host:") {
            String::new()
        } else {
            format!("Host: {}\r\n", self.host())
        };
        let cookie = match self.cookie.is_empty() {
            true => String::new(),
            false => format!("Cookie: {}\r\n", self.cookie),
        };
        self.raw(&format!(
            "{method} /_steppe/{path} HTTP/1.1\r\n{host}{cookie}{headers}Content-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        ))
        .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "").await
    }

    /// A page that is there, without anything hostile in it.
    pub async fn page(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let address = match fields.is_empty() {
            true => path.to_owned(),
            false => format!("{path}?{}", encoded(fields)),
        };
        let answer = self.get(&address).await;
        let text = answer.text();
        assert_eq!(answer.status, 200, "{address}: {text}");
        assert!(!text.contains("<script>"), "{address}: {text}");
        assert_eq!(text.matches("<h1>").count(), 1, "{address}");
        assert!(text.contains("<main id=\"main\"") && text.contains("class=\"skip\""), "{address}");
        text
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)], headers: &str) -> Answer {
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        self.send("POST", path, &format!("{kind}{headers}"), &encoded(fields)).await
    }

    /// What forms carry.
    async fn form_token(&self) -> String {
        let page = self.page("sql", &[]).await;
        let rest = page.split_once("name=\"form_token\" value=\"").expect("a token").1;
        rest.split('"').next().expect("a value").to_owned()
    }

    /// Makes an object.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        self.cloud.services.s3.put_bytes("bucket", key, bytes).expect("stored");
    }

    /// Makes the bucket `bucket`.
    pub fn bucket(&self) {
        self.cloud.services.s3.create("bucket", Value::Null).expect("made");
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let mut lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}

#[tokio::test]
async fn only_who_knows_the_identity_gets_in() {
    let browser = Browser::outside().await;
    for path in ["", "stacks", "bucket?name=b", "download?bucket=b&key=k", "sql"] {
        let answer = browser.get(path).await;
        let text = answer.text();
        assert_eq!(answer.status, 401, "{path}");
        assert!(
            text.contains("cargo xtask console") && text.contains("<label for=\"token\">"),
            "{text}"
        );
        assert!(!text.contains(&browser.identity()) && !text.contains("Overview"), "{text}");
    }
    for wrong in ["0", "", &"0".repeat(64), &browser.identity()[..63]] {
        let answer = browser.get(&format!("login?token={wrong}")).await;
        assert!(
            answer.status != 303 && header(&answer, "set-cookie").is_empty(),
            "{}",
            answer.head
        );
    }
    let pasted = browser.form("login", &[("token", &browser.identity())], "").await;
    assert_eq!(pasted.status, 303, "{}", pasted.text());
    // The cookie of another process is none.
    let other = Browser::inside().await;
    let value = other.cookie.split_once('=').expect("a value").1;
    let name = format!("steppe-console-{}", browser.cloud.config.port);
    let stolen = Browser { served: browser.served, cookie: format!("{name}={value}") };
    assert_eq!(stolen.get("").await.status, 401);
}

#[tokio::test]
async fn a_ticket_opens_the_console_once() {
    let browser = Browser::outside().await;
    assert_eq!(browser.send("POST", "ticket", "", "").await.status, 403);
    let identity = format!("x-steppe-identity: {}\r\n", browser.identity());
    let answer = browser.send("POST", "ticket", &identity, "").await;
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let login = format!("login?token={}", body["ticket"].as_str().expect("a ticket"));
    assert_eq!(browser.get(&login).await.status, 303);
    assert_eq!(browser.get(&login).await.status, 403);
}

#[tokio::test]
async fn other_hosts_sites_and_forms_are_refused() {
    let browser = Browser::inside().await;
    let port = browser.cloud.config.port;
    for host in ["localhost".to_owned(), format!("x.localhost:{port}"), format!("127.0.0.2:{port}")]
    {
        let answer = browser.send("GET", "", &format!("Host: {host}\r\n"), "").await;
        assert_eq!(answer.status, 421, "{host}");
    }
    let rebound = format!("Host: evil.example:{port}\r\n");
    assert_eq!(browser.send("GET", "", &rebound, "").await.status, 403);
    assert_eq!(
        browser.send("GET", "", &format!("Host: localhost:{port}\r\n"), "").await.status,
        200
    );
    let token = browser.form_token().await;
    let fields = [("sql", "SELECT 1"), ("form_token", token.as_str())];
    for foreign in [
        "Origin: https://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ] {
        let answer = browser.form("sql", &fields, &format!("{foreign}\r\n")).await;
        assert_eq!(answer.status, 403, "{foreign}");
    }
    for wrong in ["", "0", &browser.identity(), &token[1..]] {
        let answer = browser.form("sql", &[("sql", "SELECT 1"), ("form_token", wrong)], "").await;
        assert_eq!(answer.status, 403, "{wrong}");
    }
    let json = browser.send("POST", "sql", "Content-Type: text/plain\r\n", &encoded(&fields)).await;
    assert_eq!(json.status, 403);
    assert!(browser.cloud.services.athena.queries.is_empty());
    assert_eq!(browser.form("stacks", &fields, "").await.status, 405);
}

#[tokio::test]
async fn every_answer_keeps_the_browser_from_running_or_keeping_anything() {
    let browser = Browser::inside().await;
    for path in ["", "stacks", "style.css", "script.js", "stack?id=none", "sql"] {
        let answer = browser.get(path).await;
        let policy = header(&answer, "content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&answer, "cache-control"), "no-store", "{path}");
        // A form without a referrer would have no origin either.
        let referrer = if ["", "sql"].contains(&path) { "same-origin" } else { "no-referrer" };
        assert_eq!(header(&answer, "referrer-policy"), referrer, "{path}");
        let text = answer.text();
        assert!(!text.contains("style=\"") && !text.contains(" onclick"), "{path}");
    }
    assert_eq!(browser.get("stack?id=none").await.status, 404);
    assert_eq!(browser.get("bucket").await.status, 400);
    // What was at these addresses before still is.
    assert_eq!(browser.get("health").await.text(), "{\"status\":\"ok\"}");
    assert!(browser.get("coverage").await.text().starts_with("{\"services\""));
    assert_eq!(browser.send("PUT", "faults", "", "{}").await.status, 403);
}

#[tokio::test]
async fn objects_are_shown_as_text_and_handed_out_as_attachments() {
    let browser = Browser::inside().await;
    browser.bucket();
    // A slash would make it a folder.
    let html = format!("folder/{}.html", HOSTILE.replace('/', ""));
    browser.put(&html, b"<script>document.title = 1</script>");
    browser.put("folder/table.csv", b"name,n\n<b>x</b>,1\n");
    browser.put("folder/binary", &[0, 1, 2, 255]);
    for number in 0..250 {
        browser.put(&format!("many/{number:03}"), b"x");
    }
    let folder = browser.page("bucket", &[("name", "bucket"), ("prefix", "folder/")]).await;
    assert!(folder.contains("&lt;script&gt;alert('1')&lt;script&gt;&amp;&quot;x.html"), "{folder}");
    let root = browser.page("bucket", &[("name", "bucket")]).await;
    assert!(
        root.contains(">folder/</a>") && root.contains(">many/</a>") && !root.contains("many/000")
    );
    // Pages follow each other to the end.
    let mut seen = 0;
    let mut after = String::new();
    loop {
        let fields = [("name", "bucket"), ("prefix", "many/"), ("after", after.as_str())];
        let page = browser.page("bucket", &fields).await;
        let keys: Vec<&str> = page.split("key=many%2F").skip(1).map(|rest| &rest[..3]).collect();
        seen += keys.len();
        if !page.contains("rel=\"next\"") {
            break;
        }
        after = format!("many/{}", keys.last().expect("a key"));
    }
    assert_eq!(seen, 250);
    let fields = [("bucket", "bucket"), ("key", html.as_str())];
    let object = browser.page("object", &fields).await;
    assert!(object.contains("&lt;script&gt;document.title"), "{object}");
    let table = browser.page("object", &[("bucket", "bucket"), ("key", "folder/table.csv")]).await;
    assert!(table.contains("&lt;b&gt;x&lt;/b&gt;") && table.contains("<caption>"), "{table}");
    let binary = browser.page("object", &[("bucket", "bucket"), ("key", "folder/binary")]).await;
    assert!(binary.contains("no text"), "{binary}");
    let download = browser.get(&format!("download?{}", encoded(&fields))).await;
    assert_eq!(header(&download, "content-type"), "application/octet-stream");
    assert!(header(&download, "content-disposition").starts_with("attachment; filename="));
    assert_eq!(header(&download, "x-content-type-options"), "nosniff");
    assert!(download.text().contains("<script>document.title = 1</script>"));
    let report = browser.get(&format!("report?{}", encoded(&fields))).await;
    let policy = header(&report, "content-security-policy");
    assert!(policy.starts_with("sandbox; default-src 'none'"), "{policy}");
    assert_eq!(browser.get("report?bucket=bucket&key=folder/table.csv").await.status, 400);
    assert_eq!(browser.get("object?bucket=bucket&key=none").await.status, 404);
}

/// A stack with a secret in a parameter and in an output that uses it.
fn template() -> String {
    let role = json!({
        "Type": "AWS::IAM::Role",
        "Properties": { "RoleName": "made", "AssumeRolePolicyDocument": {
            "Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Action": "sts:AssumeRole",
                "Principal": { "Service": "lambda.amazonaws.com" },
            }],
        } },
    });
    json!({
        "Description": HOSTILE,
        "Parameters": {
            "Password": { "Type": "String", "NoEcho": true, "Default": "swordfish-default" },
            "Plain": { "Type": "String", "Default": "visible-value" },
        },
        "Resources": { "Role": role, "Topic": { "Type": "AWS::SNS::Topic" } },
        "Outputs": { "Leak": { "Value": { "Fn::Sub": "x-${Password}-x" } } },
    })
    .to_string()
}

#[tokio::test]
async fn a_stack_is_shown_without_its_secrets() {
    let browser = Browser::inside().await;
    let administrator = browser.cloud.identities.administrator();
    let params = json!({
        "StackName": "stack", "TemplateBody": template(), "Capabilities": ["CAPABILITY_NAMED_IAM"],
        "Parameters": [{ "ParameterKey": "Password", "ParameterValue": "swordfish-given" }],
    });
    let made = steppe_cloud::kernel::service::call(
        &browser.cloud,
        &administrator,
        "cloudformation",
        "CreateStack",
        &params,
    );
    let made = made.await.expect("accepted");
    let id = made["StackId"].as_str().expect("an ID").to_owned();
    let status =
        || browser.cloud.services.cloudformation.stacks.get(&id).expect("it").status.clone();
    until("the stack is made", || !status().ends_with("_IN_PROGRESS")).await;
    for name in [id.as_str(), "stack"] {
        let page = browser.page("stack", &[("id", name)]).await;
        assert!(!page.contains("swordfish"), "{page}");
        for part in
            ["CREATE_COMPLETE", "visible-value", "role?name=made", "AWS::IAM::Role", "Template"]
        {
            assert!(
                page.contains(part) || page.contains(&part.replace("::", "::<wbr>")),
                "{part}: {page}"
            );
        }
    }
    assert!(browser.page("stacks", &[]).await.contains(">stack</a>"));
    assert!(browser.page("", &[]).await.contains("<strong>1</strong> stacks"));
}

/// Something of each kind, with hostile names where they may be.
async fn fill(browser: &Browser) -> String {
    let services = &browser.cloud.services;
    browser.bucket();
    let database =
        glue::Database { description: HOSTILE.to_owned(), ..glue::Database::new(Value::Null) };
    services.glue.databases.put("db", database).expect("stored");
    let input = json!({
        "Name": "t", "Description": HOSTILE, "PartitionKeys": [{ "Name": "day", "Type": "string" }],
        "StorageDescriptor": { "Location": "s3://bucket/t/", "Columns": [
            { "Name": "n", "Type": "int", "Comment": HOSTILE },
        ] },
    });
    services.glue.tables.put("db.t", glue::Table::new("db", "t", input)).expect("stored");
    let subscriptions = vec![Subscription::of_email("s".to_owned(), "a@b.c")];
    let topic = Topic { display_name: HOSTILE.to_owned(), subscriptions, ..Topic::default() };
    services.sns.topics.put("arn:aws:sns:us-east-1:000000000000:t", topic).expect("stored");
    sns::deliver(&browser.cloud, "arn:aws:sns:us-east-1:000000000000:t", Some("Ready"), HOSTILE)
        .expect("sent");
    let group = LogGroup { retention_days: None, created: jiff::Timestamp::now() };
    services.logs.groups.put("/group", group).expect("stored");
    let lines = [
        HOSTILE.to_owned(),
        "REPORT RequestId: r-1\tDuration: 1.5 ms\tBilled Duration: 2 ms".to_owned(),
    ];
    logs::append(&browser.cloud, "/group", "stream", &lines).expect("written");
    services.lambda.functions.put("f", function()).expect("stored");
    let rule = json!({
        "Name": "r", "Description": HOSTILE, "ScheduleExpression": "rate(1 day)",
        "State": "DISABLED",
        "Targets": [],
    });
    let rule = events::parse(&rule, jiff::Timestamp::now()).expect("a rule");
    services.events.rules.put("r", rule).expect("stored");
    machine(browser).await
}

fn function() -> Function {
    Function {
        role: "arn:aws:iam::000000000000:role/r".to_owned(),
        description: HOSTILE.to_owned(),
        variables: [("API_TOKEN".to_owned(), "swordfish".to_owned())].into(),
        handler: "bootstrap".to_owned(),
        timeout_secs: 3,
        memory_mb: 128,
        log_group: "/group".to_owned(),
        code_sha256: "x".to_owned(),
        code_bytes: 1,
        directory: "/nowhere".into(),
        modified: jiff::Timestamp::now(),
        architecture: "x86_64".to_owned(),
        network: None,
        permissions: vec![],
        ..Function::default()
    }
}

/// A state machine with an execution that failed; the execution's ARN.
async fn machine(browser: &Browser) -> String {
    let arn = "arn:aws:states:us-east-1:000000000000:stateMachine:m";
    let definition = json!({ "QueryLanguage": "JSONata", "StartAt": "Begin", "States": {
        "Begin": { "Type": "Pass", "Output": { "said": HOSTILE }, "Next": HOSTILE },
        (HOSTILE): { "Type": "Fail", "Error": HOSTILE, "Cause": "because" },
    } });
    let role = steppe_cloud::services::iam::Role::new(json!({
        "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": { "Service": "states.amazonaws.com" },
        }],
    }));
    browser.cloud.services.iam.roles.put("r", role).expect("stored");
    let machine = StateMachine {
        name: "m".to_owned(),
        role: "arn:aws:iam::000000000000:role/r".to_owned(),
        definition,
        created: jiff::Timestamp::now(),
    };
    browser.cloud.services.states.machines.put(arn, machine).expect("stored");
    let administrator = browser.cloud.identities.administrator();
    let params = json!({ "stateMachineArn": arn, "input": "{\"a\":1}" });
    let started = steppe_cloud::kernel::service::call(
        &browser.cloud,
        &administrator,
        "states",
        "StartExecution",
        &params,
    );
    let execution =
        started.await.expect("started")["executionArn"].as_str().expect("an ARN").to_owned();
    let ended = || {
        browser
            .cloud
            .services
            .states
            .executions
            .get(&execution)
            .is_some_and(|e| e.stopped.is_some())
    };
    until("the execution ends", ended).await;
    execution
}

/// The query of a page, and what the page must hold.
type Asked<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

#[tokio::test]
async fn there_is_a_page_of_each_kind_and_names_are_only_text() {
    let browser = Browser::inside().await;
    let execution = fill(&browser).await;
    const MACHINE: &str = "arn:aws:states:us-east-1:000000000000:stateMachine:m";
    const ESCAPED: &str = "&lt;script&gt;alert(";
    let of_execution = [("arn", execution.as_str())];
    let with: BTreeMap<&str, Asked<'_>> = BTreeMap::from([
        ("databases", (&[][..], &["db", ESCAPED][..])),
        ("database", (&[("name", "db")], &["name=t", "s3://bucket/t/"])),
        (
            "table",
            (&[("database", "db"), ("name", "t")], &["partition key", "Partitions", ESCAPED]),
        ),
        ("machines", (&[], &[">m</a>"])),
        ("machine", (&[("arn", MACHINE)], &["<svg", "FAILED", "Definition"])),
        ("execution", (&of_execution, &["<svg", "because", "FAILED", "&quot;said&quot;", ESCAPED])),
        ("history", (&of_execution, &["ExecutionStarted", "FailStateEntered"])),
        ("functions", (&[], &[">f</a>", ESCAPED])),
        ("function", (&[("name", "f")], &["API_TOKEN", "•••", "r-1", "1.5 ms", ESCAPED])),
        ("logs", (&[], &["/group"])),
        ("log", (&[("group", "/group")], &["stream", ESCAPED])),
        ("rules", (&[], &["rate(1 day)", "DISABLED", ESCAPED])),
        ("rule", (&[("name", "r")], &["rate(1 day)"])),
        ("topics", (&[], &["a@b.c", ESCAPED])),
        ("outbox", (&[], &["Ready", "a@b.c"])),
        ("alarms", (&[], &["None."])),
        ("instances", (&[], &["None."])),
        ("jobs", (&[], &["Crawlers"])),
        ("queries", (&[], &["None."])),
        ("roles", (&[], &[">r</a>"])),
        ("role", (&[("name", "r")], &["Denied calls", "Trust policy"])),
        ("models", (&[], &["Cards, newest first"])),
        ("forecasts", (&[], &["None."])),
        ("faults", (&[], &["None."])),
        ("covered", (&[], &["CloudFormation", "AWS::<wbr>S3::<wbr>Bucket"])),
        ("sql", (&[], &["<textarea", "<option value=\"db\""])),
    ]);
    for (path, (fields, parts)) in with {
        let page = browser.page(path, fields).await;
        for part in parts {
            assert!(page.contains(part), "{path} has no {part}: {page}");
        }
        assert!(!page.contains("swordfish"), "{path}");
    }
    let overview = browser.page("", &[]).await;
    assert!(overview.contains("because") && overview.contains(&browser.cloud.config.account));
    let outbox = browser.page("outbox", &[]).await;
    let mail =
        outbox.split_once("mail?name=").expect("a mail").1.split('"').next().expect("a name");
    assert!(browser.page("mail", &[("name", mail)]).await.contains(ESCAPED));
    for path in ["../identity", "identity", "..%2Fidentity"] {
        assert_eq!(browser.get(&format!("mail?name={path}")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn faults_and_denials_are_told_and_looking_counts_no_call() {
    let browser = Browser::inside().await;
    let script = json!({ "rules": [
        { "service": "cloudformation", "operation": "DescribeStacks", "effect": "stale" },
        { "service": "sns", "operation": "ListTopics", "calls": 2, "effect": "throttle" },
    ] });
    browser.cloud.faults.set(script.to_string().as_bytes()).expect("a script");
    for path in ["", "stacks", "topics", "faults"] {
        browser.page(path, &[]).await;
    }
    let seen: Vec<u64> = browser.cloud.faults.report().1.iter().map(|c| c.calls).collect();
    assert_eq!(seen, [0, 0]);
    let trail = std::fs::read_to_string(browser.cloud.path("trail.ndjson")).expect("readable");
    assert!(!trail.contains("ListTopics"), "what the console reads is no event: {trail}");
    browser.cloud.faults.ahead("sns", "ListTopics").await;
    let page = browser.page("faults", &[]).await;
    assert!(page.contains("sns:ListTopics") && page.contains("ACTIVE"), "{page}");
    let role = steppe_cloud::services::iam::Role::new(json!({}));
    let caller = browser.cloud.identities.role("denied", &role.id, "session");
    browser.cloud.services.iam.roles.put("denied", role).expect("stored");
    let refused = browser.cloud.authorize(&caller, "s3:GetObject", "arn:aws:s3:::bucket/key", &[]);
    assert!(refused.is_err());
    let page = browser.page("role", &[("name", "denied")]).await;
    assert!(
        page.contains("object?bucket=bucket&amp;key=key") && page.contains("s3:GetObject"),
        "{page}"
    );
}

#[tokio::test]
async fn sql_is_run_only_when_it_reads() {
    let browser = Browser::inside().await;
    browser.bucket();
    browser
        .cloud
        .services
        .glue
        .databases
        .put("db", glue::Database::new(Value::Null))
        .expect("stored");
    let token = browser.form_token().await;
    let run = async |sql: &str| {
        let fields = [
            ("form_token", token.as_str()),
            ("sql", sql),
            ("database", "db"),
            ("group", "primary"),
            ("output", "s3://bucket/results/"),
        ];
        browser.form("sql", &fields, "").await
    };
    for sql in [
        "DROP DATABASE db",
        "CREATE TABLE t AS SELECT 1 AS n",
        "EXECUTE p",
        "INSERT INTO t VALUES (1)",
    ] {
        let answer = run(sql).await;
        assert!(
            answer.status == 200 && answer.text().contains("only reads"),
            "{sql}: {}",
            answer.text()
        );
    }
    assert!(browser.cloud.services.athena.queries.is_empty());
    let values = "SELECT * FROM (VALUES (2020, 1.5, '<i>a</i>'), (2021, 2.5, '<i>a</i>')) \
                  AS t (year, n, name) ORDER BY 1";
    let answer = run(values).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let address = header(&answer, "location").trim_start_matches("/_steppe/").to_owned();
    let page = browser.get(&address).await.text();
    assert!(
        page.contains("SUCCEEDED")
            && page.contains("&lt;i&gt;a&lt;/i&gt;")
            && page.contains("<svg"),
        "{page}"
    );
    assert!(page.contains("n by year"), "{page}");
    let refused = run("SELECT FROM WHERE").await;
    // Athena takes it, and the page of the query says what is wrong.
    let address = header(&refused, "location").trim_start_matches("/_steppe/").to_owned();
    let page = browser.get(&address).await.text();
    assert!(page.contains("FAILED"), "{page}");
}
