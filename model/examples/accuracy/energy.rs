//! Daily demand in London, one day ahead: what weather and holidays are worth, on the last 112
//! days.
//!
//! The target is the mean over households with a whole day. The panel grows from 13 households to
//! over 5,000; days with fewer than 500 whole ones are left out, whatever their values, and so is
//! the last day, which has one reading per meter.
//!
//! The form of the linear family was decided on the 365 days before those 112: by its errors one,
//! three and seven days ahead. They are printed, too.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use jiff::civil::{Date, DateTime, Weekday, date};
use jiff::tz::TimeZone;
use steppe_model::forecast::dataset::Record;
use steppe_model::host::{Quiet, Stage};
use steppe_model::{Artifact, Dataset};
use steppe_spec::{Backtest, Decide, Family, Feature, Frequency, Holidays, Kind, Known, TrainSpec};

use crate::{Result, spec};

/// Households with a whole day that make a day's mean.
const HOUSEHOLDS_MIN: f64 = 500.0;
/// Days that are judged.
const JUDGED: usize = 112;
/// Days before them on which the linear family was decided.
const DECIDED_ON: usize = 365;
/// Mean temperatures between which nobody heats or cools.
const COMFORT: (f64, f64) = (15.5, 18.0);
/// The rule of the time zone Europe/London in these years, as the database of time zones has it.
const EUROPE_LONDON: &str = "GMT0BST,M3.5.0/1,M10.5.0";
/// Names of the features, in the order of [`Day::weather`].
const FEATURES: [&str; 3] = ["heating_degrees", "cooling_degrees", "cloud_cover"];

/// A day of the file.
struct Day {
    day: Date,
    /// kWh per household; none of the last day.
    load: Option<f64>,
    tmax: f64,
    weather: [f64; 3],
}

/// Forecasts without weather, with that of the days before, and with that of the day itself.
pub fn run(folder: &Path) -> Result<()> {
    let days = days(folder)?;
    let correlation = summer_correlation(&days);
    if !(-0.38..=-0.34).contains(&correlation) {
        return Err(format!("load and temperature changes correlate by {correlation:.3}").into());
    }
    let holidays = holidays(&folder.join("uk_bank_holidays.csv"))?;
    println!(
        "\nLondon, daily demand: one day ahead, last {JUDGED} days, refitted at every origin; \
         correlation of load and temperature changes {correlation:.3}\n"
    );
    for (what, features) in [
        ("without weather", vec![]),
        ("past weather", features(Known::Past)),
        ("weather as forecast", features(Known::Forecast)),
    ] {
        let mut spec = spec("energy", Frequency::Daily, 1);
        spec.task.features = features;
        spec.task.holidays = Holidays::Dates(holidays.clone());
        spec.task.decide = Some(Decide { short: 3.0, over: 1.0 });
        spec.model.kind = Kind::Of(Family::Linear);
        let data = dataset(&days, &spec)?;
        decided_on(&data, &spec)?;
        judged(what, &data, spec)?;
    }
    Ok(())
}

fn features(known: Known) -> Vec<Feature> {
    FEATURES.iter().map(|name| Feature::new(name, known)).collect()
}

fn backtest(origins: usize) -> Backtest {
    Backtest { origins, stride: Some(1), ..Backtest::default() }
}

/// The year before the judged days, for the linear family alone.
fn decided_on(data: &Dataset, spec: &TrainSpec) -> Result<()> {
    let known = data.until(data.last() - JUDGED as i64);
    let mut spec = spec.clone();
    (spec.model.candidates, spec.backtest) = (Some(vec![]), backtest(DECIDED_ON));
    let found = Artifact::train(&known, &spec, &Stage::new(&Quiet))?.card.section.backtest;
    let (from, to) = (&found.origins[0], &found.origins[DECIDED_ON - 1]);
    let mape = found.model.mape;
    println!("{:<36}{mape:>9.2} %   linear, origins {from} to {to}", "the year before");
    Ok(())
}

fn judged(what: &str, data: &Dataset, mut spec: TrainSpec) -> Result<()> {
    spec.backtest = backtest(JUDGED);
    spec.model.candidates = Some(vec![
        Family::Theta,
        Family::ExponentialSmoothing,
        Family::Autoregression,
        Family::LevelShape,
        Family::PooledAutoregression,
        Family::GradientBoosting,
        Family::Lstm,
    ]);
    // One series is learned in a moment by less than M4 needs.
    (spec.model.lstm.context, spec.model.lstm.hidden) = (28, 16);
    let started = Instant::now();
    let found = Artifact::train(data, &spec, &Stage::new(&Quiet))?.card.section.backtest;
    let seconds = started.elapsed().as_secs_f64();
    let (from, to) = (&found.origins[0], &found.origins[found.origins.len() - 1]);
    println!("{what}: origins {from} to {to}, {seconds:.0} s");
    for one in &found.candidates {
        println!("  {:<34}{:>9.2} %", one.family.name(), one.errors.mape);
    }
    let (inside, level) = (found.intervals.coverage * 100.0, found.intervals.level * 100.0);
    println!("  {:<34}{inside:>9.1} %", format!("linear, inside its {level:.0} % interval"));
    if let Some(decision) = found.decision {
        let (covered, quantile) = (decision.covered * 100.0, decision.probability);
        println!("  {:<34}{covered:>9.1} %", format!("linear, at most its quantile {quantile}"));
        let less = 100.0 * (1.0 - decision.pinball / decision.pinball_of_point);
        println!("  {:<34}{less:>9.1} %", "cost saved by procuring that");
    }
    Ok(())
}

fn dataset(days: &[Day], spec: &TrainSpec) -> Result<Dataset> {
    let record = |day: &Day| Record {
        series: "London".to_owned(),
        moment: day.day.at(0, 0, 0, 0),
        value: day.load,
        features: day.weather[..spec.task.features.len()].to_vec(),
        statics: Vec::new(),
    };
    Ok(Dataset::from_records(days.iter().map(record).collect(), spec)?)
}

/// The rows of a file as numbers by name of the column; what is none is absent.
fn rows(file: &Path, time: &str) -> Result<Vec<(DateTime, BTreeMap<String, f64>)>> {
    let mut reader = csv::Reader::from_path(file)?;
    let header = reader.headers()?.clone();
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row?;
        let named = || header.iter().zip(row.iter());
        let moment = named().find(|(name, _)| *name == time).ok_or("there is no time")?.1;
        let numbers =
            named().filter_map(|(name, cell)| Some((name.to_owned(), cell.parse().ok()?)));
        rows.push((moment.parse()?, numbers.collect()));
    }
    Ok(rows)
}

/// Load and weather of each day; the last one has no load.
fn days(folder: &Path) -> Result<Vec<Day>> {
    let weather = weather(&folder.join("weather_daily_darksky.csv"))?;
    let mut loads = rows(&folder.join("daily_aggregate_from_blocks.csv"), "day")?;
    loads.sort_by_key(|(moment, _)| *moment);
    let whole = |row: &BTreeMap<String, f64>| row.get("households_full_days").copied();
    let enough = |(_, row): &(DateTime, _)| whole(row).is_some_and(|n| n >= HOUSEHOLDS_MIN);
    let first = loads.iter().position(enough).ok_or("there is no day with enough households")?;
    let last = loads.len() - 1;
    let mut days = Vec::new();
    for (at, (moment, row)) in loads.iter().enumerate().skip(first) {
        let day = moment.date();
        let (tmax, weather) = *weather.get(&day).ok_or_else(|| format!("no weather of {day}"))?;
        let load = row.get("avg_kwh_full_days").copied().filter(|_| at < last);
        days.push(Day { day, load, tmax, weather });
    }
    Ok(days)
}

/// Highest temperature and features of each day. The file's times are local midnights in UTC, so
/// that in summer they are of the evening before.
fn weather(file: &Path) -> Result<BTreeMap<Date, (f64, [f64; 3])>> {
    let london = TimeZone::posix(EUROPE_LONDON)?;
    let mut rows = rows(file, "time")?;
    rows.sort_by_key(|(moment, _)| *moment);
    let (mut cloud, mut days) = (0.0, BTreeMap::new());
    for (moment, row) in rows {
        let day = london.to_datetime(TimeZone::UTC.to_timestamp(moment)?).date();
        let (tmax, tmin) = (row["temperatureMax"], row["temperatureMin"]);
        let mean = (tmax + tmin) / 2.0;
        // One day has no cloud cover: it is that of the day before.
        cloud = row.get("cloudCover").copied().unwrap_or(cloud);
        let weather = [(COMFORT.0 - mean).max(0.0), (mean - COMFORT.1).max(0.0), cloud];
        days.insert(day, (tmax, weather));
    }
    Ok(days)
}

/// Correlation of the changes of load and highest temperature from day to day, April to October.
/// Joined by the dates of the file as they are, it would be positive.
fn summer_correlation(days: &[Day]) -> f64 {
    let known: Vec<(&Day, f64)> = days.iter().filter_map(|day| Some((day, day.load?))).collect();
    let summer = known.windows(2).filter(|pair| (4..=10).contains(&pair[1].0.day.month()));
    let changes: Vec<(f64, f64)> =
        summer.map(|pair| (pair[1].1 - pair[0].1, pair[1].0.tmax - pair[0].0.tmax)).collect();
    let mean =
        |f: fn(&(f64, f64)) -> f64| changes.iter().map(f).sum::<f64>() / changes.len() as f64;
    let (a, b) = (mean(|c| c.0), mean(|c| c.1));
    let sum =
        |f: &dyn Fn(f64, f64) -> f64| changes.iter().map(|c| f(c.0 - a, c.1 - b)).sum::<f64>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

/// The file's bank holidays. Some have day and month swapped: a date that its holiday never has is
/// the one with both swapped, if the holiday can have that.
fn holidays(file: &Path) -> Result<Vec<Date>> {
    let mut holidays = Vec::new();
    let mut reader = csv::ReaderBuilder::new().from_path(file)?;
    for row in reader.byte_records() {
        let row = row?;
        let (text, name) = (String::from_utf8_lossy(&row[0]), String::from_utf8_lossy(&row[1]));
        let written: Date = text.parse()?;
        let swapped = Date::new(written.year(), written.day(), written.month());
        let candidates = [Some(written), swapped.ok()];
        let right = candidates.into_iter().flatten().find(|day| can_be(&name, *day));
        holidays.push(right.ok_or_else(|| format!("`{name}` is never on {written}"))?);
    }
    Ok(holidays)
}

/// Whether a holiday of England can be on a day.
fn can_be(name: &str, day: Date) -> bool {
    let year = day.year();
    let monday_of = |month: i8, nth: i8| {
        let found = date(year, month, 1).nth_weekday_of_month(nth, Weekday::Monday);
        found.expect("a first and a last Monday")
    };
    let days_after = |of: Date| (day - of).get_days();
    let open = !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
    let usual = match name.split_once(" (").map_or(name, |(name, _)| name) {
        "Good Friday" => easter(year).checked_sub(jiff::Span::new().days(2)),
        "Easter Monday" => easter(year).tomorrow(),
        "Early May bank holiday" => Ok(monday_of(5, 1)),
        "Spring bank holiday" => Ok(monday_of(5, -1)),
        "Summer bank holiday" => Ok(monday_of(8, -1)),
        "Christmas Day" => Ok(date(year, 12, 25)),
        "Boxing Day" => Ok(date(year, 12, 26)),
        name if name.starts_with("New Year") => Ok(date(year, 1, 1)),
        // One that is proclaimed can be on any day that would be worked on.
        _ => return open,
    };
    let Ok(usual) = usual else { return false };
    // A substitute is a working day in the week after.
    if name.contains("substitute") {
        open && (1..=7).contains(&days_after(usual))
    } else {
        day == usual
    }
}

/// Easter Sunday, by the algorithm of Meeus, Jones and Butcher.
fn easter(year: i16) -> Date {
    let year = i32::from(year);
    let (a, b, c) = (year % 19, year / 100, year % 100);
    let (d, e) = (b / 4, b % 4);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 19 * l) / 433;
    let month = (h + l - 7 * m + 90) / 25;
    let day = (h + l - 7 * m + 33 * month + 19) % 32;
    date(year as i16, month as i8, day as i8)
}
