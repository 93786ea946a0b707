//! The command line in a `.steppe` and on a port of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use object_store::aws::{AmazonS3, AmazonS3Builder};
use serde_json::Value;
use tempfile::TempDir;

use crate::tools::{binary, root, target_dir};
use crate::workspace::{copy_pipeline, edit_manifest, workspace};

/// A checkout's state of its own; whatever still runs at the end is stopped.
pub struct Checkout {
    state: TempDir,
    /// Where commands run.
    folder: PathBuf,
}

/// What a command said.
pub struct Said {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Runs a command.
    pub fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().expect("runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: status.code(), out: text(stdout), err: text(stderr) }
    }
}

impl Checkout {
    /// Nothing deployed yet.
    pub fn new() -> Self {
        Self { state: TempDir::new().expect("a folder"), folder: root() }
    }

    /// Nothing deployed yet of a pipeline some of whose manifest's lines are other ones.
    pub fn with(pipeline: &str, line: impl Fn(&str) -> String) -> Self {
        let state = TempDir::new().expect("a folder");
        let folder = workspace(&state.path().join("workspace"));
        copy_pipeline(&folder, pipeline);
        edit_manifest(&folder, pipeline, line);
        Self { state, folder }
    }

    /// `cargo xtask` with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&binary("xtask"), arguments)
    }

    /// The same as the program at `binary` does it.
    pub fn command_of(&self, binary: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("STEPPE_DIR", self.state.path())
            // Also where a test works in a folder of its own: what is built is the checkout's.
            .env("CARGO_TARGET_DIR", target_dir())
            .env("STEPPE_PORT", "0")
            .env("STEPPE_SKIP_BUILD", "1");
        command.env_remove("AWS_ENDPOINT_URL").stdin(std::process::Stdio::null());
        command
    }

    /// Runs a command.
    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::of(&mut self.command(arguments))
    }

    /// Runs a command that must succeed.
    pub fn done(&self, arguments: &[&str]) -> Said {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
        said
    }

    /// The result of a command that must succeed, as a program gets it.
    pub fn result(&self, arguments: &[&str]) -> Value {
        result(&self.done(&[arguments, &["--json"]].concat()).out)
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.state.path()
    }

    /// Writes raw data; returns the file.
    pub fn csv(&self, text: &str) -> String {
        let file = self.path().join("data.csv");
        std::fs::write(&file, text).expect("written");
        file.display().to_string()
    }

    /// A client of a bucket in the embedded cloud, as the administrator.
    pub fn bucket(&self, name: &str) -> AmazonS3 {
        let exports = self.done(&["local", "env"]).out;
        let value = |name: &str| {
            let line = exports
                .lines()
                .find_map(|l| l.trim_start_matches("export ").strip_prefix(&format!("{name}=")));
            line.unwrap_or_else(|| panic!("{name} in {exports}"))
                .trim_matches(['\'', '"'])
                .to_owned()
        };
        let builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_allow_http(true)
            .with_region(value("AWS_REGION"));
        let builder = builder
            .with_access_key_id(value("AWS_ACCESS_KEY_ID"))
            .with_secret_access_key(value("AWS_SECRET_ACCESS_KEY"));
        builder.with_endpoint(value("AWS_ENDPOINT_URL")).build().expect("a client")
    }

    /// Emails that were sent, oldest first.
    pub fn mails(&self) -> Vec<String> {
        let folder = self.path().join("local/outbox");
        let mut files: Vec<_> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
        files.sort();
        files
            .iter()
            .filter(|f| f.extension().is_some_and(|e| e == "eml"))
            .map(|f| std::fs::read_to_string(f).expect("readable"))
            .collect()
    }

    /// The newest such mail, once there is one: people are told while commands go on.
    pub async fn mail_that(&self, is_it: impl Fn(&str) -> bool) -> String {
        for _ in 0..1_000 {
            if let Some(mail) = self.mails().into_iter().rfind(|mail| is_it(mail)) {
                return mail;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("no such mail: {:?}", self.mails());
    }

    /// Process of the embedded cloud.
    pub fn cloud_pid(&self) -> String {
        let about =
            std::fs::read(self.state.path().join("local/cloud.json")).expect("a running cloud");
        serde_json::from_slice::<Value>(&about).expect("JSON")["pid"].to_string()
    }
}

/// The result among the events of a command.
pub fn result(events: &str) -> Value {
    let mut events = events.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let found = events.find(|event| event["event"] == "result");
    let mut found = found.expect("a result");
    found["result"].take()
}

impl Drop for Checkout {
    fn drop(&mut self) {
        self.run(&["local", "stop"]);
    }
}
