//! The process that is killed, its folder, and what must not be left of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::signed::Signed;

/// Longest wait for anything that the cloud does.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A cloud on a folder of its own.
pub struct Served {
    scratch: TempDir,
    process: Option<Child>,
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("killed");
            process.wait().expect("ended");
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let newest = &lines[lines.len().saturating_sub(60)..];
            eprintln!("the cloud's log ends with:\n{}", newest.join("\n"));
        }
    }
}

fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    let file = test.ancestors().nth(2).expect("target/PROFILE/deps/test").join(name);
    assert!(file.exists(), "{} is missing: `cargo build --bins` builds it", file.display());
    file
}

/// Waits until something is so.
pub async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < LIMIT, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Served {
    /// A new folder.
    pub fn new() -> Self {
        Self { scratch: TempDir::new().expect("a folder"), process: None }
    }

    fn folder(&self) -> PathBuf {
        self.scratch.path().join("state folder")
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    /// Starts the cloud and waits until it answers.
    pub async fn start(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log());
        let process = Command::new(binary("steppe-cloud"))
            .arg("serve")
            .arg("--state")
            .arg(self.folder())
            .args(["--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn();
        self.process = Some(process.expect("started"));
        let about = self.folder().join("cloud.json");
        until("the cloud runs", || async { about.exists() }).await;
    }

    /// A client of it.
    pub fn client(&self) -> Signed {
        Signed::of(&self.folder())
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("a running cloud");
        process.kill().expect("killed");
        process.wait().expect("ended");
        std::fs::remove_file(self.folder().join("cloud.json")).expect("left by a killed cloud");
    }

    /// Every object and part has its file, and every file is one's; nothing else lies about.
    pub async fn check_files(&self, client: &Signed) {
        let (folder, objects) = (self.folder(), crate::objects::count_all(client).await);
        let there = |name: &str| names(&folder.join(name));
        // Parts of uploads that nobody has completed stay until somebody does, as in AWS.
        let database = rusqlite::Connection::open(folder.join("cloud.db")).expect("a database");
        let count = |sql: &str| -> usize {
            database.query_row(sql, [], |row| row.get(0)).expect("counted")
        };
        let parts = count("SELECT COUNT(*) FROM records WHERE kind = 'parts'");
        // What a crash left is collected while the cloud works already.
        let all_named = || async { there("s3/files").len() == objects + parts };
        until("files are those of objects and parts", all_named).await;
        assert_eq!(
            there("s3/incoming"),
            Vec::<String>::new(),
            "uploads that nobody sends any more"
        );
        let functions: Vec<String> = there("lambda");
        assert_eq!(functions, ["crash"], "packages of functions");
        assert_eq!(there("lambda/crash").len(), 1, "packages of one function");
        let check = "PRAGMA integrity_check";
        let sound: String = database.query_row(check, [], |row| row.get(0)).expect("checked");
        let aside = count("SELECT COUNT(*) FROM damaged");
        assert_eq!((sound.as_str(), aside), ("ok", 0), "records");
    }

    /// Asks the cloud to end, and looks for what it left.
    pub fn stop_and_check(mut self) {
        let mut process = self.process.take().expect("a running cloud");
        let pid = process.id().to_string();
        let told = Command::new("kill").args(["-s", "TERM", &pid]).status().expect("kill runs");
        assert!(told.success() && process.wait().expect("ended").success());
        assert_eq!(names(&self.folder().join("instances")), Vec::<String>::new());
        let mark = format!("STEPPE_CLOUD={}", self.folder().canonicalize().expect("a").display());
        let processes: Vec<String> =
            names(Path::new("/proc")).into_iter().filter(|pid| has(pid, &mark)).collect();
        assert_eq!(processes, Vec::<String>::new(), "processes");
        let port = std::fs::read_to_string(self.folder().join("port")).expect("a port");
        let port: u16 = port.trim().parse().expect("a number");
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "the port is free");
    }
}

fn has(pid: &str, mark: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|b| *b == 0).any(|variable| variable == mark.as_bytes())
}

/// Names in a folder; none when it is not there.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}
