//! An evaluation of models of rows as a page.

use anyhow::Result;
use maud::{Markup, html};
use steppe_model::tabular::evaluation::Evaluation;
use steppe_model::tabular::section::Candidate;

use super::{ServiceReport, page, service};

/// The page; with a section about the model in service where one is deployed.
pub fn html(report: &Evaluation, service: Option<&ServiceReport>) -> Result<String> {
    let section = &report.section;
    let body = html! {
        h1 { (report.pipeline) }
        p {
            (section.data.rows) " rows, " (section.data.columns.len()) " columns. Served: "
            b { (report.chosen.name()) } "."
        }
        h2 { "Families" }
        (families(report))
        @if let Some(service) = service { (service::html(service)) }
    };
    Ok(page(&format!("{}: evaluation", report.pipeline), "", &body))
}

fn families(report: &Evaluation) -> Markup {
    let candidates = &report.section.candidates;
    let names = candidates.first().map_or(&[][..], |candidate| &candidate.scores);
    let line = |candidate: &Candidate| {
        let class = (candidate.family == report.chosen).then_some("chosen");
        html! {
            tr class=[class] {
                td { (candidate.family.name()) }
                @for score in &candidate.scores {
                    td { (format!("{:.4} ± {:.4}", score.value, score.deviation)) }
                }
                td { (super::thousandths(candidate.p_value)) }
            }
        }
    };
    html! {
        table {
            tr { th { "family" } @for score in names { th { (score.name) } } th { "p" } }
            @for candidate in candidates { (line(candidate)) }
        }
    }
}
