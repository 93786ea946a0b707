//! The card of a model of rows as a page of text.

use std::fmt::Write;

use steppe_spec::Family;
use steppe_spec::tabular::{SplitKind, TabularKind};

use super::ModelCard;
use super::judged::{Judged, Measured};
use super::section::{Candidate, Section, SplitSummary};

/// Columns that are listed by what they add.
const IMPORTANT: usize = 12;

impl ModelCard {
    /// The card as a page of text.
    pub fn to_text(&self, version: &str) -> String {
        let section = &self.section;
        let data = &section.data;
        let mut text = format!(
            "model      {} {version}\n\
             data       {} rows, {} columns, fingerprint {}\n\
             target     {}\n\
             consists   {}\n",
            self.id,
            data.rows,
            data.columns.len(),
            &data.fingerprint[..12.min(data.fingerprint.len())],
            section.target_text(&self.spec.task.target, self.spec.task.kind),
            self.consists(),
        );
        text += &section.to_text(self.family);
        let sensitive: Vec<&str> =
            data.columns.iter().filter(|c| c.sensitive).map(|c| c.name.as_str()).collect();
        if !sensitive.is_empty() {
            let names = sensitive.join(", ");
            let _ = write!(text, "\nsensitive, and seen by the model: {names}\n");
        }
        text
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
        let mut text = split_text(&self.split);
        if !self.calibration.is_empty() {
            let mut names: Vec<&str> = self.calibration.iter().map(|map| map.name()).collect();
            names.dedup();
            let _ = writeln!(text, "calibrated {}", names.join(", "));
        }
        text += "\n";
        text += &candidates_text(&self.candidates, chosen);
        for tuning in &self.tuning {
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
            let _ = write!(text, "\ntuned {name}: {trials} trials, {verdict}\n");
            if !tuning.objective.is_proper() {
                text += "note: the objective is no proper score: what is best by it may have \
                         worse probabilities\n";
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
        format!(
            "\nnote: the {what} `{}` is better: {measure} {value:.4} instead of {own:.4}; `kind = \
             \"auto\"` serves the best family\n",
            best.family.name()
        )
    }
}

fn split_text(split: &SplitSummary) -> String {
    let SplitSummary { kind, train, validation, test, folds, repeats } = split;
    let how = match kind {
        SplitKind::Stratified => "by chance, stratified",
        SplitKind::Chronological => "by time",
        SplitKind::Group => "by group",
        SplitKind::KFold => "folds only",
    };
    let drawn = if *repeats == 1 { String::new() } else { format!(", drawn {repeats} times") };
    format!(
        "split      {how}: {train} to learn from, {validation} to validate, {test} to test; \
         {folds} folds{drawn}\n"
    )
}

fn candidates_text(candidates: &[Candidate], chosen: Family) -> String {
    let names = candidates.first().map_or(&[][..], |candidate| &candidate.scores);
    let mut text = format!("{:<22}", "");
    for score in names {
        let _ = write!(text, "{:>18}", score.name);
    }
    text += &format!("{:>8}\n", "p");
    for candidate in candidates {
        let mark = if candidate.family == chosen { "→ " } else { "  " };
        let _ = write!(text, "{mark}{:<20}", candidate.family.name());
        for score in &candidate.scores {
            let shown = format!("{:.4} ± {:.4}", score.value, score.deviation);
            let _ = write!(text, "{shown:>18}");
        }
        let p = candidate.p_value.map_or_else(String::new, |p| format!("{p:.3}"));
        let _ = writeln!(text, "{p:>8}");
    }
    text
}

fn measured_text(measured: &Measured) -> String {
    let Measured { name, value, interval } = measured;
    match interval {
        Some(i) => format!("{name} {value:.4} ({:.4} to {:.4})", i.lower, i.upper),
        None => format!("{name} {value:.4}"),
    }
}

fn judged_text(what: &str, judged: &Judged, threshold: Option<f64>) -> String {
    let scores: Vec<String> = judged.scores.iter().map(measured_text).collect();
    let mut text = format!("\n{what}: {} rows; {}\n", judged.rows, scores.join(", "));
    if let Some(error) = judged.calibration_error {
        let _ = writeln!(text, "expected calibration error {error:.4}");
    }
    if let (Some(at), Some(threshold)) = (&judged.at_threshold, threshold) {
        let measures: Vec<String> = at.measures.iter().map(measured_text).collect();
        let c = &at.confusion;
        let _ = writeln!(
            text,
            "from {threshold:.4} on the answer is yes: {} found, {} missed, {} false alarms, {} \
             rightly no; {}",
            c.true_positives,
            c.false_negatives,
            c.false_positives,
            c.true_negatives,
            measures.join(", ")
        );
    }
    for group in &judged.groups {
        let value = group.value.as_deref().unwrap_or("missing");
        let scores: Vec<String> =
            group.scores.iter().take(2).map(|s| format!("{} {:.4}", s.name, s.value)).collect();
        let shares = group.shares.map_or_else(String::new, |[said, happened, yes]| {
            format!(
                "; said {:.1} %, happened {:.1} %, yes to {:.1} %",
                said * 100.0,
                happened * 100.0,
                yes * 100.0
            )
        });
        let (column, rows, scores) = (&group.column, group.rows, scores.join(", "));
        let _ = writeln!(text, "  {column} = {value}: {rows} rows; {scores}{shares}");
    }
    text
}

fn importance_text(section: &Section) -> String {
    let mut text = "\nwhat columns add, on average\n".to_owned();
    let most = section.importance.first().map_or(0.0, |first| first.effect);
    for one in section.importance.iter().take(IMPORTANT) {
        let share = if most > 0.0 { one.effect / most } else { 0.0 };
        let bar = "█".repeat((share * 30.0).round() as usize);
        let _ = writeln!(text, "  {:<24}{:>10.4} {bar}", one.column, one.effect);
    }
    text
}
