//! What of AWS is here, as the registrations say: `docs/coverage.md` and `/_steppe/coverage`.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::kernel::model::Model;
use crate::kernel::resource::{self, ResourceType};
use crate::kernel::schema;
use crate::kernel::service::{Operation, Service};
use crate::services;

/// Everything as one value.
pub fn value() -> Value {
    let services: Vec<Value> = sorted().into_iter().map(service_value).collect();
    let types: Vec<Value> = sorted_types().into_iter().map(type_value).collect();
    json!({ "services": services, "resource_types": types })
}

fn sorted() -> Vec<&'static Service> {
    let mut all: Vec<_> = services::all().collect();
    all.sort_by_key(|service| service.id);
    all
}

fn sorted_types() -> Vec<&'static ResourceType> {
    let mut all: Vec<_> = resource::all().collect();
    all.sort_by_key(|kind| kind.name);
    all
}

/// The names of all operations of a service that are here.
fn here(service: &Service) -> Vec<&'static str> {
    let own = service.operations.iter().map(|operation| operation.name);
    let mut names: Vec<_> = own.chain((service.elsewhere)()).collect();
    names.sort_unstable();
    names
}

/// Members of an operation's input that AWS has and it does not read.
fn unread<'m>(model: &'m Model, operation: &Operation) -> Vec<&'m str> {
    let members = model.input(operation.name).into_iter().flat_map(|input| input.members.keys());
    let is_read = |name: &&str| operation.members.iter().any(|reads| reads.name == *name);
    members.map(String::as_str).filter(|name| !is_read(name)).collect()
}

fn service_value(service: &'static Service) -> Value {
    let model = (service.model)();
    let operations = here(service).into_iter().map(|name| {
        let own = service.operation(name);
        json!({
            "name": name,
            "reads": own.map(|o| o.members.iter().map(|m| m.name).collect::<Vec<_>>()),
            "refuses": own.map(|operation| unread(model, operation)),
        })
    });
    json!({
        "id": service.id, "name": model.name, "model": model.origin,
        "operations": operations.collect::<Vec<_>>(), "refused": model.others,
    })
}

fn type_value(kind: &ResourceType) -> Value {
    let properties: Vec<_> = kind.properties().collect();
    json!({ "name": kind.name, "properties": properties, "refused": refused(kind) })
}

/// Properties of a type that AWS has and this cloud refuses; read-only ones are none of these.
fn refused(kind: &ResourceType) -> Vec<&'static str> {
    let is_used = |name: &str| kind.properties().any(|used| used == name);
    schema::properties(kind.name).filter(|name| !is_used(name)).collect()
}

/// The page of the documentation.
pub fn page() -> String {
    let mut out = String::from(HEAD);
    for service in sorted() {
        let (there, all) = (here(service).len(), here(service).len());
        let all = all + (service.model)().others.len();
        let name = &(service.model)().name;
        let _ = writeln!(out, "| [{name}](#{}) | {there} | {all} |", anchor(name));
    }
    for service in sorted() {
        write_service(&mut out, service);
    }
    out += TYPES_HEAD;
    for kind in sorted_types() {
        let (used, others) = (kind.properties().collect::<Vec<_>>(), refused(kind).join(", "));
        let _ = writeln!(out, "| {} | {} | {others} |", kind.name, used.join(", "));
    }
    out
}

fn anchor(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

fn write_service(out: &mut String, service: &'static Service) {
    let model = (service.model)();
    let _ = writeln!(out, "\n## {}\n\nModel: {}.\n", model.name, model.origin);
    *out += "| operation | members of its input that are refused |\n|---|---|\n";
    for name in here(service) {
        let refused = match service.operation(name) {
            Some(operation) => unread(model, operation).join(", "),
            None => "by name, see the module".to_owned(),
        };
        let _ = writeln!(out, "| {name} | {refused} |");
    }
}

const HEAD: &str = "\
# What of AWS the embedded cloud has

Made from the registrations of `runtime/cloud/src/services/`; a test says when it is stale. What is
not here is refused with `NotImplemented` and its name, never ignored. How what is here differs from
AWS, the documentation of each service's module says. A running cloud tells the same as JSON:
`curl http://127.0.0.1:PORT/_steppe/coverage`.

| service | operations here | in AWS |
|---|---:|---:|
";

const TYPES_HEAD: &str = "
## Resource types of CloudFormation

| type | properties | refused |
|---|---|---|
";
