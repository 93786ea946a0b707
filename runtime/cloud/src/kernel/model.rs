//! AWS's API models: what operations take and answer, as data.
//!
//! `models/api/` has one file per service, trimmed from botocore's models to the operations that
//! are here; `models/trim_api_models.py` writes them from the registrations. Protocols read and
//! write by them, [`check`] refuses what they refuse, [`sdk`] renames for state machines, and the
//! coverage tables count by them.

pub mod check;
pub mod sdk;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::Regex;
use serde::Deserialize;

/// The model of the service that requests are signed for by this name.
#[macro_export]
macro_rules! model {
    ($service:literal) => {
        || {
            static MODEL: std::sync::LazyLock<$crate::kernel::model::Model> =
                std::sync::LazyLock::new(|| {
                    $crate::kernel::model::Model::read(include_str!(concat!(
                        env!("CARGO_MANIFEST_DIR"),
                        "/models/api/",
                        $service,
                        ".json"
                    )))
                });
            &MODEL
        }
    };
}

/// A service's model.
#[derive(Debug, Deserialize)]
pub struct Model {
    /// Where it is from.
    pub origin: String,
    /// How AWS calls the service in its SDKs: `Step Functions` is `SFN`.
    pub name: String,
    /// Operations that AWS has and this cloud has not.
    pub others: Vec<String>,
    /// Codes and statuses of errors, where they are not the name and 400.
    pub errors: BTreeMap<String, (String, u16)>,
    operations: BTreeMap<String, Operation>,
    shapes: BTreeMap<String, Shape>,
}

/// How an operation is spoken of.
#[derive(Debug, Deserialize)]
pub struct Operation {
    /// Method and path.
    pub http: Http,
    /// Name of the input's shape.
    #[serde(default)]
    pub input: Option<String>,
    /// Name of the answer's shape.
    #[serde(default)]
    pub output: Option<String>,
    /// The element around the answer in the query protocol.
    #[serde(default)]
    pub wrapper: Option<String>,
}

/// Where an operation is in HTTP.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    /// `POST`.
    pub method: String,
    /// `/2015-03-31/functions/{FunctionName}/invocations`.
    pub request_uri: String,
    /// Status of a success.
    #[serde(default = "ok")]
    pub response_code: u16,
}

fn ok() -> u16 {
    200
}

/// What a value is.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Shape {
    /// Members by name.
    Structure(Structure),
    /// Values in order.
    List(List),
    /// Values by name.
    Map(Map),
    /// A text.
    #[serde(alias = "character")]
    String(Text),
    /// A whole number.
    #[serde(alias = "long")]
    Integer(Bounds),
    /// A number.
    #[serde(alias = "double")]
    Float(Bounds),
    /// Yes or no.
    Boolean,
    /// Bytes; base64 wherever values are JSON.
    Blob(Bounds),
    /// A moment; seconds since 1970 wherever values are JSON.
    Timestamp(Moment),
}

/// Members by name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Structure {
    /// What must be given.
    pub required: Vec<String>,
    /// All that can be.
    pub members: BTreeMap<String, Member>,
    /// The member that is the whole body.
    pub payload: Option<String>,
}

/// Values in order.
#[derive(Debug, Deserialize)]
pub struct List {
    /// What they are.
    pub member: Member,
    /// Whether forms and XML repeat the list's own name.
    #[serde(default)]
    pub flattened: bool,
    /// The fewest.
    #[serde(default)]
    pub min: Option<f64>,
    /// The most.
    #[serde(default)]
    pub max: Option<f64>,
}

/// Values by name.
#[derive(Debug, Deserialize)]
pub struct Map {
    /// What names are.
    pub key: Member,
    /// What values are.
    pub value: Member,
    /// Whether forms and XML repeat the map's own name.
    #[serde(default)]
    pub flattened: bool,
    /// The fewest.
    #[serde(default)]
    pub min: Option<f64>,
    /// The most.
    #[serde(default)]
    pub max: Option<f64>,
}

/// A member, an item or a value of a larger shape.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Member {
    /// Name of its shape; none for what the operation does not read.
    pub shape: Option<String>,
    /// Its name on the wire.
    pub location_name: Option<String>,
    /// The same in EC2's forms.
    pub query_name: Option<String>,
    /// Where it is, when not in the body: `uri`, `querystring`, `header`, `headers`, `statusCode`.
    pub location: Option<String>,
    /// Another form of this moment.
    pub timestamp_format: Option<String>,
}

impl Member {
    /// Its name on the wire, of a member that is called `name`.
    pub fn wire_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.location_name.as_deref().unwrap_or(name)
    }
}

/// Least and most: of a number, of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// The least.
    pub min: Option<f64>,
    /// The most.
    pub max: Option<f64>,
}

/// What a text may be.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Text {
    /// The only ones.
    #[serde(rename = "enum")]
    pub values: Vec<String>,
    /// A regular expression for the whole of it.
    pub pattern: Option<String>,
    /// The fewest characters.
    pub min: Option<f64>,
    /// The most.
    pub max: Option<f64>,
    #[serde(skip)]
    compiled: OnceLock<Option<Regex>>,
}

impl Text {
    /// The pattern, unless it is one that looks ahead or behind, which is left to the services.
    pub fn regex(&self) -> Option<&Regex> {
        let compile = || Regex::new(&format!("^(?:{})$", self.pattern.as_deref()?)).ok();
        self.compiled.get_or_init(compile).as_ref()
    }
}

/// A moment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Moment {
    /// `iso8601`, `unixTimestamp` or `rfc822`, where it is not the protocol's own.
    #[serde(rename = "timestampFormat")]
    pub format: Option<String>,
}

impl Model {
    /// Reads a file of `models/api/`, which a test reads as well.
    pub fn read(text: &str) -> Self {
        serde_json::from_str(text).expect("a file that the trimming program wrote")
    }

    /// How an operation is spoken of.
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.get(name)
    }

    /// All operations that are here.
    pub fn operations(&self) -> impl Iterator<Item = (&str, &Operation)> {
        self.operations.iter().map(|(name, operation)| (name.as_str(), operation))
    }

    /// A shape by name.
    pub fn shape(&self, name: &str) -> Option<&Shape> {
        self.shapes.get(name)
    }

    /// The shape of a member.
    pub fn of(&self, member: &Member) -> Option<&Shape> {
        self.shape(member.shape.as_deref()?)
    }

    /// The structure that an operation takes.
    pub fn input(&self, operation: &str) -> Option<&Structure> {
        self.structure(self.operation(operation)?.input.as_deref()?)
    }

    /// The structure that an operation answers.
    pub fn output(&self, operation: &str) -> Option<&Structure> {
        self.structure(self.operation(operation)?.output.as_deref()?)
    }

    fn structure(&self, name: &str) -> Option<&Structure> {
        match self.shape(name)? {
            Shape::Structure(structure) => Some(structure),
            _ => None,
        }
    }
}
