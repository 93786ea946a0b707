//! Decisions as AWS documents them: each row cites the page that it is from, below
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/>.

mod conditions;
mod documents;
mod evaluation;

use serde_json::{Value, json};

use super::context::Context;
use super::decision::{Limits, Reason, Request, Subject, Unknown, decide};
use super::document::{Kind, Policy};

const OPERATORS: &str = "reference_policies_elements_condition_operators.html";
const MULTIVALUED: &str = "reference_policies_condition-single-vs-multi-valued-context-keys.html";
const CONDITION_LOGIC: &str =
    "reference_policies_condition-logic-multiple-context-keys-or-values.html";
const VARIABLES: &str = "reference_policies_variables.html";
const KEYS: &str = "reference_policies_condition-keys.html";
const LOGIC: &str = "reference_policies_evaluation-logic.html";
const PRINCIPAL: &str = "reference_policies_elements_principal.html";
const NOT_PRINCIPAL: &str = "reference_policies_elements_notprincipal.html";
const ACTION: &str = "reference_policies_elements_action.html";
const NOT_ACTION: &str = "reference_policies_elements_notaction.html";
const RESOURCE: &str = "reference_policies_elements_resource.html";
const NOT_RESOURCE: &str = "reference_policies_elements_notresource.html";
const GRAMMAR: &str = "reference_policies_grammar.html";
const VERSION: &str = "reference_policies_elements_version.html";
const SID: &str = "reference_policies_elements_sid.html";
const EFFECT: &str = "reference_policies_elements_effect.html";
const TRUST: &str = "id_roles_terms-and-concepts.html";
const DEPUTY: &str = "confused-deputy.html";

const ACCOUNT: &str = "111122223333";

fn context(pairs: &[(&str, &str)]) -> Context {
    let mut context = Context::default();
    for (key, value) in pairs {
        context.add(key, *value);
    }
    context
}

fn role_session() -> Subject {
    Subject::Session {
        arn: format!("arn:aws:sts::{ACCOUNT}:assumed-role/reader/f"),
        role_arn: format!("arn:aws:iam::{ACCOUNT}:role/reader"),
        account: ACCOUNT.to_owned(),
    }
}

fn user() -> Subject {
    Subject::User { arn: format!("arn:aws:iam::{ACCOUNT}:user/ann"), account: ACCOUNT.to_owned() }
}

fn identity(statements: Value) -> Policy {
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    Policy::parse(&document, Kind::Identity).unwrap_or_else(|e| panic!("{e}: {document}"))
}

/// What an `Allow` of everything under `conditions` says about a request with these keys.
fn condition(conditions: Value, pairs: &[(&str, &str)]) -> Result<bool, Unknown> {
    let policy = identity(json!([
        { "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": conditions }
    ]));
    let context = context(pairs);
    let request = Request {
        subject: &role_session(),
        action: "s3:GetObject",
        resource: "arn:aws:s3:::bucket/key",
        context: &context,
    };
    decide(&[policy], Limits::default(), None, &request)
        .map(|decision| decision.reason == Reason::Allowed)
}
