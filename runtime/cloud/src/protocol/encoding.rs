//! Requests and answers in AWS's protocols. Handlers see JSON only.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::speech::{Protocol, Speech};
use super::{cbor, form};
use crate::kernel::cloud::epoch_secs;
use crate::kernel::error::{ApiError, ApiResult};

/// The operation and its parameters.
pub fn parse(speech: &Speech, parts: &Parts, body: &[u8]) -> ApiResult<(String, Value)> {
    match speech.protocol {
        Protocol::Query | Protocol::Ec2 => parse_form(body),
        Protocol::Json => parse_json(parts, body),
        Protocol::Cbor => parse_cbor(parts, body),
        Protocol::RestJson | Protocol::RestXml => {
            let operation = format!("{} {}", parts.method, parts.uri.path());
            Err(ApiError::unknown_operation(&speech.service, &operation))
        }
    }
}

fn parse_form(body: &[u8]) -> ApiResult<(String, Value)> {
    let mut params = form::parse(body)?;
    let operation = params["Action"].as_str().unwrap_or_default().to_owned();
    if operation.is_empty() {
        return Err(ApiError::new("MissingAction", "Action is missing."));
    }
    if let Value::Object(fields) = &mut params {
        fields.remove("Action");
        fields.remove("Version");
    }
    Ok((operation, params))
}

fn parse_json(parts: &Parts, body: &[u8]) -> ApiResult<(String, Value)> {
    let target = parts.headers.get("x-amz-target").and_then(|v| v.to_str().ok());
    let operation = target.and_then(|t| t.rsplit('.').next()).ok_or_else(|| {
        ApiError::new("UnknownOperationException", "The header X-Amz-Target is missing.")
    })?;
    if body.is_empty() {
        return Ok((operation.to_owned(), json!({})));
    }
    // The parser bounds the depth itself.
    let params = serde_json::from_slice(body)
        .map_err(|e| ApiError::new("SerializationException", e.to_string()))?;
    Ok((operation.to_owned(), params))
}

fn parse_cbor(parts: &Parts, body: &[u8]) -> ApiResult<(String, Value)> {
    let segments: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    let ["service", _, "operation", operation] = segments.as_slice() else {
        return Err(ApiError::new(
            "UnknownOperationException",
            "The path is not of the form /service/NAME/operation/NAME.",
        ));
    };
    let params = if body.is_empty() { json!({}) } else { cbor::decode(body)? };
    Ok(((*operation).to_owned(), params))
}

/// A successful answer.
pub fn success(speech: &Speech, operation: &str, value: &Value, request_id: &str) -> Response {
    let ok = StatusCode::OK;
    let timed = timed(speech, value);
    let value = timed.as_ref().unwrap_or(value);
    let (kind, body) = match speech.protocol {
        Protocol::Json => (speech.json_type(), value.to_string()),
        Protocol::RestJson => ("application/json", value.to_string()),
        Protocol::Cbor => return cbor_answer(ok, value, request_id),
        Protocol::Query | Protocol::RestXml => {
            let mut body = String::new();
            fields(value, "member", &mut body);
            let namespace = speech.namespace();
            let xml = format!(
                "<{operation}Response xmlns=\"{namespace}\">\
                 <{operation}Result>{body}</{operation}Result>\
                 <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\
                 </{operation}Response>"
            );
            ("text/xml", xml)
        }
        Protocol::Ec2 => {
            let mut body = String::new();
            fields(value, "item", &mut body);
            let namespace = speech.namespace();
            let xml = format!(
                "<{operation}Response xmlns=\"{namespace}\"><requestId>{request_id}</requestId>\
                 {body}</{operation}Response>"
            );
            ("text/xml;charset=UTF-8", xml)
        }
    };
    answer(ok, kind, body, request_id)
}

/// Handlers of services that also speak a query protocol give times as texts of ISO 8601, which
/// the other protocols have as seconds.
fn timed(speech: &Speech, value: &Value) -> Option<Value> {
    let seconds = matches!(speech.protocol, Protocol::Json | Protocol::Cbor);
    (seconds && speech.once_query()).then(|| {
        let mut value = value.clone();
        write_seconds(&mut value);
        value
    })
}

/// As deep as AWS's shapes.
fn write_seconds(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(write_seconds),
        Value::Object(fields) => {
            for (name, value) in fields {
                let time = value.as_str().filter(|_| name.ends_with("Timestamp"));
                match time.and_then(|text| text.parse::<Timestamp>().ok()) {
                    Some(time) => *value = epoch_secs(time).into(),
                    None => write_seconds(value),
                }
            }
        }
        _ => {}
    }
}

/// A failure, with the code and status that the service's clients expect.
pub fn failure(speech: &Speech, error: &ApiError, request_id: &str) -> Response {
    let error = worded(speech, error);
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    let (code, message) = (&error.code, escaped(&error.message));
    let sender = if status.is_server_error() { "Receiver" } else { "Sender" };
    let mut response = match speech.protocol {
        Protocol::Json | Protocol::RestJson => {
            let body =
                json!({ "__type": error.code, "message": error.message, "Message": error.message });
            let kind = if speech.protocol == Protocol::Json {
                speech.json_type()
            } else {
                "application/json"
            };
            answer(status, kind, body.to_string(), request_id)
        }
        Protocol::Cbor => {
            let body = json!({ "__type": error.code, "message": error.message });
            cbor_answer(status, &body, request_id)
        }
        Protocol::Query | Protocol::RestXml => {
            let xml = format!(
                "<ErrorResponse><Error><Type>{sender}</Type><Code>{code}</Code>\
                 <Message>{message}</Message></Error><RequestId>{request_id}</RequestId>\
                 </ErrorResponse>"
            );
            answer(status, "text/xml", xml, request_id)
        }
        Protocol::Ec2 => {
            let xml = format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>\
                 </Errors><RequestID>{request_id}</RequestID></Response>"
            );
            answer(status, "text/xml;charset=UTF-8", xml, request_id)
        }
    };
    if let Ok(code) = HeaderValue::try_from(&error.code)
        && matches!(speech.protocol, Protocol::Json | Protocol::RestJson)
    {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    if let Ok(code) = HeaderValue::try_from(format!("{};{sender}", error.code))
        && matches!(speech.protocol, Protocol::Json | Protocol::Cbor)
        && speech.once_query()
    {
        response.headers_mut().insert("x-amzn-query-error", code);
    }
    response
}

/// A failure in S3's form. `region` is told to clients that signed for another one.
pub fn s3_failure(error: &ApiError, region: &str, request_id: &str) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    let region = if error.code.starts_with("Authorization") {
        format!("<Region>{region}</Region>")
    } else {
        String::new()
    };
    let code = if error.code == "AccessDeniedException" { "AccessDenied" } else { &error.code };
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>{}</Message>{region}<RequestId>{request_id}</RequestId></Error>",
        escaped(&error.message)
    );
    answer(status, "application/xml", xml, request_id)
}

/// Errors of the front door have other names in each protocol.
/// <https://docs.aws.amazon.com/awssupport/latest/APIReference/CommonErrors.html>
fn worded(speech: &Speech, error: &ApiError) -> ApiError {
    let json = matches!(speech.protocol, Protocol::Json | Protocol::RestJson | Protocol::Cbor);
    let code = match (error.code.as_str(), speech.protocol) {
        ("AccessDeniedException", Protocol::Ec2) => {
            let message =
                format!("You are not authorized to perform this operation. {}", error.message);
            return ApiError::new("UnauthorizedOperation", message).with_status(403);
        }
        ("AccessDeniedException", Protocol::Query) if speech.service == "sns" => {
            "AuthorizationError"
        }
        ("AccessDeniedException", Protocol::Query | Protocol::RestXml) => "AccessDenied",
        ("InvalidClientTokenId", _) if json => "UnrecognizedClientException",
        ("SignatureDoesNotMatch", _) if json => "InvalidSignatureException",
        ("IncompleteSignature", _) if json => "IncompleteSignatureException",
        ("MissingAuthenticationToken", _) if json => "MissingAuthenticationTokenException",
        ("ExpiredToken", _) if json => "ExpiredTokenException",
        ("InvalidClientTokenId", Protocol::Ec2) => "AuthFailure",
        (code, _) => code,
    };
    // What is refused is a 400 in the JSON protocols.
    let status =
        if error.status == 403 && matches!(speech.protocol, Protocol::Json | Protocol::Cbor) {
            400
        } else {
            error.status
        };
    ApiError::new(code, error.message.clone()).with_status(status)
}

fn cbor_answer(status: StatusCode, value: &Value, request_id: &str) -> Response {
    let mut response = answer(status, "application/cbor", cbor::encode(value), request_id);
    response.headers_mut().insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    response
}

fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
    request_id: &str,
) -> Response {
    let body = body.into();
    let mut response = (status, [(header::CONTENT_TYPE, content_type)], body).into_response();
    if let Ok(id) = HeaderValue::try_from(request_id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

/// The fields of an object as elements; what is null is left out.
fn fields(value: &Value, item: &str, out: &mut String) {
    for (name, value) in value.as_object().into_iter().flatten() {
        element(name, value, item, out);
    }
}

fn element(name: &str, value: &Value, item: &str, out: &mut String) {
    match value {
        Value::Null => {}
        Value::Array(items) => {
            *out += &format!("<{name}>");
            items.iter().for_each(|i| element(item, i, item, out));
            *out += &format!("</{name}>");
        }
        Value::Object(_) => {
            *out += &format!("<{name}>");
            fields(value, item, out);
            *out += &format!("</{name}>");
        }
        Value::String(text) => *out += &format!("<{name}>{}</{name}>", escaped(text)),
        other => *out += &format!("<{name}>{other}</{name}>"),
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '\n' | '\t' => out.push(c),
            '\r' => out += "&#13;",
            // Not allowed in XML at all.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_elements() {
        let mut xml = String::new();
        fields(&json!({ "A": [{ "B": "x<y" }], "C": null, "D": true }), "member", &mut xml);
        assert_eq!(xml, "<A><member><B>x&lt;y</B></member></A><D>true</D>");
    }

    #[test]
    fn a_denial_has_the_words_of_its_protocol() {
        let denied = ApiError::new("AccessDeniedException", "User: …").with_status(403);
        let said = |service: &str, protocol: Protocol| {
            let error = worded(&Speech { service: service.to_owned(), protocol }, &denied);
            (error.code, error.status)
        };
        assert_eq!(said("glue", Protocol::Json), ("AccessDeniedException".to_owned(), 400));
        assert_eq!(said("lambda", Protocol::RestJson), ("AccessDeniedException".to_owned(), 403));
        assert_eq!(said("iam", Protocol::Query), ("AccessDenied".to_owned(), 403));
        assert_eq!(said("sns", Protocol::Query), ("AuthorizationError".to_owned(), 403));
        assert_eq!(said("ec2", Protocol::Ec2), ("UnauthorizedOperation".to_owned(), 403));
    }
}
