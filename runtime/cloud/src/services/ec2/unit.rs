//! systemd's unit files, as much of them as a service needs. A directive that this cloud does not
//! know is an error; those that only restrict or order a service are accepted without effect.

use std::time::Duration;

/// Directives without effect here: ordering, and the sandbox that systemd builds.
const WITHOUT_EFFECT: [&str; 12] = [
    "Description",
    "After",
    "Wants",
    "WantedBy",
    "DynamicUser",
    "NoNewPrivileges",
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "StandardOutput",
    "StandardError",
    "LimitNOFILE",
];

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Program and arguments.
    pub exec: Vec<String>,
    /// Environment.
    pub environment: Vec<(String, String)>,
    /// When it is started again.
    pub restart: Restart,
    /// Pause before that.
    pub restart_after: Duration,
    /// Whether it is given up after many failures; `StartLimitIntervalSec=0` says that it is not.
    pub gives_up: bool,
}

/// When a service is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    No,
    /// After a failure.
    OnFailure,
    /// Whenever it ends.
    Always,
}

impl Unit {
    /// Parses a unit file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut unit = Self {
            exec: vec![],
            environment: vec![],
            restart: Restart::No,
            restart_after: Duration::from_millis(100),
            gives_up: true,
        };
        for (number, line) in text.lines().enumerate().map(|(n, l)| (n + 1, l.trim())) {
            if line.is_empty() || line.starts_with(['#', ';', '[']) {
                continue;
            }
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| format!("line {number}: `{line}` is not `Key=value`"))?;
            match key {
                "ExecStart" => unit.exec = value.split_whitespace().map(str::to_owned).collect(),
                "Environment" => {
                    let (name, value) = value
                        .trim_matches('"')
                        .split_once('=')
                        .ok_or_else(|| format!("line {number}: `{value}` is not `NAME=value`"))?;
                    unit.environment.push((name.to_owned(), value.to_owned()));
                }
                "Restart" => {
                    unit.restart = match value {
                        "no" => Restart::No,
                        "on-failure" => Restart::OnFailure,
                        "always" => Restart::Always,
                        other => {
                            return Err(format!(
                                "line {number}: the embedded cloud has no Restart={other}"
                            ));
                        }
                    }
                }
                "RestartSec" => {
                    unit.restart_after = Duration::from_secs_f64(value.parse().map_err(|_| {
                        format!("line {number}: `{value}` is not a number of seconds")
                    })?)
                }
                "StartLimitIntervalSec" if value == "0" => unit.gives_up = false,
                "StartLimitIntervalSec" => {
                    return Err(format!(
                        "line {number}: the embedded cloud has no StartLimitIntervalSec={value}"
                    ));
                }
                known if WITHOUT_EFFECT.contains(&known) => {}
                other => {
                    return Err(format!(
                        "line {number}: the embedded cloud does not know the directive `{other}`"
                    ));
                }
            }
        }
        if unit.exec.is_empty() { Err("there is no ExecStart".to_owned()) } else { Ok(unit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_read_and_what_is_unknown_is_refused() {
        let unit =
            Unit::parse("[Service]\nExecStart=/opt/x --flag\nEnvironment=A=b=c\nRestart=on-failure\nRestartSec=2\nDynamicUser=yes\n")
                .expect("valid");
        assert_eq!(unit.exec, ["/opt/x", "--flag"]);
        assert_eq!(unit.environment, [("A".to_owned(), "b=c".to_owned())]);
        assert_eq!(
            (unit.restart, unit.restart_after),
            (Restart::OnFailure, Duration::from_secs(2))
        );
        assert_eq!(
            Unit::parse("ExecStart=/x\nMemoryMax=1G"),
            Err("line 2: the embedded cloud does not know the directive `MemoryMax`".to_owned())
        );
        assert_eq!(Unit::parse("[Service]"), Err("there is no ExecStart".to_owned()));
    }
}
