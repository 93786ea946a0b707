//! JSON with the operation in the path: parts of an input are in the path, the query, headers and
//! the body, as the model says.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html>

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::{answer, form, percent_decode};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::model::{Member, Model, Operation, Shape, Structure};

/// The operation of a request and the parts of its input that are in the path.
fn route<'m>(model: &'m Model, parts: &Parts) -> Option<(&'m str, Vec<(String, String)>)> {
    let path = parts.uri.path().trim_matches('/');
    model.operations().find_map(|(name, operation)| {
        let same_method = operation.http.method == parts.method.as_str();
        let labels = labels(&operation.http.request_uri, path).filter(|_| same_method)?;
        Some((name, labels))
    })
}

/// What stands in a path for the labels of its template.
fn labels(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let template = template.split('?').next()?.trim_matches('/');
    let (wanted, given) = (template.split('/'), path.split('/').map(percent_decode));
    let (wanted, given): (Vec<&str>, Vec<String>) = (wanted.collect(), given.collect());
    if wanted.len() != given.len() {
        return None;
    }
    let mut labels = Vec::new();
    for (wanted, given) in wanted.into_iter().zip(given) {
        match wanted.strip_prefix('{').and_then(|label| label.strip_suffix('}')) {
            Some(label) if !given.is_empty() => labels.push((label.to_owned(), given)),
            None if wanted == given => {}
            _ => return None,
        }
    }
    Some(labels)
}

/// Reads a request: the operation and its input.
pub fn read(
    service: &str,
    model: &Model,
    parts: &Parts,
    body: &[u8],
) -> ApiResult<(String, Value)> {
    let (operation, labels) = route(model, parts).ok_or_else(|| {
        ApiError::unknown_operation(service, &format!("{} {}", parts.method, parts.uri.path()))
    })?;
    let none = Structure::default();
    let mut reader =
        Reader { model, input: model.input(operation).unwrap_or(&none), read: Map::new() };
    reader.body(body)?;
    for (label, text) in &labels {
        reader.part("uri", label, text);
    }
    for (name, value) in &parts.headers {
        if let Ok(text) = value.to_str() {
            reader.part("header", name.as_str(), text);
        }
    }
    let query = parts.uri.query().unwrap_or_default();
    for (name, text) in url::form_urlencoded::parse(query.as_bytes()) {
        if !reader.part("querystring", &name, &text) {
            return Err(ApiError::unknown_parameter(&name, &format!("{service}:{operation}")));
        }
    }
    Ok((operation.to_owned(), Value::Object(reader.read)))
}

struct Reader<'m> {
    model: &'m Model,
    input: &'m Structure,
    read: Map<String, Value>,
}

impl Reader<'_> {
    fn body(&mut self, body: &[u8]) -> ApiResult<()> {
        match &self.input.payload {
            Some(payload) if is_blob(self.model, self.input, payload) => {
                if !body.is_empty() {
                    self.read.insert(payload.clone(), BASE64.encode(body).into());
                }
            }
            Some(payload) => drop(self.read.insert(payload.clone(), json_of(body)?)),
            None => match json_of(body)? {
                Value::Object(members) => self.read = named(self.input, members),
                _ => {
                    let message = "The body is not a structure.";
                    return Err(ApiError::new("SerializationException", message));
                }
            },
        }
        Ok(())
    }

    /// A part of the input at `location`; whether the operation knows it.
    fn part(&mut self, location: &str, wire: &str, text: &str) -> bool {
        let is_it = |(name, member): &(&String, &Member)| {
            member.location.as_deref() == Some(location)
                && member.wire_name(name).eq_ignore_ascii_case(wire)
        };
        let Some((name, member)) = self.input.members.iter().find(is_it) else { return false };
        let value = match self.model.of(member) {
            Some(Shape::List(list)) => {
                let item = self.typed(&list.member, text);
                let mut all = self.read.get(name).and_then(Value::as_array).cloned();
                all.get_or_insert_default().push(item);
                Value::from(all)
            }
            _ => self.typed(member, text),
        };
        self.read.insert(name.clone(), value);
        true
    }

    fn typed(&self, member: &Member, text: &str) -> Value {
        self.model.of(member).map_or_else(|| text.into(), |shape| form::typed(shape, text))
    }
}

fn is_blob(model: &Model, structure: &Structure, member: &str) -> bool {
    let member = structure.members.get(member);
    matches!(member.and_then(|member| model.of(member)), Some(Shape::Blob(_)) | None)
}

fn json_of(body: &[u8]) -> ApiResult {
    if body.is_empty() {
        return Ok(json!({}));
    }
    // The parser bounds the depth itself.
    serde_json::from_slice(body).map_err(|e| ApiError::new("SerializationException", e.to_string()))
}

/// Members of a body by their names in the model.
fn named(input: &Structure, members: Map<String, Value>) -> Map<String, Value> {
    let own = |wire: String| {
        let mut all = input.members.iter();
        let found = all.find(|(name, m)| m.location.is_none() && m.wire_name(name) == wire);
        found.map_or(wire, |(name, _)| name.clone())
    };
    members.into_iter().map(|(name, value)| (own(name), value)).collect()
}

/// Writes the answer of an operation; the error is the path of a member that AWS does not know.
pub fn write(model: &Model, operation: &str, value: &Value) -> Result<Response, String> {
    let none = Structure::default();
    let output = model.output(operation).unwrap_or(&none);
    let mut status = model.operation(operation).map_or(200, |o: &Operation| o.http.response_code);
    let (mut headers, mut members) = (Vec::new(), Map::new());
    for (name, value) in value.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()) {
        let member = output.members.get(name).ok_or_else(|| name.clone())?;
        match member.location.as_deref() {
            Some("statusCode") => {
                status = value.as_u64().and_then(|s| u16::try_from(s).ok()).unwrap_or(status);
            }
            Some(_) => headers.push((member.wire_name(name).to_owned(), answer::text(value))),
            None => drop(members.insert(name.clone(), value.clone())),
        }
    }
    let body = match &output.payload {
        Some(payload) if is_blob(model, output, payload) => {
            let text = members.get(payload).and_then(Value::as_str).unwrap_or_default();
            BASE64.decode(text).map_err(|_| payload.clone())?
        }
        Some(payload) => {
            let written = answer::json(model, output, &Value::Object(members))?;
            written[payload].to_string().into_bytes()
        }
        None => answer::json(model, output, &Value::Object(members))?.to_string().into_bytes(),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let body = if status == StatusCode::NO_CONTENT { Body::empty() } else { Body::from(body) };
    // Bytes that are a body of their own are those of functions, which answer in JSON.
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn paths_are_told_by_their_templates() {
        let template = "/2015-03-31/functions/{FunctionName}/invocations";
        let of = |path: &str| labels(template, path);
        let one = |name: &str| Some(vec![("FunctionName".to_owned(), name.to_owned())]);
        assert_eq!(of("2015-03-31/functions/f/invocations"), one("f"));
        assert_eq!(of("2015-03-31/functions/a%2Fb/invocations"), one("a/b"));
        assert_eq!(of("2015-03-31/functions//invocations"), None);
        assert_eq!(of("2015-03-31/functions/f"), None);
    }
}
