//! The commands that an instance has of the cloud: `aws s3 cp`, `curl`, `systemctl`, `journalctl`.
//!
//! They know what user data needs. Anything else is an error that names it.

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

/// Runs a command.
pub async fn run(tool: &str, arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match tool {
        "aws" => aws(&arguments).await,
        "curl" => curl(&arguments).await,
        "systemctl" => systemctl(&arguments).await,
        "journalctl" => journalctl(&arguments),
        other => bail!("the embedded cloud's instances have no command `{other}`"),
    }
}

/// `aws s3 cp s3://bucket/key FILE`, with the instance's credentials from its metadata service.
async fn aws(arguments: &[&str]) -> Result<()> {
    let positional: Vec<&str> =
        arguments.iter().copied().filter(|a| *a != "--only-show-errors").collect();
    let ["s3", "cp", source, target] = positional.as_slice() else {
        bail!(
            "the embedded cloud's instances have `aws s3 cp s3://BUCKET/KEY FILE [--only-show-errors]`, not `aws {}`",
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
    fail: bool,
    fail_with_body: bool,
    retries: u32,
    max_time: Option<f64>,
    url: String,
}

impl Curl {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut curl = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || {
                rest.next()
                    .copied()
                    .with_context(|| format!("curl: the option {argument} needs a value"))
            };
            match *argument {
                "-s" | "-S" | "-sS" | "--silent" | "--show-error" => {}
                "-f" | "--fail" => curl.fail = true,
                "--fail-with-body" => curl.fail_with_body = true,
                "--retry" => {
                    curl.retries = value()?.parse().context("curl: --retry needs a number")?;
                }
                "-X" | "--request" => curl.method = Some(value()?.to_owned()),
                "-H" | "--header" => {
                    let header = value()?;
                    let (name, value) = header
                        .split_once(':')
                        .with_context(|| format!("curl: `{header}` is not a header"))?;
                    // A header without value is not sent, as curl has it.
                    if !value.trim().is_empty() {
                        curl.headers.push((name.trim().to_owned(), value.trim().to_owned()));
                    }
                }
                "--data-binary" | "-d" | "--data" => curl.data = Some(value()?.to_owned()),
                "-o" | "--output" => curl.output = Some(value()?.into()),
                "--max-time" | "-m" => {
                    curl.max_time = Some(
                        value()?.parse().context("curl: --max-time needs a number of seconds")?,
                    )
                }
                option if option.starts_with('-') => {
                    bail!("curl: the embedded cloud's instances do not know the option {option}")
                }
                url => curl.url = url.to_owned(),
            }
        }
        if curl.url.is_empty() { bail!("curl: no URL given") } else { Ok(curl) }
    }
}

async fn curl(arguments: &[&str]) -> Result<()> {
    let curl = Curl::parse(arguments)?;
    let limit = Duration::from_secs_f64(curl.max_time.unwrap_or(60.0));
    let (mut attempts, mut pause) = (0, Duration::from_secs(1));
    let (status, body) = loop {
        let (status, body) = tokio::time::timeout(limit, send(&curl))
            .await
            .context("curl: (28) the operation timed out")??;
        // What curl's manual calls transient.
        let transient = matches!(status, 408 | 429 | 500 | 502 | 503 | 504);
        if !transient || attempts == curl.retries {
            break (status, body);
        }
        attempts += 1;
        tokio::time::sleep(pause).await;
        pause *= 2;
    };
    if curl.fail && status >= 400 {
        bail!("curl: (22) The requested URL returned error: {status}");
    }
    if curl.fail_with_body && status >= 400 {
        let body = String::from_utf8_lossy(&body);
        bail!("curl: (22) The requested URL returned error: {status}\n{body}");
    }
    match &curl.output {
        Some(file) if file.as_os_str() == "/dev/null" => Ok(()),
        Some(file) => std::fs::write(file, body)
            .with_context(|| format!("curl: cannot write {}", file.display())),
        None => {
            use std::io::Write;
            Ok(std::io::stdout().write_all(&body)?)
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

async fn ask(verb: &str, unit: &str) -> Result<()> {
    let url = std::env::var("STEPPE_INSTANCE_URL")
        .context("this is not an instance of the embedded cloud")?;
    let data = json!({ "verb": verb, "unit": unit }).to_string();
    let request = Curl { data: Some(data), url: format!("{url}/systemctl"), ..Curl::default() };
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
fn journalctl(arguments: &[&str]) -> Result<()> {
    let (mut unit, mut lines) = (None, 100usize);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || {
            rest.next().copied().with_context(|| format!("journalctl: {argument} needs a value"))
        };
        match *argument {
            "-u" => unit = Some(value()?.trim_end_matches(".service").to_owned()),
            "-n" => lines = value()?.parse().context("journalctl: -n needs a number")?,
            "-o" => drop(value()?),
            "--no-pager" => {}
            other => bail!("the embedded cloud's instances do not know `journalctl {other}`"),
        }
    }
    let root =
        std::env::var("STEPPE_ROOT").context("this is not an instance of the embedded cloud")?;
    let file = PathBuf::from(root)
        .join("..")
        .join(format!("{}.log", unit.context("journalctl: -u is missing")?));
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).for_each(|l| println!("{l}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (Some("PUT"), true, "http://x/")
        );
        assert!(
            Curl::parse(&["--insecure", "http://x/"])
                .expect_err("unknown")
                .to_string()
                .contains("--insecure")
        );
        assert!(Curl::parse(&["-X"]).is_err());
    }
}
