//! The frame of all pages: the menu, where a page belongs, and what browsers are told.

use maud::{DOCTYPE, Markup, html};

use super::ask::Ask;

/// The pages that the menu has, under headings.
const MENU: [(&str, &[(&str, &str)]); 5] = [
    (
        "Cloud",
        &[
            ("", "Overview"),
            ("stacks", "Stacks"),
            ("roles", "Roles"),
            ("faults", "Faults"),
            ("covered", "Coverage"),
        ],
    ),
    (
        "Data",
        &[
            ("buckets", "Buckets"),
            ("databases", "Databases"),
            ("sql", "SQL"),
            ("queries", "Queries"),
        ],
    ),
    (
        "Pipelines",
        &[
            ("machines", "State machines"),
            ("jobs", "Jobs and crawlers"),
            ("models", "Models"),
            ("forecasts", "Forecasts"),
        ],
    ),
    ("Compute", &[("functions", "Functions"), ("instances", "Instances"), ("logs", "Logs")]),
    (
        "Events",
        &[("rules", "Rules"), ("topics", "Topics"), ("outbox", "Outbox"), ("alarms", "Alarms")],
    ),
];

/// The entry of the menu that a page belongs to.
const BELONGS: [(&str, &str); 15] = [
    ("stack", "stacks"),
    ("bucket", "buckets"),
    ("object", "buckets"),
    ("database", "databases"),
    ("table", "databases"),
    ("query", "queries"),
    ("machine", "machines"),
    ("execution", "machines"),
    ("history", "machines"),
    ("map_run", "machines"),
    ("job", "jobs"),
    ("crawler", "jobs"),
    ("model", "models"),
    ("forecast", "forecasts"),
    ("mail", "outbox"),
];

/// A page before it has its frame.
#[derive(Debug)]
pub struct Page {
    title: String,
    trail: Vec<(String, String)>,
    body: Markup,
    /// Whether something on it is at work, so that it is asked for again.
    is_moving: bool,
    /// Whether it has a form.
    pub has_form: bool,
}

impl Page {
    /// A page with that heading.
    pub fn new(title: &str, body: Markup) -> Self {
        Self { title: title.to_owned(), trail: vec![], body, is_moving: false, has_form: false }
    }

    /// The same page, below others.
    pub fn below(mut self, title: &str, address: impl Into<String>) -> Self {
        self.trail.push((title.to_owned(), address.into()));
        self
    }

    /// The same page, of something that may be at work.
    pub fn moving(self, is_moving: bool) -> Self {
        Self { is_moving, ..self }
    }

    /// The same page, with a form.
    pub fn with_form(self) -> Self {
        Self { has_form: true, ..self }
    }
}

fn head(title: &str, is_moving: bool) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " – Steppe" }
            link rel="icon" href="data:,";
            link rel="stylesheet" href="/_steppe/style.css";
            script src="/_steppe/script.js" defer data-moving[is_moving] {}
        }
    }
}

/// A page with its frame.
pub fn layout(ask: &Ask, path: &str, page: &Page) -> Markup {
    let belongs = BELONGS.iter().find(|(own, _)| *own == path).map_or_else(
        || match path {
            "function" | "instance" | "rule" | "role" | "log" => format!("{path}s"),
            _ => path.to_owned(),
        },
        |(_, entry)| (*entry).to_owned(),
    );
    let config = &ask.cloud.config;
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&page.title, page.is_moving))
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/_steppe/" { "Steppe" }
                    span.where { (config.account) " · " (config.region) }
                }
                nav.menu aria-label="Console" {
                    @for (heading, entries) in MENU {
                        div.group {
                            p.heading { (heading) }
                            ul {
                                @for (address, title) in entries {
                                    @let current = (*address == belongs).then_some("page");
                                    li {
                                        a href={ "/_steppe/" (address) } aria-current=[current] {
                                            (title)
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
                main #main tabindex="-1" {
                    @if !page.trail.is_empty() {
                        nav.trail aria-label="Breadcrumb" {
                            ol {
                                @for (title, address) in &page.trail {
                                    li { a href=(address) { (title) } }
                                }
                            }
                        }
                    }
                    h1 { (page.title) }
                    @if page.is_moving {
                        p.quiet {
                            "Something here is at work. "
                            "With JavaScript the page keeps itself fresh."
                        }
                    }
                    (page.body)
                }
                footer.bottom {
                    p { "Times are UTC. Embedded cloud " (env!("CARGO_PKG_VERSION")) "." }
                }
            }
        }
    }
}

/// A page without menu, for who is not in.
pub fn bare(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, false))
            body.bare {
                header.top { span.brand { "Steppe" } }
                main #main { h1 { (title) } (body) }
            }
        }
    }
}
