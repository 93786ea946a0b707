//! The model card: what a model is, what it was trained on, and how wrong it usually is.

use serde::{Deserialize, Serialize};

use crate::drift::Reference;
use crate::families::pooled_autoregression::Pooled;
use crate::forecast::backtest::{Backtest, Candidate};
use crate::forecast::calendar::Calendar;
use crate::forecast::conformal::Calibration;
use crate::forecast::dataset::{DECIMALS_MAX, Dataset, Note, lines};
use crate::forecast::fallback::Fallback;
use crate::forecast::window::Frame;
use crate::spec::TrainSpec;
use steppe_spec::Family;

/// Version of the artifact's layout; a loader refuses any other.
pub const ARTIFACT_SCHEMA_VERSION: u32 = 4;

/// How far from 1 the sum of shares may be.
const WEIGHTS_ROUNDING: f64 = 1e-6;

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
    /// Names of the periods.
    pub calendar: Calendar,
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

/// A model inside of an artifact: one, or the parts of a combination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The family.
    pub family: Family,
    /// Its share of the forecast; all shares add up to 1.
    pub weight: f64,
    /// Scales of its features; none for a family without features.
    pub frame: Option<Frame>,
    /// Shared coefficients; only of a pooled autoregression.
    pub coefficients: Option<Pooled>,
}

/// `card.json` of an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// [`ARTIFACT_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Pipeline and family: `marriages-lstm`.
    pub id: String,
    /// Family of the model.
    pub family: Family,
    /// What the model consists of; never empty.
    pub members: Vec<Member>,
    /// How it was trained.
    pub spec: TrainSpec,
    /// What it was trained on.
    pub data: DataSummary,
    /// How wrong it usually is.
    pub backtest: Backtest,
    /// What turns its forecasts into quantiles.
    pub calibration: Calibration,
    /// What series get that are too short for the model; none when nothing can be said of them.
    pub fallback: Option<Fallback>,
    /// What its forecasts and their inputs looked like in the backtest; drift is measured against
    /// it.
    pub reference: Reference,
    /// SHA-256 of `weights.safetensors`, in hexadecimal.
    pub weights_sha256: String,
}

impl ModelCard {
    /// Checks everything of a card that was read on which forecasts rest. That its hash is right
    /// says only that it is what somebody wrote.
    pub fn check(&self) -> Result<(), String> {
        self.spec.check()?;
        let id = format!("{}-{}", self.spec.pipeline, self.family.name());
        if self.id != id {
            return Err(format!("the card's id is not `{id}`"));
        }
        self.check_members()?;
        self.calibration.check(&self.spec)?;
        self.fallback.as_ref().map_or(Ok(()), |fallback| fallback.check(&self.spec))?;
        self.data.check()?;
        self.reference.check()
    }

    fn check_members(&self) -> Result<(), String> {
        let combined = self.family == Family::Combination;
        if self.members.is_empty() || self.members.len() > Family::ALL.len() {
            return Err(format!("the card names {} members", self.members.len()));
        }
        if !combined && (self.members.len() != 1 || self.members[0].family != self.family) {
            return Err(format!("the only member of a `{}` is itself", self.family.name()));
        }
        let sum: f64 = self.members.iter().map(|m| m.weight).sum();
        let share = |m: &Member| m.weight >= 0.0 && m.weight <= 1.0 + WEIGHTS_ROUNDING;
        if !self.members.iter().all(share) || (sum - 1.0).abs() > WEIGHTS_ROUNDING {
            return Err(format!("the shares of the members add up to {sum}, not to 1"));
        }
        for member in &self.members {
            member.frame.as_ref().map_or(Ok(()), |frame| frame.check(member.family, &self.spec))?;
            member.coefficients.as_ref().map_or(Ok(()), |pooled| pooled.check(&self.spec))?;
        }
        Ok(())
    }

    /// The card as a page of text.
    pub fn to_text(&self, version: &str) -> String {
        let (spec, data, test) = (&self.spec, &self.data, &self.backtest);
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
             interval   {:.0} % nominal, {:.1} % of backtest forecasts inside, MSIS {:.2}, CRPS {:.3}\n\n\
             {:<24}{:>10}{:>10}{:>10}{:>10}{:>8}{:>10}\n",
            self.id,
            data.series,
            data.rows,
            spec.frequency.name(),
            data.first,
            data.last,
            &data.fingerprint[..12.min(data.fingerprint.len())],
            self.members_text(),
            test.cases,
            spec.horizon,
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
        if !test.left_out.is_empty() {
            let names: Vec<&str> = test.left_out.iter().map(|family| family.name()).collect();
            text += &format!("\nnot tried, for want of values: {}\n", names.join(", "));
        }
        for note in lines(&data.notes) {
            text += &format!("\nnote: {note}\n");
        }
        text += &match test.better_baseline() {
            Some(better) => self.beaten("baseline", better),
            None => "\nno baseline has a smaller MASE than this model\n".to_owned(),
        };
        if let Some(better) = test.better_family().filter(|c| !c.family.is_baseline()) {
            text += &self.beaten("family", better);
        }
        text
    }

    /// That another family is better, and by how much.
    fn beaten(&self, what: &str, better: &Candidate) -> String {
        let (own, other) = (self.backtest.model.mase, better.errors.mase);
        let share = 100.0 * (own - other) / own;
        let name = better.family.name();
        format!(
            "\nnote: the {what} `{name}` has a smaller MASE than this model: {other:.3}, \
             {share:.1} % less; `kind = \"auto\"` serves the best family\n"
        )
    }

    fn members_text(&self) -> String {
        let spec = &self.spec;
        let network = || {
            let l = &spec.lstm;
            format!(
                "{} × {} hidden, context {}, at most {} epochs, seed {}",
                l.members, l.hidden, l.context, l.epochs, spec.seed
            )
        };
        let about = |member: &Member| {
            let share = if self.members.len() > 1 {
                format!("{:.0} % ", member.weight * 100.0)
            } else {
                String::new()
            };
            match member.family {
                Family::Lstm => format!("{share}lstm ({})", network()),
                Family::GradientBoosting => format!(
                    "{share}gradient-boosting ({} trees, depth {})",
                    spec.trees.rounds, spec.trees.depth
                ),
                family => format!("{share}{}", family.name()),
            }
        };
        self.members.iter().map(about).collect::<Vec<_>>().join(", ")
    }
}
