//! JSONata in templates: every string of the form `{% … %}` is replaced by its value.

use jsonata_core::evaluator::{Context, Evaluator, EvaluatorOptions};
use jsonata_core::parser;
use jsonata_core::value::JValue;
use serde_json::{Map, Value};

use super::evaluator::EVALUATION_LIMIT;
use super::functions;
use super::interpreter::Failure;

/// Items of a sequence that an expression builds.
const SEQUENCE_MAX: usize = 1_000_000;

/// The fields of `$states`.
const FIELDS: [&str; 4] = ["input", "result", "errorOutput", "context"];

/// What the expressions of a template can look at, judged by their text: rather too much than too
/// little.
pub struct Sight {
    text: String,
    everything: bool,
}

impl Sight {
    /// `None` when there is nothing to evaluate.
    pub fn of(template: &Value) -> Option<Self> {
        let mut text = String::new();
        gather(template, &mut text);
        let whole = |rest: &str| {
            let field = rest.strip_prefix('.').unwrap_or_default();
            !FIELDS.iter().any(|name| field.starts_with(name))
        };
        let everything = text.contains("$eval") || text.split("$states").skip(1).any(whole);
        (!text.is_empty()).then_some(Self { text, everything })
    }

    /// Whether a field of `$states` may be looked at.
    pub fn has_field(&self, name: &str) -> bool {
        self.everything || self.text.contains(&format!("$states.{name}"))
    }

    /// Whether a variable may be looked at.
    pub fn has_variable(&self, name: &str) -> bool {
        self.everything || self.text.contains(&format!("${name}"))
    }
}

fn gather(template: &Value, text: &mut String) {
    match template {
        Value::String(string) => {
            if let Some(source) = source(string) {
                text.push_str(source);
                text.push('\n');
            }
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, text)),
        Value::Object(fields) => fields.values().for_each(|field| gather(field, text)),
        _ => {}
    }
}

/// Evaluates all expressions in `template`, which see `$states` and the variables.
pub fn fill(
    template: &Value,
    states: &Value,
    variables: &Map<String, Value>,
) -> Result<Value, Failure> {
    match template {
        Value::String(text) => match source(text) {
            Some(source) => evaluate(source, states, variables),
            None => Ok(template.clone()),
        },
        Value::Array(items) => items.iter().map(|i| fill(i, states, variables)).collect(),
        Value::Object(fields) => {
            let filled = |(k, v): (&String, &Value)| Ok((k.clone(), fill(v, states, variables)?));
            fields.iter().map(filled).collect()
        }
        other => Ok(other.clone()),
    }
}

fn evaluate(
    source: &str,
    states: &Value,
    variables: &Map<String, Value>,
) -> Result<Value, Failure> {
    let failure = |problem: String| {
        Failure::new(
            "States.QueryEvaluationError",
            format!("The JSONata expression '{}' {problem}", source.trim()),
        )
    };
    let ast = parser::parse(source).map_err(|e| failure(format!("is not valid: {e}")))?;
    let mut context = Context::new();
    context.bind("states".to_owned(), JValue::from(states.clone()));
    for (name, value) in variables {
        context.bind(name.clone(), JValue::from(value.clone()));
    }
    let options = EvaluatorOptions {
        timeout_ms: Some(EVALUATION_LIMIT.as_millis() as u64),
        max_sequence_length: Some(SEQUENCE_MAX),
        ..EvaluatorOptions::default()
    };
    let mut evaluator = Evaluator::with_options(context, options);
    functions::register(&mut evaluator).map_err(|e| failure(format!("failed: {e}")))?;
    let result = evaluator
        .evaluate(&ast, &JValue::from(Value::Null))
        .map_err(|e| failure(format!("failed: {e}")))?;
    if result.is_undefined() {
        return Err(failure("returned nothing (undefined).".to_owned()));
    }
    let text = result.to_json_string().map_err(|e| failure(format!("has no JSON: {e}")))?;
    serde_json::from_str(&text).map_err(|e| failure(format!("has no JSON: {e}")))
}

fn source(text: &str) -> Option<&str> {
    text.trim().strip_prefix("{%")?.strip_suffix("%}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filled(template: Value) -> Result<Value, String> {
        let rows = json!([{ "n": "1" }, { "n": "2" }, { "n": "3" }]);
        let states = json!({ "input": { "rows": rows }, "result": { "Data": [[1, 2], [3, 4]] } });
        let variables = Map::from_iter([("series".to_owned(), json!([]))]);
        fill(&template, &states, &variables).map_err(|f| f.cause)
    }

    #[test]
    fn expressions_are_filled_in_wherever_they_stand() {
        assert_eq!(
            filled(json!({ "a": ["{% $states.input.rows[0].n %}", "plain", 7] })),
            Ok(json!({ "a": ["1", "plain", 7] }))
        );
        assert_eq!(
            filled(json!("{% $sum($states.input.rows[[1..2]].$number(n)) %}")),
            Ok(json!(5))
        );
        assert_eq!(
            filled(json!("{% [$states.input.rows.{ 'm': n }] %}")),
            Ok(json!([{ "m": "1" }, { "m": "2" }, { "m": "3" }]))
        );
        assert_eq!(
            filled(json!("{% $count($series) > 0 ? $series : [$states.input.rows[[1..9]].n] %}")),
            Ok(json!(["2", "3"]))
        );
        assert_eq!(filled(json!("{% $count([]) %}")), Ok(json!(0)));
    }

    #[test]
    fn step_functions_adds_its_own_functions() {
        for (expression, value) in [
            ("$partition([1..5], 2)", json!([[1, 2], [3, 4], [5]])),
            ("$range(0, 10, 4)", json!([0, 4, 8])),
            ("$range(3, 1, -1)", json!([3, 2, 1])),
            ("$hash('hi', 'SHA-1')", json!("c22b5f9178342609428d6f51b2c5af4c0bde6a42")),
            ("$parse('{\"a\": [1, null]}')", json!({ "a": [1, null] })),
            ("$random(7) = $random(7)", json!(true)),
            ("$length($uuid())", json!(36)),
        ] {
            assert_eq!(filled(json!(format!("{{% {expression} %}}"))), Ok(value), "{expression}");
        }
        for (expression, words) in [
            ("$eval('1')", "$eval is not supported by Step Functions"),
            ("$partition([1], 0)", "a whole number above 0"),
            ("$range(1, 9999, 1)", "at most 1000 items"),
            ("$hash('x', 'CRC')", "and not CRC"),
            ("$parse('{')", "is not JSON"),
        ] {
            let error = filled(json!(format!("{{% {expression} %}}"))).expect_err("refused");
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn undefined_and_broken_expressions_are_errors() {
        let error = |template: Value| filled(template).expect_err("refused");
        assert!(error(json!("{% $states.input.missing %}")).contains("returned nothing"));
        assert!(error(json!("{% 1 + %}")).contains("is not valid"));
        assert!(error(json!("{% [1..9999999] %}")).contains("failed"));
    }

    #[test]
    fn expressions_are_sent_what_they_can_look_at() {
        assert!(Sight::of(&json!({ "a": [1, "{ % 1 % }", null] })).is_none());
        let seen = |template: Value| {
            let sight = Sight::of(&template).expect("an expression");
            let fields = FIELDS.into_iter().filter(|f| sight.has_field(f)).collect::<Vec<_>>();
            (fields, sight.has_variable("series"))
        };
        assert_eq!(
            seen(json!({ "a": [1, "{% $states.input.x & $states.context.y %}"] })),
            (vec!["input", "context"], false)
        );
        assert_eq!(seen(json!("{% $count($series) %}")), (vec![], true));
        for all in ["{% $string($states) %}", "{% $states.* %}", "{% $eval('1') %}"] {
            assert_eq!(seen(json!(all)), (FIELDS.to_vec(), true), "{all}");
        }
    }
}
