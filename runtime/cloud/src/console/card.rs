//! Models: which are there, which one serves, and what their cards say.
//!
//! Cards differ by task. What they share is shown first; the rest is shown as what it is, members
//! as facts and lists as tables.

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::ask::{Answer, Ask, Problem};
use super::found::{Found, everywhere};
use super::frame::Page;
use super::html::{bytes, facts, folded, json, link, of, section, text, time};
use super::links::to;
use super::table::{paged, table};

/// How deep values of a card are shown as facts and tables.
const DEPTH_MAX: usize = 4;
/// Rows of a list in a card.
const ROWS_MAX: usize = 200;
/// Columns of a list in a card.
const COLUMNS_MAX: usize = 14;
/// Items of a plain list.
const ITEMS_MAX: usize = 60;

fn is_card(key: &str) -> bool {
    key.ends_with("/card.json")
}

/// The models of all pipelines, the newest card in full, and reports.
pub async fn list(ask: &Ask) -> Result<Answer, Problem> {
    let cards = everywhere(ask, "models/", is_card);
    let newest = cards.first().cloned();
    let serving = everywhere(ask, "models/", |key| key.ends_with("/current.json"));
    let (shown, pager) = paged(ask, "models", cards);
    let rows: Vec<Vec<Markup>> = shown.iter().map(|found| row(ask, found)).collect();
    let body = html! {
        (section("In service", &in_service(ask, &serving)))
        (section("Cards, newest first", &html! {
            (table("Cards", &["Model", "Task", "Version", "Bucket", "Written"], &rows))
            (pager)
        }))
        (reports(ask))
        @if let Some(newest) = newest {
            @if let Some(card) = newest.json(ask) {
                (section("The newest card", &html! {
                    p {
                        (link(&address(&newest), &newest.key))
                        ", written " (time(newest.object.modified))
                    }
                    (card_of(&card))
                }))
            }
        }
    };
    Ok(Page::new("Models", body).into())
}

fn address(found: &Found) -> String {
    to("model", &[("bucket", &found.bucket), ("key", &found.key)])
}

/// `3f9a…` of `models/marriages/3f9a…/card.json`.
fn version(key: &str) -> &str {
    key.rsplit('/').nth(1).unwrap_or(key)
}

fn row(ask: &Ask, found: &Found) -> Vec<Markup> {
    let card = found.json(ask).unwrap_or_default();
    let id = card["id"].as_str().unwrap_or(&found.key).to_owned();
    vec![
        link(&address(found), &id),
        of(&card["task"]),
        text(version(&found.key)),
        link(&to("bucket", &[("name", &found.bucket), ("prefix", "models/")]), &found.bucket),
        time(found.object.modified),
    ]
}

fn in_service(ask: &Ask, pointers: &[Found]) -> Markup {
    let rows: Vec<Vec<Markup>> = pointers
        .iter()
        .take(super::table::ROWS)
        .filter_map(|found| {
            let pointer = found.json(ask)?;
            let version = pointer["version"].as_str()?;
            let pipeline = version_folder(&found.key);
            let key = format!("models/{pipeline}/{version}/card.json");
            let card = to("model", &[("bucket", &found.bucket), ("key", &key)]);
            let earlier = pointer["previous"].as_array().map_or(0, Vec::len);
            Some(vec![
                text(pipeline),
                link(&card, version),
                of(&pointer["since"]),
                of(&pointer["by"]),
                of(&pointer["reason"]),
                text(&earlier.to_string()),
            ])
        })
        .collect();
    table(
        "Models in service",
        &["Pipeline", "Version", "Since", "By", "Reason", "#Before it"],
        &rows,
    )
}

/// `marriages` of `models/marriages/current.json`.
fn version_folder(key: &str) -> &str {
    key.split('/').nth(1).unwrap_or_default()
}

/// What pipelines reported: pages in a sandbox, everything else as an object.
fn reports(ask: &Ask) -> Markup {
    let mut found = everywhere(ask, "reports/", |_| true);
    found.truncate(super::table::ROWS);
    let rows: Vec<Vec<Markup>> = found
        .iter()
        .map(|report| {
            let fields = [("bucket", report.bucket.as_str()), ("key", report.key.as_str())];
            let page = if report.key.ends_with(".html") { "report" } else { "object" };
            vec![
                link(&to(page, &fields), &report.key),
                text(&report.bucket),
                text(&bytes(report.object.size)),
                time(report.object.modified),
            ]
        })
        .collect();
    section(
        "Reports, newest first",
        &table("Reports", &["Report", "Bucket", "#Size", "Written"], &rows),
    )
}

/// One card.
pub async fn page(ask: &Ask) -> Result<Answer, Problem> {
    let (bucket, key) = (ask.required("bucket")?, ask.required("key")?);
    let absent = || Problem::absent(format!("There is no model card s3://{bucket}/{key}."));
    let object = ask.cloud.services.s3.head(bucket, key).map_err(|_| absent())?;
    let found = Found { bucket: bucket.to_owned(), key: key.to_owned(), object };
    let card = found.json(ask).filter(Value::is_object).ok_or_else(absent)?;
    let title = card["id"].as_str().unwrap_or(key);
    let place = format!("s3://{bucket}/{key}");
    let body = html! {
        p {
            (link(&to("object", &[("bucket", bucket), ("key", key)]), &place))
            ", written " (time(found.object.modified))
        }
        (card_of(&card))
    };
    Ok(Page::new(title, body).below("Models", to("models", &[])).into())
}

/// A card, readably.
fn card_of(card: &Value) -> Markup {
    let shown = ["schema_version", "task", "id", "family", "members", "weights_sha256"];
    let rest = card.as_object().into_iter().flatten();
    let rest = rest.filter(|(name, _)| !shown.contains(&name.as_str()));
    html! {
        (facts(vec![
            ("Model", of(&card["id"])),
            ("Task", of(&card["task"])),
            ("Family", of(&card["family"])),
            ("Consists of", consists(&card["members"])),
            ("Layout", of(&card["schema_version"])),
            ("Weights, SHA-256", of(&card["weights_sha256"])),
        ]))
        @if let Some(verdict) = beaten(card) { p { span.status.busy { "Note" } " " (verdict) } }
        @for (name, value) in rest {
            @match name.as_str() {
                "reference" | "calibration" | "fallback" | "spec" => {
                    (folded(&title(name), &tree(value, 0)))
                }
                _ => (section(&title(name), &tree(value, 0))),
            }
        }
        (folded("The card as it is", &json("Card", card)))
    }
}

/// Members with their shares.
fn consists(members: &Value) -> Markup {
    let member = |member: &Value| {
        let share = member["weight"].as_f64().unwrap_or(0.0) * 100.0;
        format!("{share:.0} % {}", member["family"].as_str().unwrap_or_default())
    };
    let all: Vec<String> = members.as_array().into_iter().flatten().map(member).collect();
    text(&all.join(", "))
}

/// Another family that did better in the backtest, if one did.
fn beaten(card: &Value) -> Option<String> {
    let test = &card["backtest"];
    let own = test["model"]["mase"].as_f64()?;
    let scored = test["candidates"].as_array()?.iter().filter_map(|candidate| {
        Some((candidate["family"].as_str()?, candidate["errors"]["mase"].as_f64()?))
    });
    let (family, best) = scored.min_by(|(_, one), (_, other)| one.total_cmp(other))?;
    (best < own).then(|| {
        format!("In the backtest {family} had a smaller MASE: {best:.3} against {own:.3}.")
    })
}

/// Measures that are known by their letters.
const LETTERS: [&str; 9] = ["mae", "rmse", "mape", "mase", "msis", "crps", "auc", "id", "sha256"];

fn title(name: &str) -> String {
    if LETTERS.contains(&name) {
        return name.to_uppercase();
    }
    let words = name.replace(['_', '-'], " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A value for people.
fn tree(value: &Value, depth: usize) -> Markup {
    match value {
        Value::Object(members) if depth < DEPTH_MAX => object(members, depth),
        Value::Array(items) if items.iter().all(is_plain) => plain_list(items),
        Value::Array(items) if depth < DEPTH_MAX && items.iter().all(Value::is_object) => {
            list_of(items, depth)
        }
        plain if is_plain(plain) => number_or_text(plain),
        other => html! { details { summary { "Show" } (json("Value", other)) } },
    }
}

fn is_plain(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

fn number_or_text(value: &Value) -> Markup {
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(number) => {
            let short = format!("{number:.4}");
            let short = short.trim_end_matches('0').trim_end_matches('.');
            // What would be zero is shown whole.
            text(if short.trim_start_matches('-') == "0" { return of(value) } else { short })
        }
        None => of(value),
    }
}

fn plain_list(items: &[Value]) -> Markup {
    let shown: Vec<String> =
        items.iter().take(ITEMS_MAX).map(|item| number_or_text(item).into_string()).collect();
    html! {
        (maud::PreEscaped(shown.join(", ")))
        @if items.len() > ITEMS_MAX { " and " (items.len() - ITEMS_MAX) " more" }
    }
}

fn object(members: &Map<String, Value>, depth: usize) -> Markup {
    let is_short = |value: &Value| {
        is_plain(value) || value.as_array().is_some_and(|items| items.iter().all(is_plain))
    };
    let names: Vec<String> = members.keys().map(|name| title(name)).collect();
    let pairs = names.iter().zip(members.values());
    let short: Vec<(&str, Markup)> = pairs
        .clone()
        .filter(|(_, value)| is_short(value))
        .map(|(name, value)| (name.as_str(), tree(value, depth + 1)))
        .collect();
    let long = pairs.filter(|(_, value)| !is_short(value));
    html! {
        @if !short.is_empty() { (facts(short)) }
        @for (name, value) in long {
            div.part { p.name { (name) } (tree(value, depth + 1)) }
        }
    }
}

/// A member of an item, or of an object in it, as a column.
fn columns(items: &[Value]) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    let mut add = |path: Vec<String>| {
        if !found.contains(&path) && found.len() < COLUMNS_MAX {
            found.push(path);
        }
    };
    for (name, value) in items.iter().filter_map(Value::as_object).flatten() {
        match value {
            Value::Object(inner) => {
                inner
                    .iter()
                    .filter(|(_, v)| is_plain(v))
                    .for_each(|(own, _)| add(vec![name.clone(), own.clone()]));
            }
            plain if is_plain(plain) => add(vec![name.clone()]),
            _ => {}
        }
    }
    found
}

fn list_of(items: &[Value], depth: usize) -> Markup {
    let columns = columns(items);
    if columns.is_empty() {
        return html! { @for item in items.iter().take(ITEMS_MAX) { (tree(item, depth + 1)) } };
    }
    let at = |item: &Value, path: &[String]| {
        path.iter().fold(item.clone(), |value, name| value[name].clone())
    };
    let is_number = |path: &[String]| items.iter().any(|item| at(item, path).is_number());
    let names: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(index, path)| {
            let name = path.last().map_or_else(String::new, |name| title(name));
            if index > 0 && is_number(path) { format!("#{name}") } else { name }
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let rows: Vec<Vec<Markup>> = items
        .iter()
        .take(ROWS_MAX)
        .map(|item| columns.iter().map(|path| number_or_text(&at(item, path))).collect())
        .collect();
    html! {
        (table("List", &names, &rows))
        @if items.len() > ROWS_MAX { p.quiet { "The first " (ROWS_MAX) " of " (items.len()) "." } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cards_are_readable_and_escaped() {
        let card = json!({
            "schema_version": 9, "task": "forecast", "id": "<b>marriages</b>", "family": "lstm",
            "members": [{ "family": "lstm", "weight": 0.75 }],
            "backtest": {
                "cases": 120, "model": { "mase": 0.9123456 },
                "candidates": [
                    { "family": "naive", "errors": { "mae": 1.5, "mase": 0.8 }, "p_value": null },
                    { "family": "lstm", "errors": { "mase": 0.9123456 }, "p_value": 0.25 },
                ],
            },
            "weights_sha256": "abc",
        });
        let shown = card_of(&card).into_string();
        assert!(shown.contains("75 % lstm") && shown.contains("0.9123"), "{shown}");
        assert!(shown.contains("naive had a smaller MASE: 0.800 against 0.912"), "{shown}");
        assert!(!shown.contains("<b>"), "{shown}");
    }

    #[test]
    fn strange_cards_are_shown_as_well() {
        let mut deep = json!(1);
        for _ in 0..50 {
            deep = json!({ "a": [deep] });
        }
        assert!(
            card_of(&json!({ "x": deep, "y": [1, [2]], "z": 1e-9 })).into_string().contains("1e-9")
        );
    }
}
