//! systemd's unit files, as much of them as a service needs. A directive that this cloud does not
//! know is an error; those that only restrict or order a service are accepted without effect.
//! <https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html>

use std::time::Duration;

/// Directives without effect here: ordering, and the sandbox that systemd builds.
const WITHOUT_EFFECT: [(Section, &str); 11] = [
    (Section::Unit, "Description"),
    (Section::Unit, "After"),
    (Section::Unit, "Wants"),
    (Section::Install, "WantedBy"),
    (Section::Service, "DynamicUser"),
    (Section::Service, "NoNewPrivileges"),
    (Section::Service, "ProtectSystem"),
    (Section::Service, "ProtectHome"),
    (Section::Service, "PrivateTmp"),
    (Section::Service, "LimitNOFILE"),
    (Section::Service, "Type"),
];
/// Kinds of services that are the same here.
const TYPES: [&str; 2] = ["simple", "exec"];
/// Longest name of a unit.
const NAME_BYTES_MAX: usize = 255;
/// Kinds of units that are no services.
const OTHER_KINDS: [&str; 10] = [
    ".socket",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".slice",
    ".scope",
];

/// Part of a unit file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Unit,
    Service,
    Install,
}

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
    /// It is given up when it was started `start_burst` times within this time; zero is never.
    pub start_interval: Duration,
    /// See `start_interval`.
    pub start_burst: usize,
    /// Whether standard output goes to the console beside the journal.
    pub out_on_console: bool,
    /// The same for standard error, which goes where standard output does unless it is told.
    pub err_on_console: Option<bool>,
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

/// A service's name without `.service`. Names become files, so they have no separators.
pub fn service_name(name: &str) -> Result<&str, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@_.:-".contains(&b);
    let valid = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain);
    if !valid || name.starts_with('.') {
        return Err(format!("Invalid unit name \"{}\".", name.escape_debug()));
    }
    if let Some(kind) = OTHER_KINDS.iter().find(|k| name.ends_with(**k)) {
        return Err(format!(
            "the embedded cloud's instances have services only, no `{kind}` units"
        ));
    }
    Ok(name.strip_suffix(".service").unwrap_or(name))
}

impl Unit {
    /// Parses a unit file. `root`, the instance's folder, may have spaces: it is one word.
    pub fn parse(text: &str, root: &str) -> Result<Self, String> {
        let mut unit = Self {
            exec: vec![],
            environment: vec![],
            restart: Restart::No,
            restart_after: Duration::from_millis(100),
            // systemd's defaults.
            start_interval: Duration::from_secs(10),
            start_burst: 5,
            out_on_console: false,
            err_on_console: None,
        };
        let mut section = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let taken = match line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                Some(name) => section_called(name).map(|s| section = Some(s)),
                None => unit.take(section, line, root),
            };
            taken.map_err(|e| format!("line {}: {e}", number + 1))?;
        }
        if unit.exec.is_empty() { Err("there is no ExecStart".to_owned()) } else { Ok(unit) }
    }

    fn take(&mut self, section: Option<Section>, line: &str, root: &str) -> Result<(), String> {
        let section = section.ok_or_else(|| format!("`{line}` stands before any section"))?;
        let (key, value) =
            line.split_once('=').ok_or_else(|| format!("`{line}` is not `Key=value`"))?;
        let (key, value) = (key.trim(), value.trim());
        match (section, key) {
            (Section::Service, "ExecStart") if self.exec.is_empty() => {
                self.exec = command_line(value, root)?;
            }
            (Section::Service, "ExecStart") => {
                return Err("the embedded cloud has one ExecStart for each service".to_owned());
            }
            (Section::Service, "Environment") => self.environment.extend(variables(value, root)?),
            (Section::Service, "Restart") => {
                self.restart = match value {
                    "no" => Restart::No,
                    "on-failure" => Restart::OnFailure,
                    "always" => Restart::Always,
                    other => return Err(format!("the embedded cloud has no Restart={other}")),
                }
            }
            (Section::Service, "RestartSec") => self.restart_after = time_span(value)?,
            (Section::Unit, "StartLimitIntervalSec") => self.start_interval = time_span(value)?,
            (Section::Unit, "StartLimitBurst") => {
                let burst = value.parse().map_err(|_| format!("`{value}` is not a number"))?;
                self.start_burst = burst;
            }
            (Section::Service, "StandardOutput") => self.out_on_console = on_console(key, value)?,
            (Section::Service, "StandardError") => {
                self.err_on_console = Some(on_console(key, value)?);
            }
            (Section::Service, "Type") if !TYPES.contains(&value) => {
                return Err(format!("the embedded cloud has no Type={value}"));
            }
            other if WITHOUT_EFFECT.contains(&other) => {}
            _ => {
                let known = WITHOUT_EFFECT.iter().any(|(_, name)| *name == key);
                let of = if known { " in this section" } else { "" };
                return Err(format!("the embedded cloud does not know the directive `{key}`{of}"));
            }
        }
        Ok(())
    }
}

fn section_called(name: &str) -> Result<Section, String> {
    match name {
        "Unit" => Ok(Section::Unit),
        "Service" => Ok(Section::Service),
        "Install" => Ok(Section::Install),
        other => Err(format!("the embedded cloud does not know the section [{other}]")),
    }
}

fn on_console(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "journal" => Ok(false),
        "journal+console" => Ok(true),
        other => Err(format!("the embedded cloud has no {key}={other}")),
    }
}

fn command_line(value: &str, root: &str) -> Result<Vec<String>, String> {
    if value.starts_with(['@', '-', ':', '+', '!', '|']) {
        return Err(format!("the embedded cloud has no prefixes of ExecStart: `{value}`"));
    }
    words(value, root)
}

fn variables(value: &str, root: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = words(value, root)?.into_iter().map(|word| {
        let pair = word.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
        pair.ok_or_else(|| format!("`{word}` is not `NAME=value`"))
    });
    pairs.collect()
}

/// Words between spaces, with quotes; escapes, variables and specifiers are refused by name.
fn words(value: &str, root: &str) -> Result<Vec<String>, String> {
    // A character that no path has stands for the folder while the text is taken apart.
    const ROOT: char = '\u{1}';
    let folded = if root.is_empty() { value.to_owned() } else { value.replace(root, "\u{1}") };
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in folded.chars() {
        match (c, quote) {
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            ('\\' | '$' | '%', _) => {
                return Err(format!("the embedded cloud does not expand `{c}` in unit files"));
            }
            (ROOT, _) => word.get_or_insert_default().push_str(root),
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        Some(open) => Err(format!("the quote {open} is not closed")),
        None => Ok(words),
    }
}

/// `2`, `500ms`, `1min 30s`.
fn time_span(value: &str) -> Result<Duration, String> {
    let wrong = || format!("`{value}` is not a time that the embedded cloud knows, such as `2s`");
    let mut total = Duration::ZERO;
    for part in value.split_whitespace() {
        let digits = part.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(part.len());
        let number: f64 = part[..digits].parse().map_err(|_| wrong())?;
        let unit = match &part[digits..] {
            "" | "s" | "sec" => 1.0,
            "ms" | "msec" => 0.001,
            "m" | "min" => 60.0,
            "h" | "hr" => 3_600.0,
            _ => return Err(wrong()),
        };
        let part = Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
    }
    if value.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Unit::parse(text, "").expect_err("refused")
    }

    #[test]
    fn a_service_is_read_and_what_is_unknown_is_refused() {
        let text = "[Unit]\nStartLimitIntervalSec=0\nStartLimitBurst=3\n[Service]\n\
                    ExecStart=/a b/opt/x --flag \"two words\"\nEnvironment=A=b=c 'D=e f'\n\
                    Restart=on-failure\nRestartSec=1min 500ms\nDynamicUser=yes\n";
        let unit = Unit::parse(text, "/a b").expect("valid");
        assert_eq!(unit.exec, ["/a b/opt/x", "--flag", "two words"]);
        let environment = [("A", "b=c"), ("D", "e f")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(unit.environment, environment);
        assert_eq!(unit.restart, Restart::OnFailure);
        assert_eq!(unit.restart_after, Duration::from_millis(60_500));
        assert_eq!((unit.start_interval, unit.start_burst), (Duration::ZERO, 3));
        for (text, expected) in [
            ("[Service]\nMemoryMax=1G", "line 2: the embedded cloud does not know the directive"),
            ("[Service]\nWantedBy=x", "`WantedBy` in this section"),
            ("[Timer]\n", "the section [Timer]"),
            ("ExecStart=/x", "before any section"),
            ("[Service]\nExecStart=/x $HOME", "does not expand `$`"),
            ("[Service]\nExecStart=-/x", "no prefixes of ExecStart"),
            ("[Service]\nRestartSec=-1", "is not a time"),
            ("[Service]\nRestartSec=1e300", "is not a time"),
            ("[Service]\nStandardOutput=file:/etc/x", "has no StandardOutput=file:/etc/x"),
            ("[Service]", "there is no ExecStart"),
        ] {
            assert!(refused(text).contains(expected), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn names_of_services_are_no_paths() {
        assert_eq!(service_name("steppe-server.service"), Ok("steppe-server"));
        assert_eq!(service_name("getty@tty1"), Ok("getty@tty1"));
        for name in ["", "..", "../../x", "a/b", "a b", "/x", ".service", "x.timer", "x\n"] {
            assert!(service_name(name).is_err(), "{name}");
        }
    }
}
