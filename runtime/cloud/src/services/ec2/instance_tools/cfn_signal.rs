//! `cfn-signal`: tells a creation policy, or the handle of a wait condition, how it went.
//!
//! As on AWS an instance needs no right for it but its own identity, and may signal only resources
//! of the stack that it belongs to.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/cfn-signal.html>

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::{Curl, send, variable};

/// What is to be told to whom.
#[derive(Debug, Default, PartialEq, Eq)]
struct Signal {
    failed: bool,
    stack: String,
    resource: String,
    unique_id: Option<String>,
    reason: String,
    data: String,
    /// The handle of a wait condition.
    handle: Option<String>,
}

impl Signal {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut signal = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (name, inline) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value)),
                _ => (*argument, None),
            };
            let mut value = || {
                let next = inline.or_else(|| rest.next().copied());
                next.with_context(|| format!("cfn-signal: {name} needs a value"))
            };
            match name {
                "-e" | "--exit-code" => signal.failed |= value()? != "0",
                "-s" | "--success" => signal.failed |= value()? != "true",
                "-i" | "--id" => signal.unique_id = Some(value()?.to_owned()),
                "-r" | "--reason" => signal.reason = value()?.to_owned(),
                "-d" | "--data" => signal.data = value()?.to_owned(),
                "--stack" => signal.stack = value()?.to_owned(),
                "--resource" => signal.resource = value()?.to_owned(),
                "--region" => drop(value()?),
                url if !url.starts_with('-') && signal.handle.is_none() => {
                    signal.handle = Some(url.to_owned());
                }
                other => bail!("the embedded cloud's instances do not know `cfn-signal {other}`"),
            }
        }
        match (&signal.handle, signal.stack.is_empty() || signal.resource.is_empty()) {
            (Some(_), _) | (None, false) => Ok(signal),
            (None, true) => bail!("cfn-signal: give a handle, or --stack and --resource"),
        }
    }

    fn status(&self) -> &'static str {
        if self.failed { "FAILURE" } else { "SUCCESS" }
    }

    fn request(&self) -> Result<Curl> {
        let status = self.status();
        let (method, url, data) = match &self.handle {
            Some(handle) => {
                let unique = self.unique_id.clone().unwrap_or_else(|| "instance".to_owned());
                let data = json!({
                    "Status": status, "UniqueId": unique, "Data": self.data,
                    "Reason": self.reason,
                });
                ("PUT", handle.clone(), data)
            }
            None => {
                let (endpoint, token) =
                    (variable("AWS_ENDPOINT_URL")?, variable("STEPPE_INSTANCE_TOKEN")?);
                let data = json!({
                    "stack": self.stack, "resource": self.resource, "status": status,
                    "uniqueId": self.unique_id,
                });
                ("POST", format!("{endpoint}/_steppe/instances/{token}/signal"), data)
            }
        };
        let (method, data) = (Some(method.to_owned()), Some(data.to_string()));
        Ok(Curl { method, data, url, ..Curl::default() })
    }
}

/// Runs the command.
pub async fn run(arguments: &[&str]) -> Result<()> {
    let (status, body) = send(&Signal::parse(arguments)?.request()?).await?;
    if status >= 400 {
        bail!("{}", String::from_utf8_lossy(&body));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_user_data_says_is_understood_and_the_rest_refused() {
        let words = ["-e", "1", "--stack", "s", "--resource=R", "--region", "us-east-1"];
        let signal = Signal::parse(&words).expect("valid");
        assert_eq!((signal.stack.as_str(), signal.resource.as_str()), ("s", "R"));
        assert_eq!(signal.status(), "FAILURE");
        let signal = Signal::parse(&["-s", "true", "-r", "well", "http://x/"]).expect("valid");
        assert_eq!((signal.status(), signal.handle.as_deref()), ("SUCCESS", Some("http://x/")));
        let request = signal.request().expect("a request");
        assert!(request.data.expect("a body").contains(r#""Reason":"well""#));
        for wrong in [&[][..], &["--stack", "s"], &["--role", "r"], &["-e"]] {
            assert!(Signal::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
