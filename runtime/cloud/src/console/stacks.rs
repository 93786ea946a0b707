//! All stacks.

use maud::{Markup, html};

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{link, maybe_time, short, status, text, time};
use super::links::to;
use super::mask::Secrets;
use super::table::{paged, table};
use crate::services::cloudformation::{Stack, parse};

/// The list, newest first; those that are deleted come when they are asked for.
pub async fn list(ask: &Ask) -> Result<Answer, Problem> {
    let with_deleted = ask.text("deleted").is_some();
    let mut stacks = ask.cloud.services.cloudformation.stacks.all();
    stacks.retain(|(_, stack)| with_deleted || stack.status != "DELETE_COMPLETE");
    stacks.sort_by_key(|(_, stack)| std::cmp::Reverse(stack.created));
    let is_moving = stacks.iter().any(|(_, stack)| stack.is_busy());
    let (stacks, pager) = paged(ask, "stacks", stacks);
    let rows: Vec<Vec<Markup>> = stacks
        .iter()
        .map(|(id, stack)| {
            vec![
                link(&to("stack", &[("id", id)]), &stack.name),
                status(&stack.status),
                text(&short(&masked(stack, stack.reason.as_deref().unwrap_or_default()), 160)),
                time(stack.created),
                maybe_time(stack.updated),
                text(&stack.resources.len().to_string()),
                status(stack.drift.status()),
            ]
        })
        .collect();
    let columns = ["Name", "Status", "Reason", "Created", "Updated", "#Resources", "Drift"];
    let body = html! {
        (table("Stacks", &columns, &rows))
        (pager)
        p {
            @if with_deleted { (link(&to("stacks", &[]), "Without deleted stacks")) }
            @else { (link(&to("stacks", &[("deleted", "1")]), "With deleted stacks")) }
        }
    };
    Ok(Page::new("Stacks", body).moving(is_moving).into())
}

/// A text about a stack without what its parameters must not show. Nothing is shown when nobody
/// can tell which these are.
pub fn masked(stack: &Stack, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let Ok(template) = parse(&stack.template) else { return String::new() };
    let mut secrets = Secrets::default();
    template.secrets(&stack.parameters()).iter().for_each(|value| secrets.add(value));
    secrets.masked(text)
}
