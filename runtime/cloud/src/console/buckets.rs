//! Buckets, and what is in one, folder by folder.

use std::ops::ControlFlow;
use std::sync::Arc;

use maud::{Markup, html};

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{bytes, facts, folded, json, link, section, tags, text, time};
use super::links::to;
use super::table::{onward, paged, table};
use crate::kernel::store::Table;
use crate::services::s3::{Bucket, Object};

/// Entries on a page of a bucket.
const ENTRIES: usize = 100;
/// Behind every key of a folder.
const LAST: char = '\u{10ffff}';

/// All buckets.
pub async fn list(ask: &Ask) -> Result<Answer, Problem> {
    let (buckets, pager) = paged(ask, "buckets", ask.cloud.services.s3.all());
    let rows: Vec<Vec<Markup>> = buckets
        .iter()
        .map(|(name, bucket)| {
            vec![
                link(&to("bucket", &[("name", name)]), name),
                time(bucket.created),
                text(bucket.owner.as_deref().unwrap_or("this account")),
                text(if bucket.policy.is_some() { "yes" } else { "no" }),
                tags(&bucket.tags),
            ]
        })
        .collect();
    let body = html! {
        (table("Buckets", &["Name", "Created", "Owner", "Policy", "Tags"], &rows))
        (pager)
    };
    Ok(Page::new("Buckets", body).into())
}

/// A line of a listing.
enum Entry {
    Folder(String),
    Object(String, Arc<Object>),
}

/// Entries below `prefix` that come after `after`, and the last one when more follow.
fn entries(
    objects: &Table<Object>,
    prefix: &str,
    after: Option<&str>,
) -> (Vec<Entry>, Option<String>) {
    let mut found: Vec<Entry> = Vec::new();
    let mut after = after.map(str::to_owned);
    loop {
        let before = found.len();
        let mut folder = None;
        objects.scan(prefix, after.as_deref(), |key, object| {
            if found.len() > ENTRIES {
                return ControlFlow::Break(());
            }
            if let Some(end) = key[prefix.len()..].find('/') {
                let name = key[..=prefix.len() + end].to_owned();
                folder = Some(name.clone());
                found.push(Entry::Folder(name));
                return ControlFlow::Break(());
            }
            found.push(Entry::Object(key.to_owned(), object));
            ControlFlow::Continue(())
        });
        // What is in a folder is passed over.
        match folder {
            Some(name) if found.len() <= ENTRIES && found.len() > before => {
                after = Some(format!("{name}{LAST}"));
            }
            _ => break,
        }
    }
    if found.len() <= ENTRIES {
        return (found, None);
    }
    found.truncate(ENTRIES);
    let last = match found.last() {
        Some(Entry::Folder(name)) => Some(format!("{name}{LAST}")),
        Some(Entry::Object(key, _)) => Some(key.clone()),
        None => None,
    };
    (found, last)
}

/// One bucket.
pub async fn one(ask: &Ask) -> Result<Answer, Problem> {
    let name = ask.required("name")?;
    let absent = |_| Problem::absent(format!("There is no bucket {name}."));
    let bucket = ask.cloud.services.s3.get(name).map_err(absent)?;
    let objects = ask.cloud.services.s3.objects(name).map_err(absent)?;
    let prefix = ask.text("prefix").unwrap_or_default();
    let (found, next) = entries(&objects, prefix, ask.text("after"));
    let rows: Vec<Vec<Markup>> = found.iter().map(|entry| row(name, prefix, entry)).collect();
    let body = html! {
        @if prefix.is_empty() && ask.text("after").is_none() { (about(&bucket)) }
        section {
            h2 { "Objects" }
            (places(name, prefix))
            (table("Objects", &["Key", "#Size", "Written", "Type"], &rows))
            (onward(ask, "bucket", "after", next.as_deref()))
        }
        @if prefix.is_empty() { (settings(&bucket)) }
    };
    Ok(Page::new(name, body).below("Buckets", to("buckets", &[])).into())
}

/// Where in the bucket this is, each folder a link, and a form to go elsewhere.
fn places(bucket: &str, prefix: &str) -> Markup {
    let ends = prefix.match_indices('/').map(|(at, _)| at + 1);
    let mut start = 0;
    let parts: Vec<(&str, &str)> = ends
        .map(|end| {
            let part = (&prefix[start..end], &prefix[..end]);
            start = end;
            part
        })
        .collect();
    html! {
        nav.places aria-label="Folders" {
            (link(&to("bucket", &[("name", bucket)]), bucket)) " / "
            @for (part, whole) in parts {
                (link(&to("bucket", &[("name", bucket), ("prefix", whole)]), part)) " "
            }
        }
        form.inline method="get" action="/_steppe/bucket" role="search" {
            input type="hidden" name="name" value=(bucket);
            label for="prefix" { "Prefix" }
            input #prefix name="prefix" value=(prefix) autocapitalize="none" spellcheck="false";
            button type="submit" { "Show" }
        }
    }
}

fn row(bucket: &str, prefix: &str, entry: &Entry) -> Vec<Markup> {
    match entry {
        Entry::Folder(name) => {
            let address = to("bucket", &[("name", bucket), ("prefix", name)]);
            vec![link(&address, &name[prefix.len()..]), text(""), text(""), text("folder")]
        }
        Entry::Object(key, object) => {
            let address = to("object", &[("bucket", bucket), ("key", key)]);
            let own = match &key[prefix.len()..] {
                "" => key.as_str(),
                own => own,
            };
            vec![
                link(&address, own),
                text(&bytes(object.size)),
                time(object.modified),
                text(object.meta.content_type.as_deref().unwrap_or_default()),
            ]
        }
    }
}

fn about(bucket: &Bucket) -> Markup {
    facts(vec![
        ("Created", time(bucket.created)),
        ("Owner", text(bucket.owner.as_deref().unwrap_or("this account"))),
        ("Tags", tags(&bucket.tags)),
    ])
}

fn settings(bucket: &Bucket) -> Markup {
    html! {
        @match &bucket.policy {
            Some(policy) => (folded("Bucket policy", &json("Bucket policy", policy))),
            None => (section("Bucket policy", &html! { p.quiet { "None." } })),
        }
        @for (name, setting) in &bucket.settings { (folded(name, &json(name, setting))) }
    }
}
