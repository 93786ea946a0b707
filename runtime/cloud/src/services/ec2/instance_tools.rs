//! The commands that an instance has of the cloud: `aws s3 cp`, `curl`, `systemctl`, `journalctl`,
//! `cfn-signal`.
//!
//! They know what user data needs. Anything else is an error that names it. Arguments of programs
//! can be seen by every user of the machine, so nothing secret is one: which instance it is, the
//! tools read from their environment.

mod cfn_signal;

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStoreExt, path::Path};
use serde_json::json;

use crate::kernel::log::shown;
use crate::services::ec2::{INSTANCE_HEADER, service_name};

/// Address of the metadata service on EC2.
const METADATA_ADDRESS: &str = "http://169.254.169.254";
/// Answers after which `curl --retry` tries again.
const TRANSIENT: [u16; 6] = [408, 429, 500, 502, 503, 504];
/// Longest pause between tries.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(600);
/// Longest configuration that `curl` reads.
const CONFIGURATION_BYTES_MAX: u64 = 64 * 1024;
/// Most tries that can be asked for.
const RETRIES_MAX: u32 = 100;

fn variable(name: &str) -> Result<String> {
    std::env::var(name).context("this is not an instance of the embedded cloud")
}

/// Runs a command.
pub async fn run(tool: &str, arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match tool {
        "aws" => aws(&arguments).await,
        "curl" => curl(&arguments).await,
        "systemctl" => systemctl(&arguments).await,
        "journalctl" => journalctl(&arguments),
        "cfn-signal" => cfn_signal::run(&arguments).await,
        other => bail!("the embedded cloud's instances have no command `{other}`"),
    }
}

/// `aws s3 cp s3://bucket/key FILE`, with the instance's credentials from its metadata service.
async fn aws(arguments: &[&str]) -> Result<()> {
    let positional: Vec<&str> =
        arguments.iter().copied().filter(|a| *a != "--only-show-errors").collect();
    let ["s3", "cp", source, target] = positional.as_slice() else {
        bail!(
            "the embedded cloud's instances have `aws s3 cp s3://BUCKET/KEY FILE \
             [--only-show-errors]`, not `aws {}`",
            arguments.join(" ")
        );
    };
    let (bucket, key) = source
        .strip_prefix("s3://")
        .and_then(|s| s.split_once('/'))
        .with_context(|| format!("`{source}` is not an S3 address"))?;
    let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build()?;
    let bytes = store
        .get(&Path::from(key))
        .await
        .with_context(|| format!("download failed: {source}"))?
        .bytes()
        .await?;
    std::fs::write(target, bytes).with_context(|| format!("cannot write {target}"))
}

/// What of `curl` is asked for.
#[derive(Debug, Default, PartialEq)]
struct Curl {
    method: Option<String>,
    headers: Vec<(String, String)>,
    data: Option<String>,
    output: Option<PathBuf>,
    fail: Fail,
    retries: u32,
    max_time: Option<Duration>,
    url: String,
    /// Whether more of it, such as what nobody may see, is on standard input.
    configured: bool,
}

/// What an answer from 400 on means.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Fail {
    /// Nothing.
    #[default]
    Never,
    /// An error, and the body is left out.
    WithoutBody,
    /// An error.
    WithBody,
}

impl Curl {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut curl = Self::default();
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            if argument.starts_with('-') {
                curl.take(argument, &mut rest)?;
            } else if curl.url.is_empty() {
                curl.url = argument.to_owned();
            } else {
                bail!("curl: the embedded cloud's instances fetch one URL at a time");
            }
        }
        Ok(curl)
    }

    /// Adds the lines of a configuration: `url = "…"` and `header = "…"`.
    fn configure(&mut self, text: &str) -> Result<()> {
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        for line in lines {
            let (name, value) = line
                .split_once(|c: char| c == '=' || c == ':' || c.is_whitespace())
                .with_context(|| "curl: a line of the configuration has no value".to_owned())?;
            let value = unquoted(value.trim_start_matches(['=', ':', ' ', '\t']))?;
            match name.trim_start_matches('-') {
                "url" if self.url.is_empty() => self.url = value,
                "header" => self.header(&value)?,
                other => bail!(
                    "curl: the embedded cloud's instances know one `url` and `header` in a \
                     configuration, not `{other}`"
                ),
            }
        }
        Ok(())
    }

    fn header(&mut self, header: &str) -> Result<()> {
        let (name, value) = header.split_once(':').context("curl: a header has no colon")?;
        // A header without value is not sent, as curl has it.
        if !value.trim().is_empty() {
            self.headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(())
    }

    fn take<'a>(&mut self, option: &str, rest: &mut impl Iterator<Item = &'a str>) -> Result<()> {
        let mut value =
            || rest.next().with_context(|| format!("curl: the option {option} needs a value"));
        match option {
            "-s" | "-S" | "-sS" | "--silent" | "--show-error" => {}
            "-f" | "--fail" => self.fail = Fail::WithoutBody,
            "--fail-with-body" => self.fail = Fail::WithBody,
            "-X" | "--request" => self.method = Some(value()?.to_owned()),
            "-H" | "--header" => {
                let header = value()?;
                self.header(header)?;
            }
            "-K" | "--config" => {
                let file = value()?;
                if file != "-" {
                    bail!("curl: the embedded cloud's instances read a configuration from `-`");
                }
                self.configured = true;
            }
            "--data-binary" | "-d" | "--data" => {
                let data = value()?;
                if data.starts_with('@') {
                    bail!("curl: the embedded cloud's instances do not send files ({data})");
                }
                self.data = Some(data.to_owned());
            }
            "-o" | "--output" => self.output = Some(value()?.into()),
            "--retry" => {
                let retries = value()?.parse().context("curl: --retry needs a number")?;
                self.retries = Some(retries).filter(|r| *r <= RETRIES_MAX).with_context(|| {
                    format!(
                        "curl: the embedded cloud's instances retry {RETRIES_MAX} times at most"
                    )
                })?;
            }
            "--max-time" | "-m" => {
                let text = value()?;
                let seconds = text.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
                self.max_time =
                    Some(seconds.context("curl: --max-time needs a number of seconds")?);
            }
            option => {
                bail!("curl: the embedded cloud's instances do not know the option {option}")
            }
        }
        Ok(())
    }

    /// Sends what asks the metadata service to this instance's, with the instance's secret.
    fn for_instance(mut self) -> Result<Self> {
        let Ok(endpoint) = std::env::var("AWS_ENDPOINT_URL") else { return Ok(self) };
        let own = format!("{endpoint}/_steppe/imds");
        if let Some(path) = self.url.strip_prefix(METADATA_ADDRESS) {
            self.url = format!("{own}{path}");
        }
        if self.url.starts_with(&format!("{own}/")) {
            self.headers.push((INSTANCE_HEADER.to_owned(), variable("STEPPE_INSTANCE_TOKEN")?));
        }
        Ok(self)
    }
}

/// A value of a configuration, as curl reads it.
/// <https://curl.se/docs/manpage.html#-K>
fn unquoted(value: &str) -> Result<String> {
    let Some(quoted) = value.strip_prefix('"') else {
        return Ok(value.split_whitespace().next().unwrap_or_default().to_owned());
    };
    let (mut text, mut rest) = (String::new(), quoted.chars());
    loop {
        match rest.next().context("curl: a value of the configuration has no closing quote")? {
            '"' => return Ok(text),
            '\\' => text.push(match rest.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('v') => '\u{b}',
                other => other.context("curl: a value of the configuration ends in a backslash")?,
            }),
            plain => text.push(plain),
        }
    }
}

async fn curl(arguments: &[&str]) -> Result<()> {
    let mut curl = Curl::parse(arguments)?;
    if curl.configured {
        let mut text = String::new();
        std::io::stdin().take(CONFIGURATION_BYTES_MAX).read_to_string(&mut text)?;
        curl.configure(&text)?;
    }
    if curl.url.is_empty() {
        bail!("curl: no URL given");
    }
    let curl = curl.for_instance()?;
    let (mut left, mut pause) = (curl.retries, Duration::from_secs(1));
    let (status, body) = loop {
        let limit = curl.max_time.unwrap_or(Duration::from_secs(60));
        let answer = tokio::time::timeout(limit, send(&curl)).await;
        let transient = match &answer {
            Err(_) => true,
            Ok(Ok((status, _))) => TRANSIENT.contains(status),
            Ok(Err(_)) => false,
        };
        if !transient || left == 0 {
            break answer.context("curl: (28) the operation timed out")??;
        }
        left -= 1;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    };
    let failed = status >= 400 && curl.fail != Fail::Never;
    if !failed || curl.fail == Fail::WithBody {
        write_out(&curl, &body)?;
    }
    if failed {
        bail!("curl: (22) The requested URL returned error: {status}");
    }
    Ok(())
}

fn write_out(curl: &Curl, body: &[u8]) -> Result<()> {
    match &curl.output {
        Some(file) if file.as_os_str() == "/dev/null" => Ok(()),
        Some(file) => std::fs::write(file, body)
            .with_context(|| format!("curl: cannot write {}", file.display())),
        None => {
            use std::io::Write;
            Ok(std::io::stdout().write_all(body)?)
        }
    }
}

async fn send(curl: &Curl) -> Result<(u16, Bytes)> {
    let method = curl.method.as_deref().unwrap_or(if curl.data.is_some() { "POST" } else { "GET" });
    let mut request = hyper::Request::builder().method(method).uri(&curl.url);
    for (name, value) in &curl.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(curl.data.clone().unwrap_or_default())))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = client.request(request).await.context("curl: (7) Failed to connect")?;
    let status = response.status().as_u16();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

/// `daemon-reload`, `enable [--now]`, `start`, `stop`, `restart`, `is-active`.
async fn systemctl(arguments: &[&str]) -> Result<()> {
    match arguments {
        // Units are read when they are started; there is nothing to reload.
        ["daemon-reload"] => Ok(()),
        ["enable", "--now", unit] | ["start", unit] => ask("start", unit).await,
        ["stop", unit] => ask("stop", unit).await,
        ["restart", unit] => {
            ask("stop", unit).await?;
            ask("start", unit).await
        }
        ["is-active", unit] => ask("is-active", unit).await,
        other => {
            bail!("the embedded cloud's instances do not know `systemctl {}`", other.join(" "))
        }
    }
}

#[expect(clippy::disallowed_macros, reason = "a tool of the command line prints its result")]
async fn ask(verb: &str, unit: &str) -> Result<()> {
    let (endpoint, token) = (variable("AWS_ENDPOINT_URL")?, variable("STEPPE_INSTANCE_TOKEN")?);
    let url = format!("{endpoint}/_steppe/instances/{token}/systemctl");
    let data = json!({ "verb": verb, "unit": unit }).to_string();
    let request = Curl { data: Some(data), url, ..Curl::default() };
    let (status, body) = send(&request).await?;
    let text = String::from_utf8_lossy(&body);
    if status >= 400 {
        bail!("{text}");
    }
    if !text.is_empty() {
        println!("{text}");
    }
    Ok(())
}

/// `journalctl -u UNIT [-n LINES] [-o cat] [--no-pager]`.
#[expect(clippy::disallowed_macros, reason = "a tool of the command line prints its result")]
fn journalctl(arguments: &[&str]) -> Result<()> {
    let (mut unit, mut lines) = (None, 100usize);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || {
            rest.next().copied().with_context(|| format!("journalctl: {argument} needs a value"))
        };
        match *argument {
            "-u" => unit = Some(value()?),
            "-n" => lines = value()?.parse().context("journalctl: -n needs a number")?,
            "-o" => drop(value()?),
            "--no-pager" => {}
            other => bail!("the embedded cloud's instances do not know `journalctl {other}`"),
        }
    }
    let unit = service_name(unit.context("journalctl: -u is missing")?);
    let unit = unit.map_err(|e| anyhow::anyhow!("journalctl: {e}"))?;
    let journal = PathBuf::from(variable("STEPPE_ROOT")?).join("../journal");
    let files = ["journal", "console"].map(|kind| journal.join(format!("{unit}.{kind}")));
    // A unit that has written nothing has no file.
    let texts = files.map(|f| std::fs::read(f).unwrap_or_default());
    let text = String::from_utf8_lossy(&texts.concat()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).for_each(|l| println!("{}", shown(l)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_may_see_comes_from_standard_input() {
        let mut curl = Curl::parse(&["-sS", "-X", "PUT", "--config", "-"]).expect("valid");
        assert!(curl.configured);
        let text = "# secret\nurl = \"http://x/?a=\\\"b\\\\\"\n\nheader = \"a: b c\"\n";
        curl.configure(text).expect("valid");
        assert_eq!(curl.url, "http://x/?a=\"b\\");
        assert_eq!(curl.headers, [("a".to_owned(), "b c".to_owned())]);
        for wrong in ["insecure", "insecure = x", "url = \"http://x/", "url = \"http://y/\""] {
            assert!(curl.configure(wrong).is_err(), "{wrong}");
        }
        assert!(Curl::parse(&["--config", "/etc/passwd"]).is_err());
    }

    #[test]
    fn curl_knows_what_user_data_needs_and_refuses_the_rest() {
        let curl = Curl::parse(&[
            "-sS",
            "--fail",
            "-X",
            "PUT",
            "-H",
            "Content-Type:",
            "-H",
            "a: b",
            "--data-binary",
            "{}",
            "http://x/",
        ])
        .expect("valid");
        assert_eq!(curl.headers, [("a".to_owned(), "b".to_owned())]);
        assert_eq!(
            (curl.method.as_deref(), curl.fail, curl.url.as_str()),
            (Some("PUT"), Fail::WithoutBody, "http://x/")
        );
        assert!(
            Curl::parse(&["--insecure", "http://x/"])
                .expect_err("unknown")
                .to_string()
                .contains("--insecure")
        );
        for wrong in [&["-X"][..], &["a", "b"], &["-d", "@/etc/passwd", "a"], &["-m", "-1", "a"]] {
            assert!(Curl::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
