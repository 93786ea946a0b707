//! The command line in the surroundings that people have: closed pipes, full disks, proxies,
//! variables of other tools, copies of folders, Ctrl-C.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::signer::Signer;

use crate::checkout::{Checkout, Said};
use crate::tools::binary;

const ARTIFACTS: &str = "steppe-marriages-local-artifacts-000000000000";
const DATA: &str = "steppe-marriages-local-data-000000000000";

/// Makes a bucket as somebody else's tool would: without tags and settings.
async fn make_bucket(store: &AmazonS3) {
    let method = axum::http::Method::PUT;
    let signed = store.signed_url(method.clone(), &Path::from(""), Duration::from_secs(60)).await;
    let url = signed.expect("signed").to_string();
    let request = axum::http::Request::builder().method(method).uri(url);
    let request = request.body(Full::new(bytes::Bytes::new())).expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
}

async fn objects(store: &AmazonS3) -> usize {
    use futures::TryStreamExt;
    use object_store::ObjectStore;
    store.list(None).try_collect::<Vec<_>>().await.map_or(0, |all| all.len())
}

#[test]
fn a_closed_pipe_ends_nothing() {
    let checkout = Checkout::new();
    let mut command = Command::new("bash");
    let line = format!("set -o pipefail; '{}' deploy 2>&1 | head -n 1", binary("xtask").display());
    let of_checkout = checkout.command(&[]);
    command.args(["-c", &line]).current_dir(of_checkout.get_current_dir().expect("a folder"));
    for (name, value) in of_checkout.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let said = Said::of(&mut command);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert_eq!(said.out.lines().count(), 1, "{}", said.out);
    assert!(checkout.done(&["status"]).out.contains("CREATE_COMPLETE"));
    checkout.done(&["destroy"]);
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let checkout = Checkout::new();
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a full disk");
    let said = Said::of(checkout.command(&["render"]).stdout(full));
    let expected = "the result could not be written: No space left on device";
    assert!(said.code == Some(1) && said.err.contains(expected), "{}", said.err);
}

#[test]
fn a_folder_that_takes_nothing_is_named_with_a_way_out() {
    let checkout = Checkout::new();
    // Nobody, not even root, makes folders there.
    let said = Said::of(checkout.command(&["deploy"]).env("STEPPE_DIR", "/proc/steppe"));
    assert!(
        said.code == Some(1) && said.err.contains("cannot create /proc/steppe"),
        "{}",
        said.err
    );
}

#[test]
fn a_port_that_is_no_number_is_an_error() {
    let checkout = Checkout::new();
    for text in ["abc", "70000", ""] {
        let said = Said::of(checkout.command(&["local", "status"]).env("STEPPE_PORT", text));
        let expected = format!("STEPPE_PORT is `{text}`, which is not a port");
        assert!(said.code == Some(1) && said.err.contains(&expected), "{}", said.err);
    }
}

#[test]
fn the_checkout_is_the_working_folder_or_one_above() {
    let checkout = Checkout::new();
    let root = crate::tools::root();
    let inside = Said::of(checkout.command(&["local", "status"]).current_dir(root.join("docs")));
    assert_eq!(inside.code, Some(0), "{}", inside.err);
    let outside = Said::of(checkout.command(&["status"]).current_dir(checkout.path()));
    let expected = "there is no steppe.toml in";
    assert!(outside.code == Some(1) && outside.err.contains(expected), "{}", outside.err);
}

#[test]
fn variables_of_other_tools_do_not_reach_the_embedded_cloud() {
    let checkout = Checkout::new();
    let closed = "http://127.0.0.1:9";
    let variables = [
        ("HTTP_PROXY", closed),
        ("http_proxy", closed),
        ("HTTPS_PROXY", closed),
        ("ALL_PROXY", closed),
        ("AWS_ENDPOINT_URL_S3", closed),
        ("AWS_ENDPOINT_URL_CLOUDFORMATION", closed),
        ("AWS_PROFILE", "nobody"),
        ("AWS_REGION", "mars-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAFOREIGN"),
        ("AWS_SECRET_ACCESS_KEY", "foreign"),
        ("AWS_SESSION_TOKEN", "foreign"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
    ];
    let run = |arguments: &[&str]| {
        let folder = checkout.path().join("a folder with spaces");
        let mut command = checkout.command(arguments);
        let said = Said::of(command.envs(variables).env("STEPPE_DIR", folder));
        assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
        said
    };
    run(&["deploy"]);
    assert!(run(&["smoke-test", "Almaty"]).out.contains("1 of 1 series in S3; 1 looked at: valid"));
    run(&["destroy"]);
}

#[test]
fn what_local_env_exported_does_no_harm_later() {
    let checkout = Checkout::new();
    checkout.done(&["local", "start"]);
    let exported = checkout.done(&["local", "env"]).out;
    let exported: Vec<(String, String)> = exported
        .lines()
        .filter_map(|l| l.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    checkout.done(&["local", "stop"]);
    // The shell that it was evaluated in is still open.
    let with = |arguments: &[&str]| Said::of(checkout.command(arguments).envs(exported.clone()));
    let deployed = with(&["deploy"]);
    assert_eq!(deployed.code, Some(0), "{}", deployed.err);
    assert!(deployed.err.contains("embedded cloud on 127.0.0.1"), "{}", deployed.err);
    assert_eq!(with(&["destroy"]).code, Some(0));
    // An endpoint of somebody else counts, and an error names it.
    let mut foreign = checkout.command(&["status"]);
    foreign.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9").env("AWS_ACCESS_KEY_ID", "x");
    let said = Said::of(foreign.env("AWS_SECRET_ACCESS_KEY", "x"));
    assert!(said.code == Some(1) && said.err.contains("AWS_ENDPOINT_URL"), "{}", said.err);
}

#[test]
fn a_copy_of_the_state_never_acts_on_the_original() {
    let original = Checkout::new();
    original.done(&["local", "start"]);
    let copy = Checkout::new();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(original.path().join("local"))
        .arg(copy.path())
        .status()
        .expect("cp runs");
    assert!(copied.success());
    assert!(copy.done(&["local", "status"]).out.contains("does not run"));
    assert!(copy.done(&["local", "stop"]).out.contains("did not run"));
    copy.done(&["local", "reset"]);
    assert!(original.done(&["local", "status"]).out.contains("runs on"));
}

#[tokio::test]
async fn buckets_that_this_deployment_has_not_made_are_left_alone() {
    let checkout = Checkout::new();
    checkout.done(&["local", "start"]);
    for bucket in [DATA, ARTIFACTS] {
        let store = checkout.bucket(bucket);
        make_bucket(&store).await;
        store.put(&Path::from("thesis.txt"), "years of work".into()).await.expect("stored");
        // Twice: the second one meets what the first has left.
        for verb in ["deploy", "deploy", "destroy"] {
            let said = checkout.run(&[verb, "--yes"]);
            let expected = format!("the bucket {bucket} is there (1 objects)");
            assert!(said.code == Some(1) && said.err.contains(&expected), "{verb}: {}", said.err);
        }
        let kept = store.get(&Path::from("thesis.txt")).await.expect("kept");
        assert_eq!(kept.bytes().await.expect("read"), "years of work");
        store.delete(&Path::from("thesis.txt")).await.expect("deleted");
        checkout.done(&["destroy"]);
        checkout.done(&["local", "start"]);
    }
}

#[tokio::test]
async fn a_bucket_whose_making_was_cut_off_is_completed() {
    let checkout = Checkout::new();
    checkout.done(&["local", "start"]);
    make_bucket(&checkout.bucket(ARTIFACTS)).await;
    let deployed = checkout.done(&["deploy", "--no-run"]);
    let expected = "what is missing of the bucket steppe-marriages-local-artifacts";
    assert!(deployed.err.contains(expected), "{}", deployed.err);
    let again = checkout.done(&["deploy", "--no-run"]);
    assert!(!again.err.contains("what is missing"), "{}", again.err);
    assert_eq!(objects(&checkout.bucket(DATA)).await, 2, "the file, and a note of it");
    checkout.done(&["destroy"]);
}

#[test]
fn what_moves_the_cursor_is_shown_and_not_sent() {
    let checkout = Checkout::new();
    checkout.done(&["deploy"]);
    checkout.done(&["smoke-test", "Almaty"]);
    let odd = "Alm\u{1b}]0;owned\u{7}aty\u{202e}";
    let said = checkout.run(&["predict", odd]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("\\u{1b}]0;owned\\u{7}aty\\u{202e}"), "{}", said.err);
    let asked = format!("select '{odd}' as a, 1 as b");
    let said = checkout.run(&["query", &asked]);
    let told = format!("{}{}", said.out, said.err);
    assert!(told.contains("\\u{1b}]0;owned"), "{told}");
    assert!(!told.contains('\u{1b}') && !told.contains('\u{202e}'), "{told:?}");
    checkout.done(&["destroy"]);
}

#[test]
fn ctrl_c_tells_what_goes_on_and_the_second_ends() {
    let checkout = Checkout::new();
    let mut deploying =
        checkout.command(&["deploy"]).stderr(Stdio::piped()).spawn().expect("xtask runs");
    let told = BufReader::new(deploying.stderr.take().expect("a pipe"));
    let mut told = told.lines().map_while(Result::ok);
    let interrupt = || {
        let pid = deploying.id().to_string();
        let sent = Command::new("kill").args(["-s", "INT", &pid]).status().expect("kill runs");
        assert!(sent.success());
    };
    assert!(told.any(|line| line.contains("DataBucket")), "the stack is being made");
    interrupt();
    let goes_on = told.find(|line| line.contains("goes on")).expect("it is told");
    assert!(goes_on.contains("repeat the command to attach to it"), "{goes_on}");
    interrupt();
    // What it told meanwhile must not keep it.
    told.for_each(drop);
    assert_eq!(deploying.wait().expect("ended").code(), Some(130));
    let attached = checkout.done(&["deploy"]);
    assert!(attached.err.contains("steppe-marriages-local in environment"), "{}", attached.err);
    checkout.done(&["destroy"]);
}

#[test]
fn a_cloud_that_died_is_told_at_once() {
    let checkout = Checkout::new();
    let mut deploying =
        checkout.command(&["deploy"]).stderr(Stdio::piped()).spawn().expect("xtask runs");
    let told = BufReader::new(deploying.stderr.take().expect("a pipe"));
    let mut told = told.lines().map_while(Result::ok);
    assert!(told.any(|line| line.contains("DataBucket")), "the stack is being made");
    let pid = checkout.cloud_pid();
    let sent = Command::new("kill").args(["-s", "KILL", &pid]).status().expect("kill runs");
    assert!(sent.success());
    let said = told.collect::<Vec<_>>().join("\n");
    assert!(said.contains("the embedded cloud has ended while the stack was changed"), "{said}");
    assert_eq!(deploying.wait().expect("ended").code(), Some(1));
    checkout.done(&["deploy"]);
    checkout.done(&["destroy"]);
}
