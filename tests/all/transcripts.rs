//! What people read, command by command, as files in `goldens/transcripts/`.
//!
//! `EXPECTORATE=overwrite cargo test --test all transcripts::` writes the files anew.

use regex::Regex;

use crate::checkout::Checkout;

/// What differs from run to run, and what stands for it; forecasts differ from processor to
/// processor in their last digits.
const VARYING: [(&str, &str); 17] = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"message [0-9a-f]{8}", "message UUID"),
    (r"ModelServer[0-9a-f]{8}", "ModelServer#"),
    (r"\b[0-9a-f]{16}\b", "VERSION"),
    (r"\b(vpc|vpce|subnet|sg|rtb|rtbassoc|i|ami)-[0-9a-f]{17}\b", "$1-#"),
    (r"127\.\d+\.\d+\.\d+:\d+", "LOOPBACK"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "TIME"),
    (r" +\d+\.\d s$", "  # s"),
    (r"(ok|FAILED) +\d+\.\d\d  ", "$1  #  "),
    (r"MAPE \d+\.\d+ %", "MAPE # %"),
    (r"MASE \d+\.\d+", "MASE #"),
    (r" +\d+ +90 % interval \d+ to \d+", "  #  90 % interval # to #"),
    (r"\d\.\d{3} of \d\.\d{3}", "# of #"),
    (r"(lstm +\d{4}) +\d+\.\d+ +\d+\.\d+", "$1  #  #"),
    (r"\(\d+\.\d (k|M)?B\)", "(# B)"),
    (r"\(\d+ B\)", "(# B)"),
    (r"\b\d+ (events|calls by roles|objects)\b", "# $1"),
];

/// The command line, whose every run is written down.
struct Transcript {
    checkout: Checkout,
    text: String,
}

impl Transcript {
    fn new() -> Self {
        Self { checkout: Checkout::new(), text: String::new() }
    }

    /// Runs a command and writes down what it was, said, and how it ended.
    fn run(&mut self, arguments: &[&str]) {
        let said = self.checkout.run(arguments);
        let code = said.code.expect("an exit code");
        let told = sorted_resources(&said.err);
        let streams = [("", &said.out), ("stderr\n", &told)];
        self.text += &format!("$ cargo xtask {}\n", arguments.join(" "));
        for (name, text) in streams.into_iter().filter(|(_, text)| !text.is_empty()) {
            self.text += &format!("{name}{text}");
        }
        self.text += &format!("exit {code}\n\n");
    }

    /// Compares the whole with its file.
    fn is(&self, name: &str) {
        let folder = self.checkout.path().to_string_lossy();
        let mut text = self.text.replace(&*folder, ".steppe");
        for (varying, constant) in VARYING {
            let varying = Regex::new(&format!("(?m){varying}")).expect("a pattern");
            text = varying.replace_all(&text, constant).into_owned();
        }
        expectorate::assert_contents(format!("goldens/transcripts/{name}.txt"), &text);
    }
}

/// Resources are made and deleted side by side, in an order that differs from run to run.
fn sorted_resources(told: &str) -> String {
    let mut lines: Vec<&str> = told.lines().collect();
    let resource = |line: &&str| {
        ["created  ", "deleted  "].map(|v| line.trim_start().starts_with(v)) != [false; 2]
    };
    for run in lines.chunk_by_mut(|a, b| resource(a) && resource(b)) {
        run.sort_unstable();
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_day_with_marriages() {
    let mut day = Transcript::new();
    for command in [
        "plan",
        "deploy",
        "deploy",
        "plan",
        "smoke-test --dry-run",
        "smoke-test",
        "predict Almaty",
        "predict Almatty",
        "query totals --limit 2",
        "query",
        "model list",
        "drift",
        "outputs",
        "model rollback --dry-run",
        "drift --dry-run",
        "destroy --dry-run",
        "destroy",
        "destroy",
    ] {
        day.run(&command.split(' ').collect::<Vec<_>>());
    }
    day.is("marriages");
}
