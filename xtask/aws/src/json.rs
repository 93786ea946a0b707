//! Single calls of services whose client crates would cost minutes of compiling: JSON, signed.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::ErrorMetadata;
use serde_json::{Value, json};

use crate::{Aws, AwsError, Result};

/// A service that speaks AWS's JSON protocol.
struct Service {
    /// In host names and signatures.
    name: &'static str,
    /// Before the operation in `X-Amz-Target`.
    target: &'static str,
    /// Version of the protocol.
    version: &'static str,
}

const SSM: Service = Service { name: "ssm", target: "AmazonSSM", version: "1.1" };
const EVENTS: Service = Service { name: "events", target: "AWSEvents", version: "1.1" };
const MONITORING: Service =
    Service { name: "monitoring", target: "GraniteServiceVersion20100801", version: "1.0" };

impl Aws {
    /// The value of a parameter of the Systems Manager.
    pub async fn parameter(&self, name: &str) -> Result<String> {
        let call = "ssm:GetParameter";
        let answer = self.json(call, &SSM, json!({ "Name": name })).await?;
        let value = answer["Parameter"]["Value"].as_str().map(str::to_owned);
        value.ok_or_else(|| AwsError::local(call, format!("`{name}` has no value")))
    }

    /// Whether a rule of EventBridge exists.
    pub(crate) async fn rule_exists(&self, name: &str) -> Result<bool> {
        let answer = self.json("events:DescribeRule", &EVENTS, json!({ "Name": name })).await;
        AwsError::as_existence(answer)
    }

    /// Which of these alarms exist.
    pub(crate) async fn alarms(&self, names: &[String]) -> Result<Vec<String>> {
        let asked = json!({ "AlarmNames": names });
        let answer = self.json("cloudwatch:DescribeAlarms", &MONITORING, asked).await?;
        let alarms = answer["MetricAlarms"].as_array().into_iter().flatten();
        Ok(alarms.filter_map(|a| a["AlarmName"].as_str()).map(str::to_owned).collect())
    }

    async fn json(&self, call: &'static str, service: &Service, input: Value) -> Result<Value> {
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
        let request = signed(&endpoint, &self.region, service, operation, &input, credentials)
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
        operation.invoke(request).await.map_err(|e| AwsError::new(call, e))
    }
}

fn signed(
    endpoint: &str,
    region: &str,
    service: &Service,
    operation: &str,
    input: &Value,
    credentials: Credentials,
) -> std::result::Result<HttpRequest, BoxError> {
    let body = input.to_string();
    let url = format!("{}/", endpoint.trim_end_matches('/'));
    let mut request = HttpRequest::new(SdkBody::from(body.clone()));
    request.set_method("POST")?;
    request.set_uri(url.as_str())?;
    let content_type = format!("application/x-amz-json-{}", service.version);
    let target = format!("{}.{operation}", service.target);
    let headers = [("content-type", content_type), ("x-amz-target", target)];
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service.name)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let signable = SignableRequest::new(
        "POST",
        &url,
        headers.iter().map(|(name, value)| (*name, value.as_str())),
        SignableBody::Bytes(body.as_bytes()),
    )?;
    let (instructions, _) = sign(signable, &params)?.into_parts();
    for (name, value) in headers {
        request.headers_mut().insert(name, value);
    }
    for (name, value) in instructions.headers() {
        request.headers_mut().insert(name.to_owned(), value.to_owned());
    }
    Ok(request)
}

fn answer(response: &HttpResponse) -> std::result::Result<Value, OrchestratorError<ErrorMetadata>> {
    let body = response.body().bytes().unwrap_or_default();
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    if response.status().is_success() {
        return Ok(value);
    }
    let mut error = ErrorMetadata::builder();
    // `com.amazonaws.ssm#ParameterNotFound`, or the name alone.
    if let Some(code) = value["__type"].as_str().and_then(|t| t.rsplit('#').next()) {
        error = error.code(code);
    }
    if let Some(message) = value["message"].as_str().or_else(|| value["Message"].as_str()) {
        error = error.message(message);
    }
    Err(OrchestratorError::operation(error.build()))
}
