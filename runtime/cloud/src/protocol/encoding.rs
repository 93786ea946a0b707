//! Requests and answers in AWS's protocols. Services see JSON only: members by the names of AWS's
//! models, numbers and booleans as such, bytes in base64, moments in seconds since 1970.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::{self, escaped};
use super::cbor::Times;
use super::form::{self, Names};
use super::speech::{Protocol, Speech};
use super::{cbor, rest};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::model::{Model, Structure};
use crate::services;

/// The content type of CBOR whose operation is in a header.
const CBOR_TARGET_TYPE: &str = "application/x-amz-cbor-1.1";

/// The operation and its input.
pub fn parse(speech: &Speech, parts: &Parts, body: &[u8]) -> ApiResult<(String, Value)> {
    let model = services::find(&speech.service).map(|service| (service.model)());
    match speech.protocol {
        Protocol::Query => parse_form(model, Names::Query, body),
        Protocol::Ec2 => parse_form(model, Names::Ec2, body),
        Protocol::Json => parse_json(parts, body),
        Protocol::Cbor => parse_cbor(parts, body),
        Protocol::CborTarget => {
            let params =
                if body.is_empty() { json!({}) } else { cbor::decode(body, Times::Millis)? };
            Ok((target(parts)?, params))
        }
        Protocol::RestJson | Protocol::RestXml => match model {
            Some(model) => rest::read(&speech.service, model, parts, body),
            None => {
                let operation = format!("{} {}", parts.method, parts.uri.path());
                Err(ApiError::unknown_operation(&speech.service, &operation))
            }
        },
    }
}

fn parse_form(model: Option<&Model>, names: Names, body: &[u8]) -> ApiResult<(String, Value)> {
    let mut form = form::parse(body)?;
    form.take("Version");
    let operation = form.take("Action").filter(|action| !action.is_empty());
    let operation =
        operation.ok_or_else(|| ApiError::new("MissingAction", "Action is missing."))?;
    let input = model.and_then(|model| Some((model, model.input(&operation)?)));
    // What is not here is refused when it is called.
    let input = match input {
        Some((model, input)) => form::Reader { model, names }.structure(input, &form)?,
        None => form.raw(),
    };
    Ok((operation, input))
}

fn parse_json(parts: &Parts, body: &[u8]) -> ApiResult<(String, Value)> {
    let operation = target(parts)?;
    if body.is_empty() {
        return Ok((operation, json!({})));
    }
    // The parser bounds the depth itself.
    let params = serde_json::from_slice(body)
        .map_err(|e| ApiError::new("SerializationException", e.to_string()))?;
    Ok((operation, params))
}

/// The operation that a header names.
fn target(parts: &Parts) -> ApiResult<String> {
    let target = parts.headers.get("x-amz-target").and_then(|v| v.to_str().ok());
    let operation = target.and_then(|t| t.rsplit('.').next()).map(str::to_owned);
    operation.ok_or_else(|| {
        ApiError::new("UnknownOperationException", "The header X-Amz-Target is missing.")
    })
}

fn parse_cbor(parts: &Parts, body: &[u8]) -> ApiResult<(String, Value)> {
    let segments: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    let ["service", _, "operation", operation] = segments.as_slice() else {
        return Err(ApiError::new(
            "UnknownOperationException",
            "The path is not of the form /service/NAME/operation/NAME.",
        ));
    };
    let params = if body.is_empty() { json!({}) } else { cbor::decode(body, Times::Seconds)? };
    Ok(((*operation).to_owned(), params))
}

/// A successful answer.
pub fn success(
    speech: &Speech,
    operation: &str,
    value: &Value,
    request_id: &str,
) -> Result<Response, ApiError> {
    written(speech, operation, value, request_id).map_err(|member| {
        let what = format!("the answer of {}:{operation} has a member", speech.service);
        ApiError::internal(format!("{what} that AWS does not have: {member}"))
    })
}

fn written(
    speech: &Speech,
    operation: &str,
    value: &Value,
    request_id: &str,
) -> Result<Response, String> {
    let model = services::find(&speech.service).map(|service| (service.model)());
    let model = model.ok_or("the whole")?;
    let none = Structure::default();
    let output = model.output(operation).unwrap_or(&none);
    let ok = StatusCode::OK;
    Ok(match speech.protocol {
        Protocol::Json => {
            let body = answer::json(model, output, value)?.to_string();
            respond(ok, speech.json_type(), body, request_id)
        }
        Protocol::Cbor => {
            cbor_answer(ok, cbor::encode(model, output, value, Times::Seconds)?, request_id)
        }
        Protocol::CborTarget => {
            let body = cbor::encode(model, output, value, Times::Millis)?;
            respond(ok, CBOR_TARGET_TYPE, body, request_id)
        }
        Protocol::RestJson | Protocol::RestXml => {
            with_id(rest::write(model, operation, value)?, request_id)
        }
        Protocol::Query => {
            let (mut body, namespace) = (String::new(), speech.namespace());
            answer::xml(model, output, value, &mut body)?;
            let xml = format!(
                "<{operation}Response xmlns=\"{namespace}\">\
                 <{operation}Result>{body}</{operation}Result>\
                 <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\
                 </{operation}Response>"
            );
            respond(ok, "text/xml", xml, request_id)
        }
        Protocol::Ec2 => {
            let (mut body, namespace) = (String::new(), speech.namespace());
            answer::xml(model, output, value, &mut body)?;
            if output.members.is_empty() {
                body += "<return>true</return>";
            }
            let xml = format!(
                "<{operation}Response xmlns=\"{namespace}\"><requestId>{request_id}</requestId>\
                 {body}</{operation}Response>"
            );
            respond(ok, "text/xml;charset=UTF-8", xml, request_id)
        }
    })
}

/// A failure, with the code and status that the service's clients expect.
pub fn failure(speech: &Speech, error: &ApiError, request_id: &str) -> Response {
    let error = worded(speech, error);
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    let (code, message) = (&error.code, escaped(&error.message));
    let sender = if status.is_server_error() { "Receiver" } else { "Sender" };
    let mut response = match speech.protocol {
        Protocol::Json | Protocol::RestJson => {
            let mut body =
                json!({ "__type": error.code, "message": error.message, "Message": error.message });
            for (name, value) in error.more.iter().flat_map(|more| more.iter()) {
                body[name] = value.clone();
            }
            let kind = if speech.protocol == Protocol::Json {
                speech.json_type()
            } else {
                "application/json"
            };
            respond(status, kind, body.to_string(), request_id)
        }
        Protocol::Cbor => {
            let body = json!({ "__type": error.code, "message": error.message });
            cbor_answer(status, cbor::encode_plain(&body), request_id)
        }
        Protocol::CborTarget => {
            let body = json!({ "__type": error.code, "message": error.message });
            respond(status, CBOR_TARGET_TYPE, cbor::encode_plain(&body), request_id)
        }
        Protocol::Query | Protocol::RestXml => {
            let xml = format!(
                "<ErrorResponse><Error><Type>{sender}</Type><Code>{code}</Code>\
                 <Message>{message}</Message></Error><RequestId>{request_id}</RequestId>\
                 </ErrorResponse>"
            );
            respond(status, "text/xml", xml, request_id)
        }
        Protocol::Ec2 => {
            let xml = format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>\
                 </Errors><RequestID>{request_id}</RequestID></Response>"
            );
            respond(status, "text/xml;charset=UTF-8", xml, request_id)
        }
    };
    if let Ok(code) = HeaderValue::try_from(&error.code)
        && matches!(speech.protocol, Protocol::Json | Protocol::RestJson | Protocol::CborTarget)
    {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    if matches!(speech.protocol, Protocol::Json | Protocol::Cbor)
        && let Some(once) = once_called(speech, &error.code)
        && let Ok(code) = HeaderValue::try_from(format!("{once};{sender}"))
    {
        response.headers_mut().insert("x-amzn-query-error", code);
    }
    response
}

/// What clients of the query protocol call an error, if the service ever spoke it.
fn once_called<'a>(speech: &Speech, code: &'a str) -> Option<&'a str> {
    let codes = services::find(&speech.service).map(|s| s.query_codes).unwrap_or_default();
    let renamed = codes.iter().find(|(name, _)| *name == code).map(|(_, once)| *once);
    let spoke = speech.once_query() || !codes.is_empty();
    renamed.or_else(|| spoke.then_some(code))
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
    respond(status, "application/xml", xml, request_id)
}

/// Errors of the front door have other names in each protocol.
/// <https://docs.aws.amazon.com/awssupport/latest/APIReference/CommonErrors.html>
fn worded(speech: &Speech, error: &ApiError) -> ApiError {
    let cbor = matches!(speech.protocol, Protocol::Cbor | Protocol::CborTarget);
    let json = cbor || matches!(speech.protocol, Protocol::Json | Protocol::RestJson);
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
        ("ExpiredToken", Protocol::Ec2) => {
            return ApiError::new("RequestExpired", "Request has expired.");
        }
        ("InvalidClientTokenId", Protocol::Ec2) => "AuthFailure",
        (code, _) => code,
    };
    // What is refused is a 400 in the JSON protocols.
    let status = if error.status == 403 && (cbor || speech.protocol == Protocol::Json) {
        400
    } else {
        error.status
    };
    ApiError { status, code: code.to_owned(), ..error.clone() }
}

fn cbor_answer(status: StatusCode, body: Vec<u8>, request_id: &str) -> Response {
    let mut response = respond(status, "application/cbor", body, request_id);
    response.headers_mut().insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    response
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
    request_id: &str,
) -> Response {
    let body = body.into();
    with_id((status, [(header::CONTENT_TYPE, content_type)], body).into_response(), request_id)
}

fn with_id(mut response: Response, request_id: &str) -> Response {
    if let Ok(id) = HeaderValue::try_from(request_id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

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
