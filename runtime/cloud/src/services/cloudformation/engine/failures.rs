//! What fails while resources are brought to their declarations, and the reasons of stacks.

use crate::kernel::cloud::Cloud;
use crate::kernel::resource::Failure;
use crate::kernel::schema;
use crate::services::cloudformation::{Resource, events, settle_resource};

/// A resource that failed, and in what.
pub struct Failed {
    /// Its name in the template.
    pub id: String,
    /// `CREATE` or `UPDATE`.
    pub verb: &'static str,
}

/// What AWS publishes about the type decides, in the words of its events.
pub fn check_properties(id: &str, resource: &Resource) -> Result<(), Failure> {
    let problems = schema::problems(&resource.kind, &resource.properties);
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = problems.iter().map(|p| format!("#{}: {}", p.path, p.words)).collect();
    Err(Failure::Other(format!(
        "Properties validation failed for resource {id} with message:\n[{}]",
        lines.join(", ")
    )))
}

/// `The following resource(s) failed to create: [A, B].`
pub fn failure(verb: &str, first: String, cancelled: Vec<String>) -> String {
    let mut names = vec![first];
    names.extend(cancelled);
    let verb = verb.to_lowercase();
    format!("The following resource(s) failed to {verb}: [{}].", names.join(", "))
}

/// The same for what failed side by side.
pub fn failures(failed: Vec<Failed>) -> String {
    let of = |verb: &str| {
        let mut names = failed.iter().filter(|one| one.verb == verb).map(|one| one.id.clone());
        names.next().map(|first| failure(verb, first, names.collect()))
    };
    ["CREATE", "UPDATE"].into_iter().filter_map(of).collect::<Vec<_>>().join(" ")
}

/// Ends what is in progress; the names of those resources.
pub fn cancel(cloud: &Cloud, stack_id: &str) -> Vec<String> {
    let Some(stack) = cloud.services.cloudformation.stacks.get(stack_id) else { return vec![] };
    let mut cancelled = Vec::new();
    for (id, resource) in &stack.resources {
        let Some(verb) = resource.status.strip_suffix("_IN_PROGRESS") else { continue };
        let mut resource = resource.clone();
        let what = if verb == "CREATE" { "creation" } else { "update" };
        resource.reason = Some(format!("Resource {what} cancelled"));
        resource.status = format!("{verb}_FAILED");
        settle_resource(cloud, stack_id, id, &resource);
        events::of_resource(cloud, stack_id, &stack, id, &resource);
        cancelled.push(id.clone());
    }
    cancelled
}
