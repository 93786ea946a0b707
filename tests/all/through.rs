//! The command line, its embedded cloud, and a middleman between them.

use std::process::Command;
use std::sync::Arc;

use axum::http::StatusCode;

use crate::checkout::{Checkout, Said};
use crate::middleman::{Answer, Call, Middleman, Rule};

/// A checkout whose command line speaks to its embedded cloud through a middleman.
pub struct Through {
    /// Its folder and cloud.
    pub checkout: Checkout,
    /// What stands between.
    pub middleman: Middleman,
    keys: Vec<(String, String)>,
}

impl Through {
    /// Starts the cloud and the middleman.
    pub fn new(
        rule: impl Fn(&Call, &Answer) -> Option<(StatusCode, String)> + Send + Sync + 'static,
    ) -> Self {
        let checkout = Checkout::new();
        checkout.done(&["local", "start"]);
        let exported = checkout.done(&["local", "env"]).out;
        let value = |name: &str| {
            let line = exports_of(&exported).find(|(n, _)| *n == name);
            line.unwrap_or_else(|| panic!("{name} in {exported}")).1.to_owned()
        };
        let rule: Arc<Rule> = Arc::new(rule);
        let middleman = Middleman::new(&value("AWS_ENDPOINT_URL"), rule);
        let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        let keys = keys.iter().map(|name| ((*name).to_owned(), value(name))).collect();
        Self { checkout, middleman, keys }
    }

    /// The command, with the middleman as its endpoint.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.checkout.command(arguments);
        command.env("AWS_ENDPOINT_URL", &self.middleman.endpoint);
        command.envs(self.keys.iter().map(|(name, value)| (name, value)));
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
}

fn exports_of(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|l| l.strip_prefix("export ")?.split_once('='))
}
