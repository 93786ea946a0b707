//! `pipeline new`: files as people have them give a manifest that runs, or a reason.
//!
//! Everything happens in a copy of the pipelines' folder, and nothing is left in the repository.

use std::path::{Path, PathBuf};

use serde_json::Value;
use steppe_spec::Manifest;

use crate::checkout::{Checkout, Said, result};
use crate::etl::{plan_of, run};
use crate::kazakh;
use crate::tools::{root, shared_data};
use crate::workspace::workspace;

/// A copy of the pipelines' folder.
struct Place {
    checkout: Checkout,
    folder: PathBuf,
}

impl Place {
    fn new() -> Self {
        let checkout = Checkout::new();
        let folder = workspace(&checkout.path().join("workspace"));
        Self { checkout, folder }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.checkout.command(arguments).current_dir(&self.folder))
    }

    /// Makes a pipeline of `data`.
    fn make(&self, name: &str, data: &str, options: &[&str]) -> Said {
        self.run(&[&["pipeline", "new", name, "--data", data], options].concat())
    }

    /// The manifest of a pipeline that must be made.
    fn made(&self, name: &str, data: &str, options: &[&str]) -> String {
        let said = self.make(name, data, options);
        assert_eq!(said.code, Some(0), "{data}\n{}\n{}", said.out, said.err);
        assert!(said.err.contains(&format!("wrote  model/pipelines/{name}")), "{}", said.err);
        self.read(name, "pipeline.toml")
    }

    /// Why no pipeline is made of `data`.
    fn refused(&self, name: &str, data: &str, options: &[&str]) -> String {
        let said = self.make(name, data, options);
        assert_eq!(said.code, Some(1), "{data}\n{}\n{}", said.out, said.err);
        assert!(!self.pipelines().join(name).exists(), "{data}: something is left");
        said.err
    }

    fn pipelines(&self) -> PathBuf {
        self.folder.join("model/pipelines")
    }

    fn read(&self, name: &str, file: &str) -> String {
        std::fs::read_to_string(self.pipelines().join(name).join(file)).expect("readable")
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let file = self.folder.join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(&file, bytes).expect("written");
        file.display().to_string()
    }

    /// The pipeline evaluates with the same data, without an edit.
    fn evaluated(&self, name: &str, data: &[&str]) {
        let arguments = [&["evaluate", "--pipeline", name, "--data"], data].concat();
        let said = self.run(&arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}\n{}", said.err);
        assert!(said.out.contains(name), "{}", said.out);
    }
}

/// A file of the folder with cases.
fn case(file: &str) -> Option<String> {
    let folder = std::env::var_os("STEPPE_SHARED_CASES")
        .map_or_else(|| root().join("../shared/cases"), PathBuf::from);
    let path = folder.join(file);
    if !path.exists() {
        eprintln!("left out: {} is not there", path.display());
        return None;
    }
    Some(path.display().to_string())
}

/// A line per day of January to March 2024.
fn days(line: impl Fn(jiff::civil::Date) -> String) -> String {
    let first = jiff::civil::date(2024, 1, 1);
    first.series(jiff::Span::new().days(1)).take(90).map(line).collect()
}

#[test]
fn tables_in_the_shapes_that_people_have_give_a_manifest_or_a_reason() {
    let place = Place::new();
    let plain = "columns = { region = \"string\", year = \"int\", marriages = \"int\" }";
    let made: [(&str, &[&str], &[&str]); 14] = [
        ("semicolon.csv", &[], &["delimiter = \";\"", "thousands = \" \"", plain]),
        ("separator_from_1000_on.csv", &[], &["thousands = \" \""]),
        (
            "wide.csv",
            &[],
            &["wide = { keep = [\"Регион\"], names = \"year\", values = \"value\" }"],
        ),
        ("un_footnotes.csv", &[], &["footnotes = \"leave-out\"", "{ from = \"Country or Area\","]),
        ("missing_marks.csv", &[], &["missing = [\"-\", \"...\", \"x\"]"]),
        ("total_row.csv", &[], &["leave_out = [\"Республика Казахстан\"]"]),
        ("utf16.csv", &[], &[plain]),
        ("trailing_comma2.csv", &[], &[plain]),
        ("cyrillic_extra.csv", &[], &["raion = { from = \"Район\", type = \"string\" }"]),
        ("year_end_floats.csv", &[], &["sql = \"year_end_floats.sql\"", "value = \"double\""]),
        ("weekly_sundays.csv", &[], &["frequency = \"weekly\""]),
        ("monthly_nov.csv", &[], &["frequency = \"monthly\"", "t = \"string\""]),
        ("hourly_autumn.csv", &[], &["frequency = \"hourly\"", "duplicates = \"reject\""]),
        ("statcan_clash.csv", &["--target", "VALUE"], &["geo = { from = \"GEO\"", "# left out"]),
    ];
    for (at, (file, options, expected)) in made.into_iter().enumerate() {
        let Some(data) = case(file) else { return };
        let manifest = place.made(&format!("c{at}"), &data, options);
        for part in expected {
            assert!(manifest.contains(part), "{file}: expected {part}\n{manifest}");
        }
    }
    let refused = [
        ("row_col.csv", "column 4 is called `_row`"),
        ("statcan.csv", "several columns could be forecast: `COORDINATE`, `VALUE`"),
    ];
    for (file, reason) in refused {
        let Some(data) = case(file) else { return };
        let said = place.refused("refused", &data, &[]);
        assert!(said.contains(reason), "{file}: {said}");
    }
    for (name, file) in [("c0", "semicolon.csv"), ("c9", "year_end_floats.csv")] {
        place.evaluated(name, &[&case(file).expect("a case")]);
    }
}

#[test]
fn a_table_of_an_office_with_everything_gives_the_documented_manifest() {
    let place = Place::new();
    let data = place.write("braki.csv", kazakh::table());
    let made = place.make("braki", &data, &[]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    for told in ["braki: footnotes: other", "missing = [\"…\"]: guess", "leave_out = ["] {
        assert!(made.err.contains(told), "{told}\n{}", made.err);
    }
    let manifest = place.read("braki", "pipeline.toml");
    for part in [
        "delimiter = \";\"",
        "skip_lines = 2",
        "footnotes = \"leave-out\"",
        "thousands = \" \"",
        "missing = [\"…\"]",
        "wide = { keep = [\"Регион\"], names = \"year\", values = \"value\" }",
        "region = { from = \"Регион\", type = \"string\" }",
        "leave_out = [\"Республика Казахстан\"]",
    ] {
        assert!(manifest.contains(part), "{part}\n{manifest}");
    }
    place.evaluated("braki", &[&data]);
    // The data stay where they are.
    let folder = std::fs::read_dir(place.pipelines().join("braki")).expect("a folder");
    let mut files: Vec<_> = folder.flatten().map(|entry| entry.file_name()).collect();
    files.sort();
    assert_eq!(files, ["README.md", "pipeline.toml"]);
    let again = place.make("braki", &data, &[]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("the pipeline `braki` is there already"), "{}", again.err);
}

#[test]
fn public_data_give_a_manifest_or_the_candidates() {
    let place = Place::new();
    let Some(sweden) = shared_data("marriages") else { return };
    let sweden = sweden.display().to_string();
    let manifest = place.made("sweden", &sweden, &[]);
    for part in ["series = \"region\"  # guess: `nuts3`", "partial_period = { below = 0.65 }"] {
        assert!(manifest.contains(part), "{part}\n{manifest}");
    }
    place.evaluated("sweden", &[&sweden]);
    let Some(stocks) = shared_data("stocks") else { return };
    let stocks = stocks.display().to_string();
    let said = place.refused("stocks", &stocks, &[]);
    let command = format!("hint: cargo xtask pipeline new stocks --data {stocks} --target Close");
    assert!(said.contains(&command), "{said}");
    let manifest = place.made("stocks", &stocks, &["--target", "Close"]);
    for part in ["calendar = \"as-observed\"", "series = \"name\"", "date = { from = \"Date\","] {
        assert!(manifest.contains(part), "{part}\n{manifest}");
    }
    let Some(stroke) = shared_data("stroke/stroke.csv") else { return };
    let said = place.refused("stroke", &stroke.display().to_string(), &[]);
    assert!(said.contains("no forecast fits these data: no column names times"), "{said}");
    assert!(said.contains("other kinds of tasks"), "{said}");
}

#[test]
fn a_folder_gives_an_input_for_each_kind_of_file() {
    let place = Place::new();
    let sold = |shop: &str| days(|day| format!("{shop},{day},{}\n", 10 + day.day()));
    place.write("data/sales_1.csv", format!("shop,day,sold\n{}", sold("007")));
    place.write("data/sales_2.csv", format!("shop,day,sold\n{}", sold("012")));
    place.write("data/shops.csv", "shop,city\n007,Almaty\n012,Astana\n");
    place.write("data/README.md", "# Sales\n\nOf two shops.\n");
    let data = place.folder.join("data").display().to_string();
    let said = place.run(&["pipeline", "new", "sales", "--data", &data, "--json"]);
    assert_eq!(said.code, Some(0), "{}", said.out);
    let told = result(&said.out);
    let names: Vec<&str> = told["inputs"]
        .as_array()
        .expect("inputs")
        .iter()
        .filter_map(|i| i["name"].as_str())
        .collect();
    assert_eq!(names, ["sales", "shops"]);
    assert_eq!((&told["series"], &told["frequency"]), (&"shop".into(), &"daily".into()));
    let manifest = place.read("sales", "pipeline.toml");
    for part in [
        "columns = { shop = \"string\", day = \"date\", sold = \"int\" }",
        "unique = [\"shop\"]",
        "table = \"sales\"",
        "# FROM sales JOIN shops ON shops.shop = sales.shop",
    ] {
        assert!(manifest.contains(part), "{part}\n{manifest}");
    }
    // What is told next works as it stands.
    let next: Vec<&str> = told["next"][0].as_str().expect("a command").split(' ').skip(2).collect();
    let evaluated = place.run(&next);
    assert_eq!(evaluated.code, Some(0), "{next:?}\n{}", evaluated.err);
}

/// Bytes of a file in each format that has types, made of text by the cleaning job.
fn in_format(format: &str) -> Vec<u8> {
    let text = format!(
        "schema_version = 2\nname = \"x\"\n[[inputs]]\nname = \"x\"\noutput = \"{format}\"\n\
         unique = [\"shop\", \"day\"]\n\
         columns = {{ shop = \"string\", day = \"date\", at = \"timestamp\", sold = \"double\" }}\n\
         [[inputs]]\nname = \"y\"\ncolumns = {{ s = \"string\", t = \"int\", v = \"int\" }}\n\
         [[tasks]]\nname = \"t\"\ntable = \"y\"\nseries = \"s\"\ntime = \"t\"\ntarget = \"v\"\n"
    );
    let manifest = Manifest::parse("x/pipeline.toml", &text).expect("valid");
    let line = |shop: &str| days(|day| format!("{shop},{day},{day} 12:00:00,{}.5\n", day.day()));
    let csv = format!("shop,day,at,sold\n{}{}", line("A"), line("B"));
    let other = &b"s,t,v\nA,2000,1\n"[..];
    let done =
        run(&plan_of(&manifest, &[]), &[("x", "x.csv", csv.as_bytes()), ("y", "y.csv", other)]);
    done.expect("cleaned").table("x").remove(0).to_vec()
}

#[test]
fn every_format_gives_a_manifest_that_runs() {
    let place = Place::new();
    for format in ["parquet", "orc", "avro", "json"] {
        let data = place.write(&format!("load.{format}"), in_format(format));
        let manifest = place.made(format, &data, &["--time", "day"]);
        for part in [
            &*format!("format = \"{format}\""),
            "day = \"date\"",
            "sold = \"double\"",
            "series = \"shop\"",
            "frequency = \"daily\"",
        ] {
            assert!(manifest.contains(part), "{format}: {part}\n{manifest}");
        }
    }
}

#[test]
fn a_column_that_is_not_there_is_made_by_sql() {
    let place = Place::new();
    let one =
        place.write("one.csv", format!("day,n\n{}", days(|d| format!("{d},{}\n", d.day() - 15))));
    let manifest = place.made("one", &one, &[]);
    assert!(manifest.contains("transform = \"none\""), "{manifest}");
    assert!(place.read("one", "history.sql").contains("SELECT 'one' AS series, day, n\nFROM one"));
    place.evaluated("one", &[&one]);
    let both = days(|d| format!("{d},m,A,1\n{d},m,B,2\n{d},f,A,3\n{d},f,B,4\n"));
    let both = place.write("both.csv", format!("day,sex,region,n\n{both}"));
    place.made("both", &both, &[]);
    assert!(place.read("both", "history.sql").contains("CONCAT(sex, ' / ', region) AS series"));
    let twice = days(|d| format!("{d},{}\n", d.day()).repeat(1 + usize::from(d.day() == 3)));
    let twice = place.write("twice.csv", format!("day,n\n{twice}"));
    let manifest = place.made("twice", &twice, &[]);
    assert!(manifest.contains("more than once, and are equal in everything"), "{manifest}");
    assert!(place.read("twice", "history.sql").contains("SELECT DISTINCT"));
    let utc = days(|d| format!("{d}T00:00:00Z,{}\n", d.day()));
    let utc = place.write("utc.csv", format!("time,n\n{utc}"));
    let manifest = place.made("utc", &utc, &[]);
    assert!(manifest.contains("zone = \"UTC\", as = \"Etc/UTC\""), "{manifest}");
}

#[test]
fn what_is_not_clear_is_refused_with_what_to_do() {
    let place = Place::new();
    for (text, options, expected) in [
        ("", &[][..], "the file is empty"),
        ("a,b\n", &[], "no table of several columns is found"),
        ("2024-01-01,5\n2024-01-02,6\n", &[], "its first line has values, such as `2024-01-01`"),
        ("year,month,n\n2020,1,5\n2020,2,6\n2021,1,5\n2022,1,7\n", &[], "`year` and `month`"),
        ("day,n\n01.02.2024,5\n02.02.2024,6\n", &[], "`01.02.2024` is no date in ISO 8601"),
        ("day;n\n2024-01-01;1,101\n2024-01-02;2,102\n2024-01-03;3,103\n", &[], "`1,101` can be"),
        ("day,n\n2024-01-01,5\n2024-01-02,6\n2024-01-03,7\n", &["--target", "m"], "no column `m`"),
        (
            "day,n\n2024-01-01,5\n2024-01-01,6\n2024-01-02,7\n2024-01-03,8\n",
            &[],
            "no column names series",
        ),
        (
            "time,n\n2024-01-01 00:00:00,5\n2024-01-01 00:05:00,6\n2024-01-01 00:10:00,7\n",
            &[],
            "5 minutes",
        ),
    ] {
        let data = place.write("data.csv", text);
        let said = place.refused("refused", &data, options);
        assert!(said.contains(expected), "{text}\nexpected: {expected}\n{said}");
        assert!(said.contains("hint: "), "{said}");
    }
    let one = place.write("one.csv", "day,n\n2024-01-01,5\n");
    let other = place.write("other.csv", "day,m\n2024-01-01,5\n");
    let named = [format!("x={one}"), format!("x={other}")];
    let said = place.refused("refused", &named[0], &["--data", &named[1]]);
    assert!(said.contains("has other columns than files before it of `x`"), "{said}");
    let data = place.write("data.csv", "day,n\n2024-01-01,5\n");
    for (name, expected) in [
        ("Sales", "must begin with a lower-case letter"),
        ("a-b", "must not have hyphens"),
        ("averyveryverylongname", "at most 16 characters"),
        ("marriages", "the pipeline `marriages` is there already"),
    ] {
        let said = place.make(name, &data, &[]);
        assert!(said.code == Some(1) && said.err.contains(expected), "{name}: {}", said.err);
    }
    let left: Vec<_> = std::fs::read_dir(place.pipelines()).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn london_gives_five_inputs_of_six_files() {
    let Some(energy) = shared_data("energy") else { return };
    let place = Place::new();
    let data = energy.display().to_string();
    let said = place.refused("load", &data, &[]);
    assert!(said.contains("--target block.energy_sum"), "{said}");
    let manifest = place.made("load", &data, &["--target", "block.energy_sum"]);
    let parsed = Manifest::parse("load/pipeline.toml", &manifest).expect("valid");
    let inputs: Vec<&str> = parsed.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(
        inputs,
        [
            "block",
            "daily_aggregate_from_blocks",
            "informations_households",
            "uk_bank_holidays",
            "weather_daily_darksky",
        ]
    );
    assert!(manifest.contains("# guess: midnights of a zone with summer time"), "{manifest}");
    let told: Value = serde_json::to_value(&parsed.tasks[0]).expect("JSON");
    assert_eq!((&told["series"], &told["frequency"]), (&"lclid".into(), &"daily".into()));
    assert!(Path::new(&data).join("block_0.csv").exists());
}
