//! AWS's protocols: query (XML), EC2's variant of it, and JSON. Handlers see JSON only.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::error::{ApiError, ApiResult};

/// How a service is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Form in, XML out.
    Query,
    /// The same with EC2's names.
    Ec2,
    /// JSON in, JSON out, operation in a header.
    Json,
    /// JSON, operation in the path.
    RestJson,
}

impl Protocol {
    /// The protocol of a service.
    pub fn of(service: &str) -> Self {
        match service {
            "cloudformation" | "sts" | "iam" | "sns" => Self::Query,
            "ec2" => Self::Ec2,
            "lambda" => Self::RestJson,
            _ => Self::Json,
        }
    }
}

/// The operation and its parameters.
pub fn parse(protocol: Protocol, headers: &HeaderMap, body: &[u8]) -> ApiResult<(String, Value)> {
    if matches!(protocol, Protocol::Query | Protocol::Ec2) {
        let mut params = form(body);
        let operation = params["Action"].as_str().unwrap_or_default().to_owned();
        if let Value::Object(fields) = &mut params {
            fields.remove("Action");
            fields.remove("Version");
        }
        return Ok((operation, params));
    }
    let target = headers
        .get("x-amz-target")
        .and_then(|v| v.to_str().ok())
        .and_then(|t| t.rsplit('.').next());
    let operation = target.ok_or_else(|| {
        ApiError::new("UnknownOperationException", "The header X-Amz-Target is missing.")
    })?;
    let params = if body.is_empty() {
        json!({})
    } else {
        serde_json::from_slice(body)
            .map_err(|e| ApiError::new("SerializationException", e.to_string()))?
    };
    Ok((operation.to_owned(), params))
}

/// `Tags.member.1.Key=a` becomes `{"Tags": [{"Key": "a"}]}`.
fn form(body: &[u8]) -> Value {
    let mut root = Value::Object(Map::new());
    for (key, value) in url::form_urlencoded::parse(body) {
        let path: Vec<&str> = key.split('.').filter(|p| *p != "member").collect();
        insert(&mut root, &path, value.as_ref());
    }
    root
}

fn insert(node: &mut Value, path: &[&str], value: &str) {
    let Some((first, rest)) = path.split_first() else {
        *node = value.into();
        return;
    };
    match first.parse::<usize>() {
        // Numbers count from 1; gaps and absurd numbers are not filled up.
        Ok(number) if (1..=10_000).contains(&number) => {
            if !node.is_array() {
                *node = Value::Array(vec![]);
            }
            if let Value::Array(items) = node {
                let index = (number - 1).min(items.len());
                if index == items.len() {
                    items.push(Value::Null);
                }
                insert(&mut items[index], rest, value);
            }
        }
        _ => {
            if !node.is_object() {
                *node = Value::Object(Map::new());
            }
            insert(&mut node[*first], rest, value);
        }
    }
}

/// A successful answer.
pub fn success(
    protocol: Protocol,
    service: &str,
    operation: &str,
    value: &Value,
    request_id: &str,
) -> Response {
    match protocol {
        Protocol::Json => {
            with_type(StatusCode::OK, "application/x-amz-json-1.1", value.to_string(), request_id)
        }
        Protocol::RestJson => {
            with_type(StatusCode::OK, "application/json", value.to_string(), request_id)
        }
        Protocol::Query => {
            let mut body = String::new();
            fields(value, "member", &mut body);
            let namespace = namespace(service);
            let xml = format!(
                "<{operation}Response xmlns=\"{namespace}\"><{operation}Result>{body}</{operation}Result>\
                 <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
            );
            with_type(StatusCode::OK, "text/xml", xml, request_id)
        }
        Protocol::Ec2 => {
            let mut body = String::new();
            fields(value, "item", &mut body);
            let namespace = namespace(service);
            let xml = format!(
                "<{operation}Response xmlns=\"{namespace}\"><requestId>{request_id}</requestId>{body}</{operation}Response>"
            );
            with_type(StatusCode::OK, "text/xml", xml, request_id)
        }
    }
}

fn namespace(service: &str) -> &'static str {
    match service {
        "cloudformation" => "http://cloudformation.amazonaws.com/doc/2010-05-15/",
        "sts" => "https://sts.amazonaws.com/doc/2011-06-15/",
        "iam" => "https://iam.amazonaws.com/doc/2010-05-08/",
        "sns" => "http://sns.amazonaws.com/doc/2010-03-31/",
        _ => "http://ec2.amazonaws.com/doc/2016-11-15/",
    }
}

/// A failure.
pub fn failure(protocol: Protocol, error: &ApiError, request_id: &str) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    match protocol {
        Protocol::Json | Protocol::RestJson => {
            let body =
                json!({ "__type": error.code, "message": error.message, "Message": error.message });
            let mut response =
                with_type(status, "application/x-amz-json-1.1", body.to_string(), request_id);
            if let Ok(code) = header::HeaderValue::try_from(&error.code) {
                response.headers_mut().insert("x-amzn-errortype", code);
            }
            response
        }
        Protocol::Query => {
            // The query protocol calls it AccessDenied.
            let code =
                if error.code == "AccessDeniedException" { "AccessDenied" } else { &error.code };
            let xml = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
                escaped(&error.message)
            );
            with_type(status, "text/xml", xml, request_id)
        }
        Protocol::Ec2 => {
            let xml = format!(
                "<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors><RequestID>{request_id}</RequestID></Response>",
                error.code,
                escaped(&error.message)
            );
            with_type(status, "text/xml", xml, request_id)
        }
    }
}

fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: String,
    request_id: &str,
) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, content_type)], body).into_response();
    if let Ok(id) = header::HeaderValue::try_from(request_id) {
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
            // Not allowed in XML at all.
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_become_nested_values() {
        let value = form(b"Action=X&Tags.member.1.Key=a&Tags.member.2.Key=b%20c&Filter.1.Value.1=v&Filter.1.Name=n");
        assert_eq!(
            value,
            json!({ "Action": "X", "Tags": [{ "Key": "a" }, { "Key": "b c" }], "Filter": [{ "Value": ["v"], "Name": "n" }] })
        );
    }

    #[test]
    fn values_become_elements() {
        let mut xml = String::new();
        fields(&json!({ "A": [{ "B": "x<y" }], "C": null, "D": true }), "member", &mut xml);
        assert_eq!(xml, "<A><member><B>x&lt;y</B></member></A><D>true</D>");
    }
}
