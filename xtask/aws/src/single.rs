//! Single calls of services whose client crates would cost minutes of compiling: signed, and in the
//! protocol of the service.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::ErrorMetadata;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Aws, AwsError, Result};

/// Pages of one list.
const PAGES_MAX: usize = 10_000;
/// Times that a call is made.
const TRIES: u32 = 4;
/// Wait before the second try; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// A service.
pub struct Service {
    /// In host names and signatures.
    pub name: &'static str,
    /// What it speaks.
    pub protocol: Protocol,
}

/// How a service is spoken to.
pub enum Protocol {
    /// JSON in and out.
    Json {
        /// Before the operation in `X-Amz-Target`.
        target: &'static str,
        /// Version of the protocol.
        version: &'static str,
    },
    /// A form in, XML out.
    Query {
        /// Version of the API.
        version: &'static str,
    },
}

impl Service {
    /// A service that speaks JSON.
    pub const fn json(name: &'static str, target: &'static str, version: &'static str) -> Self {
        Self { name, protocol: Protocol::Json { target, version } }
    }
}

/// A request before it is signed.
struct Request {
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Aws {
    /// Calls a service that speaks JSON.
    pub(crate) async fn json(
        &self,
        call: &'static str,
        service: &Service,
        input: Value,
    ) -> Result<Value> {
        let body = self.single(call, service, input.to_string()).await?;
        serde_json::from_str(&body).map_err(|e| AwsError::local(call, format!("no JSON: {e}")))
    }

    /// Calls a service that speaks JSON page by page; `token` is the member that asks for the next
    /// one. Ends early when `take` wants no more.
    pub(crate) async fn json_pages(
        &self,
        call: &'static str,
        service: &Service,
        mut input: Value,
        token: &str,
        mut take: impl FnMut(Value) -> bool,
    ) -> Result<()> {
        for _ in 0..PAGES_MAX {
            let mut page = self.json(call, service, input.clone()).await?;
            let next = page[token].take();
            if !take(page) || next.as_str().is_none_or(str::is_empty) {
                return Ok(());
            }
            input[token] = next;
        }
        Err(AwsError::local(call, format!("there are more than {PAGES_MAX} pages")))
    }

    /// Calls a service that speaks the query protocol; its answer is read as `T`.
    pub(crate) async fn form<T: DeserializeOwned>(
        &self,
        call: &'static str,
        service: &Service,
        params: &[(&str, &str)],
    ) -> Result<T> {
        let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs = params.iter().map(|(name, value)| format!("&{name}={}", escaped(value)));
        let body = self.single(call, service, pairs.collect()).await?;
        quick_xml::de::from_str(&body).map_err(|e| AwsError::local(call, format!("no answer: {e}")))
    }

    /// Calls, again when it may succeed a moment later.
    async fn single(&self, call: &'static str, service: &Service, input: String) -> Result<String> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.once(call, service, &input).await {
                Err(error) if error.is_passing() => tokio::time::sleep(pause).await,
                answered => return answered,
            }
            pause *= 2;
        }
        self.once(call, service, &input).await
    }

    async fn once(&self, call: &'static str, service: &Service, input: &str) -> Result<String> {
        let provider = self
            .config
            .credentials_provider()
            .ok_or_else(|| AwsError::local(call, "there are no credentials"))?;
        let credentials = provider
            .provide_credentials()
            .await
            .map_err(|e| AwsError::without_credentials(call, &e))?;
        let endpoint = self.config.endpoint_url().map(str::to_owned).unwrap_or_else(|| {
            let suffix = self.partition.dns_suffix();
            format!("https://{}.{}.{suffix}", service.name, self.region)
        });
        let operation = call.split(':').next_back().unwrap_or(call);
        let request = request(&service.protocol, operation, input);
        let signed = signed(&endpoint, &self.region, service.name, request, credentials)
            .map_err(|e| AwsError::local(call, format!("the request cannot be made: {e}")))?;
        let mut builder = Operation::builder()
            .service_name(service.name)
            .operation_name(operation)
            .endpoint_url(&endpoint)
            .no_auth()
            .no_retry();
        if let Some(client) = self.config.http_client() {
            builder = builder.http_client(client);
        }
        let operation =
            builder.serializer(|request: HttpRequest| Ok(request)).deserializer(answer).build();
        operation.invoke(signed).await.map_err(|e| AwsError::new(call, e))
    }
}

/// The members of a list in an answer; none when it is not there.
pub(crate) fn members(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The text of a member of an answer.
pub(crate) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn request(protocol: &Protocol, operation: &str, input: &str) -> Request {
    match protocol {
        Protocol::Json { target, version } => Request {
            headers: vec![
                ("content-type", format!("application/x-amz-json-{version}")),
                ("x-amz-target", format!("{target}.{operation}")),
            ],
            body: input.to_owned(),
        },
        Protocol::Query { version } => Request {
            headers: vec![("content-type", "application/x-www-form-urlencoded".to_owned())],
            body: format!("Action={operation}&Version={version}{input}"),
        },
    }
}

#[expect(clippy::disallowed_methods, reason = "signatures take the system's clock")]
fn signed(
    endpoint: &str,
    region: &str,
    service: &str,
    made: Request,
    credentials: Credentials,
) -> std::result::Result<HttpRequest, BoxError> {
    let url = format!("{}/", endpoint.trim_end_matches('/'));
    let mut request = HttpRequest::new(SdkBody::from(made.body.clone()));
    request.set_method("POST")?;
    request.set_uri(url.as_str())?;
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let signable = SignableRequest::new(
        "POST",
        &url,
        made.headers.iter().map(|(name, value)| (*name, value.as_str())),
        SignableBody::Bytes(made.body.as_bytes()),
    )?;
    let (instructions, _) = sign(signable, &params)?.into_parts();
    for (name, value) in made.headers {
        request.headers_mut().insert(name, value);
    }
    for (name, value) in instructions.headers() {
        request.headers_mut().insert(name.to_owned(), value.to_owned());
    }
    Ok(request)
}

/// An error's document of the query protocols: EC2 has a list of errors, others have one.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    errors: Option<Errors>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Errors {
    error: Failure,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    code: Option<String>,
    message: Option<String>,
}

fn answer(
    response: &HttpResponse,
) -> std::result::Result<String, OrchestratorError<ErrorMetadata>> {
    let body = String::from_utf8_lossy(response.body().bytes().unwrap_or_default()).into_owned();
    if response.status().is_success() {
        return Ok(body);
    }
    let Failure { code, message } = failure(&body);
    let mut error = ErrorMetadata::builder();
    if let Some(code) = code {
        error = error.code(code);
    }
    if let Some(message) = message {
        error = error.message(message);
    }
    Err(OrchestratorError::operation(error.build()))
}

fn failure(body: &str) -> Failure {
    if let Ok(refusal) = quick_xml::de::from_str::<Refusal>(body) {
        return refusal.errors.map(|e| e.error).or(refusal.error).unwrap_or_default();
    }
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    // `com.amazonaws.ssm#ParameterNotFound`, or the name alone.
    let code = value["__type"].as_str().and_then(|t| t.rsplit('#').next());
    let message = value["message"].as_str().or_else(|| value["Message"].as_str());
    Failure { code: code.map(str::to_owned), message: message.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &str) -> (String, String) {
        let Failure { code, message } = failure(body);
        (code.unwrap_or_default(), message.unwrap_or_default())
    }

    #[test]
    fn errors_are_read_in_every_protocol() {
        let expected = ("Gone".to_owned(), "it is".to_owned());
        for body in [
            "<Response><Errors><Error><Code>Gone</Code><Message>it is</Message></Error></Errors>\
             <RequestID>1</RequestID></Response>",
            "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender\
             </Type><Code>Gone</Code><Message>it is</Message></Error></ErrorResponse>",
            r#"{"__type":"com.amazonaws.glue#Gone","Message":"it is"}"#,
            r#"{"__type":"Gone","message":"it is"}"#,
        ] {
            assert_eq!(told(body), expected, "{body}");
        }
        assert_eq!(told("no answer"), (String::new(), String::new()));
    }
}
