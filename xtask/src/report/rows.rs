//! An evaluation of models of rows as a page.

mod curves;
mod effects;
mod searches;

use anyhow::Result;
use maud::{Markup, html};
use steppe_model::tabular::evaluation::Evaluation;
use steppe_model::tabular::judged::{AtThreshold, Group, Judged, Measured};
use steppe_model::tabular::section::{Candidate, ColumnSummary, Section, SplitSummary};
use steppe_spec::tabular::SplitKind;

use super::{ServiceReport, chart, heads, list, page, row, service};

/// Levels of a column that are named.
const LEVELS_SHOWN: usize = 5;
/// Classes up to which the whole matrix of answers is shown.
const CLASSES_SHOWN: usize = 30;

const OWN_STYLE: &str = ".matrix td,.matrix th{text-align:center}\
    .matrix td:first-child,.matrix th:first-child{text-align:left}\
    .wide td,.wide th{white-space:nowrap}\
    .wide .text{white-space:normal;overflow-wrap:anywhere}.strong{color:#fff}";

/// The page; with a section about the model in service where one is deployed.
pub fn html(report: &Evaluation, service: Option<&ServiceReport>) -> Result<String> {
    let section = &report.section;
    let judged = &section.out_of_fold;
    let body = html! {
        h1 { (report.pipeline) }
        p {
            (section.data.rows) " rows, " (section.data.columns.len()) " columns; predicted is "
            b { (report.target) } ". Served: " b { (report.chosen.name()) } "."
        }
        h2 { "About the data" }
        (target(report))
        (columns(&section.data.columns, section.data.rows))
        h2 { "Which rows are for what" }
        p { (split(&section.split, section.data.rows)) }
        h2 { "Families" }
        (families(report))
        @if let Some(tuning) = &section.tuning { (searches::html(tuning)?) }
        h2 { "How good it is" }
        (scores(judged))
        @if judged.curve.is_empty() { (several(section)?) } @else { (two_classes(section)?) }
        @if !judged.groups.is_empty() {
            h2 { "By group" }
            (groups(judged))
        }
        (effects::html(report)?)
        h2 { "Checked for leaks" }
        (list(&checks(report)))
        @if let Some(service) = service { (service::html(service)) }
    };
    Ok(page(&format!("{}: evaluation", report.pipeline), OWN_STYLE, &body))
}

fn checks(report: &Evaluation) -> [String; 3] {
    let names: Vec<&str> = report.checked.iter().map(|family| family.name()).collect();
    [
        "No column is an id, and none tells the target by itself.".to_owned(),
        "Rows that are asked about are no copies of rows that are learnt from.".to_owned(),
        format!(
            "What is learnt of other rows does not change when rows that are asked about do ({}).",
            names.join(", ")
        ),
    ]
}

fn target(report: &Evaluation) -> Markup {
    let (target, data) = (&report.section.target, &report.section.data);
    let share = |count: &usize| *count as f64 / data.rows.max(1) as f64;
    html! {
        @if let Some([least, mean, greatest]) = target.range {
            p {
                code { (report.target) } " is a number from " (least) " to " (greatest) ", mean "
                (format_args!("{mean:.4}")) "."
            }
        } @else {
            table {
                tr { th { (report.target) } th { "rows" } th { "%" } th {} }
                @for (label, count) in target.labels.iter().zip(&target.counts) {
                    (row(None, [label, count, &percent(share(count)), &bar(share(count))]))
                }
            }
        }
        @if data.unlabelled > 0 {
            p.note { (data.unlabelled) " rows more have no " (report.target) " and are left out." }
        }
    }
}

fn columns(columns: &[ColumnSummary], rows: usize) -> Markup {
    let sensitive: Vec<&str> =
        columns.iter().filter(|column| column.sensitive).map(|c| c.name.as_str()).collect();
    let levels = |column: &ColumnSummary| {
        let mut named: Vec<&str> =
            column.levels.iter().take(LEVELS_SHOWN).map(String::as_str).collect();
        if column.levels.len() > LEVELS_SHOWN {
            named.push("…");
        }
        named.join(", ")
    };
    html! {
        h3 { "Columns that models see" }
        .wide {
            table {
                tr {
                    th { "column" } th.text { "kind" } th { "missing" } th { "%" }
                    th.text { "most frequent" }
                }
                @for column in columns {
                    tr {
                        td { (column.name) @if column.sensitive { " " span.found { "sensitive" } } }
                        td.text { (column.kind) }
                        td { (column.missing) }
                        td { (percent(column.missing as f64 / rows.max(1) as f64)) }
                        td.text { (levels(column)) }
                    }
                }
            }
        }
        @if !sensitive.is_empty() {
            p.found {
                "Models see what must not decide about people by itself: " (sensitive.join(", "))
                ". Scores by it are below; " code { "ignore" } " of the task hides it."
            }
        }
    }
}

/// An evaluation leaves out the rows that are kept for the end.
fn split(split: &SplitSummary, rows: usize) -> String {
    let SplitSummary { kind, train, validation, folds, repeats, .. } = split;
    let how = match kind {
        SplitKind::Stratified => "By chance, with as many of each class on all sides",
        SplitKind::Chronological => "By time, the newest last",
        SplitKind::Group => "By chance, with each group on one side",
        SplitKind::KFold => "Folds are all there is",
    };
    let searched = match validation {
        0 => String::new(),
        _ => format!(
            " Options are searched on {train} of them, and {validation} tell whether that helped."
        ),
    };
    let kept = match rows.saturating_sub(train + validation) {
        0 => String::new(),
        kept => format!(
            " {kept} rows are kept for the end: no number here has seen them, and the card of a \
             trained model tells what they say."
        ),
    };
    let drawn = if *repeats == 1 { String::new() } else { format!(", drawn {repeats} times") };
    let known = train + validation;
    format!("{how}. Families are compared in {folds} folds of {known} rows{drawn}.{searched}{kept}")
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
                    td { (format_args!("{:.4} ± {:.4}", score.value, score.deviation)) }
                }
                td { (super::thousandths(candidate.p_value)) }
            }
        }
    };
    html! {
        .wide {
            table {
                tr { th { "family" } @for score in names { th { (score.name) } } th { "p" } }
                @for candidate in candidates { (line(candidate)) }
            }
        }
        p.note {
            "Mean over folds ± deviation of folds. The first score decides. p: probability of a \
             difference from the served family at least this large when there is none (paired \
             bootstrap of rows)."
            @if report.section.target.labels.len() == 2 {
                " AUC-PR of chance is the share that happens; ROC-AUC of chance is 0.5."
            }
        }
    }
}

fn scores(judged: &Judged) -> Markup {
    html! {
        p {
            "The served family about " (judged.rows) " rows, each asked when it was in the fold \
             that was not learnt from."
        }
        (measures(&judged.scores))
        p.note { "Bounds: what chance in the choice of rows leaves, in 90 % of bootstrap samples." }
    }
}

fn measures(all: &[Measured]) -> Markup {
    let bounds = |measured: &Measured| {
        let interval = measured.interval;
        interval.map_or_else(String::new, |i| format!("{:.4} to {:.4}", i.lower, i.upper))
    };
    html! {
        table {
            (heads(["score", "value", "bounds"]))
            @for one in all {
                (row(None, [&one.name, &format_args!("{:.4}", one.value), &bounds(one)]))
            }
        }
    }
}

/// What two classes have: probabilities, and a threshold.
fn two_classes(section: &Section) -> Result<Markup> {
    let judged = &section.out_of_fold;
    let marked = judged.at_threshold.as_ref().zip(section.threshold);
    let figure = |draw: &dyn Fn(&super::Area<'_>) -> Result<()>| chart((450, 360), draw);
    Ok(html! {
        .grid {
            (figure(&|area| curves::roc(area, judged))?)
            (figure(&|area| curves::precision_recall(area, judged))?)
        }
        h2 { "Do probabilities mean what they say?" }
        .grid {
            (figure(&|area| curves::reliability(area, &judged.reliability))?)
            (reliability(section))
        }
        @if let Some((at, threshold)) = marked {
            h2 { "From which probability on the answer is yes" }
            (chart((900, 300), |area| curves::sweep(area, judged, threshold))?)
            .grid {
                (thresholds(judged, at, threshold))
                (confusion(section, at, threshold))
            }
        }
    })
}

fn reliability(section: &Section) -> Markup {
    let judged = &section.out_of_fold;
    let used = section.calibration.first().map_or("none", |map| map.name());
    html! {
        div {
            table {
                (heads(["probability", "rows", "mean %", "happened %"]))
                @for group in &judged.reliability {
                    (row(None, [
                        &format_args!("{:.3} to {:.3}", group.lowest, group.highest),
                        &group.rows,
                        &percent(group.predicted),
                        &percent(group.observed),
                    ]))
                }
            }
            p.note {
                "Calibrated: " (used) ". "
                @if let Some(error) = judged.calibration_error {
                    "Expected calibration error " (format_args!("{error:.4}")) "."
                }
            }
        }
    }
}

fn thresholds(judged: &Judged, at: &AtThreshold, threshold: f64) -> Markup {
    let line = |class, [threshold, recall, precision, alarms, yes]: [f64; 5]| {
        let cells = [recall, precision, alarms, yes].map(percent);
        let [recall, precision, alarms, yes] = &cells;
        row(class, [&format_args!("{threshold:.4}"), recall, precision, alarms, yes])
    };
    let own = curves::at(at);
    let some = curves::some_thresholds(judged);
    let above = some.iter().filter(|values| values[0] > threshold);
    let below = some.iter().filter(|values| values[0] < threshold);
    html! {
        div {
            table {
                (heads(["from", "recall %", "precision %", "false alarms %", "yes to %"]))
                @for values in above { (line(None, *values)) }
                (line(Some("chosen"), [threshold, own[0], own[1], own[2], own[3]]))
                @for values in below { (line(None, *values)) }
            }
            p.note {
                "Recall: share of what happens that is found. Precision: share of what is said \
                 that happens. False alarms: share of what does not happen that is said."
            }
        }
    }
}

fn confusion(section: &Section, at: &AtThreshold, threshold: f64) -> Markup {
    let [no, yes] = &section.target.labels[..] else { return html! {} };
    let c = &at.confusion;
    html! {
        div {
            table.matrix {
                tr {
                    th { "from " (format_args!("{threshold:.4}")) " on" }
                    th { "answered " (yes) } th { "answered " (no) }
                }
                tr {
                    td { "was " (yes) }
                    td.chosen { (c.true_positives) }
                    td { (c.false_negatives) br; span.note { "missed" } }
                }
                tr {
                    td { "was " (no) }
                    td { (c.false_positives) br; span.note { "false alarms" } }
                    td.chosen { (c.true_negatives) }
                }
            }
            (measures(&at.measures))
        }
    }
}

/// What several classes have, or numbers.
fn several(section: &Section) -> Result<Markup> {
    let judged = &section.out_of_fold;
    Ok(html! {
        @if !judged.matrix.is_empty() {
            h3 { "What was answered for what" }
            (matrix(&section.target.labels, &judged.matrix))
        }
        @if !judged.bands.is_empty() {
            h3 { "What was answered beside what happened" }
            (chart((900, 380), |area| curves::bands(area, &judged.bands))?)
            p.note {
                "Rows in groups by what was answered. Dot: the mean of what happened; line: what \
                 happened to four in five of the group. On the grey line answers are right."
            }
        }
    })
}

fn matrix(labels: &[String], matrix: &[Vec<usize>]) -> Markup {
    let shown = labels.len().min(CLASSES_SHOWN);
    let cell = |count: usize, whole: usize, right: bool| {
        let share = count as f64 / whole.max(1) as f64;
        let colour = if right { "31,95,173" } else { "196,66,52" };
        let style = format!("background:rgba({colour},{share:.2})");
        html! {
            td.strong[share > 0.6] style=(style) title={ (percent(share)) " %" } { (count) }
        }
    };
    html! {
        .wide {
            table.matrix {
                tr {
                    th { "was, answered as →" }
                    @for label in &labels[..shown] { th { (label) } }
                    th { "found %" }
                }
                @for (at, counts) in matrix.iter().enumerate().take(shown) {
                    @let whole: usize = counts.iter().sum();
                    tr {
                        td { (labels[at]) }
                        @for (to, count) in counts.iter().enumerate().take(shown) {
                            (cell(*count, whole, at == to))
                        }
                        td { (percent(counts[at] as f64 / whole.max(1) as f64)) }
                    }
                }
            }
        }
        @if shown < labels.len() { p.note { "The first " (shown) " classes." } }
    }
}

fn groups(judged: &Judged) -> Markup {
    let names: Vec<&str> = judged.scores.iter().map(|score| score.name.as_str()).collect();
    let has_shares = judged.groups.iter().any(|group| group.shares.is_some());
    let line = |group: &Group| {
        let score = |name: &&str| {
            let found = group.scores.iter().find(|score| score.name == *name);
            found.map_or_else(String::new, |score| format!("{:.4}", score.value))
        };
        html! {
            tr {
                td { (group.column) " = " (group.value.as_deref().unwrap_or("missing")) }
                td { (group.rows) }
                @for name in &names { td { (score(name)) } }
                @for share in group.shares.iter().flatten() { td { (percent(*share)) } }
            }
        }
    };
    html! {
        .wide {
            table {
                tr {
                    th { "group" } th { "rows" }
                    @for name in &names { th { (name) } }
                    @if has_shares { th { "said %" } th { "happened %" } th { "yes to %" } }
                }
                @for group in &judged.groups { (line(group)) }
            }
        }
        p.note {
            "Groups of 20 rows and more."
            @if has_shares {
                " Said: mean probability. A group in which said and happened differ is told \
                 something wrong; few rows differ by chance."
            }
        }
    }
}

fn bar(share: f64) -> Markup {
    html! { .bar { div style=(format_args!("width:{:.0}%", share.clamp(0.0, 1.0) * 100.0)) {} } }
}

fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use steppe_model::host::{Quiet, Stage};
    use steppe_model::rows::table::{Column, Table};
    use steppe_model::tabular::data::{Rows, Target};
    use steppe_model::tabular::evaluation::evaluate;
    use steppe_spec::tabular::{TabularKind, TabularSpec, Tune};
    use steppe_spec::{ColumnType, Family, Kind};

    use super::*;

    const ROWS: usize = 240;

    /// People with an age, and a place whose name is no markup.
    fn rows(target: Target) -> Rows {
        let ages = (0..ROWS).map(|row| ((row * 37) % 101) as f64);
        let places = ["<b>", "town", "village"];
        let place = |row: usize| (!row.is_multiple_of(7)).then(|| places[row % 3]);
        let mut table = Table::new(ROWS);
        table.push("age", Column::Number(ages.collect())).expect("a column");
        table.push("place", Column::category((0..ROWS).map(place))).expect("a column");
        let told = (0..ROWS).map(|row| place(row).map(str::to_owned)).collect();
        let told_by = BTreeMap::from([("place".to_owned(), told)]);
        Rows { told_by, unlabelled: 3, ..Rows::plain(table, Some(target)) }
    }

    fn classes(labels: &[&str], of: impl Fn(usize) -> usize) -> Target {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Target::Classes { labels: Arc::new(labels), codes: (0..ROWS).map(of).collect() }
    }

    fn page_of(kind: TabularKind, target: Target) -> String {
        let columns = [("age", ColumnType::Double), ("place", ColumnType::String)];
        let number = kind == TabularKind::Regression;
        let spec = TabularSpec::new("people", kind, "ill", &columns).with(|spec| {
            let sum = if number { Family::Linear } else { Family::Logistic };
            spec.task.model.kind = Kind::Of(sum);
            spec.task.split.repeats = Some(1);
            spec.task.tune = Some(Tune { trials: 3, ..Tune::default() });
            spec.sensitive = vec!["place".to_owned()];
        });
        let report = evaluate(&rows(target), &spec, &Stage::new(&Quiet)).expect("an evaluation");
        let page = html(&report, None).expect("a page");
        assert!(!page.contains("<b>,"), "a level is text, no markup");
        assert!(page.contains("&lt;b&gt;"), "levels are named");
        assert!(!page.contains("NaN") && !page.contains("inf%"), "all is told in numbers");
        assert!(!page.contains("<?xml") && !page.contains("<script"), "it needs nothing else");
        page
    }

    #[track_caller]
    fn check(page: &str, has: &[&str], has_not: &[&str]) {
        for text in has {
            assert!(page.contains(text), "`{text}` is not there");
        }
        for text in has_not {
            assert!(!page.contains(text), "`{text}` is there");
        }
    }

    const OF_TWO: [&str; 6] = [
        "ROC curve",
        "precision and recall, area",
        "Do probabilities mean what they say?",
        "what each threshold would do",
        "false alarms",
        "yes to %",
    ];
    const OF_ALL: [&str; 6] = [
        "must not decide about people by itself: place",
        "3 rows more have no ill",
        "rows are kept for the end",
        "Search for options",
        "place = missing",
        "what each column adds",
    ];

    #[test]
    fn two_classes_have_curves_and_a_threshold() {
        let age = |row: usize| (row * 37) % 101;
        let ill = |row: usize| usize::from(age(row) + (row * 53) % 60 > 110);
        let page = page_of(TabularKind::Classification, classes(&["no", "yes"], ill));
        check(&page, &OF_ALL, &["What was answered for what"]);
        check(&page, &OF_TWO, &["what happened beside what was answered"]);
        check(&page, &["log odds", "answered yes", "missed"], &[]);
    }

    #[test]
    fn several_classes_have_a_matrix() {
        let class = |row: usize| ((row * 37) % 101 + (row * 53) % 40) / 48;
        let page = page_of(TabularKind::Classification, classes(&["a", "b", "c"], class));
        check(&page, &OF_ALL, &OF_TWO[..4]);
        check(&page, &["What was answered for what", "answered as", "found %"], &["yes to %"]);
    }

    #[test]
    fn numbers_have_answers_beside_what_happened() {
        let value = |row: usize| ((row * 37) % 101) as f64 * 2.0 + ((row * 53) % 60) as f64;
        let target = Target::Numbers((0..ROWS).map(value).collect());
        let page = page_of(TabularKind::Regression, target);
        check(&page, &OF_ALL, &OF_TWO);
        check(&page, &["what happened beside what was answered", "R²", "units of ill"], &[]);
    }
}
