//! Tables in the shapes that people have, cleaned by the real engine and forecast: what people are
//! told, which series are forecast for which period, and which are left out with a reason.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use jiff::civil::Date;
use steppe_model::drift::Tally;
use steppe_model::forecast::dataset::{Record, lines};
use steppe_model::forecast::metrics::holds;
use steppe_model::host::{Quiet, Stage};
use steppe_model::{Artifact, Dataset};
use steppe_spec::{Backtest, Family, Frequency, Holidays, Kind, Manifest, TrainSpec};

use crate::etl::{plan_of, plan_with, run_one};
use crate::tools::{root, shared_data, spec};

/// What a table is, and what has to come of it.
struct Case {
    file: &'static str,
    frequency: Frequency,
    /// Lines that people must see, by their beginnings.
    told: &'static [&'static str],
    /// Series and the first period that is forecast.
    forecast: &'static [(&'static str, &'static str)],
    /// Those of them that are too short for the model.
    short: &'static [&'static str],
    /// Series that are not forecast, and why, by its beginning.
    absent: &'static [(&'static str, &'static str)],
}

const CASES: [Case; 7] = [
    Case {
        file: "new_regions_2022.csv",
        frequency: Frequency::Yearly,
        told: &[],
        forecast: &[
            ("Акмолинская область", "2024"),
            ("Актюбинская область", "2024"),
            ("Алматинская область", "2024"),
            ("г.Алматы", "2024"),
            ("г.Астана", "2024"),
            ("область Абай", "2024"),
            ("область Жетісу", "2024"),
            ("область Ұлытау", "2024"),
        ],
        short: &["область Абай", "область Жетісу", "область Ұлытау"],
        absent: &[],
    },
    Case {
        file: "one_series_ended.csv",
        frequency: Frequency::Yearly,
        told: &["`D` ends in 2012, while others go on to 2023"],
        forecast: &[("A", "2024"), ("B", "2024"), ("C", "2024")],
        short: &[],
        absent: &[("D", "`D` ends in 2012, while others go on to 2023")],
    },
    Case {
        file: "nbsp_name.csv",
        frequency: Frequency::Yearly,
        told: &[
            "`г. Астана` ends in 2011, while others go on to 2023",
            "`г. Астана` and `г.\\u{a0}Астана` are two series whose names differ only in white \
             space, Unicode form or case (U+0020 and U+00A0)",
        ],
        forecast: &[
            ("Акмолинская область", "2024"),
            ("Актюбинская область", "2024"),
            ("Алматинская область", "2024"),
            ("г.Алматы", "2024"),
            ("г.\u{a0}Астана", "2024"),
        ],
        short: &[],
        absent: &[("г. Астана", "`г. Астана` ends in 2011")],
    },
    Case {
        file: "total_row.csv",
        frequency: Frequency::Yearly,
        told: &["`Республика Казахстан` is the sum of the other 5 series: sums over all series \
                 count everything twice"],
        forecast: &[
            ("Акмолинская область", "2024"),
            ("Актюбинская область", "2024"),
            ("Алматинская область", "2024"),
            ("Республика Казахстан", "2024"),
            ("г.Алматы", "2024"),
            ("г.Астана", "2024"),
        ],
        short: &[],
        absent: &[],
    },
    Case {
        file: "monthly_nov.csv",
        frequency: Frequency::Monthly,
        told: &[],
        // November is there, and is not taken for an incomplete month.
        forecast: &[("A", "2023-12"), ("B", "2023-12")],
        short: &[],
        absent: &[],
    },
    Case {
        file: "weekly_sundays.csv",
        frequency: Frequency::Weekly,
        told: &[],
        forecast: &[("A", "2023-01-01")],
        short: &[],
        absent: &[],
    },
    Case {
        file: "constant_2023.csv",
        frequency: Frequency::Yearly,
        told: &[],
        forecast: &[
            ("R0", "2024"),
            ("R1", "2024"),
            ("R10", "2024"),
            ("R11", "2024"),
            ("R2", "2024"),
            ("R3", "2024"),
            ("R4", "2024"),
            ("R5", "2024"),
            ("R6", "2024"),
            ("R7", "2024"),
            ("R8", "2024"),
            ("R9", "2024"),
        ],
        short: &[],
        absent: &[],
    },
];

/// The folder of such tables, which users do not get: `STEPPE_SHARED_CASES`, or beside the public
/// data sets.
fn case_file(name: &str) -> Option<PathBuf> {
    match std::env::var_os("STEPPE_SHARED_CASES") {
        None => shared_data(&format!("../cases/{name}")),
        Some(folder) => {
            let path = PathBuf::from(folder).join(name);
            if !path.exists() {
                eprintln!("left out: {} is not there; see STEPPE_SHARED_CASES", path.display());
            }
            path.exists().then_some(path)
        }
    }
}

/// The manifest of the pipeline that users start from.
fn template() -> String {
    let file = root().join("model/pipelines/marriages/pipeline.toml");
    std::fs::read_to_string(file).expect("readable")
}

/// The same for a table of this frequency.
fn pipeline(frequency: Frequency) -> String {
    let text = template();
    if frequency == Frequency::Yearly {
        return text;
    }
    format!(
        "schema_version = 2\nname = \"plain\"\ndescription = \"Values per period\"\n\
         [[inputs]]\nname = \"plain\"\n\
         columns = {{ series = \"string\", t = \"string\", y = \"double\" }}\n\
         [[tasks]]\nname = \"next\"\nseries = \"series\"\ntime = \"t\"\ntarget = \"y\"\n\
         frequency = \"{}\"\nhorizon = 1\npartial_period = {{ below = 0.65 }}\n{}",
        frequency.name(),
        &text[text.find("[tasks.model]").expect("a model")..]
    )
}

/// The clean table of a file, as the engine makes it; its message when it refuses.
fn cleaned(text: &str, manifest: &str, sql: Option<&str>) -> Result<Vec<Bytes>, String> {
    let manifest = Manifest::parse("pipeline.toml", manifest).expect("valid");
    let plan = match sql {
        Some(sql) => plan_with(&manifest, sql),
        None => plan_of(&manifest, &[]),
    };
    Ok(run_one(&plan, text.as_bytes())?.table(manifest.source().name))
}

/// What is trained: a network, as the template of a pipeline has it, beside two cheaper families.
fn spec_for(frequency: Frequency) -> TrainSpec {
    let (series, time, target) = match frequency {
        Frequency::Yearly => ("region", "year", "marriages"),
        _ => ("series", "t", "y"),
    };
    spec().with(|s| {
        s.task.series = series.into();
        s.task.time = time.into();
        s.task.target = target.into();
        s.task.set_frequency(frequency);
        s.model.kind = Kind::Of(Family::Lstm);
        s.model.candidates = Some(vec![Family::Theta, Family::PooledAutoregression]);
        s.task.horizon = 1;
        s.backtest = Backtest { origins: 8, stride: Some(1), ..Backtest::default() };
    })
}

fn text_of(file: &str) -> Option<String> {
    Some(std::fs::read_to_string(case_file(file)?).expect("readable"))
}

fn data(text: &str, spec: &TrainSpec, manifest: &str, sql: Option<&str>) -> Dataset {
    let table = cleaned(text, manifest, sql).unwrap_or_else(|refused| panic!("{refused}"));
    Dataset::from_parquet(table, spec).expect("series")
}

fn train(text: &str, frequency: Frequency) -> (Dataset, Artifact) {
    let spec = spec_for(frequency);
    let data = data(text, &spec, &pipeline(frequency), None);
    let artifact = Artifact::train(&data, &spec, &Stage::new(&Quiet)).expect("trains");
    (data, artifact)
}

/// Every series that is not left out with the first period of its forecast.
fn forecast(data: &Dataset, artifact: &Artifact) -> BTreeMap<String, (String, bool)> {
    let mut forecasts = BTreeMap::new();
    for series in data.series().iter().filter(|s| data.absence(&s.name).is_none()) {
        let prediction = &artifact.forecast(&[series.view()], 1)[0];
        let step = &prediction.steps[0];
        assert!(
            step.lower.is_finite() && step.lower <= step.value && step.value <= step.upper,
            "{}: {step:?}",
            series.name
        );
        let period = data.calendar().label(series.last() + 1);
        forecasts.insert(series.name.clone(), (period, prediction.by_rule));
    }
    forecasts
}

#[test]
fn every_table_gets_the_forecasts_and_the_words_that_it_needs() {
    for case in CASES {
        let Some(text) = text_of(case.file) else { continue };
        let (data, artifact) = train(&text, case.frequency);
        let told = lines(data.notes());
        let beginnings = told.iter().zip(case.told).all(|(line, told)| line.starts_with(told));
        assert!(beginnings && told.len() == case.told.len(), "{}: {told:#?}", case.file);
        let shown = artifact.card.to_text("version");
        for line in case.told {
            assert!(shown.contains(&format!("note: {line}")), "{}: {shown}", case.file);
        }
        let expected: BTreeMap<String, (String, bool)> = case
            .forecast
            .iter()
            .map(|(name, period)| {
                ((*name).to_owned(), ((*period).to_owned(), case.short.contains(name)))
            })
            .collect();
        assert_eq!(forecast(&data, &artifact), expected, "{}", case.file);
        for (name, reason) in case.absent {
            let said = data.absence(name).unwrap_or_default();
            assert!(said.starts_with(reason), "{}: {said}", case.file);
        }
    }
}

#[test]
fn an_hour_that_comes_twice_is_refused_with_both_of_its_lines() {
    let Some(text) = text_of("hourly_autumn.csv") else { return };
    let refused = cleaned(&text, &pipeline(Frequency::Hourly), None).expect_err("refused");
    let twice = "there is more than one record of the same series and t";
    assert!(refused.contains(twice) && refused.contains("2024-10-27T02:00"), "{refused}");
    let lines: Vec<usize> = (1..)
        .zip(text.lines())
        .filter(|(_, line)| line.contains("2024-10-27T02:00"))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert!(refused.contains(&format!("data.csv:{line}")), "{line}: {refused}");
    }
}

#[test]
fn a_constant_is_inside_of_its_interval_and_drifts_nowhere() {
    let (Some(before), Some(after)) = (text_of("constant_2023.csv"), text_of("constant_2024.csv"))
    else {
        return;
    };
    let (_, old) = train(&before, Frequency::Yearly);
    let (data, new) = train(&after, Frequency::Yearly);
    for (artifact, until) in [(&old, 2023), (&new, 2024)] {
        let card = &artifact.card;
        assert_eq!(card.section.backtest.intervals.coverage, 1.0);
        assert!(card.section.backtest.model.mae < 1e-9);
        let mut tally = Tally::new(&card.reference);
        for series in data.series() {
            let view = series.until(until);
            let prediction = &artifact.forecast(&[view], 1)[0];
            let step = &prediction.steps[0];
            let constant = series.values[0];
            assert!(holds(step.lower, step.upper, constant), "{}: {step:?}", series.name);
            let seen = artifact.observed(view.history(), prediction).expect("a forecast");
            // As often as a day of requests would.
            (0..10).for_each(|_| tally.add(&card.reference, &seen));
        }
        let drifted = tally.compare(&card.reference).into_iter().find(|s| s.drifted);
        assert!(drifted.is_none(), "{drifted:?}");
    }
}

#[test]
fn a_count_that_was_small_so_far_gets_no_large_interval() {
    let rows = |name: &str, value: &dyn Fn(i32) -> i32| -> String {
        (2000..2024).map(|year| format!("{name},{year},{}\n", value(year))).collect()
    };
    // Sparse counts of at most 4 beside a region that began when others were large.
    let mut text = String::from("region,year,marriages\n");
    for region in 0..6 {
        text += &rows(&format!("R{region}"), &|year| {
            (year * (region + 3) % 7 - 2).clamp(0, 4) * i32::from(year % (region + 2) != 0)
        });
    }
    text += &rows("Late", &|year| if year < 2021 { 0 } else { 5_000 });
    for region in 0..4 {
        text += &rows(&format!("L{region}"), &|year| 4_000 + 100 * region + year * 37 % 90);
    }
    let wide = spec_for(Frequency::Yearly).with(|s| s.backtest.interval_level = 0.95);
    let data = data(&text, &wide, &template(), None);
    let artifact = Artifact::train(&data, &wide, &Stage::new(&Quiet)).expect("trains");
    for series in data.series() {
        let step = &artifact.forecast(&[series.view()], 1)[0].steps[0];
        let largest = series.values.iter().copied().fold(0.0, f64::max);
        if series.name.starts_with('R') {
            assert!(largest <= 4.0 && step.upper <= 20.0, "{}: {step:?}", series.name);
        }
        assert!(step.upper <= 5.0 * (largest + 1.0), "{}: {step:?}", series.name);
    }
}

#[test]
fn twenty_regions_of_which_three_are_new_are_all_forecast() {
    let mut text = String::from("region,year,marriages\n");
    for region in 0..20 {
        let first = if region < 17 { 2000 } else { 2024 - (2 + region % 2) };
        for year in first..2024 {
            let value = 1_000 + 250 * region + (year - 2000) * 9 + year * (region + 1) % 61;
            text += &format!("Область {region:02},{year},{value}\n");
        }
    }
    let (data, artifact) = train(&text, Frequency::Yearly);
    let forecasts = forecast(&data, &artifact);
    let short: Vec<&String> =
        forecasts.iter().filter(|(_, (_, by_rule))| *by_rule).map(|(name, _)| name).collect();
    assert_eq!((forecasts.len(), short.len()), (20, 3));
    assert!(forecasts.values().all(|(period, _)| period == "2024"));
}

#[test]
fn years_that_are_named_by_their_last_day_are_read_by_the_sql_that_says_so() {
    let Some(text) = text_of("year_end_floats.csv") else { return };
    let manifest = template();
    let named = manifest
        .replace("region = \"string\"", "region = { from = \"transformation\", type = \"string\" }")
        .replace("year = \"int\"", "year = { from = \"date\", type = \"int\" }")
        .replace("marriages = \"bigint\"", "marriages = { from = \"value\", type = \"bigint\" }");
    let sql = "SELECT _row, TRIM(region) AS region, \
               TRY_CAST(SUBSTR(TRIM(year), 1, 4) AS INT) AS year, \
               CAST(TRY_CAST(TRIM(marriages) AS DOUBLE) AS BIGINT) AS marriages FROM raw";
    let data = data(&text, &spec_for(Frequency::Yearly), &named, Some(sql));
    let level = data.find("level").expect("a series");
    assert_eq!((level.start, level.last(), level.values[0]), (2000, 2023, 6_539.0));
}

/// The model that the manifest's text asks for, on regions whose values scatter around a level.
fn asked(manifest: &str) -> Artifact {
    let model = Manifest::parse("pipeline.toml", manifest).expect("valid");
    let model = model.task().forecast().expect("it forecasts").model.clone();
    let kind = serde_json::to_value(model.kind).and_then(serde_json::from_value).expect("a kind");
    let candidates = serde_json::to_value(model.candidates).and_then(serde_json::from_value);
    let candidates = candidates.expect("families");
    let spec = spec_for(Frequency::Yearly).with(|s| {
        s.model.kind = kind;
        s.model.candidates = Some(candidates);
    });
    let mut rng = fastrand::Rng::with_seed(8);
    let rows = (0..20).flat_map(|region| (2000..2024).map(move |year| (region, year)));
    let value = |(region, year)| (format!("R{region}"), year, 900.0 + 200.0 * rng.f64());
    let data = Dataset::from_rows(rows.map(value)).expect("series");
    Artifact::train(&data, &spec, &Stage::new(&Quiet)).expect("trains")
}

#[test]
fn the_best_family_is_one_line_of_the_template_away() {
    let manifest = template();
    let auto = manifest.replace("\nkind = \"lstm\"\n", "\nkind = \"auto\"\n");
    let changed = manifest.lines().zip(auto.lines()).filter(|(old, new)| old != new).count();
    assert_eq!(changed, 1);
    let (lstm, winner) = (asked(&manifest), asked(&auto));
    assert_eq!(lstm.card.family, Family::Lstm);
    let better = lstm.card.section.backtest.better_family().expect("another is better here");
    let told = lstm.card.to_text("version");
    let line = format!("`{}` has a smaller MASE than this model: ", better.family.name());
    assert!(told.contains(&line) && told.contains("`kind = \"auto\"` serves the best"), "{told}");
    let found = &winner.card.section.backtest;
    assert!(
        winner.card.family != Family::Lstm
            && found.model.mase < lstm.card.section.backtest.model.mase
    );
    // Better by chance is no reason to leave the combination.
    let better = found.better_family().map(|better| better.family);
    assert!(better.is_none() || winner.card.family == Family::Combination, "{better:?}");
    assert!(better.is_none_or(|family| !family.is_baseline()));
}

/// Closing prices since 2013, as rows of a clean table.
fn closes() -> Option<Vec<Record>> {
    let file = shared_data("stocks/djia_12_2006_2017.csv")?;
    let text = std::fs::read_to_string(file).expect("readable");
    let record = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let day: Date = fields[0].parse().expect("a day");
        Some(Record {
            series: fields[6].to_owned(),
            moment: day.at(0, 0, 0, 0),
            value: Some(fields[4].parse().ok()?),
            features: Vec::new(),
            statics: Vec::new(),
        })
        .filter(|_| day.year() >= 2013)
    };
    Some(text.lines().skip(1).filter_map(record).collect())
}

/// The last value of 12 symbols on the newest 43 days with trade, the newest 61 of the calendar:
/// a weekend is neither an actual value nor a source of hindsight, whichever days are counted.
#[test]
fn the_last_value_of_prices_is_as_wrong_as_it_is() {
    let Some(records) = closes() else { return };
    for (frequency, origins, days, next) in [
        (Frequency::ObservedDays, 43, 43, "2018-01-02"),
        (Frequency::Daily, 61, 43, "2017-12-30"),
        (Frequency::ObservedDays, 604, 604, "2018-01-02"),
    ] {
        let spec = spec().with(|s| {
            s.task.set_frequency(frequency);
            if frequency == Frequency::ObservedDays {
                s.task.holidays = Holidays::Dates(vec![jiff::civil::date(2018, 1, 1)]);
            }
            s.model.kind = Kind::Of(Family::LastValue);
            s.model.candidates = Some(Vec::new());
            s.task.horizon = 1;
            s.backtest = Backtest { origins, stride: Some(1), ..Backtest::default() };
        });
        let data = Dataset::from_records(records.clone(), &spec).expect("series");
        assert_eq!(data.calendar().label(data.last() + 1), next);
        let artifact = Artifact::train(&data, &spec, &Stage::new(&Quiet)).expect("trains");
        let backtest = &artifact.card.section.backtest;
        assert_eq!(backtest.cases, 12 * days);
        let expected = if days == 43 { 0.737 } else { 0.847 };
        assert!((backtest.model.smape - expected).abs() <= 0.001, "{:?}", backtest.model);
        assert!((backtest.intervals.coverage - 0.9).abs() < 0.03, "{:?}", backtest.intervals);
    }
}
