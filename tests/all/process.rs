//! The embedded cloud as a process: who may read its files, who holds its folder, what it leaves.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::in_process::{is_alive, until};
use crate::records::rows;
use crate::signed_client::{Signed, between};
use crate::tools::binary;

/// A cloud that is killed at the end.
struct Served {
    process: Child,
    folder: PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("ended");
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(binary("steppe-cloud"));
    command.arg("serve").arg("--state").arg(folder).args(["--port", "0"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Starts a cloud whose log goes to `log`, and waits until it answers.
async fn serve(folder: &Path, log: &str) -> Served {
    let about = folder.join("cloud.json");
    // What a killed cloud left says nothing about the next one.
    if about.exists() {
        std::fs::remove_file(&about).expect("removed");
    }
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("opens");
    let process = command(folder).stderr(log).spawn().expect("started");
    until("the cloud runs", || about.exists()).await;
    Served { process, folder: folder.to_owned() }
}

fn identity(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("identity")).expect("an identity")
}

/// Everything below a folder that others may do something with.
fn open_to_others(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut open) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("readable").flatten() {
            let metadata = entry.metadata().expect("there");
            if metadata.permissions().mode() & 0o077 != 0 {
                open.push(entry.path());
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    open
}

#[tokio::test]
async fn a_folder_is_private_held_once_and_a_copy_is_another_cloud() {
    let scratch = TempDir::new().expect("a folder");
    let folder = scratch.path().join("a folder");
    let log = scratch.path().join("log").display().to_string();
    let first = serve(&folder, &log).await;
    let client = Signed::of(&folder);
    assert!(client.send("s3", "PUT", "/bucket", &[], "").await.expect("answered").is_ok());
    assert!(client.send("s3", "PUT", "/bucket/key", &[], "x").await.expect("answered").is_ok());
    assert_eq!(open_to_others(&folder), Vec::<PathBuf>::new());
    let second = command(&folder).stderr(Stdio::piped()).output().expect("runs");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let holder = format!("held by another embedded cloud: process {}, port", first.process.id());
    assert!(!second.status.success() && said.contains(&holder), "{said}");
    // A copy of a folder in use has the original's identity until it is served itself.
    let copy = scratch.path().join("copy");
    let copied = Command::new("cp").arg("-r").arg(&folder).arg(&copy).status().expect("cp runs");
    assert!(copied.success());
    assert_eq!(identity(&copy), identity(&folder));
    let other = serve(&copy, &log).await;
    assert_ne!(identity(&copy), identity(&folder));
    let object = Signed::of(&copy).send("s3", "GET", "/bucket/key", &[], "").await;
    assert_eq!(object.expect("answered").text(), "x");
    drop(other);
    let object = client.send("s3", "GET", "/bucket/key", &[], "").await.expect("answered");
    assert_eq!(object.text(), "x", "the original was not touched");
    assert!(first.folder.join("cloud.json").exists());
}

#[tokio::test]
async fn a_log_that_cannot_be_written_costs_no_request() {
    let scratch = TempDir::new().expect("a folder");
    let folder = scratch.path().join("local");
    let cloud = serve(&folder, "/dev/full").await;
    let client = Signed::of(&cloud.folder);
    let path = "/2015-03-31/functions/f/invocations";
    for _ in 0..3 {
        let answer = client.send("lambda", "POST", path, &[], "{}").await.expect("answered");
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert!(answer.headers.contains_key("x-amzn-requestid"), "{:?}", answer.headers);
    }
}

/// A stack with an instance that leaves processes behind wherever it can.
fn machine() -> String {
    let unit = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep 1000\n\
                Restart=always\nRestartSec=100ms\n";
    let script = format!(
        "#!/bin/bash\nmkdir -p \"$STEPPE_ROOT/etc/systemd/system\"\n\
         cat > \"$STEPPE_ROOT/etc/systemd/system/x.service\" <<'UNIT'\n{unit}UNIT\n\
         systemctl enable --now x\n(setsid sleep 1000 & echo $! > \"$STEPPE_ROOT/escaped\")\n\
         sleep 1000 & echo $! > \"$STEPPE_ROOT/child\"\necho $$ > \"$STEPPE_ROOT/pids\"\n\
         wait\n"
    );
    let properties = json!({ "ImageId": "ami-x", "UserData": { "Fn::Base64": script } });
    let machine = json!({ "Type": "AWS::EC2::Instance", "Properties": properties });
    json!({ "Resources": { "Machine": machine } }).to_string()
}

/// Processes of a cloud on this folder, by the mark in their environment.
fn processes(folder: &Path) -> Vec<u64> {
    let mark = format!("STEPPE_CLOUD={}", folder.canonicalize().expect("there").display());
    let marked = |pid: &u64| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|b| *b == 0).any(|variable| variable == mark.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").expect("Linux").flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter(marked).filter(|pid| is_alive(*pid)).collect()
}

fn noted(folder: &Path, name: &str) -> Option<u64> {
    let instances = std::fs::read_dir(folder.join("instances")).ok()?.flatten();
    let mut files = instances.map(|e| e.path().join("root").join(name));
    files.find_map(|f| std::fs::read_to_string(f).ok()?.trim().parse().ok())
}

#[tokio::test]
async fn nothing_is_left_after_a_kill_and_a_start_or_after_a_stop() {
    let scratch = TempDir::new().expect("a folder");
    let folder = scratch.path().join("a folder");
    let log = scratch.path().join("log").display().to_string();
    let mut cloud = serve(&folder, &log).await;
    let client = Signed::of(&folder);
    let template = machine();
    let params = [("StackName", "s"), ("TemplateBody", template.as_str())];
    let created = client.stacks("CreateStack", &params).await.expect("answered");
    assert!(between(&created.text(), "<StackId>", "</StackId>").is_some(), "{}", created.text());
    until("user data has started everything", || noted(&folder, "pids").is_some()).await;
    let script = noted(&folder, "pids").expect("a script");
    let escaped = noted(&folder, "escaped").expect("a process");
    assert!(is_alive(script) && is_alive(escaped));
    // The cloud's own children end with it, however it ends.
    cloud.process.kill().expect("killed");
    cloud.process.wait().expect("ended");
    until("the script is gone", || !is_alive(script)).await;
    drop(cloud);
    // What they had started is ended by the next cloud, and the unit runs again.
    let mut cloud = serve(&folder, &log).await;
    assert!(!is_alive(escaped) && !is_alive(noted(&folder, "child").expect("a process")));
    until("the service runs again", || !processes(&folder).is_empty()).await;
    steppe_cloud::kernel::processes::tell(
        cloud.process.id(),
        steppe_cloud::kernel::processes::Signal::Terminate,
    );
    assert!(cloud.process.wait().expect("ended").success());
    assert_eq!(processes(&folder), Vec::<u64>::new());
    assert!(!folder.join("cloud.json").exists());
}

#[tokio::test]
async fn no_secret_of_an_instance_is_in_a_command_line() {
    let scratch = TempDir::new().expect("a folder");
    let folder = scratch.path().join("local");
    let log = scratch.path().join("log").display().to_string();
    let cloud = serve(&folder, &log).await;
    let client = Signed::of(&cloud.folder);
    // The script keeps a request open and notes what everybody can see of it meanwhile.
    let script = "#!/bin/bash\n\
        IMDS=\"${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}\"\n\
        TTL='X-aws-ec2-metadata-token-ttl-seconds: 60'\n\
        T=$(curl -sS -f -X PUT -H \"$TTL\" $IMDS/latest/api/token)\n\
        for url in $IMDS http://169.254.169.254; do\n\
        curl -sS -f -H \"X-aws-ec2-metadata-token: $T\" $url/latest/meta-data/instance-id\n\
        echo\n\
        done\n\
        curl -sS --max-time 30 $IMDS/latest/none & tr '\\0' ' ' < /proc/$!/cmdline\n\
        echo \"shown $IMDS\"\n\
        echo done\n";
    let properties = json!({ "ImageId": "ami-x", "UserData": { "Fn::Base64": script } });
    let machine = json!({ "Type": "AWS::EC2::Instance", "Properties": properties });
    let template = json!({ "Resources": { "Machine": machine } }).to_string();
    let params = [("StackName", "s"), ("TemplateBody", template.as_str())];
    assert!(client.stacks("CreateStack", &params).await.expect("answered").is_ok());
    let console = || {
        let instances = std::fs::read_dir(folder.join("instances")).into_iter().flatten().flatten();
        let mut logs = instances.map(|e| (e.file_name(), e.path().join("console.log")));
        let (id, log) = logs.next()?;
        Some((id.to_str()?.to_owned(), std::fs::read_to_string(log).ok()?))
    };
    until("user data is done", || console().is_some_and(|(_, text)| text.contains("done"))).await;
    let (id, text) = console().expect("a console");
    let answers = text.lines().filter(|line| *line == id).count();
    assert_eq!(answers, 2, "both addresses answer: {text}");
    let (_, record) = rows(&folder, "instances").pop().expect("a record");
    let secret = record["token"].as_str().expect("a secret");
    assert!(!text.contains(secret), "{text}");
}
