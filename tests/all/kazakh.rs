//! A table as Kazakhstan's statistics has it, from the file to the forecasts, in Russian: years as
//! columns, a title above and notes below, spaces in numbers, the total of all regions, and regions
//! that were made in 2022. The numbers are invented.

use std::process::Command;

use crate::checkout::{Checkout, Said};
use crate::tools::root;
use crate::workspace::{reject_odd_values, workspace};

const MANIFEST: &str = r#"schema_version = 2
name = "braki"

[[inputs]]
name = "marriages"
delimiter = ";"
skip_lines = 2
footnotes = "leave-out"
thousands = " "
missing = ["…"]
wide = { keep = ["Регион"], names = "year", values = "marriages" }
columns = { region = { from = "Регион", type = "string" }, year = "int", marriages = "bigint" }

[[tasks]]
name = "next-year"
series = "region"
time = "year"
target = "marriages"
leave_out = ["Республика Казахстан"]
"#;

const REGIONS: [&str; 20] = [
    "Акмолинская область",
    "Актюбинская область",
    "Алматинская область",
    "Атырауская область",
    "Западно-Казахстанская область",
    "Жамбылская область",
    "Карагандинская область",
    "Костанайская область",
    "Кызылординская область",
    "Мангистауская область",
    "Павлодарская область",
    "Северо-Казахстанская область",
    "Туркестанская область",
    "Восточно-Казахстанская область",
    "г. Астана",
    "г. Алматы",
    "г. Шымкент",
    NEW[0],
    NEW[1],
    NEW[2],
];
/// Regions since 2022.
const NEW: [&str; 3] = ["область Абай", "область Жетісу", "область Ұлытау"];

/// With a kind of space between thousands, as a spreadsheet writes them.
fn grouped(number: u32, space: char) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{}{space}{:03}", number / 1_000, number % 1_000),
    }
}

fn value(region: usize, year: u32) -> u32 {
    let wave = (year * 7 + region as u32 * 3) % 11;
    700 + 450 * region as u32 + 12 * (year - 2000) + 9 * wave
}

pub fn table() -> String {
    let years = 2000..=2023;
    let header: Vec<String> = years.clone().map(|year| year.to_string()).collect();
    let mut file = format!(
        "\u{feff}Число зарегистрированных браков, единиц{}\r\n\r\nРегион;{}\r\n",
        ";".repeat(24),
        header.join(";")
    );
    let mut totals = vec![0; 24];
    let mut lines = String::new();
    for (region, name) in REGIONS.iter().enumerate() {
        let cell = |year: u32| match NEW.contains(name) && year < 2022 {
            true => "…".to_owned(),
            false => grouped(value(region, year), if region % 2 == 0 { ' ' } else { '\u{a0}' }),
        };
        let cells: Vec<String> = years.clone().map(cell).collect();
        for (total, year) in totals.iter_mut().zip(years.clone()) {
            *total += if NEW.contains(name) && year < 2022 { 0 } else { value(region, year) };
        }
        lines += &format!("{name};{}\r\n", cells.join(";"));
    }
    let totals: Vec<String> = totals.into_iter().map(|total| grouped(total, ' ')).collect();
    file += &format!("Республика Казахстан;{}\r\n{lines}", totals.join(";"));
    let note = "* Области образованы в 2022 году.";
    file + &format!("{note}{}\r\n\r\nИсточник: вымышленные данные\r\n", ";".repeat(24))
}

#[test]
fn a_russian_table_of_an_office_goes_all_the_way() {
    let documented = std::fs::read_to_string(root().join("docs/manifest.md")).expect("readable");
    assert!(documented.contains(&format!("```toml\n{MANIFEST}```")), "the documents show another");
    let checkout = Checkout::new();
    let place = tempfile::TempDir::new().expect("a folder");
    let folder = workspace(place.path());
    let pipeline = folder.join("model/pipelines/braki");
    std::fs::create_dir_all(&pipeline).expect("a folder");
    std::fs::write(pipeline.join("pipeline.toml"), MANIFEST).expect("written");
    let run = |arguments: &[&str]| {
        let mut command: Command = checkout.command(arguments);
        command.current_dir(&folder);
        let said = Said::of(command.args(["--pipeline", "braki"]));
        assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
        said
    };
    let file = checkout.csv(&table());
    let deployed = run(&["deploy", "--data", &file]).err;
    // 17 regions of 24 years, 3 of 2, and the total.
    assert!(deployed.contains("414 of 438 rows"), "{deployed}");
    assert!(deployed.contains("24 rows by the rule `leave_out`"), "{deployed}");
    let short = "3 series have too few values for the model and are forecast by a plain rule: ";
    assert!(deployed.contains(&format!("{short}`{}`", NEW.join("`, `"))), "{deployed}");
    let smoke = run(&["smoke-test"]);
    let noted = format!("20 of 20 series in S3, 3 with a note: {}", NEW.join(", "));
    assert!(smoke.out.contains(&noted), "{}", smoke.out);
    let forecasts = run(&["query", "SELECT series, value FROM predictions ORDER BY series"]).out;
    for region in REGIONS {
        assert!(forecasts.contains(region), "{region}: {forecasts}");
    }
    assert!(!forecasts.contains("Республика"), "{forecasts}");
    for region in NEW {
        let predicted = run(&["predict", region]).out;
        let begun = predicted.starts_with(&format!("{region}: marriages, observed until 2023"));
        assert!(begun && predicted.contains("too few for the model"), "{predicted}");
    }
    // The catalogue's table is the file as it is: its years are columns.
    let raw =
        run(&["query", "SELECT region, \"2023\" FROM raw_marriages WHERE region LIKE 'г.%'"]).out;
    assert!(raw.contains("г. Астана") && !raw.contains("Акмолинская"), "{raw}");
    run(&["destroy"]);
}

/// A series that passes 1,000 with a separator loses its newest years to a rule that rejects.
#[test]
fn series_that_lose_their_newest_values_are_told_when_a_model_is_trained() {
    let checkout = Checkout::new();
    let folder = workspace(&checkout.path().join("workspace"));
    reject_odd_values(&folder);
    let mut table = String::from("region,year,marriages\n");
    for year in 2000..2024 {
        let growing = 940 + 8 * (year - 2000);
        table += &format!("Стабильная,{year},{}\n", 600 + year % 5);
        table += &format!("Растущая,{year},{}\n", grouped(growing, '\u{a0}'));
    }
    let file = checkout.csv(&table);
    let mut command = checkout.command(&["train", "--data", &file]);
    let said = Said::of(command.current_dir(&folder));
    assert_eq!(said.code, Some(0), "{}", said.err);
    let told = "series `Растущая`: its newest records, 16 up to 2023, are rejected by the rule \
                `marriages_valid`";
    assert!(said.err.contains(told), "{}", said.err);
}
