//! What others who use the machine can see: files that the command line makes, and arguments of
//! what user data starts.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::checkout::{Checkout, Said};
use crate::tools::binary;

/// Whatever others may do with a file.
const OTHERS: u32 = 0o077;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("there").permissions().mode() & 0o777
}

/// The command line with the usual mask, which leaves everything readable.
fn usual(checkout: &Checkout, arguments: &[&str], folder: &Path) -> Said {
    let of_checkout = checkout.command(&[]);
    let mut command = Command::new("bash");
    command.args(["-c", "umask 022; exec \"$@\"", "bash"]).arg(binary("xtask")).args(arguments);
    command.current_dir(of_checkout.get_current_dir().expect("a folder"));
    command.envs(of_checkout.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = Said::of(command.env_remove("AWS_ENDPOINT_URL").env("STEPPE_DIR", folder));
    assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
    said
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).expect("readable").map(|e| e.expect("an entry").path()).collect()
}

#[test]
fn what_is_made_here_is_for_nobody_else() {
    let checkout = Checkout::new();
    let folder = checkout.path().join("made/by the command line");
    usual(&checkout, &["deploy"], &folder);
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&checkout.path().join("made")), 0o700);
    let made = entries(&folder);
    let open: Vec<&PathBuf> = made.iter().filter(|path| mode(path) & OTHERS != 0).collect();
    assert!(made.len() > 4 && open.is_empty(), "{open:?} of {made:?}");
    for file in ["credentials.json", "identity", "cloud.log", "cloud.json"] {
        assert_eq!(mode(&folder.join("local").join(file)), 0o600, "{file}");
    }
    usual(&checkout, &["destroy"], &folder);
    // A folder of the user's keeps its mode, and what is made in it is private all the same.
    let users = checkout.path().join("user's");
    std::fs::create_dir(&users).expect("made");
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o755)).expect("set");
    usual(&checkout, &["train"], &users);
    assert_eq!(mode(&users), 0o755);
    let made = entries(&users);
    let open: Vec<&PathBuf> = made.iter().filter(|path| mode(path) & OTHERS != 0).collect();
    assert!(!made.is_empty() && open.is_empty(), "{open:?} of {made:?}");
}

/// The script that instances run at their first boot, out of the template.
fn user_data(template: &str) -> String {
    let begin = template.find("          - - \"#!/bin/bash\\nWAIT_URL='\"").expect("user data");
    let mut lines = template[begin..].lines().skip_while(|line| line.trim() != "- |").skip(1);
    let indent = "              ";
    let mut script = String::new();
    for line in lines.by_ref().take_while(|l| l.is_empty() || l.starts_with(indent)) {
        script += line.strip_prefix(indent).unwrap_or_default();
        script.push('\n');
    }
    assert!(script.contains("curl") && script.contains("systemctl"), "{script}");
    script
}

/// Commands that note their arguments, where all see them, apart from their input. They are
/// functions of the shell, because a file that was just written cannot be run while another thread
/// of this process starts something. Whatever gets input reads it: otherwise who writes it may be
/// stopped.
fn noting_commands() -> String {
    let curl = "case \"$*\" in *--config\\ -*) cat >> \"$NOTES/input\";; esac\n\
                case \"$*\" in *api/token*) printf SECRET-TOKEN;; *local-ipv4*) printf 10.0.0.7;; \
                *ready*) return \"${READY:-0}\";; esac";
    let commands = [
        ("curl", curl),
        ("aws", "touch \"$4\""),
        ("systemctl", ":"),
        ("journalctl", ":"),
        ("sha256sum", "cat > /dev/null"),
        ("sleep", ":"),
    ];
    let noting = |(name, does)| {
        format!("{name}() {{\necho \"{name} $*\" >> \"$NOTES/arguments\"\n{does}\n}}\n")
    };
    commands.map(noting).concat()
}

#[test]
fn no_secret_of_user_data_is_in_a_command_line() {
    let checkout = Checkout::new();
    let script = user_data(&checkout.done(&["render"]).out);
    let commands = noting_commands();
    for (ready, signalled) in [("0", "SUCCESS"), ("1", "FAILURE")] {
        let notes = checkout.path().join(signalled);
        std::fs::create_dir_all(notes.join("root")).expect("made");
        let url = "https://example.org/wait?X-Amz-Signature=SECRET-SIGNATURE&a=%2F";
        let begin = format!(
            "WAIT_URL='{url}'\nDATA_BUCKET='d'\nBUCKET_OWNER='0'\nAWS_REGION='us-east-1'\n"
        );
        let mut command = Command::new("bash");
        command.arg("-c").arg(format!("{begin}{commands}{script}")).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("NOTES", &notes).env("READY", ready);
        let said = Said::of(command.env("STEPPE_ROOT", notes.join("root")));
        assert_eq!(said.code == Some(0), ready == "0", "{}{}", said.out, said.err);
        let arguments = std::fs::read_to_string(notes.join("arguments")).expect("arguments");
        assert!(arguments.contains(signalled), "{arguments}");
        assert!(!arguments.contains("SECRET"), "{arguments}");
        let input = std::fs::read_to_string(notes.join("input")).expect("input");
        let header = "header = \"X-aws-ec2-metadata-token: SECRET-TOKEN\"\n";
        assert!(input.contains(header), "{input}");
        assert!(input.ends_with(&format!("url = \"{url}\"\n")), "{input}");
    }
}
