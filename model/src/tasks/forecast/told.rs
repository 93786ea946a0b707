//! Forecasts in words and numbers, as the model server answers them and jobs store them.

use bytes::Bytes;
use jiff::civil::Date;
use steppe_spec::Holidays;
use steppe_wire::predict::{Forecast as Told, Quantile, Step};

use super::dataset::{DataError, Dataset, Series};
use super::{Artifact, ModelCard, PredictedStep, Prediction};

impl ModelCard {
    /// A table as the model reads it. Holidays of a table are those that it was trained with.
    pub fn data_set(&self, files: impl IntoIterator<Item = Bytes>) -> Result<Dataset, DataError> {
        let data = Dataset::from_parquet(files, &self.spec)?;
        Ok(match self.holidays_of_table() {
            Some(holidays) => data.with_holidays(&holidays),
            None => data,
        })
    }

    /// Whether a data set was read as this model reads it, when another one read it.
    pub fn reads_as(&self, data: &Dataset) -> bool {
        self.holidays_of_table().is_none_or(|wanted| data.calendar().holidays().eq(wanted))
    }

    fn holidays_of_table(&self) -> Option<Vec<Date>> {
        let of_table = matches!(self.spec.task.holidays, Holidays::Table(_));
        of_table.then(|| self.section.data.calendar.holidays().collect())
    }
}

impl Artifact {
    /// The forecast of a series, which is of `data` or was brought along; `None` when a value of it
    /// is not finite.
    pub fn told(
        &self,
        data: Option<&Dataset>,
        series: &Series,
        prediction: &Prediction,
        quantiles: bool,
    ) -> Option<Told> {
        let calibration = self.calibration_of(prediction);
        let (calendar, last) = (&series.calendar, series.last());
        let listed = |p: &PredictedStep| {
            let quantiles = calibration.quantiles(&p.spread).into_iter();
            quantiles.map(|(probability, value)| Quantile { probability, value }).collect()
        };
        let step = |(step, p): (u32, &PredictedStep)| {
            let quantiles: Vec<Quantile> = if quantiles { listed(p) } else { Vec::new() };
            let all = [p.value, p.lower, p.upper, p.procure.unwrap_or_default()];
            let finite = all.into_iter().all(f64::is_finite);
            (finite && quantiles.iter().all(|q| q.value.is_finite())).then(|| Step {
                step,
                period: calendar.label(last + i64::from(step)),
                value: p.value,
                lower: p.lower,
                upper: p.upper,
                procure: p.procure,
                level: calibration.level,
                quantiles,
            })
        };
        Some(Told {
            series: series.name.clone(),
            observed_until: calendar.label(last),
            last_value: series.values[series.values.len() - 1],
            repaired: series.filled.len(),
            note: note(data, series, prediction),
            decimals: self.card.section.data.decimals,
            steps: (1..).zip(&prediction.steps).map(step).collect::<Option<_>>()?,
        })
    }
}

/// What a reader of a forecast should know.
fn note(data: Option<&Dataset>, series: &Series, prediction: &Prediction) -> Option<String> {
    let short = prediction.by_rule.then(|| {
        let values = match series.values.len() {
            1 => "1 value is".to_owned(),
            values => format!("{values} values are"),
        };
        format!(
            "{values} too few for the model: it is the last value, moved as other series usually \
             move"
        )
    });
    let remark = data.and_then(|data| data.remark(&series.name));
    match (remark, short) {
        (Some(remark), Some(short)) => Some(format!("{remark}; {short}")),
        (remark, short) => remark.or(short),
    }
}
