//! Rules and schedules, topics, the outbox, and alarms.

use std::path::PathBuf;

use maud::{Markup, html};
use serde_json::Value;

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{arn, bytes, facts, json, json_text, link, section, short, status, text, time};
use super::links::to;
use super::table::{paged, table};
use crate::kernel::cloud::Cloud;
use crate::services::cloudwatch::Alarm;

/// Bytes of a mail that are shown.
const MAIL_BYTES_MAX: u64 = 512 * 1024;
/// Mails that are listed.
const MAILS_MAX: usize = 10_000;

/// All rules.
pub async fn rules(ask: &Ask) -> Result<Answer, Problem> {
    let (rules, pager) = paged(ask, "rules", ask.cloud.services.events.rules.all());
    let rows: Vec<Vec<Markup>> = rules
        .iter()
        .map(|(name, rule)| {
            let properties = rule.properties(name);
            let acts = match &properties["EventPattern"] {
                Value::Null => {
                    properties["ScheduleExpression"].as_str().unwrap_or_default().to_owned()
                }
                pattern => short(&pattern.to_string(), 120),
            };
            vec![
                link(&to("rule", &[("name", name)]), name),
                status(if rule.enabled { "ENABLED" } else { "DISABLED" }),
                text(&acts),
                text(&rule.targets.len().to_string()),
                text(&rule.description),
            ]
        })
        .collect();
    let columns = ["Name", "State", "Schedule or pattern", "#Targets", "Description"];
    let body = html! { (table("Rules", &columns, &rows)) (pager) };
    Ok(Page::new("Rules and schedules", body).into())
}

/// One rule.
pub async fn rule(ask: &Ask) -> Result<Answer, Problem> {
    let name = ask.required("name")?;
    let rule = ask.cloud.services.events.rules.get(name);
    let rule = rule.ok_or_else(|| Problem::absent(format!("There is no rule {name}.")))?;
    let properties = rule.properties(name);
    let body = html! {
        (facts(vec![
            ("State", status(if rule.enabled { "ENABLED" } else { "DISABLED" })),
            ("Description", text(&rule.description)),
            ("Schedule", super::html::of(&properties["ScheduleExpression"])),
            ("Created", time(rule.created)),
        ]))
        @if let Some(pattern) = &rule.pattern {
            (section("Event pattern", &json("Event pattern", pattern)))
        }
        (section("Targets", &html! {
            @for target in &rule.targets {
                h3 { (target.id) }
                (facts(vec![("ARN", arn(&target.arn)), ("Role", arn(target.role.as_deref().unwrap_or_default()))]))
                @if let Some(input) = &target.input { (json_text("Input", input)) }
            }
        }))
    };
    Ok(Page::new(name, body).below("Rules and schedules", to("rules", &[])).into())
}

/// All topics with their subscribers.
pub async fn topics(ask: &Ask) -> Result<Answer, Problem> {
    let (topics, pager) = paged(ask, "topics", ask.cloud.services.sns.topics.all());
    let rows: Vec<Vec<Markup>> = topics
        .iter()
        .map(|(arn, topic)| {
            let subscribers = topic.subscriptions.iter();
            let subscribers: Vec<&str> = subscribers.map(|s| s.endpoint.as_str()).collect();
            vec![text(arn), text(&topic.display_name), text(&subscribers.join(", "))]
        })
        .collect();
    let body = html! {
        (table("Topics", &["ARN", "Name in mails", "Subscribers"], &rows))
        (pager)
        p { (link(&to("outbox", &[]), "Mails that were sent")) }
    };
    Ok(Page::new("Topics", body).into())
}

fn outbox_of(ask: &Ask) -> PathBuf {
    ask.cloud.path("outbox")
}

/// Names of mails begin with their times.
fn mails(ask: &Ask) -> Vec<String> {
    let entries = std::fs::read_dir(outbox_of(ask)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_mail(name)).take(MAILS_MAX).collect();
    names.sort_unstable_by(|one, other| other.cmp(one));
    names
}

/// Only names that the cloud makes: nothing that leads elsewhere.
fn is_mail(name: &str) -> bool {
    name.strip_suffix(".eml").is_some_and(|stem| {
        !stem.is_empty() && stem.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    })
}

fn read_mail(ask: &Ask, name: &str) -> Option<(String, u64)> {
    use std::io::Read as _;

    let file = std::fs::File::open(outbox_of(ask).join(name)).ok()?;
    let size = file.metadata().ok()?.len();
    let mut content = Vec::new();
    file.take(MAIL_BYTES_MAX).read_to_end(&mut content).ok()?;
    Some((String::from_utf8_lossy(&content).replace("\r\n", "\n"), size))
}

fn header<'m>(mail: &'m str, name: &str) -> &'m str {
    let head = mail.split("\n\n").next().unwrap_or_default();
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(own, _)| *own == name).map_or("", |(_, value)| value)
}

/// What was sent, newest first.
pub async fn outbox(ask: &Ask) -> Result<Answer, Problem> {
    let (shown, pager) = paged(ask, "outbox", mails(ask));
    let rows: Vec<Vec<Markup>> = shown
        .iter()
        .filter_map(|name| {
            let (mail, size) = read_mail(ask, name)?;
            let subject = match header(&mail, "Subject") {
                "" => "(none)",
                subject => subject,
            };
            Some(vec![
                link(&to("mail", &[("name", name)]), subject),
                text(header(&mail, "To")),
                text(header(&mail, "Date")),
                text(&bytes(size)),
            ])
        })
        .collect();
    let body = html! { (table("Mails", &["Subject", "To", "Date", "#Size"], &rows)) (pager) };
    Ok(Page::new("Outbox", body).into())
}

/// One mail, as text.
pub async fn mail(ask: &Ask) -> Result<Answer, Problem> {
    let name = ask.required("name")?;
    let absent = || Problem::absent("There is no such mail.");
    if !is_mail(name) {
        return Err(absent());
    }
    let (mail, _) = read_mail(ask, name).ok_or_else(absent)?;
    let subject = match header(&mail, "Subject") {
        "" => "Mail",
        subject => subject,
    };
    let fields = ["From", "To", "Date", "Message-ID"];
    let fields = fields.map(|field| (field, text(header(&mail, field))));
    let content = mail.split_once("\n\n").map_or("", |(_, content)| content);
    let body = html! {
        (facts(fields.to_vec()))
        (json_text("Content", content.trim_end()))
    };
    Ok(Page::new(subject, body).below("Outbox", to("outbox", &[])).into())
}

/// All alarms.
pub async fn alarms(ask: &Ask) -> Result<Answer, Problem> {
    let (alarms, pager) = paged(ask, "alarms", ask.cloud.services.cloudwatch.alarms.all());
    let body = html! {
        @if alarms.is_empty() { p.quiet { "None." } }
        @for (name, alarm) in &alarms { (section(name, &shown(&ask.cloud, name, alarm))) }
        (pager)
    };
    Ok(Page::new("Alarms", body).into())
}

fn shown(cloud: &Cloud, name: &str, alarm: &Alarm) -> Markup {
    let about = alarm.describe(cloud, name);
    let of = |member: &str| super::html::of(&about[member]);
    let dimensions = alarm.metric.dimensions.iter();
    let actions = alarm.actions.values().flatten();
    facts(vec![
        ("State", of("StateValue")),
        ("Since", time(alarm.state.since)),
        ("Why", text(&alarm.state.reason)),
        ("Description", of("AlarmDescription")),
        ("Metric", text(&format!("{} {}", alarm.metric.namespace, alarm.metric.name))),
        ("Dimensions", html! { @for (name, value) in dimensions { div { (name) " " (value) } } }),
        ("Statistic", text(&format!("{} over {} s", alarm.statistic, alarm.period_secs))),
        ("Comparison", of("ComparisonOperator")),
        ("Threshold", of("Threshold")),
        ("Periods", of("EvaluationPeriods")),
        ("Missing data", of("TreatMissingData")),
        ("Tells", html! { @for action in actions { div { (arn(action)) } } }),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mails_are_read() {
        assert!(is_mail("20260131T120000123-6f2c-0.eml"));
        for name in ["../cloud.db", "..eml", ".eml", "a/b.eml", "a\\b.eml", "identity", "a.eml\0"] {
            assert!(!is_mail(name), "{name}");
        }
    }

    #[test]
    fn headers_are_those_of_the_head() {
        let mail = "From: a\nSubject: Ready: <b>\n\nSubject: other\n";
        assert_eq!(header(mail, "Subject"), "Ready: <b>");
        assert_eq!(header(mail, "To"), "");
    }
}
