//! Every state that a stack can be in, and what each operation makes of it: `docs/stack-states.md`.
//!
//! States are reached as in life, by operations and resources that fail. Those that pass too fast
//! to be met are written into the stack's record; of these only what is refused, or changes nothing
//! but the record, is asked for.

use crate::cloudformation_account::settle;
use crate::stack_scenarios::Run;
use crate::tools::root;

const TEMPLATES: &str = "template one
  Resources:
    Own: { Type: 'AWS::SNS::Topic', Properties: { TopicName: own } }
template two
  Resources:
    Own: { Type: 'AWS::SNS::Topic', Properties: { TopicName: own, DisplayName: Two } }
    New: { Type: 'AWS::SNS::Topic', DependsOn: Own, Properties: { TopicName: new } }
template waiting
  Resources:
    Own: { Type: 'AWS::SNS::Topic', Properties: { TopicName: own } }
    Ready:
      Type: AWS::CloudFormation::WaitCondition
      DependsOn: Own
      CreationPolicy: { ResourceSignal: { Timeout: PT12H } }
template policy
  { \"Statement\": [] }
";

/// States, and the steps that lead to them.
const STATES: [(&str, &str); 18] = [
    (
        "REVIEW_IN_PROGRESS",
        "CreateChangeSet StackName=s ChangeSetName=first ChangeSetType=CREATE TemplateBody=@one",
    ),
    (
        "CREATE_IN_PROGRESS",
        "& CreateStack StackName=s TemplateBody=@waiting
         until Ready CREATE_IN_PROGRESS",
    ),
    (
        "CREATE_FAILED",
        "fault CreateResource Own: Internal Failure
         CreateStack StackName=s TemplateBody=@one DisableRollback=true",
    ),
    ("CREATE_COMPLETE", "CreateStack StackName=s TemplateBody=@one"),
    ("ROLLBACK_IN_PROGRESS", "CreateStack StackName=s TemplateBody=@one"),
    (
        "ROLLBACK_FAILED",
        "fault CreateResource New: Internal Failure
         fault DeleteResource Own: It is in use
         CreateStack StackName=s TemplateBody=@two",
    ),
    (
        "ROLLBACK_COMPLETE",
        "fault CreateResource New: Internal Failure
         CreateStack StackName=s TemplateBody=@two",
    ),
    (
        "UPDATE_IN_PROGRESS",
        "CreateStack StackName=s TemplateBody=@one
         & UpdateStack StackName=s TemplateBody=@waiting
         until Ready CREATE_IN_PROGRESS",
    ),
    ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "CreateStack StackName=s TemplateBody=@one"),
    (
        "UPDATE_COMPLETE",
        "CreateStack StackName=s TemplateBody=@one
         UpdateStack StackName=s TemplateBody=@two
         UpdateStack StackName=s TemplateBody=@one",
    ),
    (
        "UPDATE_FAILED",
        "CreateStack StackName=s TemplateBody=@one
         fault CreateResource New: Internal Failure
         UpdateStack StackName=s TemplateBody=@two DisableRollback=true",
    ),
    ("UPDATE_ROLLBACK_IN_PROGRESS", "CreateStack StackName=s TemplateBody=@one"),
    (
        "UPDATE_ROLLBACK_FAILED",
        "CreateStack StackName=s TemplateBody=@one
         fault CreateResource New: Internal Failure
         fault 2 UpdateResource Own: It is in use
         UpdateStack StackName=s TemplateBody=@two",
    ),
    ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "CreateStack StackName=s TemplateBody=@one"),
    (
        "UPDATE_ROLLBACK_COMPLETE",
        "CreateStack StackName=s TemplateBody=@one
         fault CreateResource New: Internal Failure
         UpdateStack StackName=s TemplateBody=@two",
    ),
    ("DELETE_IN_PROGRESS", "CreateStack StackName=s TemplateBody=@one"),
    (
        "DELETE_FAILED",
        "CreateStack StackName=s TemplateBody=@one
         fault DeleteResource Own: It is in use
         DeleteStack StackName=s",
    ),
    (
        "DELETE_COMPLETE",
        "CreateStack StackName=s TemplateBody=@one
         DeleteStack StackName=s",
    ),
];

/// Operations: what they are called in the page, and the call.
const OPERATIONS: [(&str, &str); 17] = [
    ("CreateStack", "CreateStack StackName=s TemplateBody=@two"),
    ("UpdateStack", "UpdateStack StackName=s TemplateBody=@two"),
    (
        "UpdateStack with DisableRollback",
        "UpdateStack StackName=s TemplateBody=@two DisableRollback=true",
    ),
    ("DeleteStack", "DeleteStack StackName=s"),
    ("DeleteStack with RetainResources", "DeleteStack StackName=s RetainResources=[\"Own\"]"),
    ("DeleteStack by force", "DeleteStack StackName=s DeletionMode=FORCE_DELETE_STACK"),
    ("ContinueUpdateRollback", "ContinueUpdateRollback StackName=s"),
    ("RollbackStack", "RollbackStack StackName=s"),
    ("CancelUpdateStack", "CancelUpdateStack StackName=s"),
    (
        "CreateChangeSet of the type UPDATE",
        "CreateChangeSet StackName=s ChangeSetName=c TemplateBody=@two",
    ),
    (
        "CreateChangeSet of the type CREATE",
        "CreateChangeSet StackName=s ChangeSetName=c ChangeSetType=CREATE TemplateBody=@two",
    ),
    (
        "CreateChangeSet of the type IMPORT",
        "CreateChangeSet StackName=s ChangeSetName=c ChangeSetType=IMPORT TemplateBody=@two",
    ),
    (
        "ExecuteChangeSet",
        "& CreateChangeSet StackName=s ChangeSetName=c TemplateBody=@two
         ExecuteChangeSet StackName=s ChangeSetName=c",
    ),
    (
        "SignalResource",
        "SignalResource StackName=s LogicalResourceId=Ready UniqueId=a Status=SUCCESS",
    ),
    ("SetStackPolicy", "SetStackPolicy StackName=s StackPolicyBody=@policy"),
    (
        "UpdateTerminationProtection",
        "UpdateTerminationProtection StackName=s EnableTerminationProtection=true",
    ),
    ("DetectStackDrift", "DetectStackDrift StackName=s"),
];

/// Operations that only look, or end work that is under way, so that a state that goes on goes on.
fn ends(state: &str, operation: &str) -> bool {
    !state.ends_with("_IN_PROGRESS")
        || matches!(
            (state, operation),
            ("REVIEW_IN_PROGRESS", _)
                | ("CREATE_IN_PROGRESS", "DeleteStack" | "SignalResource")
                | ("UPDATE_IN_PROGRESS", "CancelUpdateStack" | "SignalResource")
        )
}

/// What an operation makes of a stack in a state.
async fn answer(state: &str, steps: &str, operation: &str, call: &str) -> String {
    let mut run = Run::new();
    run.script(TEMPLATES).await;
    run.script(steps).await;
    let id = run.stack.clone().expect("a stack");
    let cloud = run.account.cloud.clone();
    let stacks = &cloud.services.cloudformation.stacks;
    let status = || stacks.get(&id).expect("the stack").status.clone();
    if state.ends_with("_IN_PROGRESS") {
        stacks.update(&id, |stack| stack.status = state.to_owned()).expect("stored");
    }
    assert_eq!(status(), state, "{steps}");
    let mut lines = call.lines().map(str::trim).rev();
    let last = lines.next().expect("a call");
    for before in lines {
        run.script(before).await;
    }
    run.refusal = None;
    run.script(&format!("& {last}")).await;
    if let Some(refusal) = run.refusal.take() {
        return refusal.replace(&id, "ARN");
    }
    if run.stack.as_ref() != Some(&id) {
        return "makes a new stack".to_owned();
    }
    if ends(state, operation) {
        settle(&cloud, &id).await;
    }
    match status() {
        same if same == state => "accepted".to_owned(),
        after => format!("accepted, → `{after}`"),
    }
}

#[tokio::test]
async fn every_operation_in_every_state() {
    let mut page = String::from(
        "# Stacks: states and operations\n\nWhat the embedded cloud answers to each operation in \
         each state of a stack, in AWS's words where they are known. A test writes this page from \
         what it was answered: `tests/all/stack_states.rs`. `ARN` is the stack's ID, \
         `STATE` the state. Imports of resources, and so the states `IMPORT_…`, are not implemented.\n",
    );
    for (operation, call) in OPERATIONS {
        page += &format!("\n## {operation}\n\n| answer | in the states |\n|---|---|\n");
        let mut answers: Vec<(String, Vec<&str>)> = Vec::new();
        for (state, steps) in STATES {
            let told = answer(state, steps, operation, call).await.replace(state, "STATE");
            match answers.iter_mut().find(|(answer, _)| *answer == told) {
                Some((_, states)) => states.push(state),
                None => answers.push((told, vec![state])),
            }
        }
        for (answer, states) in answers {
            let states = states.join("`, `");
            page += &format!("| {} | `{states}` |\n", answer.replace('|', "\\|"));
        }
    }
    expectorate::assert_contents(root().join("docs/stack-states.md"), &page);
}
