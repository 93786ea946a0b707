//! Options of inputs: what each reads, and where it refuses instead of guessing.

use steppe_model::Dataset;
use steppe_spec::{Action, Manifest, Transform};
use steppe_wire::etl::EtlPlan;

use crate::cases_reading::{PLAIN, manifest, plan};
use crate::etl::{Cleaned, plan_of, plan_with, run_one};
use crate::tools::spec;

const WIDE: &str =
    "delimiter = \";\"\nwide = { keep = [\"Region\"], names = \"year\", values = \"marriages\" }\n";

/// A plan for values of a type, each a record of a year; what is refused is rejected.
fn lenient(data: &str, kind: &str) -> EtlPlan {
    let columns = PLAIN.replace("\"bigint\"", &format!("\"{kind}\""));
    let rest = format!("{columns}\n[tasks.model]\ntransform = \"none\"\n");
    let mut manifest = manifest(&format!("delimiter = \";\"\n{data}"), &rest);
    manifest.inputs[0].rules.iter_mut().for_each(|rule| rule.action = Action::Reject);
    plan_of(&manifest, &[])
}

/// A record of the year before, and one for each cell.
fn table(cells: &[&str]) -> Vec<u8> {
    let rows = (2000..).zip(cells).map(|(year, cell)| format!("A;{year};{cell}\n"));
    format!("region;year;marriages\nA;1999;1\n{}", rows.collect::<String>()).into_bytes()
}

/// What the cells are read as.
fn read(data: &str, kind: &str, cells: &[&str]) -> Vec<f64> {
    let run = run_one(&lenient(data, kind), &table(cells)).expect("cleaned");
    assert_eq!(run.report.rejected_rows, 0, "{cells:?}");
    let spec = spec().with(|s| s.model.transform = Transform::None);
    let data = Dataset::from_parquet(run.table("cases"), &spec).expect("series");
    data.find("A").expect("the series").values[1..].to_vec()
}

/// All of the cells must be refused, and stand among the rejects as they are.
fn refuse(data: &str, kind: &str, cells: &[&str]) {
    let run = run_one(&lenient(data, kind), &table(cells)).expect("cleaned");
    let rejects = run.rejects();
    assert_eq!(run.report.rejected_rows, cells.len() as u64, "{cells:?}: {rejects}");
    for cell in cells {
        assert!(rejects.contains(cell), "{cell}: {rejects}");
    }
}

#[test]
fn numbers_are_read_as_the_manifest_says_or_refused() {
    let space = "thousands = \" \"";
    assert_eq!(
        read(
            space,
            "bigint",
            &["1 023", "1\u{a0}023", "12\u{202f}345\u{2009}678", " 7 ", "-1 000"]
        ),
        [1_023.0, 1_023.0, 12_345_678.0, 7.0, -1_000.0]
    );
    refuse(space, "bigint", &["1 02", "12 34", "1234 567", "0 123", "1,023", "1 023,5", "12a"]);
    let comma = "decimal = \",\"";
    assert_eq!(read(comma, "double", &["1,5", "12", "-0,25", "1e3"]), [1.5, 12.0, -0.25, 1e3]);
    refuse(comma, "double", &["1.5", "1.234", "1.", "1 000,5", "1,000,000", "NaN", "1d"]);
    let both = "decimal = \",\"\nthousands = \".\"";
    assert_eq!(
        read(both, "double", &["1.234", "1.234,5", "1.234.567", "1,5"]),
        [1_234.0, 1_234.5, 1_234_567.0, 1.5]
    );
    refuse(both, "double", &["1.5", "1.23,4", "1234.567"]);
    assert_eq!(read("thousands = \"'\"", "bigint", &["1'234", "5"]), [1_234.0, 5.0]);
    refuse("thousands = \"'\"", "bigint", &["1''234", "1’234"]);
}

#[test]
fn marks_of_missing_values_are_counted_and_no_values() {
    let marks = "missing = [\"…\", \"-\", \"d'x\", \"\\\\N\"]";
    let told = |cells: &[&str]| -> Cleaned {
        run_one(&lenient(marks, "bigint"), &table(cells)).expect("cleaned")
    };
    let run = told(&["…", " - ", "d'x", "\\N", "-5", "x", "3"]);
    let rules: Vec<_> = run.report.rejected_by_rule.iter().map(|(r, n)| (r.as_str(), *n)).collect();
    assert_eq!(rules, [("marriages_valid", 1), ("missing", 4)], "{}", run.rejects());
    // A mark in the newest year is no rejected value, and what no mark explains is.
    assert_eq!(told(&["3", "…"]).report.rejected_newest_count, 0);
    let run = told(&["3", "4", "x"]);
    assert_eq!(run.report.rejected_newest[0].period, "2002");
}

#[test]
fn wide_tables_say_where_a_cell_is_wrong() {
    let wide = |options: &str, csv: &str| {
        let rest = PLAIN
            .replace("region = \"string\"", "region = { from = \"Region\", type = \"string\" }");
        run_one(&plan(&format!("{WIDE}{options}"), &rest), csv.as_bytes())
    };
    let report = wide(
        "missing = [\"…\"]",
        "region;2000;2001;;2002\n\nA;1;2; ;3\nNew;…;;;7\n\"B\nC\";4;5;;6\n",
    )
    .expect("a table")
    .report;
    assert_eq!((report.raw_rows, report.clean_rows), (7, 7));
    for (options, csv, told) in [
        ("", "Region;2000;2001\nA;1;2\nB;3;4x\n", "data.csv:3: column `2001`: the marriages must"),
        ("", "Region;2000;2001\n\n\"A\nB\";1;2\nB;;-4\n", "data.csv:5: column `2001`: the marr"),
        ("", "Region;2000 г.\nA;1\n", "data.csv:2: column `2000 г.`: the year must be a year"),
        ("", "Region;2000\n;1\n", "line 2: one field is not empty"),
        ("", "Region;2000;2000\nA;1;2\n", "there is more than one record of the same region and"),
        ("", "Region;2000;\nA;1;2\n", "line 2: column 3 has no name in the header and holds `2`"),
        ("", "Region;2000;2001\nA;1;2\n* note;;\n", "line 3: one field is not empty"),
        ("", "Region;2000;2001\nA;1;2\nSource\n", "line 3: the record has 1 fields, the header"),
        ("", "Title;;\nRegion;2000;2001\nA;1;2\n", "`skip_lines = 1`"),
        ("", "\nRegion;2000;2001\nA;1;2\n", "line 1 is empty, and the header may be line 2"),
        ("skip_lines = 1", "Title\n\nRegion;2000\nA;1\n", "line 2 is empty, and the header may"),
        ("skip_lines = 9", "Region;2000\nA;1\n", "the file is empty; expected a header with"),
    ] {
        let said = wide(options, csv).expect_err(csv);
        assert!(said.contains(told), "{csv}\nexpected: {told}\ngot: {said}");
    }
}

#[test]
fn a_table_ends_where_its_footnotes_begin_and_a_torn_one_is_refused() {
    let read = |csv: &str| run_one(&plan("footnotes = \"leave-out\"", PLAIN), csv.as_bytes());
    let table = "region,year,marriages\nA,2000,1\nA,2001,2\n";
    for notes in [
        "",
        "\n",
        "\n\n",
        "* a note\n",
        "* a note,,\n\"1, and\nmore\",,\n",
        "\n1,a note\n2,another\n",
        " , ,\nSource\n",
    ] {
        let run = read(&format!("{table}{notes}")).expect(notes);
        assert_eq!(run.report.clean_rows, 2, "{notes:?}");
    }
    for (rest, told) in [
        ("\nA,2002,3\n", "line 5: a record follows, but line 4 ends the table"),
        ("* a note\n\nA,2002,3\n", "line 6: a record follows, but line 4 ends the table"),
        ("A,2002,\n3\nA,2003,4\n", "line 6: a record follows, but line 5 ends the table"),
        ("A,20\n", "line 4: the record has 2 fields, the header has 3"),
        ("A,2002,3,\n", "line 4: the record has 4 fields, the header has 3"),
    ] {
        let said = read(&format!("{table}{rest}")).expect_err(rest);
        assert!(said.contains(told), "{rest:?}: {said}");
    }
}

#[test]
fn sql_that_cannot_be_read_is_told_without_what_is_made_of_it() {
    let sound = manifest("", PLAIN);
    let csv = b"region,year,marriages\nA,2000,1\n";
    let said =
        run_one(&plan_with(&sound, "SELECT _row, regoin FROM raw"), csv).expect_err("no column");
    assert!(
        said.contains("the cleaning SQL of the input `cases` is not valid: ")
            && said.contains("regoin"),
        "{said}"
    );
    assert!(!said.contains("SELECT") && said.lines().count() < 4, "{said}");
    let mut broken = sound.clone();
    broken.inputs[0].rules[0].when = "nothing IS NULL".to_owned();
    let said = run_one(&plan_of(&broken, &[]), csv).expect_err("no column");
    assert!(
        said.contains("`when` of one of the rules of the input `cases` is not valid: "),
        "{said}"
    );
    assert!(!said.contains("SELECT") && said.lines().count() < 4, "{said}");
}

#[test]
fn what_could_be_read_in_two_ways_is_refused_in_the_manifest() {
    for (data, told) in [
        ("thousands = \".\"", "`thousands` and `decimal` are both `.`"),
        ("thousands = \",\"\ndecimal = \",\"", "`thousands` and `decimal` are both `,`"),
        ("thousands = \"x\"", "expected one of ` `"),
        ("decimal = \"x\"", "expected `.` or `,`"),
        ("missing = [\"0\"]", "which is a number"),
        ("missing = [\" x\"]", "without spaces around it"),
        ("footnotes = \"keep\"", "leave-out"),
        (
            "wide = { keep = [\"a\"], names = \"year\", values = \"marriages\" }",
            "`wide.keep` lacks `region`",
        ),
        (
            "wide = { keep = [\"region\"], names = \"jahr\", values = \"marriages\" }",
            "`wide.names` is `jahr`",
        ),
    ] {
        let text = format!(
            "schema_version = 2\nname = \"cases\"\n[[inputs]]\nname = \"cases\"\n{data}\n{PLAIN}"
        );
        let said = Manifest::parse("cases/pipeline.toml", &text).expect_err(data).to_string();
        assert!(said.contains(told), "{data}: {said}");
    }
}

/// Each mention of `raw` is a scan of its own, and a union wants all of them at once.
#[test]
fn a_statement_may_read_the_file_many_times() {
    let manifest = manifest("delimiter = \";\"", PLAIN);
    let part = |rest: u32| {
        format!(
            "SELECT _row, region, TRY_CAST(year AS INT) AS year, \
             TRY_CAST(marriages AS BIGINT) AS marriages FROM raw WHERE _row % 20 = {rest}"
        )
    };
    let sql = (0..20).map(part).collect::<Vec<_>>().join(" UNION ALL ");
    let values: Vec<String> = (1..60).map(|value: u32| value.to_string()).collect();
    let cells: Vec<&str> = values.iter().map(String::as_str).collect();
    let report = run_one(&plan_with(&manifest, &sql), &table(&cells)).expect("cleaned").report;
    assert_eq!((report.raw_rows, report.clean_rows), (60, 60));
}
