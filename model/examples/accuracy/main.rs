//! `make accuracy`: our forecasts on public benchmarks, beside published scores.
//!
//! M4 Hourly and M3 with the competitions' own splits and metrics, marriages in Sweden, closing
//! prices, London's daily demand, and the coverage of intervals over all of them and more. The data
//! are not part of this repository; `STEPPE_SHARED_DATA` names their folder. Arguments choose
//! parts: `m4 m3 sweden stocks energy coverage`, and after `coverage` parts of the names of data
//! sets; `m4-decided` alone is what a family was decided on.

#![expect(clippy::disallowed_macros, reason = "its tables are the result")]

mod coverage;
mod energy;
mod sets;
mod stocks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use steppe_model::families::Model;
use steppe_model::forecast::Forecaster;
use steppe_model::forecast::conformal::Calibration;
use steppe_model::forecast::dataset::View;
use steppe_model::forecast::metrics::{
    IntervalOutcome, IntervalScores, Outcome, errors, interval_scores, naive_scale,
};
use steppe_model::forecast::{PredictedStep, Prediction};
use steppe_model::host::{Quiet, Stage};
use steppe_model::{Artifact, Dataset, Series};
use steppe_spec::{Backtest, Family, Frequency, Lstm, TrainSpec, Trees};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let folder = PathBuf::from(
        std::env::var("STEPPE_SHARED_DATA").unwrap_or_else(|_| "../shared/data".to_owned()),
    );
    if !folder.join("m4").is_dir() {
        return Err(format!(
            "there is no folder {}; set STEPPE_SHARED_DATA to the one that holds m4, m3 and marriages",
            folder.join("m4").display()
        )
        .into());
    }
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|c| c == name);
    if wanted("m4") {
        m4_hourly(&folder.join("m4"))?;
    }
    if chosen.iter().any(|c| c == "m4-decided") {
        m4_decided(&folder.join("m4"))?;
    }
    // target/release/examples/accuracy: the CSV lies under the same target folder.
    let target =
        std::env::current_exe()?.ancestors().nth(3).map(Path::to_path_buf).unwrap_or_default();
    let m3_table = target.join("accuracy/m3.csv");
    if wanted("m3") {
        m3(&m3_table, &folder.join("m3/computed_smape_of_stored_official_forecasts.csv"))?;
    }
    if wanted("sweden") {
        sweden(&folder.join("marriages/sweden_county_marriages_2000_2022.csv"))?;
    }
    if wanted("stocks") {
        stocks::run(&folder.join("stocks/djia_12_2006_2017.csv"))?;
    }
    if wanted("energy") {
        energy::run(&folder.join("energy"))?;
    }
    if wanted("coverage") {
        let of_sets = chosen.iter().skip_while(|c| *c != "coverage").skip(1);
        coverage::run(&sets::all(&folder, &m3_table)?, &of_sets.cloned().collect::<Vec<_>>())?;
    }
    Ok(())
}

/// A series whose newest values are kept back.
struct Split {
    name: String,
    known: Vec<f64>,
    future: Vec<f64>,
}

fn spec(name: &str, frequency: Frequency, horizon: usize) -> TrainSpec {
    TrainSpec::forecast(name, ["series", "time", "value"]).with(|s| {
        s.task.set_frequency(frequency);
        s.model.candidates = Some(vec![
            Family::Theta,
            Family::ExponentialSmoothing,
            Family::Autoregression,
            Family::Arima,
            Family::DampedTrend,
            Family::PooledAutoregression,
        ]);
        s.task.horizon = horizon;
        s.model.lstm = Lstm {
            context: 48,
            hidden: 32,
            epochs: 12,
            members: 2,
            learning_rate: 0.003,
            weight_decay: 0.01,
            batch: 64,
            patience: Some(3),
            epoch_windows: 20_000,
        };
        s.model.trees = Trees { rounds: 200, depth: 6, learning_rate: 0.08, rows_max: 200_000 };
        s.backtest = Backtest {
            origins: 4,
            stride: Some(horizon),
            refit: false,
            interval_level: 0.95,
            ..Backtest::default()
        };
    })
}

/// All series end at the same period, as the competitions treat them.
fn dataset(frequency: Frequency, splits: &[Split]) -> Dataset {
    let longest = splits.iter().map(|s| s.known.len()).max().unwrap_or(0);
    let series =
        |s: &Split| Series::new(s.name.clone(), (longest - s.known.len()) as i64, s.known.clone());
    Dataset::new(frequency, splits.iter().map(series).collect())
}

/// One row of a table of results.
struct Row {
    name: String,
    smape: f64,
    mase: f64,
    intervals: Option<IntervalScores>,
}

fn score(name: &str, splits: &[Split], season: usize, points: &BTreeMap<String, Vec<f64>>) -> Row {
    // Mean over series of each series' mean, as the competitions take it; all horizons are equal,
    // so it is the mean over all points.
    let outcome = |s: &Split| {
        let scale = naive_scale(&s.known, season);
        let forecast = &points[&s.name];
        s.future
            .iter()
            .zip(forecast)
            .map(|(&actual, &forecast)| Outcome { forecast, actual, naive_scale: scale })
            .collect::<Vec<_>>()
    };
    let e = errors(splits.iter().flat_map(outcome)).expect("there are series");
    Row { name: name.to_owned(), smape: e.smape, mase: e.mase, intervals: None }
}

fn score_intervals(
    splits: &[Split],
    season: usize,
    predictions: &BTreeMap<String, Prediction>,
    calibration: &Calibration,
) -> Option<IntervalScores> {
    let outcome = |s: &Split| {
        let scale = naive_scale(&s.known, season);
        let one = |(&actual, step): (&f64, &PredictedStep)| IntervalOutcome {
            lower: step.lower,
            upper: step.upper,
            quantiles: calibration.quantiles(&step.spread),
            actual,
            naive_scale: scale,
        };
        s.future.iter().zip(&predictions[&s.name].steps).map(one).collect::<Vec<_>>()
    };
    interval_scores(calibration.level, splits.iter().flat_map(outcome))
}

/// Trains by the spec, and scores the served model and every family beside it.
fn compete(splits: &[Split], spec: &TrainSpec) -> Result<(Vec<Row>, f64)> {
    let (started, season) = (Instant::now(), spec.frequency().season());
    let data = dataset(spec.frequency(), splits);
    let artifact = Artifact::train(&data, spec, &Stage::new(&Quiet))?;
    let views: Vec<View<'_>> = data.series().iter().map(Series::view).collect();
    let names = || data.series().iter().map(|s| s.name.clone());
    let predictions: BTreeMap<String, Prediction> =
        names().zip(artifact.forecast(&views, spec.task.horizon)).collect();
    let seconds = started.elapsed().as_secs_f64();
    let points = predictions
        .iter()
        .map(|(n, p)| (n.clone(), p.steps.iter().map(|s| s.value).collect()))
        .collect();
    let mut served =
        score(&format!("Steppe, {} (auto)", artifact.card.family.name()), splits, season, &points);
    served.intervals =
        score_intervals(splits, season, &predictions, &artifact.card.section.calibration);
    let mut rows = vec![served];
    for family in spec.families().into_iter().filter(|f| *f != Family::Combination) {
        let model = Model::fit(family, &data, spec, &Stage::new(&Quiet))?;
        let points = names().zip(model.forecast(&views, spec.task.horizon)).collect();
        rows.push(score(&format!("Steppe, {}", family.name()), splits, season, &points));
    }
    if std::env::var_os("STEPPE_CARD").is_some() {
        eprintln!("{}", artifact.card.to_text(&artifact.version()));
    }
    Ok((rows, seconds))
}

fn m4_splits(folder: &Path) -> Result<Vec<Split>> {
    let read = |file: &str| -> Result<Vec<(String, Vec<f64>)>> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(folder.join(file))?;
        let mut rows = Vec::new();
        for row in reader.records() {
            let row = row?;
            let given = row.iter().skip(1).filter(|v| !v.is_empty());
            rows.push((
                row[0].to_owned(),
                given.map(str::parse).collect::<std::result::Result<_, _>>()?,
            ));
        }
        Ok(rows)
    };
    let test: BTreeMap<_, _> = read("Hourly-test.csv")?.into_iter().collect();
    let split =
        |(name, known): (String, Vec<f64>)| Split { future: test[&name].clone(), name, known };
    Ok(read("Hourly-train.csv")?.into_iter().map(split).collect())
}

/// How M4 Hourly is forecast.
fn m4_spec() -> TrainSpec {
    let mut spec = spec("m4-hourly", Frequency::Hourly, 48);
    spec.model.candidates = Some(vec![
        Family::Autoregression,
        Family::LevelShape,
        Family::GradientBoosting,
        Family::Lstm,
    ]);
    (spec.model.lstm.context, spec.model.lstm.hidden, spec.model.lstm.epoch_windows) =
        (192, 48, 30_000);
    spec
}

/// What was decided on: series with even numbers, without the test split and the two days before
/// it; the two days before those are forecast, with `level-shape` and without.
fn m4_decided(folder: &Path) -> Result<()> {
    let even = |split: &Split| split.name.ends_with(['0', '2', '4', '6', '8']);
    let cut = |mut split: Split| {
        split.known.truncate(split.known.len() - 48);
        split.future = split.known.split_off(split.known.len() - 48);
        split
    };
    let splits: Vec<Split> = m4_splits(folder)?.into_iter().filter(even).map(cut).collect();
    let (with, mut without) = (m4_spec(), m4_spec());
    without.model.candidates.iter_mut().for_each(|all| all.retain(|f| *f != Family::LevelShape));
    for (what, spec) in [("without level-shape", without), ("with level-shape", with)] {
        let (rows, _) = compete(&splits, &spec)?;
        println!("\nM4 Hourly, what was decided on, {what}\n");
        m4_head();
        rows.iter().for_each(m4_row);
    }
    Ok(())
}

fn m4_head() {
    println!(
        "{:<36}{:>9}{:>9}{:>9}{:>9}{:>13}",
        "", "sMAPE %", "MASE", "OWA", "MSIS", "inside 95 %"
    );
}

fn m4_line(name: &str, smape: f64, mase: f64, msis: &str, inside: &str) {
    // Naive2, the competition's reference: 18.383 and 2.395.
    let owa = (smape / 18.383 + mase / 2.395) / 2.0;
    println!("{name:<36}{smape:>9.3}{mase:>9.3}{owa:>9.3}{msis:>9}{inside:>13}");
}

fn m4_row(row: &Row) {
    let (msis, inside) = row.intervals.map_or_else(Default::default, |i| {
        (format!("{:.2}", i.msis), format!("{:.1} %", i.coverage * 100.0))
    });
    m4_line(&row.name, row.smape, row.mase, &msis, &inside);
}

fn m4_hourly(folder: &Path) -> Result<()> {
    let (rows, seconds) = compete(&m4_splits(folder)?, &m4_spec())?;
    println!(
        "\nM4 Hourly: 414 series, 48 steps, official split; {seconds:.0} s for backtest, training and \
         forecasts\n"
    );
    m4_head();
    rows.iter().for_each(m4_row);
    for (name, smape, mase, msis) in [
        ("published: best", 8.913, 0.801, "6.14"),
        ("published: winner (Smyl)", 9.328, 0.893, ""),
        ("published: seasonal naive", 13.912, 1.193, ""),
        ("published: Naive2", 18.383, 2.395, ""),
    ] {
        m4_line(name, smape, mase, msis, "");
    }
    println!("{:<63}{:>9}\n{:<63}{:>9}", "published: ARIMA", "7.54", "published: ETS", "17.49");
    Ok(())
}

/// The series of a part of M3, by their numbers.
fn m3_splits(file: &Path, part: &str) -> Result<Vec<Split>> {
    let mut series: BTreeMap<String, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    let mut reader = csv::Reader::from_path(file).map_err(|e| {
        format!("{}: {e}; `make accuracy` makes it from M3_long.parquet", file.display())
    })?;
    for row in reader.deserialize() {
        let (id, period, half, _, value): (String, String, String, u32, f64) = row?;
        if period == part {
            let halves = series.entry(id).or_default();
            if half == "train" { &mut halves.0 } else { &mut halves.1 }.push(value);
        }
    }
    let split = |(name, (known, future))| Split { name, known, future };
    Ok(series.into_iter().map(split).collect())
}

fn m3(file: &Path, published: &Path) -> Result<()> {
    println!("\nM3: 3,003 series, official split, sMAPE %\n");
    println!(
        "{:<36}{:>11}{:>11}{:>11}{:>11}{:>11}{:>9}",
        "", "yearly", "quarterly", "monthly", "other", "all", "seconds"
    );
    let mut table: BTreeMap<String, Vec<(f64, usize)>> = BTreeMap::new();
    let mut seconds = Vec::new();
    let mut order = Vec::new();
    for (period, frequency, horizon) in [
        ("YEARLY", Frequency::Yearly, 6),
        ("QUARTERLY", Frequency::Quarterly, 8),
        ("MONTHLY", Frequency::Monthly, 18),
        ("OTHER", Frequency::Yearly, 8),
    ] {
        let splits = m3_splits(file, period)?;
        let mut spec = spec("m3", frequency, horizon);
        spec.backtest = Backtest {
            origins: 2,
            stride: Some(1),
            refit: false,
            interval_level: 0.95,
            ..Backtest::default()
        };
        let (rows, time) = compete(&splits, &spec)?;
        seconds.push(time);
        for (i, row) in rows.iter().enumerate() {
            let name = if i == 0 { "Steppe, auto".to_owned() } else { row.name.clone() };
            if !order.contains(&name) {
                order.push(name.clone());
            }
            table.entry(name).or_default().push((row.smape, splits.len()));
        }
    }
    let line = |name: &str, parts: &[(f64, usize)], time: String| {
        let cells: String = parts.iter().map(|(s, _)| format!("{s:>11.2}")).collect();
        let all = parts.iter().map(|(s, n)| s * *n as f64).sum::<f64>()
            / parts.iter().map(|(_, n)| *n as f64).sum::<f64>();
        println!("{name:<36}{cells}{all:>11.2}{time:>9}");
    };
    for name in order.iter().filter(|n| table[*n].len() == 4) {
        let time = if name == "Steppe, auto" {
            format!("{:.0}", seconds.iter().sum::<f64>())
        } else {
            String::new()
        };
        line(name, &table[name], time);
    }
    let sizes = [645, 756, 1428, 174];
    for row in csv::Reader::from_path(published)?.records() {
        let row = row?;
        if ["THETA", "ForecastPro", "NAIVE2"].contains(&&row[0]) {
            let parts = row.iter().skip(1).zip(sizes).map(|(cell, size)| Ok((cell.parse()?, size)));
            line(
                &format!("published: {}", &row[0]),
                &parts.collect::<Result<Vec<_>>>()?,
                String::new(),
            );
        }
    }
    Ok(())
}

fn counties(file: &Path) -> Result<Dataset> {
    let mut rows: Vec<(String, i64, f64)> = Vec::new();
    for row in csv::Reader::from_path(file)?.deserialize() {
        let (_, region, year, marriages): (String, String, i64, f64) = row?;
        rows.push((region, year, marriages));
    }
    Ok(Dataset::from_rows(rows)?)
}

fn sweden(file: &Path) -> Result<()> {
    let data = counties(file)?;
    println!("\nMarriages in Sweden: 21 counties, one step, 2010 to 2019, MAPE %\n");
    let mut totals: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    let (mut names, mut chosen) = (Vec::new(), Vec::new());
    for year in 2010..2020 {
        let known = data.until(year - 1);
        let mut spec = spec("sweden", Frequency::Yearly, 1);
        // As the pipeline `marriages` has it.
        spec.model.lstm = Lstm {
            context: 6,
            hidden: 16,
            epochs: 10,
            members: 3,
            learning_rate: 0.001,
            weight_decay: 0.1,
            batch: 32,
            ..Lstm::default()
        };
        spec.backtest = Backtest { origins: 3, stride: Some(1), ..Backtest::default() };
        spec.model.candidates = Some(vec![
            Family::Theta,
            Family::ExponentialSmoothing,
            Family::PooledAutoregression,
            Family::Lstm,
        ]);
        let artifact = Artifact::train(&known, &spec, &Stage::new(&Quiet))?;
        chosen.push(artifact.card.family.name());
        let mut models = vec![("Steppe, auto".to_owned(), artifact.model.clone())];
        for family in spec.families().into_iter().filter(|f| *f != Family::Combination) {
            models.push((
                format!("Steppe, {}", family.name()),
                Model::fit(family, &known, &spec, &Stage::new(&Quiet))?,
            ));
        }
        let views: Vec<View<'_>> = known.series().iter().map(Series::view).collect();
        for (name, model) in models {
            if !names.contains(&name) {
                names.push(name.clone());
            }
            for (view, forecast) in views.iter().zip(model.forecast(&views, 1)) {
                let actual = data
                    .find(&view.series().name)
                    .and_then(|s| s.observed(year))
                    .expect("every year is there");
                totals.entry(name.clone()).or_default().push(Outcome {
                    forecast: forecast[0],
                    actual,
                    naive_scale: 1.0,
                });
            }
        }
    }
    for name in names {
        let e = errors(totals.remove(&name).unwrap_or_default()).expect("there are years");
        println!("{name:<36}{:>9.2}", e.mape);
    }
    println!("auto chose: {}", chosen.join(", "));
    println!(
        "{:<36}{:>9.2}\n{:<36}{:>9.2}",
        "published: mean of three years", 5.06, "published: last value", 5.64
    );
    Ok(())
}
