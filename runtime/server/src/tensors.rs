//! Tensors of the Open Inference Protocol: what requests bring, what answers give, and what a model
//! says of both. Nothing here knows what they mean.

use std::borrow::Cow;

use axum::http::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::problems::RequestError;

/// Length of the JSON part of a body that goes on with binary tensors.
pub const JSON_LENGTH: &str = "inference-header-content-length";

/// Type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datatype {
    /// Numbers.
    Fp64,
    /// Texts.
    Bytes,
}

/// A tensor that a model takes or gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its type.
    pub datatype: Datatype,
    /// Its lengths; −1 where any is right.
    pub shape: Vec<i64>,
    /// Whether an output is given only to who names it.
    pub on_request: bool,
}

/// What a model takes and gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// What it takes.
    pub inputs: Vec<Slot>,
    /// What it gives.
    pub outputs: Vec<Slot>,
}

/// What an output holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers.
    Numbers(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}

impl Values {
    /// As JSON has them.
    pub fn json(self) -> Value {
        match self {
            Self::Numbers(numbers) => numbers.into(),
            Self::Texts(texts) => texts.into(),
        }
    }

    /// As the binary extension has them.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Numbers(numbers) => numbers.into_iter().flat_map(f64::to_le_bytes).collect(),
            Self::Texts(texts) => {
                let one = |text: String| {
                    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                    [&length.to_le_bytes()[..], text.as_bytes()].concat()
                };
                texts.into_iter().flat_map(one).collect()
            }
        }
    }
}

impl Datatype {
    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }
}

impl Slot {
    /// One that is always there.
    pub fn new(name: impl Into<Cow<'static, str>>, datatype: Datatype, shape: &[i64]) -> Self {
        Self { name: name.into(), datatype, shape: shape.to_vec(), on_request: false }
    }

    /// As the protocol's metadata have it.
    pub fn metadata(&self) -> Value {
        let datatype = self.datatype.name();
        json!({ "name": self.name, "datatype": datatype, "shape": self.shape })
    }

    /// As Triton's configuration has it.
    pub fn config(&self) -> Value {
        let datatype = match self.datatype {
            Datatype::Fp64 => "TYPE_FP64",
            Datatype::Bytes => "TYPE_STRING",
        };
        json!({ "name": self.name, "data_type": datatype, "dims": self.shape })
    }
}

/// An inference request.
#[derive(Debug, Deserialize)]
pub struct InferRequest {
    /// A name that the answer repeats.
    #[serde(default)]
    pub id: Option<String>,
    /// The questions.
    pub inputs: Vec<Tensor>,
    #[serde(default)]
    outputs: Option<Vec<Wanted>>,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// A tensor of a request.
#[derive(Debug, Deserialize)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default)]
    data: Option<Value>,
    /// What the body has of it after its JSON part.
    #[serde(skip)]
    bytes: Option<Bytes>,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// An output that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it comes as bytes, not as JSON.
    pub binary: bool,
}

/// A request that is at fault.
pub fn invalid(message: impl Into<String>) -> RequestError {
    RequestError::Invalid(message.into())
}

impl InferRequest {
    /// A body: its JSON part, and the binary tensors after it.
    pub fn parse(headers: &HeaderMap, body: &Bytes) -> Result<Self, RequestError> {
        let length = match headers.get(JSON_LENGTH) {
            None => body.len(),
            Some(value) => value
                .to_str()
                .ok()
                .and_then(|v| v.parse().ok())
                .filter(|n| *n <= body.len())
                .ok_or_else(|| {
                    invalid(format!("the header `{JSON_LENGTH}` is not a length within the body"))
                })?,
        };
        let (json, mut binary) = (&body[..length], body.slice(length..));
        let mut request: Self = serde_json::from_slice(json)
            .map_err(|e| invalid(format!("the body is not an inference request: {e}")))?;
        // Binary tensors follow each other in the order of the inputs.
        for tensor in &mut request.inputs {
            let size = tensor.parameters.get("binary_data_size").and_then(Value::as_u64);
            let Some(size) = size else { continue };
            if tensor.data.is_some() {
                let name = &tensor.name;
                return Err(invalid(format!(
                    "input `{name}` comes as JSON and as bytes; send one"
                )));
            }
            let size = usize::try_from(size).ok().filter(|n| *n <= binary.len());
            let size = size.ok_or_else(|| {
                let name = &tensor.name;
                invalid(format!("input `{name}` announces more bytes than the body has"))
            })?;
            tensor.bytes = Some(binary.split_to(size));
        }
        if !binary.is_empty() {
            let left = binary.len();
            return Err(invalid(format!(
                "the body has {left} bytes more than its inputs announce"
            )));
        }
        Ok(request)
    }

    /// The outputs that are asked for, all of the `signature` unless some are named.
    pub fn outputs<'a>(&'a self, signature: &'a Signature) -> Result<Vec<Asked<'a>>, RequestError> {
        let is_binary = |parameters: &Map<String, Value>, name: &str| {
            parameters.get(name).and_then(Value::as_bool)
        };
        let by_default = is_binary(&self.parameters, "binary_data_output").unwrap_or(false);
        let known: Vec<&str> = signature.outputs.iter().map(|output| &*output.name).collect();
        let Some(wanted) = &self.outputs else {
            let usual = signature.outputs.iter().filter(|output| !output.on_request);
            let asked = |output: &'a Slot| Asked { name: &output.name, binary: by_default };
            return Ok(usual.map(asked).collect());
        };
        let mut asked: Vec<Asked<'_>> = Vec::new();
        for Wanted { name, parameters } in wanted {
            if asked.iter().any(|before| before.name == name) {
                return Err(invalid(format!("the output `{name}` is asked for twice")));
            }
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                return Err(invalid(format!("there is no output `{name}`; outputs are {known}")));
            }
            let binary = is_binary(parameters, "binary_data").unwrap_or(by_default);
            asked.push(Asked { name, binary });
        }
        Ok(asked)
    }
}

impl Tensor {
    /// Values of a two-dimensional tensor, and the length of a row. `expected` names both lengths.
    pub fn matrix(&self, expected: &str) -> Result<(Vec<f64>, usize), RequestError> {
        let Self { name, shape, .. } = self;
        let [_, length] = shape[..] else {
            return Err(invalid(format!(
                "input `{name}` has the shape {shape:?}; expected {expected}"
            )));
        };
        Ok((self.numbers()?, length))
    }

    /// Refuses what is no list: a tensor of rows, or of rows with one value each.
    pub fn check_list(&self) -> Result<(), RequestError> {
        let Self { name, shape, .. } = self;
        match shape[..] {
            [_] | [_, 1] => Ok(()),
            _ => Err(invalid(format!(
                "input `{name}` has the shape {shape:?}; expected [rows] or [rows, 1]"
            ))),
        }
    }

    /// Numbers, whatever the shape; those that are null in JSON are missing.
    pub fn numbers(&self) -> Result<Vec<f64>, RequestError> {
        let Self { name, .. } = self;
        let wide = match self.datatype.as_str() {
            "FP64" => true,
            "FP32" => false,
            other => {
                return Err(invalid(format!(
                    "input `{name}` has the type {other}; expected FP64 or FP32"
                )));
            }
        };
        let width = if wide { 8 } else { 4 };
        let values: Vec<f64> = match &self.bytes {
            Some(bytes) if bytes.len() % width != 0 => {
                let bytes = bytes.len();
                return Err(invalid(format!(
                    "input `{name}` has {bytes} bytes; expected {width} for each value"
                )));
            }
            Some(bytes) if wide => bytes
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes")))
                .collect(),
            Some(bytes) => bytes
                .chunks_exact(4)
                .map(|b| f64::from(f32::from_le_bytes(b.try_into().expect("four bytes"))))
                .collect(),
            None => {
                let mut out = Vec::new();
                let number = |v: &Value| if v.is_null() { Some(f64::NAN) } else { v.as_f64() };
                flatten(self.data.as_ref(), &mut |v| number(v).map(|v| out.push(v)).is_some())
                    .ok_or_else(|| {
                        invalid(format!("input `{name}` has data that are not numbers"))
                    })?;
                out
            }
        };
        self.check_count(values.len())?;
        Ok(values)
    }

    fn check_count(&self, values: usize) -> Result<(), RequestError> {
        let Self { name, shape, .. } = self;
        let all = shape.iter().try_fold(1_usize, |all, length| all.checked_mul(*length));
        match all == Some(values) {
            true => Ok(()),
            false => Err(invalid(format!(
                "input `{name}` has {values} values, its shape {shape:?} another number"
            ))),
        }
    }

    /// Texts; those that are null in JSON are empty.
    pub fn texts(&self) -> Result<Vec<String>, RequestError> {
        let Self { name, datatype, .. } = self;
        if datatype != "BYTES" {
            return Err(invalid(format!("input `{name}` has the type {datatype}; expected BYTES")));
        }
        let broken = || invalid(format!("input `{name}` has data that are not texts"));
        let Some(bytes) = &self.bytes else {
            let mut out = Vec::new();
            let text = |v: &Value| match v {
                Value::Null => Some(String::new()),
                v => v.as_str().map(str::to_owned),
            };
            flatten(self.data.as_ref(), &mut |v| text(v).map(|v| out.push(v)).is_some())
                .ok_or_else(broken)?;
            self.check_count(out.len())?;
            return Ok(out);
        };
        let (mut bytes, mut out) = (&bytes[..], Vec::new());
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let (text, rest) =
                rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(broken)?;
            out.push(String::from_utf8(text.to_vec()).map_err(|_| broken())?);
            bytes = rest;
        }
        if !bytes.is_empty() {
            return Err(broken());
        }
        self.check_count(out.len())?;
        Ok(out)
    }
}

/// Hands every element of nested lists to `take`; `None` when there are none or one is refused.
fn flatten(data: Option<&Value>, take: &mut impl FnMut(&Value) -> bool) -> Option<()> {
    match data? {
        Value::Array(items) => items.iter().try_for_each(|item| flatten(Some(item), take)),
        value => take(value).then_some(()),
    }
}
