//! The card of a model of rows as a page of text.

use std::fmt::Write;

use steppe_spec::Family;
use steppe_spec::tabular::{SplitKind, TabularKind};

use super::ModelCard;
use super::judged::{Judged, Measured};
use super::section::{Candidate, Section, SplitSummary};
use crate::stats::BY_CHANCE;

/// Columns that are listed by what they add.
const IMPORTANT: usize = 12;
/// Characters of a line.
const WIDTH: usize = 100;
/// Where what a line says begins.
const INDENT: usize = 11;

impl ModelCard {
    /// The card as a page of text.
    pub fn to_text(&self, version: &str) -> String {
        let section = &self.section;
        let data = &section.data;
        let mut text = format!(
            "model      {} {version}\n\
             data       {} rows, {} columns, fingerprint {}\n\
             {}\
             {}",
            self.id,
            data.rows,
            data.columns.len(),
            &data.fingerprint[..12.min(data.fingerprint.len())],
            wrapped("target", &section.target_text(&self.spec.task.target, self.spec.task.kind)),
            wrapped("consists", &self.served()),
        );
        text += &section.to_text(self.family);
        let sensitive: Vec<&str> =
            data.columns.iter().filter(|c| c.sensitive).map(|c| c.name.as_str()).collect();
        if !sensitive.is_empty() {
            let names = sensitive.join(", ");
            text += "\n";
            text += &wrapped("sensitive", &format!("{names}; the model sees this"));
        }
        text
    }
}

impl ModelCard {
    /// What the model consists of, with the options that were found.
    fn served(&self) -> String {
        let mut found = self.clone();
        if let Some(tuning) = self.section.tuning.as_ref().filter(|tuning| tuning.taken) {
            found.spec = tuning.found(&self.spec);
        }
        found.consists()
    }
}

impl Section {
    fn target_text(&self, name: &str, kind: TabularKind) -> String {
        let said = if kind == TabularKind::Auto { ", as `auto` has it from the data" } else { "" };
        if let Some([least, mean, greatest]) = self.target.range {
            return format!("{name}, a number from {least} to {greatest}, mean {mean:.3}{said}");
        }
        let rows = self.data.rows as f64;
        let labels = self.target.labels.iter().zip(&self.target.counts);
        let labels: Vec<String> = labels
            .map(|(label, count)| format!("{label} {:.1} %", 100.0 * *count as f64 / rows))
            .collect();
        let missing = match self.data.unlabelled {
            0 => String::new(),
            some => format!("; {some} rows without it"),
        };
        format!("{name}: {}{said}{missing}", labels.join(", "))
    }

    /// What is the same on a card and in an evaluation.
    pub fn to_text(&self, chosen: Family) -> String {
        let mut text = split_text(&self.split, self.data.rows);
        if !self.calibration.is_empty() {
            let mut names: Vec<&str> = self.calibration.iter().map(|map| map.name()).collect();
            names.dedup();
            let _ = writeln!(text, "calibrated {}", names.join(", "));
        }
        text += "\n";
        text += &candidates_text(&self.candidates, chosen);
        if let Some(tuning) = &self.tuning {
            text += "\n";
            let trials = tuning.journal.trials.len();
            let verdict = match (tuning.taken, tuning.validation) {
                (true, Some((before, after))) => {
                    format!("taken: {before:.4} became {after:.4} on the validation rows")
                }
                (true, None) => "taken".to_owned(),
                (false, Some((before, after))) => {
                    format!("not taken: {before:.4} became {after:.4} on the validation rows")
                }
                (false, None) => "nothing better than the manifest's options".to_owned(),
            };
            let name = tuning.family.name();
            let tried = format!("{name}, {trials} trials: {verdict}");
            text += &wrapped("tuned", &tried);
            if !tuning.objective.is_proper() {
                let note = "the objective is no proper score: what is best by it may have \
                            worse probabilities";
                text += &wrapped("note", note);
            }
        }
        text += &judged_text("out of fold", &self.out_of_fold, self.threshold);
        if let Some(test) = &self.test {
            text += &judged_text("test, asked once", test, self.threshold);
        }
        text += &importance_text(self);
        text + &self.beaten(chosen)
    }

    /// That another family is better.
    fn beaten(&self, chosen: Family) -> String {
        let deciding = |c: &Candidate| c.scores.first().map(|score| score.value);
        let own = self.candidates.iter().find(|c| c.family == chosen).and_then(deciding);
        let best = self.candidates.iter().filter_map(|c| Some((deciding(c)?, c)));
        let best = best.min_by(|a, b| a.0.total_cmp(&b.0));
        let (Some(own), Some((value, best))) = (own, best) else { return String::new() };
        if value >= own {
            return "\nno baseline is better than this model\n".to_owned();
        }
        let what = if best.family.is_baseline() { "baseline" } else { "family" };
        let measure = best.scores.first().map_or("", |score| &score.name);
        let as_good = best.family.is_baseline() && best.p_value.is_none_or(|p| p >= BY_CHANCE);
        let (name, value, own) = (best.family.name(), digits(value), digits(own));
        let note = match as_good {
            true => format!(
                "the baseline `{name}` is as good, as far as the rows tell: {measure} {value} \
                 instead of {own}"
            ),
            false => format!(
                "the {what} `{name}` is better: {measure} {value} instead of {own}; `kind = \
                 \"auto\"` serves the best family"
            ),
        };
        format!("\n{}", wrapped("note", &note))
    }
}

fn split_text(split: &SplitSummary, rows: usize) -> String {
    let SplitSummary { kind, train, validation, test, folds, repeats } = split;
    let how = match kind {
        SplitKind::Stratified => "by chance, stratified",
        SplitKind::Chronological => "by time",
        SplitKind::Group => "by group",
        SplitKind::KFold => "folds only",
    };
    let drawn = if *repeats == 1 { String::new() } else { format!(", drawn {repeats} times") };
    // An evaluation does not look at the rows that are kept for the end.
    let kept = match rows.saturating_sub(train + validation + test) {
        0 => format!("{test} to test"),
        kept => format!("{kept} kept for the end"),
    };
    let sets = format!(
        "{how}: {train} to learn from, {validation} to validate, {kept}; {folds} folds{drawn}"
    );
    wrapped("split", &sets)
}

/// A line that says something of a subject, as many as it takes.
pub(super) fn wrapped(subject: &str, says: &str) -> String {
    let mut text = format!("{subject:<INDENT$}");
    let mut column = INDENT;
    for (at, word) in says.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > WIDTH {
            text += &format!("\n{:INDENT$}", "");
            column = INDENT;
        } else if at > 0 {
            text.push(' ');
            column += 1;
        }
        text += word;
        column += length;
    }
    text + "\n"
}

/// Digits that tell numbers of this size apart.
fn digits(value: f64) -> String {
    if value.abs() < 1_000.0 { format!("{value:.4}") } else { format!("{value:.1}") }
}

fn candidates_text(candidates: &[Candidate], chosen: Family) -> String {
    let names = candidates.first().map_or(&[][..], |candidate| &candidate.scores);
    let mut text = format!("{:<22}", "in folds");
    for score in names {
        let _ = write!(text, "{:>17}", score.name);
    }
    text += &format!("{:>8}\n", "p");
    for candidate in candidates {
        let mark = if candidate.family == chosen { "→ " } else { "  " };
        let _ = write!(text, "{mark}{:<20}", candidate.family.name());
        for score in &candidate.scores {
            let shown = format!("{} ± {}", digits(score.value), digits(score.deviation));
            let _ = write!(text, "{shown:>17}");
        }
        let p = candidate.p_value.map_or_else(String::new, |p| format!("{p:.3}"));
        let _ = writeln!(text, "{p:>8}");
    }
    text
}

fn measured_text(measured: &Measured) -> String {
    let Measured { name, value, interval } = measured;
    let mut text = format!("  {name:<20}{:>10}", digits(*value));
    if let Some(bounds) = interval {
        let _ = write!(text, "   {} to {}", digits(bounds.lower), digits(bounds.upper));
    }
    text + "\n"
}

fn judged_text(what: &str, judged: &Judged, threshold: Option<f64>) -> String {
    let mut text = format!("\n{what}: {} rows\n", judged.rows);
    text.extend(judged.scores.iter().map(measured_text));
    if let Some(error) = judged.calibration_error {
        let _ = writeln!(text, "  {:<20}{error:>10.4}", "calibration error");
    }
    if let (Some(at), Some(threshold)) = (&judged.at_threshold, threshold) {
        let c = &at.confusion;
        let _ = writeln!(
            text,
            "from {threshold:.4} on the answer is yes: {} found, {} missed, {} false alarms, {} \
             rightly no",
            c.true_positives, c.false_negatives, c.false_positives, c.true_negatives,
        );
        text.extend(at.measures.iter().map(measured_text));
    }
    text + &groups_text(judged)
}

/// A table of groups with the first two scores, and of two classes what was said and happened.
fn groups_text(judged: &Judged) -> String {
    if judged.groups.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = judged.scores.iter().take(2).map(|score| score.name.as_str()).collect();
    let mut text = format!("{:<34}{:>9}", "by group", "rows");
    names.iter().for_each(|name| text += &format!("{name:>11}"));
    if judged.groups.iter().any(|group| group.shares.is_some()) {
        text += &format!("{:>9}{:>12}{:>9}", "said %", "happened %", "yes %");
    }
    text.push('\n');
    for group in &judged.groups {
        let value = group.value.as_deref().unwrap_or("missing");
        let name: String = format!("{} = {value}", group.column).chars().take(31).collect();
        let _ = write!(text, "  {name:<32}{:>9}", group.rows);
        for name in &names {
            let score = group.scores.iter().find(|score| score.name == *name);
            let shown = score.map_or_else(String::new, |score| digits(score.value));
            let _ = write!(text, "{shown:>11}");
        }
        if let Some(shares) = group.shares {
            let [said, happened, yes] = shares.map(|share| share * 100.0);
            let _ = write!(text, "{said:>9.1}{happened:>12.1}{yes:>9.1}");
        }
        text.push('\n');
    }
    text
}

fn importance_text(section: &Section) -> String {
    let mut text = "\nwhat columns add, on average\n".to_owned();
    let most = section.importance.first().map_or(0.0, |first| first.effect);
    for one in section.importance.iter().take(IMPORTANT) {
        let share = if most > 0.0 { one.effect / most } else { 0.0 };
        let name: String = one.column.chars().take(31).collect();
        let bar = "█".repeat((share * 30.0).round() as usize);
        let _ = writeln!(text, "  {name:<32}{:>10.4} {bar}", one.effect);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_a_screen_is_wide() {
        let labels: Vec<String> = (0..40).map(|n| format!("label-{n},")).collect();
        let text = wrapped("target", &labels.join(" "));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().count() > 3 && text.starts_with("target     label-0"), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("           label-")), "{text}");
        assert_eq!(wrapped("note", "brief"), "note       brief\n");
    }

    #[test]
    fn large_numbers_have_fewer_decimals() {
        assert_eq!([0.123_456, 999.0, 123_456.78].map(digits), ["0.1235", "999.0000", "123456.8"]);
    }
}
