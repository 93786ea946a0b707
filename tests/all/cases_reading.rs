//! Files in the shapes that people have: what is read of them, and what is said when it is not.
//!
//! The files lie beside the repository, or where `STEPPE_SHARED_CASES` says.

use std::path::PathBuf;

use steppe_plan::catalogue::raw_header;
use steppe_spec::{Action, Manifest};
use steppe_wire::etl::EtlPlan;

use crate::etl::{plan_of, plan_with, run_one};
use crate::tools::root;

/// Columns and task of a plain table.
pub const PLAIN: &str = r#"
[inputs.columns]
region = "string"
year = "int"
marriages = "bigint"
[[tasks]]
name = "next"
series = "region"
time = "year"
target = "marriages"
"#;

/// As statistical offices call the same.
const STATCAN: &str = r#"
[inputs.columns]
series = { from = "geo", type = "string" }
t = { from = "REF_DATE", type = "int" }
y = { from = "VALUE", type = "bigint" }
[[tasks]]
name = "next"
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

/// A manifest with these lines about its input.
pub fn manifest(input: &str, rest: &str) -> Manifest {
    let text = format!(
        "schema_version = 2\nname = \"cases\"\n[[inputs]]\nname = \"cases\"\n{input}\n{rest}"
    );
    Manifest::parse("cases/pipeline.toml", &text).expect("valid")
}

pub fn plan(input: &str, rest: &str) -> EtlPlan {
    plan_of(&manifest(input, rest), &[])
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
        let header = raw_header(&bytes, &plan.inputs[0]).expect(file);
        let found: Vec<&str> = header.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(found.join(" "), names, "{file}");
        // The job refuses SQL that names a column that `raw` has not.
        let named: Vec<String> = found.iter().map(|name| format!("{name} AS n_{name}")).collect();
        let selecting = format!("SELECT {}, ", named.join(", "));
        let sql = &mut plan.inputs[0].cleaning_sql;
        *sql = sql.replacen("FROM (\n  SELECT", &format!("FROM (\n  {selecting}"), 1);
        let report = run_one(&plan, &bytes).unwrap_or_else(|said| panic!("{file}: {said}")).report;
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
        let said = raw_header(&bytes, &plan.inputs[0]).expect_err(file).to_string();
        assert!(said.contains(told), "{file}: {said}");
        let said = run_one(&plan, &bytes).expect_err(file);
        assert!(said.contains("data.csv: line 1: ") && said.contains(told), "{file}: {said}");
    }
}

/// What is refused names the option with which it is read.
#[test]
fn values_and_lines_of_offices_are_refused_or_read_as_the_manifest_says() {
    for (file, refused, option, rows, rejected) in [
        ("semicolon.csv", "`delimiter = \";\"`", "delimiter = \";\"\nthousands = \" \"", 120, 0),
        (
            "separator_from_1000_on.csv",
            "a no-break space (U+00A0) as thousands separator: `thousands = \" \"`",
            "thousands = \" \"",
            72,
            0,
        ),
        ("missing_marks.csv", "`missing = [", "missing = [\"...\", \"-\", \"x\"]", 120, 3),
    ] {
        let Some(bytes) = case(file) else { return };
        let said = run_one(&plan("", PLAIN), &bytes).expect_err(file);
        assert!(said.contains(refused), "{file}: {said}");
        let report = run_one(&plan(option, PLAIN), &bytes).expect(file).report;
        assert_eq!((report.raw_rows, report.rejected_rows), (rows, rejected), "{file}");
        assert_eq!(report.rejected_newest_count, 0, "{file}");
    }
}

#[test]
fn footnotes_and_wide_tables_are_read_where_the_manifest_says_so() {
    let Some(bytes) = case("un_footnotes.csv") else { return };
    let un = PLAIN
        .replace(
            "region = \"string\"",
            "region = { from = \"Country or Area\", type = \"string\" }",
        )
        .replace("marriages = \"bigint\"", "marriages = { from = \"value\", type = \"bigint\" }");
    let said = run_one(&plan("", &un), &bytes).expect_err("footnotes");
    assert!(said.contains("`footnotes = \"leave-out\"`"), "{said}");
    let report = run_one(&plan("footnotes = \"leave-out\"", &un), &bytes).expect("a table").report;
    assert_eq!((report.raw_rows, report.clean_rows), (120, 120));

    let Some(bytes) = case("wide.csv") else { return };
    let kept =
        PLAIN.replace("region = \"string\"", "region = { from = \"регион\", type = \"string\" }");
    let said = run_one(&plan("", &kept), &bytes).expect_err("wide");
    assert!(said.contains("`wide`"), "{said}");
    let wide = "wide = { keep = [\"Регион\"], names = \"year\", values = \"marriages\" }";
    let report = run_one(&plan(wide, &kept), &bytes).expect("a table").report;
    assert_eq!((report.raw_rows, report.clean_rows), (120, 120));
}

#[test]
fn whole_numbers_with_decimals_get_a_hint_and_sql_reads_them() {
    let Some(bytes) = case("year_end_floats.csv") else { return };
    let columns = "
columns = { transformation = \"string\", date = \"int\", value = \"bigint\" }
[[tasks]]
name = \"next\"
series = \"transformation\"
time = \"date\"
target = \"value\"
";
    let mut manifest = manifest("", columns);
    let said = run_one(&plan_of(&manifest, &[]), &bytes).expect_err("dates");
    assert!(said.contains("data.csv:2: column `date`: the date must be a year"), "{said}");
    let years = "SELECT _row, transformation, TRY_CAST(SUBSTR(date, 1, 4) AS INT) AS date, \
                 TRY_CAST(TRIM(value) AS BIGINT) AS value FROM raw";
    let said = run_one(&plan_with(&manifest, years), &bytes).expect_err("decimals");
    assert!(said.contains("has decimals: `type = \"double\"` for `value`"), "{said}");
    let numbers = years.replace("AS BIGINT", "AS DOUBLE");
    // A table has the types that the manifest says.
    let said = run_one(&plan_with(&manifest, &numbers), &bytes).expect_err("another type");
    assert!(said.contains("value = \"double\" }, declared are"), "{said}");
    let columns = columns.replace("\"bigint\"", "\"double\"");
    manifest = self::manifest("", &columns);
    let report = run_one(&plan_with(&manifest, &numbers), &bytes).expect("read").report;
    assert_eq!(report.clean_rows, report.raw_rows);
}

/// To reject what cannot be read takes the newest years of the one series that grew: that is told.
#[test]
fn a_rejected_newest_period_is_told_apart() {
    let Some(bytes) = case("separator_from_1000_on.csv") else { return };
    let mut manifest = manifest("", PLAIN);
    manifest.inputs[0].rules.iter_mut().for_each(|rule| rule.action = Action::Reject);
    let run = run_one(&plan_of(&manifest, &[]), &bytes).expect("rejected");
    let (report, rejects) = (&run.report, run.rejects());
    assert_eq!((report.rejected_newest_count, report.rejected_rows), (1, 15));
    let newest = &report.rejected_newest[0];
    assert_eq!((newest.series.as_str(), newest.period.as_str()), ("A", "2023"));
    assert_eq!((newest.records, newest.rule.as_str()), (15, "marriages_valid"));
    assert!(rejects.contains("1\u{a0}0"), "rejected as the file has it: {rejects}");
}
