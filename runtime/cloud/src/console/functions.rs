//! Functions of Lambda.

use maud::{Markup, html};

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{arn, bytes, facts, link, section, text, time};
use super::links::to;
use super::logs;
use super::mask::MASK;
use super::table::{paged, table};
use crate::services::lambda::Function;

/// Lines of the log that are shown.
const LINES: usize = 100;
/// Invocations that are shown.
const INVOCATIONS: usize = 25;

/// All functions.
pub async fn list(ask: &Ask) -> Result<Answer, Problem> {
    let (functions, pager) = paged(ask, "functions", ask.cloud.services.lambda.functions.all());
    let rows: Vec<Vec<Markup>> = functions
        .iter()
        .map(|(name, function)| {
            vec![
                link(&to("function", &[("name", name)]), name),
                text(&function.description),
                text(&format!("{} MB", function.memory_mb)),
                text(&format!("{} s", function.timeout_secs)),
                text(&bytes(function.code_bytes as u64)),
                time(function.modified),
            ]
        })
        .collect();
    let columns = ["Name", "Description", "#Memory", "#Timeout", "#Package", "Changed"];
    let body = html! { (table("Functions", &columns, &rows)) (pager) };
    Ok(Page::new("Functions", body).into())
}

/// One function.
pub async fn one(ask: &Ask) -> Result<Answer, Problem> {
    let name = ask.required("name")?;
    let function = ask.cloud.services.lambda.functions.get(name);
    let function =
        function.ok_or_else(|| Problem::absent(format!("There is no function {name}.")))?;
    let events = logs::newest(ask, &function.log_group, None);
    let invocations = invocations(&events);
    let shown = &events[..events.len().min(LINES)];
    let body = html! {
        (about(ask, name, &function))
        (section("Environment variables", &variables(&function)))
        (section("Invocations, newest first", &html! {
            (table("Invocations", &["Request", "When", "#Took", "#Billed", "Stream"], &invocations))
            p.quiet { "As the log reports them." }
        }))
        (section("Newest lines of the log", &html! {
            (logs::lines(&function.log_group, shown))
            p { (link(&to("log", &[("group", &function.log_group)]), "The whole log")) }
        }))
    };
    Ok(Page::new(name, body).below("Functions", to("functions", &[])).into())
}

fn about(ask: &Ask, name: &str, function: &Function) -> Markup {
    let network = function.network.as_ref();
    let joined =
        |names: Option<&Vec<String>>| text(&names.map(|n| n.join(", ")).unwrap_or_default());
    facts(vec![
        ("ARN", text(&crate::services::lambda::arn(&ask.cloud, name))),
        ("Description", text(&function.description)),
        ("Role", arn(&function.role)),
        ("Handler", text(&function.handler)),
        ("Memory", text(&format!("{} MB", function.memory_mb))),
        ("Timeout", text(&format!("{} s", function.timeout_secs))),
        ("Architecture", text(&function.architecture)),
        ("Package", text(&bytes(function.code_bytes as u64))),
        ("SHA-256", text(&function.code_sha256)),
        ("Log group", link(&to("log", &[("group", &function.log_group)]), &function.log_group)),
        ("Subnets", joined(network.map(|n| &n.subnets))),
        ("Security groups", joined(network.map(|n| &n.groups))),
        ("Changed", time(function.modified)),
    ])
}

fn variables(function: &Function) -> Markup {
    let mut names: Vec<&String> = function.variables.keys().collect();
    names.sort();
    let rows: Vec<Vec<Markup>> =
        names.into_iter().map(|name| vec![text(name), text(MASK)]).collect();
    table("Environment variables", &["Name", "Value"], &rows)
}

/// What the log reports of invocations, newest first: lines that begin with `REPORT`.
fn invocations(events: &[logs::Line]) -> Vec<Vec<Markup>> {
    let reports = events.iter().filter(|event| event.message.starts_with("REPORT "));
    reports
        .take(INVOCATIONS)
        .map(|event| {
            vec![
                text(reported(&event.message, "RequestId:")),
                event.when(),
                text(reported(&event.message, "Duration:")),
                text(reported(&event.message, "Billed Duration:")),
                text(&event.stream),
            ]
        })
        .collect()
}

/// A field of a report, which tabs separate: `REPORT RequestId: …\tDuration: 12.34 ms\t…`.
fn reported<'l>(line: &'l str, name: &str) -> &'l str {
    let fields = line.trim_start_matches("REPORT ").split('\t');
    let mut found = fields.filter_map(|field| field.trim().strip_prefix(name));
    found.next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::reported;

    #[test]
    fn reports_are_read() {
        let line =
            "REPORT RequestId: 1-2\tDuration: 3.5 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB";
        assert_eq!(reported(line, "RequestId:"), "1-2");
        assert_eq!(reported(line, "Duration:"), "3.5 ms");
        assert_eq!(reported(line, "Billed Duration:"), "4 ms");
        assert_eq!(reported(line, "Init Duration:"), "");
    }
}
