//! Files in the shapes that people have: what is read of them, and what is said when it is not.
//!
//! The files lie beside the repository, or where `STEPPE_SHARED_CASES` says.

use std::path::PathBuf;
use std::process::Command;

use steppe_plan::catalogue::raw_header;
use steppe_plan::etl::{cleaning_sql, etl_plan};
use steppe_spec::{Action, Manifest};
use steppe_wire::etl::{EtlPlan, EtlReport};
use tempfile::TempDir;

use crate::tools::{binary, root};

/// Columns and task of a plain table.
pub const PLAIN: &str = r#"
[[data.columns]]
name = "region"
type = "string"
[[data.columns]]
name = "year"
type = "int"
[[data.columns]]
name = "marriages"
type = "bigint"
[task]
series = "region"
time = "year"
target = "marriages"
"#;

/// As statistical offices call the same.
const STATCAN: &str = r#"
[[data.columns]]
name = "series"
source = "geo"
type = "string"
[[data.columns]]
name = "t"
source = "REF_DATE"
type = "int"
[[data.columns]]
name = "y"
source = "VALUE"
type = "bigint"
[task]
series = "series"
time = "t"
target = "y"
"#;

/// A file of the folder with cases.
fn case(file: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("STEPPE_SHARED_CASES")
        .map_or_else(|| root().join("../shared/cases"), PathBuf::from);
    let path = folder.join(file);
    if !path.exists() {
        eprintln!(
            "left out: {} is not there; set STEPPE_SHARED_CASES to the folder with the cases",
            path.display()
        );
        return None;
    }
    Some(std::fs::read(path).expect("readable"))
}

/// A manifest with these lines in `[data]`.
pub fn manifest(data: &str, rest: &str) -> Manifest {
    let text = format!("schema_version = 1\nname = \"cases\"\n[data]\n{data}\n{rest}");
    Manifest::parse("cases/pipeline.toml", &text).expect("valid")
}

pub fn plan(data: &str, rest: &str) -> EtlPlan {
    let manifest = manifest(data, rest);
    etl_plan(&manifest, &cleaning_sql(&manifest.data))
}

/// The report of a cleaning job and its rejected records, or what it says.
pub fn clean(plan: &EtlPlan, csv: &[u8]) -> Result<(EtlReport, String), String> {
    let (report, out) = cleaned(plan, csv)?;
    let rejects =
        std::fs::read_to_string(out.path().join("rejects/part-00000.csv")).unwrap_or_default();
    Ok((report, rejects))
}

/// The report of a cleaning job and the folder where it wrote, or what it says.
pub fn cleaned(plan: &EtlPlan, csv: &[u8]) -> Result<(EtlReport, TempDir), String> {
    let out = TempDir::new().expect("a folder");
    let file = |name: &str| out.path().join(name);
    std::fs::write(file("data.csv"), csv).expect("written");
    std::fs::write(file("plan.json"), serde_json::to_vec(plan).expect("JSON")).expect("written");
    let mut command = Command::new(binary("steppe-etl"));
    command.arg("clean-files").current_dir(out.path());
    for (place, name) in [
        ("--plan", "plan.json"),
        ("--input", "data.csv"),
        ("--output", "processed"),
        ("--rejects", "rejects"),
        ("--report", "report.json"),
    ] {
        command.args([place, name]);
    }
    let output = command.output().expect("the engine runs");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let report: EtlReport =
        serde_json::from_slice(&std::fs::read(file("report.json")).expect("a report"))
            .expect("JSON");
    assert!(report.adds_up(), "{report:?}");
    Ok((report, out))
}

#[test]
fn the_catalogue_and_the_cleaning_job_give_columns_the_same_names() {
    for (file, rest, names) in [
        ("quoted_header.csv", PLAIN, "notes_source region year value_per_1000 marriages"),
        ("cyrillic_extra.csv", PLAIN, "region year marriages column_4 column_5"),
        ("trailing_comma.csv", PLAIN, "region year marriages column_4"),
        ("trailing_comma2.csv", PLAIN, "region year marriages column_4 column_5"),
        ("header_space.csv", PLAIN, "region year marriages"),
        ("cr_only.csv", PLAIN, "region year marriages"),
        (
            "statcan.csv",
            STATCAN,
            "t series dguid uom scalar_factor vector coordinate y status symbol terminated \
             decimals",
        ),
    ] {
        let Some(bytes) = case(file) else { return };
        let mut plan = plan("", rest);
        let header = raw_header(&bytes, &plan).expect(file);
        let found: Vec<&str> = header.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(found.join(" "), names, "{file}");
        // The job refuses SQL that names a column that `raw` has not.
        let named: Vec<String> = found.iter().map(|name| format!("MAX({name})")).collect();
        plan.cleaning_sql = format!("SELECT {} FROM raw", named.join(", "));
        let (report, _) = clean(&plan, &bytes).unwrap_or_else(|said| panic!("{file}: {said}"));
        assert_eq!((report.rejected_rows, report.clean_rows), (0, report.raw_rows), "{file}");
        assert!(report.raw_rows >= 24, "{file}: {report:?}");
    }
}

#[test]
fn columns_that_cannot_be_told_apart_are_refused_before_anything_is_made() {
    for (file, rest, told) in [
        ("row_col.csv", PLAIN, "column 4 of the header is called `_row`"),
        (
            "statcan_clash.csv",
            STATCAN,
            "is called `series`, as the manifest calls the column `geo`",
        ),
    ] {
        let Some(bytes) = case(file) else { return };
        let plan = plan("", rest);
        let said = raw_header(&bytes, &plan).expect_err(file).to_string();
        assert!(said.contains(told), "{file}: {said}");
        let said = clean(&plan, &bytes).expect_err(file);
        assert!(said.contains("data.csv:1: ") && said.contains(told), "{file}: {said}");
    }
}

/// What is refused names the option with which it is read.
#[test]
fn values_and_lines_of_offices_are_refused_or_read_as_the_manifest_says() {
    for (file, refused, option, rows, rejected) in [
        (
            "semicolon.csv",
            "`[data] delimiter = \";\"`",
            "delimiter = \";\"\nthousands = \" \"",
            120,
            0,
        ),
        (
            "separator_from_1000_on.csv",
            "a no-break space (U+00A0) as thousands separator: `[data] thousands = \" \"`",
            "thousands = \" \"",
            72,
            0,
        ),
        ("missing_marks.csv", "`[data] missing = [", "missing = [\"...\", \"-\", \"x\"]", 120, 3),
    ] {
        let Some(bytes) = case(file) else { return };
        let said = clean(&plan("", PLAIN), &bytes).expect_err(file);
        assert!(said.contains(refused), "{file}: {said}");
        let (report, _) = clean(&plan(option, PLAIN), &bytes).expect(file);
        assert_eq!((report.raw_rows, report.rejected_rows), (rows, rejected), "{file}");
        assert_eq!(report.rejected_newest_count, 0, "{file}");
    }
}

#[test]
fn footnotes_and_wide_tables_are_read_where_the_manifest_says_so() {
    let Some(bytes) = case("un_footnotes.csv") else { return };
    let un = PLAIN
        .replace("name = \"region\"\n", "name = \"region\"\nsource = \"Country or Area\"\n")
        .replace("name = \"marriages\"\n", "name = \"marriages\"\nsource = \"value\"\n");
    let said = clean(&plan("", &un), &bytes).expect_err("footnotes");
    assert!(said.contains("`[data] footnotes = \"leave-out\"`"), "{said}");
    let (report, _) = clean(&plan("footnotes = \"leave-out\"", &un), &bytes).expect("a table");
    assert_eq!((report.raw_rows, report.clean_rows), (120, 120));

    let Some(bytes) = case("wide.csv") else { return };
    let kept = PLAIN.replace("name = \"region\"\n", "name = \"region\"\nsource = \"регион\"\n");
    let said = clean(&plan("", &kept), &bytes).expect_err("wide");
    assert!(said.contains("`[data.wide]`"), "{said}");
    let wide = "wide = { keep = [\"Регион\"], names = \"year\", values = \"marriages\" }";
    let (report, _) = clean(&plan(wide, &kept), &bytes).expect("a table");
    assert_eq!((report.raw_rows, report.clean_rows), (120, 120));
}

#[test]
fn whole_numbers_with_decimals_get_a_hint_and_sql_reads_them() {
    let Some(bytes) = case("year_end_floats.csv") else { return };
    let columns = "
[[data.columns]]
name = \"transformation\"
type = \"string\"
[[data.columns]]
name = \"date\"
type = \"int\"
[[data.columns]]
name = \"value\"
type = \"bigint\"
[task]
series = \"transformation\"
time = \"date\"
target = \"value\"
";
    let manifest = manifest("", columns);
    let said = clean(&etl_plan(&manifest, &cleaning_sql(&manifest.data)), &bytes);
    let said = said.expect_err("dates");
    assert!(said.contains("data.csv:2: column `date`: the date must be a year"), "{said}");
    let years = "SELECT _row, transformation, TRY_CAST(SUBSTR(date, 1, 4) AS INT) AS date, \
                 TRY_CAST(TRIM(value) AS BIGINT) AS value FROM raw";
    let said = clean(&etl_plan(&manifest, years), &bytes).expect_err("decimals");
    assert!(said.contains("has decimals: `type = \"double\"` for `value`"), "{said}");
    let numbers = years.replace("AS BIGINT", "AS DOUBLE");
    let (report, _) = clean(&etl_plan(&manifest, &numbers), &bytes).expect("read");
    assert_eq!(report.clean_rows, report.raw_rows);
}

/// To reject what cannot be read takes the newest years of the one series that grew: that is told.
#[test]
fn a_rejected_newest_period_is_told_apart() {
    let Some(bytes) = case("separator_from_1000_on.csv") else { return };
    let mut manifest = manifest("", PLAIN);
    manifest.quality.rules.iter_mut().for_each(|rule| rule.action = Action::Reject);
    let plan = etl_plan(&manifest, &cleaning_sql(&manifest.data));
    let (report, rejects) = clean(&plan, &bytes).expect("rejected");
    assert_eq!((report.rejected_newest_count, report.rejected_rows), (1, 15));
    let newest = &report.rejected_newest[0];
    assert_eq!((newest.series.as_str(), newest.period.as_str()), ("A", "2023"));
    assert_eq!((newest.records, newest.rule.as_str()), (15, "marriages_valid"));
    assert!(rejects.contains("1\u{a0}0"), "rejected as the file has it: {rejects}");
}
