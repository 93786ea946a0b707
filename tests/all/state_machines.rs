//! State machines of the embedded cloud: limits of data, time and numbers, and executions that end.

use std::time::Duration;

use serde_json::{Value, json};
use steppe_cloud::kernel::service;
use steppe_cloud::services::states::Execution;

use crate::running::{Running, start};

const ROLE: &str = "
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: machines
      AssumeRolePolicyDocument:
        Version: '2012-10-17'
        Statement:
          - {Effect: Allow, Principal: {Service: states.amazonaws.com}, Action: sts:AssumeRole}
";

/// A cloud with the state machine `m`.
struct Machine(Running);

impl Machine {
    async fn new(definition: Value) -> Self {
        let running = start().await;
        let template = format!(
            "Resources:{ROLE}\n  Machine:\n    Type: AWS::StepFunctions::StateMachine\n    \
             Properties:\n      StateMachineName: m\n      RoleArn: !GetAtt Role.Arn\n      \
             DefinitionString: '{}'\n",
            definition.to_string().replace('\'', "''")
        );
        let id = running.create(&template).await;
        let stack = running.cloud.services.cloudformation.stacks.get(&id).expect("the stack");
        assert_eq!(stack.status, "CREATE_COMPLETE", "{:?}", stack.reason);
        Self(running)
    }

    fn arn(&self) -> String {
        self.0.cloud.config.arn("states", "stateMachine:m")
    }

    async fn api(&self, operation: &str, params: Value) -> Result<Value, String> {
        let administrator = self.0.cloud.identities.administrator();
        let answer =
            service::call(&self.0.cloud, &administrator, "states", operation, &params).await;
        answer.map_err(|e| e.to_string())
    }

    async fn begin(&self, input: Value) -> String {
        let params = json!({ "stateMachineArn": self.arn(), "input": input.to_string() });
        let started = self.api("StartExecution", params).await.expect("started");
        started["executionArn"].as_str().expect("an ARN").to_owned()
    }

    async fn end(&self, arn: &str) -> Execution {
        for _ in 0..3_000 {
            let execution =
                self.0.cloud.services.states.executions.get(arn).expect("the execution");
            if execution.stopped.is_some() {
                return (*execution).clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the execution does not end");
    }

    async fn run(&self, input: Value) -> Execution {
        let arn = self.begin(input).await;
        self.end(&arn).await
    }

    async fn history(&self, arn: &str) -> Vec<Value> {
        let params = json!({ "executionArn": arn, "maxResults": 1_000 });
        let history = self.api("GetExecutionHistory", params).await.expect("a history");
        history["events"].as_array().cloned().unwrap_or_default()
    }
}

fn one_state(mut state: Value) -> Value {
    let ends = !matches!(state["Type"].as_str(), Some("Fail" | "Succeed"));
    if ends {
        state["End"] = true.into();
    }
    json!({ "QueryLanguage": "JSONata", "StartAt": "A", "States": { "A": state } })
}

fn failure(execution: &Execution) -> (&str, &str, &str) {
    let (error, cause) = execution.failure.as_ref().expect("a failure");
    (&execution.status, error, cause)
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_without_end_fail_and_leave_the_cloud_at_work() {
    let expressions = [
        ("endless", "($f := function($x) { $f($x + 1) }; $f(1))"),
        ("pad", "$pad('x', 2000000000)"),
        ("double", "$reduce([1..60], function($a, $b) { $a & $a }, 'xxxxxxxxxxxxxxxx')"),
        ("many", "[1..9999999]"),
        ("fine", "1 + 1"),
    ];
    let choices = expressions.map(|(name, _)| {
        json!({ "Condition": format!("{{% $states.input = '{name}' %}}"), "Next": name })
    });
    let mut states = json!({ "Choose": { "Type": "Choice", "Choices": choices } });
    for (name, expression) in expressions {
        let output = format!("{{% {expression} %}}");
        states[name] = json!({ "Type": "Pass", "Output": output, "End": true });
    }
    let machine =
        Machine::new(json!({ "QueryLanguage": "JSONata", "StartAt": "Choose", "States": states }))
            .await;
    let arn = machine.begin(json!("endless")).await;
    for hungry in ["pad", "double", "many"] {
        let execution = machine.run(json!(hungry)).await;
        let (status, error, _) = failure(&execution);
        assert_eq!((status, error), ("FAILED", "States.QueryEvaluationError"), "{hungry}");
    }
    let execution = machine.end(&arn).await;
    assert_eq!(failure(&execution).1, "States.QueryEvaluationError");
    assert_eq!(machine.run(json!("fine")).await.output, Some(json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_evaluates_without_end_can_be_stopped() {
    let endless = "{% ($f := function($x) { $f($x + 1) }; $f(1)) %}";
    let machine = Machine::new(one_state(json!({ "Type": "Pass", "Output": endless }))).await;
    let arn = machine.begin(json!({})).await;
    let params = json!({ "executionArn": arn, "error": "Changed", "cause": "of mind" });
    machine.api("StopExecution", params).await.expect("stopped");
    let execution = machine.end(&arn).await;
    assert_eq!(failure(&execution), ("ABORTED", "Changed", "of mind"));
    let last = machine.history(&arn).await.pop().expect("an event");
    assert_eq!(last["type"], "ExecutionAborted");
    assert_eq!(last["executionAbortedEventDetails"]["error"], "Changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_states_ends_at_the_limit_of_events() {
    let states = json!({
        "A": { "Type": "Pass", "Next": "B" },
        "B": { "Type": "Pass", "Next": "A" },
    });
    let definition = json!({ "QueryLanguage": "JSONata", "StartAt": "A", "States": states });
    let machine = Machine::new(definition).await;
    let execution = machine.run(json!({})).await;
    assert_eq!(
        failure(&execution),
        (
            "FAILED",
            "States.Runtime",
            "The execution reached the maximum number of history events (25000)."
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn data_above_262144_bytes_end_an_execution_and_nothing_catches_it() {
    let state = json!({
        "Type": "Map", "Items": "{% [1..400] %}",
        "ItemProcessor": { "StartAt": "B", "States": {
            "B": { "Type": "Pass", "Output": "{% $pad('', 700, 'x') %}", "End": true }
        } },
        "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "Caught" }], "Next": "Caught",
    });
    let states = json!({ "A": state, "Caught": { "Type": "Succeed" } });
    let definition = json!({ "QueryLanguage": "JSONata", "StartAt": "A", "States": states });
    let machine = Machine::new(definition).await;
    let execution = machine.run(json!({})).await;
    let (status, error, cause) = failure(&execution);
    assert_eq!((status, error), ("FAILED", "States.DataLimitExceeded"));
    assert!(cause.starts_with("The state/task 'A' returned a result with a size exceeding"));
    let long = json!({ "stateMachineArn": machine.arn(), "input": "1".repeat(262_145) });
    let refused = machine.api("StartExecution", long).await.expect_err("refused");
    assert!(refused.contains("less than or equal to 262144"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_of_impossible_length_are_errors_of_the_state() {
    let state = json!({ "Type": "Wait", "Seconds": "{% $states.input %}" });
    let machine = Machine::new(one_state(state)).await;
    for seconds in [json!(1e20), json!(-1), json!("x"), json!(0.5)] {
        let execution = machine.run(seconds.clone()).await;
        assert_eq!(failure(&execution).1, "States.QueryEvaluationError", "{seconds}");
    }
    assert_eq!(machine.run(json!(0)).await.status, "SUCCEEDED");
}

#[tokio::test]
async fn definitions_with_impossible_numbers_are_refused() {
    let lambda = |more: Value| {
        let mut state = json!({ "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke" });
        for (field, value) in more.as_object().expect("fields") {
            state[field] = value.clone();
        }
        one_state(state)
    };
    for definition in [
        lambda(json!({ "TimeoutSeconds": -1 })),
        lambda(json!({ "TimeoutSeconds": 1e300 })),
        lambda(json!({ "Retry": [{ "ErrorEquals": ["A"], "IntervalSeconds": 1e25 }] })),
        lambda(json!({ "Catch": [{ "ErrorEquals": ["A"], "Next": "A", "Then": 1 }] })),
        one_state(json!({ "Type": "Wait", "Seconds": 1e20 })),
    ] {
        let refused = steppe_cloud::services::states::check(&definition);
        assert!(refused.is_err(), "{definition}");
    }
}

#[tokio::test]
async fn unknown_machines_parameters_and_tokens_are_refused() {
    let machine = Machine::new(one_state(json!({ "Type": "Pass" }))).await;
    let arn = machine.arn();
    let list = |params: Value| machine.api("ListExecutions", params);
    let unknown = list(json!({ "stateMachineArn": format!("{arn}x") })).await;
    assert!(unknown.expect_err("refused").starts_with("StateMachineDoesNotExist"));
    let token = list(json!({ "stateMachineArn": arn, "nextToken": "x" })).await;
    assert_eq!(token, Err("InvalidToken: Invalid Token: 'x'".to_owned()));
    let traced = json!({ "stateMachineArn": arn, "traceHeader": "Root=1" });
    let refused = machine.api("StartExecution", traced).await.expect_err("refused");
    assert!(refused.contains("parameter traceHeader of states:StartExecution"), "{refused}");
    for _ in 0..3 {
        machine.run(json!({})).await;
    }
    let page = list(json!({ "stateMachineArn": arn, "maxResults": 2 })).await.expect("a page");
    assert_eq!(page["executions"].as_array().map(Vec::len), Some(2));
    let next = json!({ "stateMachineArn": arn, "nextToken": page["nextToken"] });
    let rest = list(next).await.expect("the rest");
    assert_eq!(rest["executions"].as_array().map(Vec::len), Some(1));
    assert!(rest["nextToken"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_starts_with_one_name_one_runs() {
    let machine =
        Machine::new(one_state(json!({ "Type": "Pass", "Output": "{% $states.input %}" }))).await;
    let arn = machine.arn();
    let begin = |input: &str| {
        let params = json!({ "stateMachineArn": arn, "name": "n", "input": input });
        machine.api("StartExecution", params)
    };
    let (first, second) = tokio::join!(begin("1"), begin("2"));
    assert_ne!(first.is_ok(), second.is_ok(), "{first:?} {second:?}");
}
