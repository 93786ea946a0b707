//! The JSON Schema of what is written here: what editors complete, what the reference in
//! `docs/manifest.md` is made from, and where ranges are read by whoever checks.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

/// Formats of the library that only repeat a type.
const OWN_FORMATS: [&str; 8] =
    ["uint", "uint32", "uint64", "int32", "int64", "double", "float", "uint8"];

/// The schema of a type, with every other type where it is used.
pub fn json_schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    RecursiveTransform(plain).transform(&mut schema);
    schema.to_value()
}

/// TOML has no null: what may be absent is not required, and that is all.
fn plain(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    let null = serde_json::json!({ "type": "null" });
    let is_alternative = |any: &Value| any.as_array().is_some_and(|a| a.contains(&null));
    if object.get("anyOf").is_some_and(is_alternative)
        && let Some(Value::Array(alternatives)) = object.remove("anyOf")
    {
        let given = alternatives.into_iter().filter(|schema| *schema != null);
        for (key, value) in given.filter_map(|s| s.as_object().cloned()).flatten() {
            object.entry(key).or_insert(value);
        }
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    object.retain(|key, value| match key.as_str() {
        "default" => !value.is_null(),
        "format" => !value.as_str().is_some_and(|name| OWN_FORMATS.contains(&name)),
        _ => true,
    });
    // Sentences are wrapped where they are written.
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}
