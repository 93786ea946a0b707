//! Tests of templates: what they mean, and what is refused.

use super::*;

const TEMPLATE: &str = r#"
Parameters:
  Stage: { Type: String, Default: dev }
Mappings:
  Days: { dev: { Kept: 7 }, prod: { Kept: 30 } }
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  IsNotProd: !Not [!Condition IsProd]
Resources:
  Group:
    Type: AWS::Logs::LogGroup
    Properties:
      LogGroupName: !Sub "/x/${Stage}/${!literal}"
      RetentionInDays: !If [IsProd, !FindInMap [Days, !Ref Stage, Kept], !Ref "AWS::NoValue"]
  Topic:
    Type: AWS::SNS::Topic
    Condition: IsNotProd
    Properties:
      TopicName: !Join ["-", [a, !Ref Group]]
"#;

/// An account with one parameter and nothing else.
struct Empty;

impl Account for Empty {
    fn parameter(&self, name: &str) -> Option<String> {
        (name == "/image").then(|| "ami-1".to_owned())
    }

    fn has(&self, kind: &str, id: &str) -> Option<bool> {
        (kind == "AWS::EC2::Image::Id").then(|| id.starts_with("ami-"))
    }
}

fn scope_test(stage: &str, check: impl Fn(&Template, &Scope<'_>)) {
    let template = parse(TEMPLATE).expect("valid");
    let given = BTreeMap::from([("Stage".to_owned(), Given::Value(stage.to_owned()))]);
    let parameters = template.parameters(&given, None, &Empty).expect("values");
    let parameters = template.values(&parameters);
    let conditions = template.conditions(&parameters).expect("conditions");
    let (resources, unknown) = (BTreeMap::new(), BTreeSet::from(["Group".to_owned()]));
    let scope = Scope {
        template: &template,
        parameters: &parameters,
        resources: &resources,
        unknown: &unknown,
        conditions: &conditions,
        exports: &BTreeMap::new(),
    };
    check(&template, &scope);
}

fn resolved(template: &Template, scope: &Scope<'_>, id: &str) -> Value {
    let properties = &template.resource(id)["Properties"];
    scope.resolve(properties).expect("resolves").expect("a value")
}

#[test]
fn short_forms_conditions_mappings_and_references_resolve() {
    scope_test("dev", |template, scope| {
        let group = resolved(template, scope, "Group");
        assert_eq!(group, json!({ "LogGroupName": "/x/dev/${literal}" }));
        let topic = resolved(template, scope, "Topic");
        assert_eq!(topic, json!({ "TopicName": format!("a-{UNKNOWN}") }));
        assert_eq!(template.active(scope.conditions), ["Group", "Topic"]);
    });
    scope_test("prod", |template, scope| {
        let group = resolved(template, scope, "Group");
        let expected = json!({ "LogGroupName": "/x/prod/${literal}", "RetentionInDays": 30 });
        assert_eq!(group, expected);
        assert_eq!(template.active(scope.conditions), ["Group"]);
    });
}

fn refused(text: &str) -> String {
    parse(text).expect_err("refused")
}

/// The template with a change, refused.
fn changed(from: &str, to: &str) -> String {
    assert!(TEMPLATE.contains(from), "{from}");
    refused(&TEMPLATE.replace(from, to))
}

#[test]
fn templates_are_refused_in_cloudformations_words() {
    let format = |words: &str| format!("Template format error: {words}");
    assert_eq!(
        changed("!Ref Group", "!Ref Nothing"),
        format("Unresolved resource dependencies [Nothing] in the Resources block of the template")
    );
    assert_eq!(
        changed("\nMappings", "\nMapping"),
        "Invalid template property or properties [Mapping]"
    );
    assert_eq!(
        changed("    Condition: IsNotProd", "    Condition: Other"),
        format("Condition Other  is not defined.")
    );
    assert_eq!(
        changed("  Topic:\n", "  My-Topic:\n"),
        format("Resource name My-Topic is non alphanumeric.")
    );
    let attribute = |line: &str| {
        changed("    Type: AWS::SNS::Topic\n", &format!("    Type: AWS::SNS::Topic\n    {line}\n"))
    };
    assert_eq!(attribute("Propertys: 1"), "Invalid template resource property 'Propertys'");
    assert_eq!(
        attribute("DeletionPolicy: Keep"),
        format("Unrecognized DeletionPolicy Keep for resource Topic")
    );
    assert_eq!(
        attribute("UpdateReplacePolicy: RetainExceptOnCreate"),
        format("Unrecognized UpdateReplacePolicy RetainExceptOnCreate for resource Topic")
    );
    assert_eq!(
        attribute("DeletionPolicy: Snapshot"),
        "Template error: resource type AWS::SNS::Topic does not support deletion policy Snapshot"
    );
    assert_eq!(
        attribute("DeletionPolicy: !Ref Stage"),
        format("Every DeletionPolicy member must be a string.")
    );
    assert_eq!(attribute("DependsOn: Topic"), "Circular dependency between resources: [Topic]");
    assert_eq!(
        changed("TopicName: !Join", "TopicName:\n      Other: !Join"),
        format(
            "[/Resources/Topic/Properties/TopicName] 'null' values are not allowed in templates"
        )
    );
    let long = "x".repeat(1_025);
    assert_eq!(
        changed("\nMappings", &format!("\nDescription: {long}\nMappings")),
        format("'Description' length is greater than 1024.")
    );
    assert_eq!(changed("Type: String", "Type: Text"), format("Unrecognized parameter type: Text"));
    assert_eq!(refused("Resources: {}"), format("At least one Resources member must be defined."));
}

#[test]
fn yaml_that_cloudformation_does_not_take_is_refused() {
    let aliases = "Template error: YAML aliases are not allowed in CloudFormation templates";
    assert_eq!(changed("[!Ref Stage, prod]", "&a [!Ref Stage, prod]"), aliases);
    assert_eq!(
        refused("Resources: *a"),
        "Template format error: YAML not well-formed. (line 1, column 12)"
    );
    assert_eq!(
        refused("Resources: { A: { Type: T } }\n---\nResources: {}"),
        "Template format error: YAML not well-formed. (line 2, column 1)"
    );
    assert_eq!(
        refused("Resources:\n  A: { Type: T }\n  A: { Type: T }\n"),
        "Template format error: YAML not well-formed. (line 3, column 3)"
    );
    assert_eq!(
        refused("Resources:\n  A: { Type: !Get T }\n"),
        "Template format error: YAML not well-formed. (line 2, column 14)"
    );
    assert_eq!(refused("- a\n"), "Template format error: unsupported structure.");
}

#[test]
fn nesting_is_bounded_in_every_form() {
    let deep = "Template format error: the template is nested deeper than 100 levels";
    assert_eq!(refused(&format!("Resources:\n  {}x", "- ".repeat(200_000))), deep);
    assert_eq!(
        refused(&format!("Resources: {}", "[".repeat(90))),
        "Template format error: YAML not well-formed. (line 2, column 1)"
    );
    let flow = refused(&format!("Resources: {}", "[".repeat(200_000)));
    assert!(flow.starts_with("Template format error"), "{flow}");
    let json = refused(&format!("{{\"Resources\": {}", "[".repeat(200_000)));
    assert!(json.starts_with("Template format error: JSON not well-formed."), "{json}");
    let blocks: String = (0..150).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    assert_eq!(refused(&blocks), deep);
}

#[test]
fn counts_are_limited_and_long_chains_do_not_block() {
    let chain = |count: usize| {
        let mut text = String::from("Resources:\n");
        for n in 0..count {
            let needs = if n > 0 { format!(", DependsOn: R{}", n - 1) } else { String::new() };
            text += &format!("  R{n}: {{ Type: AWS::SNS::Topic{needs} }}\n");
        }
        text
    };
    assert_eq!(
        refused(&chain(3_000)),
        "Template format error: Number of resources, 3000, is greater than maximum allowed, 500"
    );
    let template = parse(&chain(500)).expect("500 are allowed");
    let order = template.active(&BTreeMap::new());
    assert_eq!((order.len(), order[0].as_str(), order[499].as_str()), (500, "R0", "R499"));
}

#[test]
fn functions_cannot_make_more_than_a_resource_holds() {
    let wide = "${Stage}".repeat(2_000);
    let text = TEMPLATE.replace("/x/${Stage}", &wide);
    let template = parse(&text).expect("valid");
    let parameters = BTreeMap::from([("Stage".to_owned(), Value::from("x".repeat(4_096)))]);
    let conditions = template.conditions(&parameters).expect("conditions");
    let (resources, unknown) = (BTreeMap::new(), BTreeSet::new());
    let scope = Scope {
        template: &template,
        parameters: &parameters,
        resources: &resources,
        unknown: &unknown,
        conditions: &conditions,
        exports: &BTreeMap::new(),
    };
    let error = scope.resolve(&template.resource("Group")["Properties"]).expect_err("too much");
    assert!(error.contains("make more than 4194304 bytes"), "{error}");
}

#[test]
fn what_is_not_implemented_is_named_only_where_it_would_be_made() {
    let template = parse(&TEMPLATE.replace("AWS::SNS::Topic", "AWS::MQ::Broker")).expect("valid");
    let ids = |ids: &[&str]| ids.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>();
    assert_eq!(template.check_implemented(&ids(&["Group"])), Ok(()));
    let error = template.check_implemented(&ids(&["Group", "Topic"])).expect_err("refused");
    assert_eq!(
        error,
        "Topic: the embedded cloud does not implement the resource type AWS::MQ::Broker"
    );
    let named = |from: &str, to: &str| {
        let template = parse(&TEMPLATE.replace(from, to)).expect("valid");
        template.check_implemented(&ids(&["Group", "Topic"])).expect_err("refused")
    };
    assert!(named("TopicName", "FifoTopic").contains("the property FifoTopic of AWS::SNS::Topic"));
    assert!(named("!Join [\"-\", [a, !Ref Group]]", "!Cidr x").contains("Fn::Cidr"));
    assert_eq!(
        named("!Ref Group", "!GetAtt Group.Size"),
        "Template error: resource Group does not support attribute type Size in Fn::GetAtt"
    );
    let sections = changed("\nMappings", "\nTransform: x\nMappings");
    assert!(sections.contains("does not implement the section Transform"), "{sections}");
}

/// A template with one parameter, declared like this.
fn declared(declaration: &str) -> Result<Arc<Template>, String> {
    parse(&format!(
        "Parameters: {{ P: {{ {declaration} }} }}\nResources: {{ T: {{ Type: AWS::SNS::Topic }} }}"
    ))
}

fn value(declaration: &str, given: &str) -> Result<Value, String> {
    let template = declared(declaration).expect("declared");
    let given = BTreeMap::from([("P".to_owned(), Given::Value(given.to_owned()))]);
    let parameters = template.parameters(&given, None, &Empty)?;
    Ok(template.values(&parameters)["P"].clone())
}

#[test]
fn values_are_held_to_their_declarations() {
    let refused = |declaration: &str, given: &str, words: &str| {
        assert_eq!(value(declaration, given), Err(words.to_owned()));
    };
    refused(
        "Type: String, AllowedPattern: '[a-z]+'",
        "ab1",
        "Parameter 'P' must match pattern [a-z]+",
    );
    refused(
        "Type: String, AllowedPattern: '[a-z]+', ConstraintDescription: small letters",
        "A",
        "Parameter 'P' failed to satisfy constraint: small letters",
    );
    refused(
        "Type: String, AllowedValues: [a, 1]",
        "2",
        "Parameter 'P' must be one of AllowedValues",
    );
    refused("Type: String, MinLength: 3", "ab", "Parameter 'P' must contain at least 3 characters");
    refused(
        "Type: String, MaxLength: '1'",
        "ab",
        "Parameter 'P' must contain at most 1 characters",
    );
    refused("Type: Number", "two", "Parameter 'P' must be a number");
    refused("Type: Number, MinValue: 1", "0.5", "Parameter 'P' must be a number not less than 1");
    refused(
        "Type: List<Number>, MaxValue: 9",
        "1, 10",
        "Parameter 'P' must be a number not greater than 9",
    );
    refused(
        "Type: 'AWS::EC2::Image::Id'",
        "x",
        "Parameter validation failed: parameter value x for parameter name P does not exist",
    );
    refused(
        "Type: 'AWS::SSM::Parameter::Value<String>'",
        "/other",
        "Unable to fetch parameters [/other] from parameter store for this account.",
    );
    refused(
        "Type: 'AWS::EC2::KeyPair::KeyName'",
        "k",
        "the embedded cloud does not implement the parameter type AWS::EC2::KeyPair::KeyName",
    );
    let long = "x".repeat(4_097);
    refused("Type: String", &long, "Parameter 'P' must contain at most 4096 characters");
    assert_eq!(value("Type: Number", "2"), Ok("2".into()));
    assert_eq!(value("Type: CommaDelimitedList", "a, b"), Ok(json!(["a", "b"])));
    assert_eq!(
        value("Type: 'AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>'", "/image"),
        Ok("ami-1".into())
    );
    assert_eq!(
        declared("Type: String, Default: UPPER, AllowedPattern: '^[a-z]+$'")
            .expect("declared")
            .parameters(&BTreeMap::new(), None, &Empty),
        Err("Parameter 'P' must match pattern ^[a-z]+$".to_owned())
    );
    assert_eq!(
        declared("Type: String").expect("declared").parameters(&BTreeMap::new(), None, &Empty),
        Err("Parameters: [P] must have values".to_owned())
    );
    assert_eq!(
        declared("Type: String, Patern: x").expect_err("refused"),
        "Invalid template parameter property 'Patern'"
    );
}

#[test]
fn secrets_are_masked_and_previous_values_used() {
    let template = declared("Type: String, NoEcho: true").expect("declared");
    let previous = Parameters {
        given: BTreeMap::from([("P".to_owned(), "s3cret".to_owned())]),
        ..Parameters::default()
    };
    let given = BTreeMap::from([("P".to_owned(), Given::Previous)]);
    let parameters = template.parameters(&given, Some(&previous), &Empty).expect("values");
    assert_eq!(template.values(&parameters)["P"], "s3cret");
    assert_eq!(template.described_values(&parameters)[0]["ParameterValue"], "****");
    let none = template.parameters(&given, None, &Empty).expect_err("nothing before");
    assert!(none.contains("Cannot specify usePreviousValue as true"), "{none}");
}
