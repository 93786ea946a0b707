//! Data in the files that people have, through the command line: what is converted is told, and
//! what was trained on is what was uploaded.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use futures::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use steppe_wire::keys;

use crate::checkout::{Checkout, Said};
use crate::tools::root;

/// The bucket of the data.
const BUCKET: &str = "steppe-marriages-local-data-000000000000";

/// The table of `tests/workbooks`, as its `make.py` has it.
fn table() -> String {
    let regions = ["Акмолинская область", "Алматы", "Шымкент"];
    let rows = regions.iter().zip(0..).flat_map(|(region, i)| {
        (2000..2016).map(move |year| {
            let marriages = 1000 * (i + 1) + 13 * (year - 2000) + (7 * year + 5 * i) % 23;
            format!("{region},{year},{marriages}\n")
        })
    });
    format!("region,year,marriages\n{}", rows.collect::<String>())
}

fn windows_1251(text: &str) -> Vec<u8> {
    let byte = |c: char| match c {
        'А'..='я' => (u32::from(c) - u32::from('А') + 0xc0) as u8,
        _ => u8::try_from(c).expect("a letter of Russian or of ASCII"),
    };
    text.chars().map(byte).collect()
}

fn utf_16(text: &str) -> Vec<u8> {
    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// Packed by the program that people use.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut command = Command::new("gzip");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gzip is installed");
    child.stdin.take().expect("a pipe").write_all(bytes).expect("written");
    child.wait_with_output().expect("packed").stdout
}

impl Checkout {
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let file = self.path().join(name);
        std::fs::write(&file, bytes).expect("written");
        file.display().to_string()
    }

    /// The raw data in the bucket.
    fn uploaded(&self) -> Vec<u8> {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let bucket = self.bucket(BUCKET);
        let prefix = Key::from(keys::raw_prefix("marriages", "marriages"));
        let get = async {
            let files: Vec<_> = bucket.list(Some(&prefix)).try_collect().await?;
            assert_eq!(files.len(), 1, "one file was given: {files:?}");
            bucket.get(&files[0].location).await?.bytes().await
        };
        runtime.block_on(get).expect("uploaded").to_vec()
    }
}

fn version(said: &Said) -> String {
    let line = said.out.lines().next().unwrap_or_default();
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn every_kind_of_file_gives_the_model_of_the_plain_table() {
    let (checkout, table) = (Checkout::new(), table());
    let trained =
        |name: &str, bytes: &[u8]| checkout.done(&["train", "--data", &checkout.file(name, bytes)]);
    let plain = trained("plain.csv", table.as_bytes());
    assert!(!plain.err.contains("read "), "nothing to tell: {}", plain.err);
    let workbook =
        |name: &str| std::fs::read(root().join("tests/workbooks").join(name)).expect("a workbook");
    let sheet = "read  sheet \"Лист1\", 49 rows, as CSV";
    for (name, bytes, told) in [
        ("unicode.txt.gz", gzip(&utf_16(&table)), "read  UTF-16 text, as UTF-8"),
        ("old.csv", windows_1251(&table), "read  Windows-1251 text, as UTF-8"),
        ("table.xlsx", workbook("table.xlsx"), sheet),
        ("table.xls", workbook("table.xls"), sheet),
        ("table.ods", workbook("table.ods"), sheet),
    ] {
        let said = trained(name, &bytes);
        assert!(said.err.contains(told), "{name}: {}", said.err);
        assert_eq!(version(&said), version(&plain), "{name}");
    }
    let copies = std::fs::read_dir(checkout.path().join("copies")).expect("a folder").flatten();
    let left: Vec<_> = copies.map(|e| e.file_name()).collect();
    assert_eq!(left, ["gate"], "copies go with their command");
}

#[test]
fn defects_are_told_by_the_name_and_line_of_the_given_file() {
    let (checkout, table) = (Checkout::new(), table());
    let wrong = table.replacen("Алматы,2000,", "Алматы,2000,x", 1);
    let line = 1 + wrong.lines().position(|l| l.contains(",x")).expect("a wrong line");
    let file = checkout.file("old.csv", &windows_1251(&wrong));
    let said = checkout.run(&["train", "--data", &file]);
    let expected = format!("error: {file}:{line}: column `marriages`");
    assert!(said.code == Some(1) && said.err.contains(&expected), "{}", said.err);
    for (name, bytes, expected) in [
        ("people.parquet", &b"PAR1\x15\x04\0"[..], "the file is a Parquet file"),
        ("people.json", b"[{\"region\": \"A\"}]", "the file is a JSON array"),
        ("people.csv", b"region\nMu\xf0la\n", "the text is not UTF-8 (line 2), and its encoding"),
    ] {
        let file = checkout.file(name, bytes);
        let said = checkout.run(&["deploy", "--data", &file]);
        let expected = format!("error: cannot read the data {file}: {expected}");
        assert!(said.code == Some(1) && said.err.contains(&expected), "{}", said.err);
        assert!(said.err.contains("\nhint: "), "{}", said.err);
    }
    assert!(!checkout.path().join("local").exists(), "nothing may be made");
}

#[test]
fn what_was_trained_on_is_uploaded_when_the_file_changes_meanwhile() {
    let (checkout, table) = (Checkout::new(), table());
    let file = checkout.file("old.csv", &windows_1251(&table));
    let mut deploying = checkout
        .command(&["deploy", "--data", &file])
        .stderr(Stdio::piped())
        .spawn()
        .expect("xtask runs");
    let mut told = BufReader::new(deploying.stderr.take().expect("a pipe")).lines();
    let cleaned =
        told.by_ref().map_while(Result::ok).any(|line| line.contains("cleaned  48 of 48"));
    assert!(cleaned, "the deployment ended before it had cleaned the data");
    std::fs::write(&file, "region,year,marriages\nOther,2000,1\n").expect("written");
    let rest: Vec<String> = told.map_while(Result::ok).collect();
    assert!(deploying.wait().expect("ended").success(), "{}", rest.join("\n"));
    assert_eq!(String::from_utf8(checkout.uploaded()).expect("UTF-8"), table);
    let smoke = checkout.done(&["smoke-test"]);
    assert!(smoke.out.contains("48 clean + 0 rejected = 48 raw"), "{}", smoke.out);
    checkout.done(&["destroy"]);
}
