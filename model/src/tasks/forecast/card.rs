//! What the card of a forecaster says beside what all cards say.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use steppe_spec::{Kind, Known, TrainSpec};

use crate::task::Data;

use super::ModelCard;
use super::backtest::{Backtest, Candidate};
use super::calendar::Calendar;
use super::conformal::Calibration;
use super::dataset::{DECIMALS_MAX, Dataset, Note, lines};
use super::fallback::Fallback;

/// The section of forecasters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// What it was trained on.
    pub data: DataSummary,
    /// How wrong it usually is.
    pub backtest: Backtest,
    /// What turns its forecasts into quantiles.
    pub calibration: Calibration,
    /// What series get that are too short for the model; none when nothing can be said of them.
    pub fallback: Option<Fallback>,
}

impl Section {
    pub(super) fn check(&self, spec: &TrainSpec) -> Result<(), String> {
        self.calibration.check(spec)?;
        self.fallback.as_ref().map_or(Ok(()), |fallback| fallback.check(spec))?;
        self.data.check()
    }
}

/// The data that a model was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Number of series.
    pub series: usize,
    /// Number of observations.
    pub rows: usize,
    /// Observations that were missing and filled, among them.
    pub filled: usize,
    /// Decimals that the values have: forecasts are shown with as many.
    pub decimals: usize,
    /// The first period.
    pub first: String,
    /// The last period.
    pub last: String,
    /// [`Dataset::fingerprint`].
    pub fingerprint: String,
    /// What the periods are.
    pub calendar: Arc<Calendar>,
    /// What people should know about the data.
    pub notes: Vec<Note>,
}

impl DataSummary {
    /// Summarises `data`.
    pub fn of(data: &Dataset) -> Self {
        Self {
            series: data.series().len(),
            rows: data.rows(),
            filled: data.filled(),
            decimals: data.decimals(),
            first: data.calendar().label(data.first()),
            last: data.calendar().label(data.last()),
            fingerprint: data.fingerprint(),
            calendar: data.calendar().clone(),
            notes: data.notes().to_vec(),
        }
    }

    fn check(&self) -> Result<(), String> {
        let hash = &self.fingerprint;
        if hash.is_empty() || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("the fingerprint of the data is not a hash".to_owned());
        }
        if self.decimals > DECIMALS_MAX {
            return Err(format!("`decimals` is {}, at most {DECIMALS_MAX}", self.decimals));
        }
        self.calendar.check()
    }
}

impl ModelCard {
    /// The card as a page of text.
    pub fn to_text(&self, version: &str) -> String {
        let (spec, Section { data, backtest: test, .. }) = (&self.spec, &self.section);
        let filled = if data.filled > 0 {
            format!(" ({} missing ones filled)", data.filled)
        } else {
            String::new()
        };
        let intervals = &test.intervals;
        let mut text = format!(
            "model      {} {version}\n\
             data       {} series, {} {} observations{filled}, {} to {}, fingerprint {}\n\
             consists   {}\n\
             backtest   {} forecasts, 1 to {} steps ahead, origins {} to {}\n\
             interval   {:.0} % nominal, {:.1} % of backtest forecasts inside, MSIS {:.2}, CRPS \
             {:.3}\n\n\
             {:<24}{:>10}{:>10}{:>10}{:>10}{:>8}{:>10}\n",
            self.id,
            data.series,
            data.rows,
            spec.frequency().name(),
            data.first,
            data.last,
            &data.fingerprint[..12.min(data.fingerprint.len())],
            self.consists(),
            test.cases,
            spec.task.horizon,
            test.origins.first().map_or("", String::as_str),
            test.origins.last().map_or("", String::as_str),
            intervals.level * 100.0,
            intervals.coverage * 100.0,
            intervals.msis,
            intervals.crps,
            "",
            "MAE",
            "RMSE",
            "MAPE %",
            "sMAPE %",
            "MASE",
            "p",
        );
        if let Some(decision) = test.decision {
            text.insert_str(
                text.find("\n\n").map_or(0, |at| at + 1),
                &decision.to_text(data.decimals + 2),
            );
        }
        for candidate in &test.candidates {
            let e = &candidate.errors;
            let mark = if candidate.family == self.family { "→ " } else { "  " };
            let p = candidate.p_value.map_or_else(String::new, |p| format!("{p:.3}"));
            let name = candidate.family.name();
            let decimals = data.decimals + 1;
            text += &format!(
                "{mark}{name:<22}{:>10.decimals$}{:>10.decimals$}{:>10.2}{:>10.2}{:>8.3}{p:>10}\n",
                e.mae, e.rmse, e.mape, e.smape, e.mase
            );
        }
        if let Some(counts) = self.section.calibration.counts {
            text += &format!(
                "\nnote: values are small counts: intervals end at whole numbers, by a negative \
                 binomial distribution with {:.2} times the forecast as its mean and dispersion \
                 {:.2}\n",
                counts.factor, counts.dispersion
            );
        }
        if !test.left_out.is_empty() {
            let names: Vec<&str> = test.left_out.iter().map(|family| family.name()).collect();
            text += &format!("\nnot tried, for want of values: {}\n", names.join(", "));
        }
        for feature in spec.task.features.iter().filter(|f| f.known == Known::Forecast) {
            text += &format!(
                "\nnote: the backtest took `{}` from the table as if it had been forecast; with \
                 real forecasts of it, errors are larger\n",
                feature.column
            );
        }
        for note in lines(&data.notes) {
            text += &format!("\nnote: {note}\n");
        }
        text += &match test.better_baseline() {
            Some(better) => self.beaten("baseline", better),
            None => match test.verdict(self.family) {
                Some(verdict) => format!("\nnote: {verdict}\n"),
                None => "\nno baseline has a smaller MASE than this model\n".to_owned(),
            },
        };
        if let Some(better) = test.better_family().filter(|c| !c.family.is_baseline()) {
            text += &self.beaten("family", better);
        }
        text
    }

    /// That another family is better, and by how much.
    fn beaten(&self, what: &str, better: &Candidate) -> String {
        let (own, other) = (self.section.backtest.model.mase, better.errors.mase);
        let share = 100.0 * (own - other) / own;
        let name = better.family.name();
        let why = match self.spec.model.kind {
            Kind::Auto => "that may be chance, so `auto` keeps the combination",
            Kind::Of(_) => "`kind = \"auto\"` serves the best family",
        };
        format!(
            "\nnote: the {what} `{name}` has a smaller MASE than this model: {other:.3}, \
             {share:.1} % less; {why}\n"
        )
    }
}
