//! The cleaning job: what is kept, what is rejected with which reason, what stops it.

use serde_json::json;
use steppe_model::Dataset;
use steppe_spec::{Action, Manifest};

use crate::etl::{Cleaned, plan_of, run_one};
use crate::tools::{root, shared_data};

fn manifest() -> Manifest {
    let file = root().join("model/pipelines/marriages/pipeline.toml");
    Manifest::parse("pipeline.toml", &std::fs::read_to_string(file).expect("readable"))
        .expect("valid")
}

fn cleaned(manifest: &Manifest, csv: &str) -> Cleaned {
    run_one(&plan_of(manifest, &[]), csv.as_bytes()).expect("cleaned")
}

/// The error of a job that must fail.
fn refused(csv: &[u8]) -> String {
    run_one(&plan_of(&manifest(), &[]), csv).expect_err("refused")
}

#[test]
fn text_becomes_typed_rows() {
    let run = cleaned(
        &manifest(),
        "region,year,marriages\n\" East, Kazakhstan \",2001, 7 \nAbai,2000,5\nAbai,2001,6\n",
    );
    let found = (run.report.raw_rows, run.report.clean_rows, run.rejects());
    assert_eq!(found, (3, 3, String::new()));
    let data =
        Dataset::from_parquet(run.table("marriages"), &crate::tools::spec()).expect("series");
    assert_eq!(data.find("Abai").map(|s| s.values.clone()), Some(vec![5.0, 6.0]));
    assert!(data.find("East, Kazakhstan").is_some());
}

#[test]
fn a_lenient_manifest_sets_bad_records_aside_with_their_reasons() {
    let mut lenient = manifest();
    lenient.inputs[0].rules.iter_mut().for_each(|r| r.action = Action::Reject);
    lenient.inputs[0].duplicates = Action::Reject;
    let csv = "region,year,marriages\nA,2000,5\nA,2000,6\nB,2000,x\nB,20o1,1\n,2000,1\nC,2000,-1\nD,2000,3\n";
    let run = cleaned(&lenient, csv);
    assert_eq!((run.report.raw_rows, run.report.clean_rows, run.report.rejected_rows), (7, 1, 6));
    let by_rule = json!({ "marriages_valid": 2, "region_given": 1, "unique": 2, "year_valid": 1 });
    assert_eq!(serde_json::to_value(&run.report.rejected_by_rule).expect("JSON"), by_rule);
    assert!(
        run.rejects().contains(
            "B,2000,x,3,marriages_valid,the marriages must be a whole number that is not \
             negative,data.csv"
        ),
        "{}",
        run.rejects()
    );
}

#[test]
fn an_incomplete_newest_year_is_left_out_visibly() {
    let row = |year: i32, value: i32| format!("A,{year},{value}\n");
    let complete: String = (2000..2010).map(|y| row(y, 100)).collect();
    let run = cleaned(&manifest(), &format!("region,year,marriages\n{complete}{}", row(2010, 55)));
    assert_eq!(
        (run.report.clean_rows, run.report.rejected_by_rule.get("partial_period")),
        (10, Some(&1))
    );
    assert!(run.rejects().contains("the newest year is incomplete"), "{}", run.rejects());
    let run = cleaned(&manifest(), &format!("region,year,marriages\n{complete}{}", row(2010, 78)));
    assert_eq!(run.report.clean_rows, 11, "a fall of 22 % is a complete year");
}

#[test]
fn what_must_not_pass_is_refused_with_line_and_column() {
    let cases: [(&[u8], &str); 9] = [
        (
            b"region,year,marriages\nA,2000,5\nB,2000,12a\n",
            "data.csv:3: column `marriages`: the marriages must be a whole number that is not negative; found `12a`",
        ),
        (
            b"region,year,marriages\nA,2000,5\nA,2000,6\n",
            "data.csv:2: column `year`: there is more than one record of the same region and year; found `2000`",
        ),
        (b"region,year,marriages\n\"A\nB\",2000,5\nC,2000,\n", "data.csv:4: column `marriages`"),
        (
            b"region,year\nA,2000\n",
            "data.csv: line 1: column `marriages` is missing; the header has region, year",
        ),
        (
            b"region,year,year\nA,2000,1\n",
            "data.csv: line 1: columns 2 (`year`) and 3 (`year`) of the header are both the manifest's \
             column `year`",
        ),
        (
            b"region,year,marriages\nA,2000\n",
            "data.csv: line 2: the record has 2 fields, the header has 3",
        ),
        (b"region,year,marriages\nA,2000,\xff\n", "the text is not UTF-8 (line 2)"),
        (b"region,year,marriages\n", "data.csv: the file has a header but no records"),
        (
            b"",
            "data.csv: line 1: the file is empty; expected a header with the columns region, year, marriages",
        ),
    ];
    for (csv, expected) in cases {
        let message = refused(csv);
        assert!(
            message.contains(expected),
            "{}\nexpected: {expected}\ngot: {message}",
            String::from_utf8_lossy(csv)
        );
    }
}

#[test]
fn the_swedish_table_loses_only_its_partial_year() {
    let Some(file) = shared_data("marriages/sweden_county_marriages_2000_2022.csv") else { return };
    let run = cleaned(&manifest(), &std::fs::read_to_string(file).expect("readable"));
    assert_eq!(
        (run.report.raw_rows, run.report.clean_rows, run.report.rejected_rows),
        (483, 462, 21)
    );
    assert!(run.rejects().lines().skip(1).all(|l| l.contains(",2022,")), "{}", run.rejects());
}

/// Files in the shapes that people have, and what they are told.
#[test]
fn files_of_another_shape_are_told_by_name_with_what_to_do() {
    let Some(cases) = shared_data("../cases") else { return };
    for (file, told) in [
        ("utf16.csv", "text in UTF-16"),
        ("semicolon.csv", "set `delimiter = \";\"`"),
        ("wide.csv", "the table is wide"),
        ("separator_from_1000_on.csv", "a no-break space (U+00A0) as thousands separator"),
        ("missing_marks.csv", "stands where there is no value"),
    ] {
        let bytes = std::fs::read(cases.join(file)).expect(file);
        let said = refused(&bytes);
        assert!(said.contains(told), "{file}: {said}");
    }
    let footnotes = std::fs::read_to_string(cases.join("un_footnotes.csv")).expect("readable");
    let renamed = footnotes.replace("Country or Area", "region").replace("Year", "year");
    let said = refused(renamed.replacen("\"Value\"", "\"marriages\"", 1).as_bytes());
    assert!(said.contains("other lines follow the table, such as footnotes"), "{said}");
}

#[test]
fn what_nobody_is_to_see_is_not_even_among_the_rejected_records() {
    let mut private = manifest();
    private.inputs[0].drop = vec!["official".to_owned(), "phone".to_owned()];
    private.inputs[0].rules.iter_mut().for_each(|r| r.action = Action::Reject);
    let csv = "official,region,year,marriages,phone\n\
               Aigerim Name,Abai,2000,5,+7 701\nErlan Name,Abai,2001,x,+7 702\n";
    let run = cleaned(&private, csv);
    let rejects = run.rejects();
    assert!(rejects.starts_with("region,year,marriages,_row"), "{rejects}");
    assert!(!rejects.contains("Name") && !rejects.contains("+7"), "{rejects}");
    assert_eq!(run.report.rejected_rows, 1);
}
