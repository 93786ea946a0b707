//! JSONata in templates: every string of the form `{% … %}` is replaced by its value.

use jsonata_core::evaluator::{Context, Evaluator};
use jsonata_core::parser;
use jsonata_core::value::JValue;
use serde_json::{Map, Value};

use super::interpreter::Failure;

/// What expressions see: `$states`, and the variables that were assigned.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    /// `$states`.
    pub states: &'a Value,
    /// Variables.
    pub variables: &'a Map<String, Value>,
}

impl Scope<'_> {
    /// Evaluates all expressions in `template`.
    pub fn fill(&self, template: &Value) -> Result<Value, Failure> {
        match template {
            Value::String(text) => match expression(text) {
                Some(source) => self.evaluate(source),
                None => Ok(template.clone()),
            },
            Value::Array(items) => items.iter().map(|i| self.fill(i)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(k, v)| Ok((k.clone(), self.fill(v)?))).collect()
            }
            other => Ok(other.clone()),
        }
    }

    fn evaluate(&self, source: &str) -> Result<Value, Failure> {
        let failure = |problem: String| {
            Failure::new(
                "States.QueryEvaluationError",
                format!("The JSONata expression '{}' {problem}", source.trim()),
            )
        };
        let ast = parser::parse(source).map_err(|e| failure(format!("is not valid: {e}")))?;
        let mut context = Context::new();
        context.bind("states".to_owned(), JValue::from(self.states.clone()));
        for (name, value) in self.variables {
            context.bind(name.clone(), JValue::from(value.clone()));
        }
        let result = Evaluator::with_context(context)
            .evaluate(&ast, &JValue::from(Value::Null))
            .map_err(|e| failure(format!("failed: {e}")))?;
        if result.is_undefined() {
            return Err(failure("returned nothing (undefined).".to_owned()));
        }
        let text = result.to_json_string().map_err(|e| failure(format!("has no JSON: {e}")))?;
        serde_json::from_str(&text).map_err(|e| failure(format!("has no JSON: {e}")))
    }
}

fn expression(text: &str) -> Option<&str> {
    text.trim().strip_prefix("{%")?.strip_suffix("%}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(template: Value) -> Result<Value, String> {
        let states = json!({ "input": { "rows": [{ "n": "1" }, { "n": "2" }, { "n": "3" }] }, "result": { "Data": [[1, 2], [3, 4]] } });
        let variables = Map::from_iter([("series".to_owned(), json!([]))]);
        Scope { states: &states, variables: &variables }.fill(&template).map_err(|f| f.cause)
    }

    #[test]
    fn expressions_are_filled_in_wherever_they_stand() {
        assert_eq!(
            fill(json!({ "a": ["{% $states.input.rows[0].n %}", "plain", 7] })),
            Ok(json!({ "a": ["1", "plain", 7] }))
        );
        assert_eq!(fill(json!("{% $sum($states.input.rows[[1..2]].$number(n)) %}")), Ok(json!(5)));
        assert_eq!(
            fill(json!("{% [$states.input.rows.{ 'm': n }] %}")),
            Ok(json!([{ "m": "1" }, { "m": "2" }, { "m": "3" }]))
        );
        assert_eq!(
            fill(json!("{% $count($series) > 0 ? $series : [$states.input.rows[[1..9]].n] %}")),
            Ok(json!(["2", "3"]))
        );
        assert_eq!(fill(json!("{% $count([]) %}")), Ok(json!(0)));
    }

    #[test]
    fn undefined_and_broken_expressions_are_errors() {
        assert!(
            fill(json!("{% $states.input.missing %}"))
                .expect_err("undefined")
                .contains("returned nothing")
        );
        assert!(fill(json!("{% 1 + %}")).expect_err("broken").contains("is not valid"));
    }
}
