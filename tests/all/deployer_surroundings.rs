//! The command line in surroundings that need more than a variable: terminals, full disks, odd
//! paths, pipes that nobody reads, two pipelines in one cloud.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::checkout::{Checkout, Said, result};
use crate::tools::{binary, target_dir};
use crate::workspace::{add_pipeline, workspace};

#[test]
fn two_pipelines_share_a_cloud_and_one_outlives_the_other() {
    let checkout = Checkout::new();
    let folder = workspace(&checkout.path().join("workspace"));
    add_pipeline(&folder, "births");
    let run = |arguments: &[&str]| {
        let mut command = checkout.command(arguments);
        let said = Said::of(command.current_dir(&folder));
        assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
        said
    };
    run(&["deploy"]);
    run(&["deploy", "--pipeline", "births"]);
    let cloud = checkout.cloud_pid();
    assert!(run(&["smoke-test", "Almaty"]).out.contains("1 of 1 series in S3; 1 looked at: valid"));
    assert!(
        run(&["smoke-test", "Astana", "--pipeline", "births"])
            .out
            .contains("1 of 1 series in S3; 1 looked at: valid")
    );
    let destroyed = run(&["destroy"]).err;
    let expected = "goes on  the embedded cloud, which holds the stack steppe-births-local";
    assert!(destroyed.contains(expected), "{destroyed}");
    assert!(destroyed.contains("nothing left  steppe-marriages-local"), "{destroyed}");
    // The other one's cloud is the same process, and everything in it works as before.
    assert_eq!(checkout.cloud_pid(), cloud);
    assert!(run(&["predict", "Almaty", "--pipeline", "births"]).out.starts_with("Almaty: "));
    assert!(
        run(&["smoke-test", "--pipeline", "births"])
            .out
            .contains("20 of 20 series in S3; 20 looked at: valid")
    );
    assert!(run(&["query", "totals", "--pipeline", "births"]).out.contains("2023"));
    assert!(run(&["status"]).out.contains("not deployed"));
    let destroyed = run(&["destroy", "--pipeline", "births"]).err;
    assert!(destroyed.contains("stopped  embedded cloud"), "{destroyed}");
}

/// A whole checkout, binaries and `.steppe` included, at a path that needs quoting.
struct Odd {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

impl Odd {
    fn new() -> Self {
        // Below the target folder, so that binaries can be linked.
        let mut folder = tempfile::Builder::new();
        let folder = folder.prefix("für alle 's ").tempdir_in(target_dir()).expect("a folder");
        let root = workspace(&folder.path().join("Ehen & Łódź"));
        let at = root.join("target/debug");
        std::fs::create_dir_all(&at).expect("a folder");
        for name in
            ["xtask", "steppe-cloud", "steppe-etl", "steppe-server", "bootstrap", "steppe-jobs"]
        {
            std::fs::hard_link(binary(name), at.join(name)).expect("linked");
        }
        Self { _folder: folder, root }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(self.root.join("target/debug/xtask"));
        command.args(arguments).current_dir(&self.root).stdin(Stdio::null());
        for name in ["STEPPE_DIR", "CARGO_TARGET_DIR", "AWS_ENDPOINT_URL"] {
            command.env_remove(name);
        }
        Said::of(command.env("STEPPE_PORT", "0").env("STEPPE_SKIP_BUILD", "1"))
    }

    fn done(&self, arguments: &[&str]) -> Said {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
        said
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        self.run(&["local", "stop"]);
    }
}

#[test]
fn a_checkout_at_an_odd_path_works() {
    use std::os::unix::fs::PermissionsExt;
    let odd = Odd::new();
    // As an earlier version made it, open to everybody.
    let scratch = odd.root.join(".steppe");
    std::fs::create_dir(&scratch).expect("made");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&scratch, open).expect("set");
    let deployed = odd.done(&["deploy"]);
    assert!(deployed.err.contains("deployed  steppe-marriages-local"), "{}", deployed.err);
    let mode = std::fs::metadata(&scratch).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "others are kept out of what is there already");
    assert!(odd.done(&["smoke-test"]).out.contains("20 of 20 series in S3; 20 looked at: valid"));
    assert!(odd.done(&["deploy"]).err.contains("unchanged"));
    assert!(odd.done(&["destroy"]).err.contains("nothing left"));
}

/// Every verb that prints much or little, in a deployment that has been smoke-tested.
const PRINTING: [&[&str]; 26] = [
    &["--help"],
    &["deploy", "--help"],
    &["plan"],
    &["render"],
    &["status"],
    &["outputs"],
    &["outputs", "--json"],
    &["logs", "predictor"],
    &["logs", "clean"],
    &["logs", "server"],
    &["model"],
    &["model", "--json"],
    &["model", "list"],
    &["model", "list", "--json"],
    &["query"],
    &["query", "select * from marriages order by region, year", "--limit", "1000"],
    &["profile"],
    &["profile", "--json"],
    &["predict", "Almaty"],
    &["predict", "Almaty", "--json"],
    &["drift"],
    &["drift", "--json"],
    &["smoke-test", "Almaty"],
    &["train"],
    &["evaluate"],
    &["local", "env"],
];

#[test]
fn a_pipe_that_nobody_reads_ends_no_verb() {
    let checkout = Checkout::new();
    checkout.done(&["deploy"]);
    checkout.done(&["smoke-test"]);
    for verb in PRINTING {
        let plain = checkout.run(verb);
        assert!(matches!(plain.code, Some(0 | 3)), "{verb:?}\n{}", plain.err);
        assert!(!plain.out.is_empty(), "{verb:?} prints nothing");
        // Closed before the first byte, so that every write meets it.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let unread = Said::of(checkout.command(verb).stdout(writer));
        assert_eq!(unread.code, plain.code, "{verb:?}\n{}", unread.err);
        assert!(!unread.err.contains("panicked"), "{verb:?}\n{}", unread.err);
        assert!(!unread.err.contains("error: "), "{verb:?}\n{}", unread.err);
    }
    checkout.done(&["destroy"]);
}

#[test]
fn ctrl_c_on_a_terminal_tells_what_goes_on_and_the_second_ends() {
    let checkout = Checkout::new();
    let of_checkout = checkout.command(&[]);
    // `script` gives the command a terminal of its own, and types there what it reads.
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c"]).arg(format!("'{}' deploy", binary("xtask").display()));
    command.arg("/dev/null").current_dir(of_checkout.get_current_dir().expect("a folder"));
    command.envs(of_checkout.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env_remove("AWS_ENDPOINT_URL").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = match command.spawn() {
        Ok(terminal) => terminal,
        Err(error) => {
            eprintln!("could not run: there is no `script` of util-linux here: {error}");
            return;
        }
    };
    let mut keys = terminal.stdin.take().expect("a keyboard");
    let shown = BufReader::new(terminal.stdout.take().expect("a screen"));
    let mut shown = shown.lines().map_while(Result::ok);
    assert!(shown.any(|line| line.contains("DataBucket")), "the stack is being made");
    keys.write_all(b"\x03").expect("typed");
    let goes_on = shown.find(|line| line.contains("goes on")).expect("it is told");
    assert!(goes_on.contains("repeat the command to attach to it"), "{goes_on}");
    let again = shown.find(|line| line.contains("press Ctrl-C again"));
    assert!(again.is_some(), "it is told how to leave");
    keys.write_all(b"\x03").expect("typed");
    shown.for_each(drop);
    assert_eq!(terminal.wait().expect("ended").code(), Some(130));
    // The terminal is gone, and the cloud goes on with what was begun.
    assert!(checkout.done(&["local", "status"]).out.contains("runs on"));
    let attached = checkout.done(&["deploy"]);
    assert!(attached.err.contains("steppe-marriages-local in environment"), "{}", attached.err);
    checkout.done(&["destroy"]);
}

/// What is done on a disk of a few megabytes, in a mount namespace that ends with it.
///
/// `X` is the command line, `STEPPE_DIR` where the disk is mounted, `DATA` a file of other data.
/// Every command's output goes to a file on another disk, and each must end within a minute.
const ON_A_SMALL_DISK: &str = r#"
mount -t tmpfs -o size="$1" small "$STEPPE_DIR" || exit 77
shift
told() { timeout 60 "$X" "${@:2}" > "$TOLD/$1.out" 2> "$TOLD/$1.err"; echo $? > "$TOLD/$1.code"; }
. "$TOLD/script"
"#;

/// Runs a script on a small disk; `None` where the system lets nobody mount one.
fn on_a_small_disk(checkout: &Checkout, size: &str, script: &str) -> Option<()> {
    let told = checkout.path();
    std::fs::write(told.join("script"), script).expect("written");
    let disk = told.join("disk");
    std::fs::create_dir_all(&disk).expect("made");
    let of_checkout = checkout.command(&[]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "bash", "-c", ON_A_SMALL_DISK, "bash"]);
    command.arg(size).current_dir(of_checkout.get_current_dir().expect("a folder"));
    command.envs(of_checkout.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env_remove("AWS_ENDPOINT_URL").stdin(Stdio::null());
    command.env("X", binary("xtask")).env("TOLD", told).env("STEPPE_DIR", &disk);
    let said = match command.output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("could not run: there is no `unshare` here: {error}");
            return None;
        }
    };
    let err = String::from_utf8_lossy(&said.stderr).into_owned();
    let refused = said.status.code() == Some(77) || err.contains("unshare failed");
    if refused || err.contains("Operation not permitted") {
        eprintln!("could not run: a disk cannot be mounted here: {err}");
        return None;
    }
    assert!(said.status.success(), "{err}");
    Some(())
}

/// What a command on the small disk told.
fn told(checkout: &Checkout, name: &str) -> Said {
    let read = |end: &str| {
        let file = checkout.path().join(format!("{name}.{end}"));
        std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
    };
    Said { code: read("code").trim().parse().ok(), out: read("out"), err: read("err") }
}

fn is_full(said: &Said) -> bool {
    said.err.contains("the disk is full: make room, then repeat the command")
}

#[test]
fn a_disk_too_small_for_a_deployment_is_told_at_every_size() {
    let checkout = Checkout::new();
    let sizes = [1, 4, 12, 24, 40];
    let tries: Vec<String> = sizes
        .iter()
        .map(|mb| format!("mount -o remount,size={mb}m \"$STEPPE_DIR\"; told at-{mb} deploy\n"))
        .collect();
    let script = format!(
        "{}mount -o remount,size=400m \"$STEPPE_DIR\"\ntold room deploy\ntold smoke smoke-test \
         Almaty\ntold end destroy\n",
        tries.concat()
    );
    if on_a_small_disk(&checkout, "1m", &script).is_none() {
        return;
    }
    for mb in sizes {
        let said = told(&checkout, &format!("at-{mb}"));
        assert!(said.code.is_some_and(|code| ![0, 124].contains(&code)), "{mb} MB\n{}", said.err);
        assert!(is_full(&said), "{mb} MB\n{}", said.err);
    }
    for name in ["room", "smoke", "end"] {
        let said = told(&checkout, name);
        assert_eq!(said.code, Some(0), "{name}\n{}\n{}", said.out, said.err);
    }
}

#[test]
fn a_disk_that_fills_up_loses_nothing_that_was_acknowledged() {
    let checkout = Checkout::new();
    let rows = (0..3).flat_map(|s| (2000..2020).map(move |y| format!("R{s},{y},{}\n", 100 + y)));
    let data = checkout.csv(&format!("region,year,marriages\n{}", rows.collect::<String>()));
    let script = format!(
        "told first deploy\ntold before smoke-test\ntold outputs outputs --json\n\
         told model model list --json\n\
         cat /dev/zero > \"$STEPPE_DIR/filler\" 2>/dev/null\n\
         told full deploy --yes --data '{data}'\ntold full-run smoke-test\n\
         told full-model model list --json\n\
         rm \"$STEPPE_DIR/filler\"\ntold count query 'select count(*) as n from predictions'\n\
         told outputs-after outputs --json\n\
         told room deploy --yes --data '{data}'\ntold smoke smoke-test\ntold end destroy\n"
    );
    if on_a_small_disk(&checkout, "400m", &script).is_none() {
        return;
    }
    for name in ["first", "before", "outputs", "model", "count", "room", "end"] {
        let said = told(&checkout, name);
        assert_eq!(said.code, Some(0), "{name}\n{}\n{}", said.out, said.err);
    }
    let full = told(&checkout, "full");
    assert!(full.code.is_some_and(|code| ![0, 124].contains(&code)), "{}", full.err);
    assert!(is_full(&full), "{}", full.err);
    let run = told(&checkout, "full-run");
    assert!(run.code.is_some_and(|code| ![0, 124].contains(&code)), "{}", run.err);
    // What was there is there: forecasts, outputs, the model in service.
    assert!(told(&checkout, "count").out.contains("40\n"), "{}", told(&checkout, "count").out);
    let json = |name: &str| result(&told(&checkout, name).out);
    assert_eq!(json("outputs"), json("outputs-after"));
    assert_eq!(json("model")["in_service"], json("full-model")["in_service"]);
    let smoke = told(&checkout, "smoke").out;
    assert!(smoke.contains("3 forecasts") && smoke.contains("60 clean + 0 rejected"), "{smoke}");
}

#[test]
fn the_checkout_is_found_from_a_folder_deep_in_it() {
    let checkout = Checkout::new();
    let folder = workspace(&checkout.path().join("workspace"));
    let deep = folder.join("model/pipelines/marriages/queries");
    let said = Said::of(checkout.command(&["local", "status"]).current_dir(&deep));
    assert_eq!(said.code, Some(0), "{}", said.err);
    // Nothing of where the program was built is in it: another workspace, another configuration.
    let steppe = folder.join("steppe.toml");
    std::fs::write(&steppe, "project = \"steppe\"\npipeline = 7\n").expect("written");
    let said = Said::of(checkout.command(&["status"]).current_dir(&deep));
    assert!(said.code == Some(1) && said.err.contains("steppe.toml:2:"), "{}", said.err);
    assert!(Path::new(&deep).is_dir());
}
