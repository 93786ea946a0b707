//! The public data sets as series: what is in the shared folder, in every frequency that it gives.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::DateTime;
use steppe_model::Dataset;
use steppe_model::forecast::dataset::Record;
use steppe_spec::{Backtest, Family, Frequency, TrainSpec, Transform};

use crate::{Result, Split, dataset, m3_splits, m4_splits, spec};

/// Series, how they are forecast, and from where the forecasts are judged.
pub struct Set {
    /// What it is.
    pub name: &'static str,
    /// Whether rules may be decided by it; the others only report.
    pub decides: bool,
    /// All values.
    pub data: Dataset,
    /// How a model is trained at each of the origins.
    pub spec: TrainSpec,
    /// Origins that are judged, the newest ones, a stride apart.
    pub judged: usize,
}

/// How a set is forecast.
struct How {
    horizon: usize,
    origins: usize,
    stride: usize,
    judged: usize,
    transform: Transform,
}

/// Everything in `folder`; `m3` is the table that `tests/accuracy_data.py` makes.
pub fn all(folder: &Path, m3: &Path) -> Result<Vec<Set>> {
    let mut sets = Vec::new();
    for (name, decides, part, frequency, horizon) in [
        ("M3 yearly", false, "YEARLY", Frequency::Yearly, 6),
        ("M3 quarterly", true, "QUARTERLY", Frequency::Quarterly, 8),
        ("M3 monthly", false, "MONTHLY", Frequency::Monthly, 18),
        ("M3 other", true, "OTHER", Frequency::Yearly, 8),
    ] {
        let how = How { horizon, origins: 3, stride: 1, judged: 1, transform: Transform::Log };
        sets.push(set((name, decides), whole(frequency, m3_splits(m3, part)?), &how));
    }
    let hourly = whole(Frequency::Hourly, m4_splits(&folder.join("m4"))?);
    let how = How { horizon: 48, origins: 4, stride: 48, judged: 1, transform: Transform::Log };
    sets.push(set(("M4 hourly", false), hourly, &how));
    let sweden = crate::counties(&folder.join("marriages/sweden_county_marriages_2000_2022.csv"))?;
    // 2022 is half a year.
    let how = How { horizon: 1, origins: 8, stride: 1, judged: 9, transform: Transform::Log };
    sets.push(set(("Swedish counties, marriages", false), sweden.until(2021), &how));
    sets.extend(stocks(&folder.join("stocks/djia_12_2006_2017.csv"))?);
    sets.extend(london(&folder.join("energy"))?);
    sets.push(cloud_watch(&folder.join("nab/data/realAWSCloudwatch"))?);
    sets.push(small_counts());
    Ok(sets)
}

fn set((name, decides): (&'static str, bool), data: Dataset, how: &How) -> Set {
    let mut spec = spec(name, data.frequency(), how.horizon);
    spec.model.transform = how.transform;
    // Families that take seconds, not minutes: smoothing is slow on long histories.
    spec.model.candidates = Some(match data.frequency() {
        Frequency::Yearly => {
            vec![Family::Theta, Family::ExponentialSmoothing, Family::PooledAutoregression]
        }
        Frequency::ObservedDays => vec![Family::Theta, Family::PooledAutoregression],
        Frequency::Weekly => vec![Family::Autoregression],
        Frequency::Hourly => vec![Family::Autoregression, Family::LevelShape],
        Frequency::Daily => vec![Family::Theta, Family::Autoregression, Family::LevelShape],
        _ => vec![
            Family::Theta,
            Family::ExponentialSmoothing,
            Family::Arima,
            Family::DampedTrend,
            Family::Autoregression,
        ],
    });
    spec.backtest = Backtest {
        origins: how.origins,
        stride: Some(how.stride),
        refit: data.frequency() == Frequency::Yearly,
        interval_level: 0.95,
        ..Backtest::default()
    };
    Set { name, decides, data, spec, judged: how.judged }
}

/// Known and future values of a competition's series as one data set.
fn whole(frequency: Frequency, splits: Vec<Split>) -> Dataset {
    let join = |split: Split| Split {
        known: split.known.into_iter().chain(split.future).collect(),
        future: Vec::new(),
        name: split.name,
    };
    dataset(frequency, &splits.into_iter().map(join).collect::<Vec<_>>())
}

/// Values of series at moments.
type Values = Vec<(String, DateTime, f64)>;

fn read(file: &Path, columns: [&str; 3]) -> Result<Values> {
    let mut reader = csv::Reader::from_path(file)?;
    let header = reader.headers()?.clone();
    let place = |name: &str| {
        let found = header.iter().position(|column| column == name);
        found.ok_or_else(|| format!("{} has no column `{name}`", file.display()))
    };
    let (time, target) = (place(columns[1])?, place(columns[2])?);
    let series = place(columns[0]).ok();
    let mut values = Vec::new();
    for row in reader.records() {
        let row = row?;
        let name = series.map_or(columns[2], |place| &row[place]).to_owned();
        let moment = row[time].parse()?;
        if let Ok(value) = row[target].parse() {
            values.push((name, moment, value));
        }
    }
    Ok(values)
}

fn of(values: Values, frequency: Frequency, transform: Transform) -> Result<Dataset> {
    let spec = TrainSpec::forecast("", ["", "", ""]).with(|s| {
        s.task.set_frequency(frequency);
        s.model.transform = transform;
    });
    let record = |(series, moment, value): (String, DateTime, f64)| Record {
        series,
        moment,
        value: Some(value),
        features: Vec::new(),
        statics: Vec::new(),
    };
    Ok(Dataset::from_records(values.into_iter().map(record).collect(), &spec)?)
}

/// One value per series and the moment that `period` gives to a value's own: `join` of all of
/// them, the oldest first.
fn grouped(
    mut values: Values,
    period: impl Fn(DateTime) -> DateTime,
    join: impl Fn(&[f64]) -> Option<f64>,
) -> Values {
    values.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let mut groups: BTreeMap<(String, DateTime), Vec<f64>> = BTreeMap::new();
    for (series, moment, value) in values {
        groups.entry((series, period(moment))).or_default().push(value);
    }
    let joined = groups.into_iter().filter_map(|((s, m), all)| Some((s, m, join(&all)?)));
    joined.collect()
}

fn monday(moment: DateTime) -> DateTime {
    let back = moment.date().weekday().to_monday_zero_offset();
    let day = moment.date().checked_sub(jiff::Span::new().days(back));
    day.expect("a day of this century").at(0, 0, 0, 0)
}

fn first_of_month(moment: DateTime) -> DateTime {
    moment.date().first_of_month().at(0, 0, 0, 0)
}

/// Closing prices of all years, daily.
pub fn all_closes(file: &Path) -> Result<Values> {
    read(file, ["Name", "Date", "Close"])
}

/// The same since 2013.
pub fn closes(file: &Path) -> Result<Values> {
    since_2013(file, "Close")
}

fn since_2013(file: &Path, column: &str) -> Result<Values> {
    let mut values = read(file, ["Name", "Date", column])?;
    values.retain(|(_, moment, _)| moment.year() >= 2013);
    Ok(values)
}

/// The same on the days that have values.
pub fn trading_days(values: Values) -> Result<Dataset> {
    of(values, Frequency::ObservedDays, Transform::Log)
}

/// The same on every day.
pub fn every_day(values: Values) -> Result<Dataset> {
    of(values, Frequency::Daily, Transform::Log)
}

fn stocks(file: &Path) -> Result<Vec<Set>> {
    let log = Transform::Log;
    let last = |all: &[f64]| all.last().copied();
    let daily = How { horizon: 5, origins: 20, stride: 5, judged: 12, transform: log };
    let weekly = How { horizon: 4, origins: 12, stride: 4, judged: 12, transform: log };
    let monthly = How { horizon: 3, origins: 8, stride: 3, judged: 12, transform: log };
    let prices = all_closes(file)?;
    let weeks = of(grouped(prices.clone(), monday, last), Frequency::Weekly, log)?;
    let months = of(grouped(prices, first_of_month, last), Frequency::Monthly, log)?;
    let volumes = of(since_2013(file, "Volume")?, Frequency::ObservedDays, log)?;
    Ok(vec![
        set(("stocks, daily closes", false), trading_days(closes(file)?)?, &daily),
        set(("stocks, daily volumes", true), volumes, &daily),
        set(("stocks, weekly closes", true), weeks, &weekly),
        set(("stocks, monthly closes", false), months, &monthly),
    ])
}

fn london(folder: &Path) -> Result<Vec<Set>> {
    let log = Transform::Log;
    let daily = How { horizon: 7, origins: 8, stride: 7, judged: 12, transform: log };
    let weekly = How { horizon: 4, origins: 4, stride: 4, judged: 5, transform: log };
    let households = |block: &str| -> Result<Values> {
        let mut values = read(&folder.join(block), ["LCLid", "day", "energy_sum"])?;
        // The last day has one reading.
        values.retain(|(_, moment, _)| moment.date() != jiff::civil::date(2014, 2, 28));
        Ok(values)
    };
    let mean = ["all", "day", "avg_kwh_per_household"];
    let mut total = read(&folder.join("daily_aggregate_from_blocks.csv"), mean)?;
    total.retain(|(_, moment, _)| {
        let day = moment.date();
        day >= jiff::civil::date(2012, 7, 1) && day != jiff::civil::date(2014, 2, 28)
    });
    let whole_week = |all: &[f64]| (all.len() == 7).then(|| all.iter().sum());
    let weeks = |block: &str| -> Result<Dataset> {
        of(grouped(households(block)?, monday, whole_week), Frequency::Weekly, log)
    };
    let days = |block: &str| of(households(block)?, Frequency::Daily, log);
    let mut weather = Values::new();
    for column in ["temperatureMax", "temperatureMin", "windSpeed"] {
        let file = folder.join("weather_daily_darksky.csv");
        let values = read(&file, ["all", "time", column])?;
        weather.extend(grouped(values, |m| m.date().at(0, 0, 0, 0), |all| all.first().copied()));
    }
    let sky = How { transform: Transform::None, ..daily };
    Ok(vec![
        set(("London, mean household, daily", false), of(total, Frequency::Daily, log)?, &daily),
        set(("London, 50 households, daily", true), days("block_0.csv")?, &daily),
        set(("London, 50 others, daily", false), days("block_36.csv")?, &daily),
        set(("London, 50 households, weekly", true), weeks("block_0.csv")?, &weekly),
        set(("London, 50 others, weekly", false), weeks("block_36.csv")?, &weekly),
        set(
            ("London, weather, daily", true),
            of(weather, Frequency::Daily, Transform::None)?,
            &sky,
        ),
    ])
}

/// Invented: 100 monthly series of small counts, whose rates have a season and are drawn anew in
/// each month, so that they spread more than independent events do.
fn small_counts() -> Set {
    let mut rng = fastrand::Rng::with_seed(8);
    let mut exponential = move || -rng.f64().max(f64::MIN_POSITIVE).ln();
    let mut count = |mean: f64| {
        let rate = mean * (exponential() + exponential() + exponential()) / 3.0;
        let (mut events, mut passed) = (0.0, exponential());
        while passed < rate {
            (events, passed) = (events + 1.0, passed + exponential());
        }
        events
    };
    let split = |number: usize| {
        let season = |month: usize| 1.0 + 0.4 * (std::f64::consts::TAU * month as f64 / 12.0).sin();
        let mean = 0.2 * (1 + number % 40) as f64;
        let known = (0..84).map(|month| count(mean * season(month))).collect();
        Split { name: format!("s{number:03}"), known, future: Vec::new() }
    };
    let splits: Vec<Split> = (0..100).map(split).collect();
    let how = How { horizon: 3, origins: 8, stride: 3, judged: 4, transform: Transform::Log };
    set(("invented small counts, monthly", false), dataset(Frequency::Monthly, &splits), &how)
}

/// Hourly means of 17 metrics of machines, as if all ended at once.
fn cloud_watch(folder: &Path) -> Result<Set> {
    let mut splits = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let file = file?.path();
        let hour = |m: DateTime| m.date().at(m.hour(), 0, 0, 0);
        let mean = |all: &[f64]| Some(all.iter().sum::<f64>() / all.len() as f64);
        let values = grouped(read(&file, ["all", "timestamp", "value"])?, hour, mean);
        let name = file.file_stem().map(|name| name.to_string_lossy().into_owned());
        splits.push(Split {
            name: name.unwrap_or_default(),
            known: values.into_iter().map(|(_, _, value)| value).collect(),
            future: Vec::new(),
        });
    }
    let how = How { horizon: 12, origins: 6, stride: 12, judged: 6, transform: Transform::Log };
    Ok(set(("CloudWatch, hourly means", true), dataset(Frequency::Hourly, &splits), &how))
}
