//! A sheet of a workbook as CSV: its values, as a spreadsheet keeps them, not as it shows them.
//!
//! Row n of the sheet is line n of the CSV, so that errors name the row: empty rows are empty
//! lines, and a line end in a cell becomes a space. Whole numbers have no decimals, dates are
//! `2000-12-31`. An error such as `#N/A` in a cell, and a formula without a value, is an error.
//!
//! A workbook is not read as a stream: it is in memory while it is converted, and has bounds.

use std::io::{BufReader, BufWriter, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result, bail};
use calamine::{
    Data, ExcelDateTime, Range, Reader, SheetType, SheetVisible, Sheets, Xls, Xlsx, XlsxError,
};
use steppe_wire::hint::Hinted;

use super::{Options, Remark, Snapshot};

/// Bytes of a workbook, unpacked.
const BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Cells of a sheet between its first and its last value.
const CELLS_MAX: u64 = 32 * 1024 * 1024;
/// Bytes of a usual line.
const LINE_BYTES: usize = 256;
/// What to do about a workbook that cannot be read.
const SAVES_AS_CSV: &str = "save its sheet as \"CSV UTF-8\"";
/// What to do when another sheet is meant.
const CHOOSES: &str = "`[data] sheet = \"…\"` in the manifest chooses one";

/// Writes the wanted sheet into `table`; says which it is, and which others there are.
pub fn convert(
    workbook: &Snapshot,
    options: &Options<'_>,
    table: &mut Snapshot,
) -> Result<Vec<Remark>> {
    if workbook.bytes() > BYTES_MAX {
        bail!(too_large());
    }
    // The library takes a damaged workbook of the old kind at its word.
    catch_unwind(AssertUnwindSafe(|| converted(workbook, options, table))).unwrap_or_else(|_| {
        let hint = "open it in a spreadsheet and save it again";
        bail!(Hinted::new("the workbook is damaged", hint))
    })
}

fn converted(
    workbook: &Snapshot,
    options: &Options<'_>,
    table: &mut Snapshot,
) -> Result<Vec<Remark>> {
    let mut sheets = opened(workbook)?;
    let (sheet, others) = chosen(&sheets, options.sheet)?;
    check_extent(&mut sheets, &sheet)?;
    let cells = sheets.worksheet_range(&sheet).map_err(|error| not_readable(&error))?;
    if cells.is_empty() {
        let empty = format!("the sheet \"{sheet}\" is empty{}", named(&others));
        bail!(Hinted::with(empty, sheet_hint(&others)));
    }
    // A formula that the library does not know has its value all the same.
    if let Ok(formulas) = sheets.worksheet_formula(&sheet) {
        check_formulas(&sheet, &cells, &formulas)?;
    }
    let rows = write(&sheet, &cells, options, table)?;
    let mut told = vec![format!("sheet \"{sheet}\", {rows} rows, as CSV").into()];
    if options.sheet.is_none() && !others.is_empty() {
        let what = format!("other sheets, not read:{}", named(&others));
        told.push(Remark { what, hint: Some(CHOOSES) });
    }
    Ok(told)
}

fn too_large() -> Hinted {
    Hinted::new(format!("the workbook has more than {} MB unpacked", BYTES_MAX >> 20), SAVES_AS_CSV)
}

fn not_readable(error: &calamine::Error) -> anyhow::Error {
    let text = error.to_string();
    if text.contains("password protected") {
        let hint = "save a copy without one";
        return Hinted::new("the workbook is protected by a password", hint).into();
    }
    Hinted::new(format!("the file is no workbook that can be read: {text}"), SAVES_AS_CSV).into()
}

type File = BufReader<std::fs::File>;
type Workbook = Sheets<File>;

/// The workbook, which may be of any kind whatever its file is called.
fn opened(workbook: &Snapshot) -> Result<Workbook> {
    let mut mark = [0; 2];
    workbook.read()?.read_exact(&mut mark)?;
    if mark != *b"PK" {
        return match open::<Xls<File>>(workbook) {
            // What is encrypted lies in a container of the old kind.
            Err(_) if matches!(Xlsx::new(file(workbook)?), Err(XlsxError::Password)) => {
                Err(not_readable(&XlsxError::Password.into()))
            }
            opened => Ok(Sheets::Xls(opened?)),
        };
    }
    let archive = zip::ZipArchive::new(file(workbook)?);
    let mut archive = archive.context("the workbook is not complete")?;
    check_size(&mut archive)?;
    let has = |name| archive.index_for_name(name).is_some();
    if has("xl/workbook.bin") {
        Ok(Sheets::Xlsb(open(workbook)?))
    } else if has("[Content_Types].xml") {
        Ok(Sheets::Xlsx(open(workbook)?))
    } else if has("content.xml") {
        Ok(Sheets::Ods(open(workbook)?))
    } else {
        bail!(Hinted::new(
            "the file is an archive and no workbook",
            "unpack it and give the one file with the table, or compress that by gzip",
        ))
    }
}

fn file(workbook: &Snapshot) -> Result<File> {
    Ok(BufReader::new(workbook.read()?))
}

fn open<R: Reader<File>>(workbook: &Snapshot) -> Result<R>
where
    calamine::Error: From<R::Error>,
{
    R::new(file(workbook)?).map_err(|error| not_readable(&error.into()))
}

/// What an archive says about its size is not believed: its parts are unpacked once to see.
fn check_size(archive: &mut zip::ZipArchive<File>) -> Result<()> {
    let mut left = BYTES_MAX;
    for index in 0..archive.len() {
        let damaged = || format!("part {} of the workbook is damaged", index + 1);
        let part = archive.by_index(index).with_context(damaged)?;
        left -= std::io::copy(&mut part.take(left), &mut std::io::sink()).with_context(damaged)?;
        if left == 0 {
            bail!(too_large());
        }
    }
    Ok(())
}

/// The sheet that is read, and the names of the other visible ones.
fn chosen(sheets: &Workbook, wanted: Option<&str>) -> Result<(String, Vec<String>)> {
    let is_visible =
        |s: &&calamine::Sheet| s.visible == SheetVisible::Visible && s.typ == SheetType::WorkSheet;
    let names = |all: Vec<&calamine::Sheet>| all.into_iter().map(|s| s.name.clone()).collect();
    let mut visible: Vec<String> =
        names(sheets.sheets_metadata().iter().filter(is_visible).collect());
    let Some(wanted) = wanted else {
        if visible.is_empty() {
            bail!("the workbook has no visible sheet");
        }
        return Ok((visible.remove(0), visible));
    };
    if !sheets.sheets_metadata().iter().any(|s| s.name == wanted) {
        let missing = format!("the workbook has no sheet \"{wanted}\"; it has{}", named(&visible));
        bail!(Hinted::with(missing, sheet_hint(&visible)));
    }
    visible.retain(|name| name != wanted);
    Ok((wanted.to_owned(), visible))
}

/// ` "A", "B"`.
fn named(others: &[String]) -> String {
    let quoted: Vec<String> = others.iter().map(|name| format!(" \"{name}\"")).collect();
    quoted.join(",")
}

/// How to choose one of the other sheets, if there are any.
fn sheet_hint(others: &[String]) -> Vec<String> {
    if others.is_empty() { vec![] } else { vec![CHOOSES.to_owned()] }
}

/// A value far from the others would make a table of billions of empty cells.
fn check_extent(sheets: &mut Workbook, sheet: &str) -> Result<()> {
    let mut bounds: Option<[u32; 4]> = None;
    let mut see = |(row, column): (u32, u32)| {
        let [top, left, bottom, right] = bounds.unwrap_or([row, column, row, column]);
        bounds = Some([top.min(row), left.min(column), bottom.max(row), right.max(column)]);
    };
    match sheets {
        Sheets::Xlsx(workbook) => {
            let cells = workbook.worksheet_cells_reader(sheet);
            let mut cells = cells.map_err(|error| not_readable(&error.into()))?;
            while let Some(cell) = cells.next_cell().map_err(|e| not_readable(&e.into()))? {
                see(cell.get_position());
            }
        }
        Sheets::Xlsb(workbook) => {
            let cells = workbook.worksheet_cells_reader(sheet);
            let mut cells = cells.map_err(|error| not_readable(&error.into()))?;
            while let Some(cell) = cells.next_cell().map_err(|e| not_readable(&e.into()))? {
                see(cell.get_position());
            }
        }
        // Sheets of old workbooks are small, and the library bounds those of OpenDocument.
        Sheets::Xls(_) | Sheets::Ods(_) => {}
    }
    let Some([top, left, bottom, right]) = bounds else { return Ok(()) };
    let extent = u64::from(bottom - top + 1) * u64::from(right - left + 1);
    if extent > CELLS_MAX {
        bail!(Hinted::new(
            format!(
                "the sheet \"{sheet}\" reaches from {} to {}, which is too large a table",
                address(top, left),
                address(bottom, right)
            ),
            "save it as \"CSV UTF-8\", or delete what lies far from the table",
        ));
    }
    Ok(())
}

/// A program that computes nothing writes formulas without values.
fn check_formulas(sheet: &str, cells: &Range<Data>, formulas: &Range<String>) -> Result<()> {
    let Some((top, left)) = formulas.start() else { return Ok(()) };
    for (row, column, formula) in formulas.used_cells() {
        let place = (top + row as u32, left + column as u32);
        if !formula.is_empty() && matches!(cells.get_value(place), None | Some(Data::Empty)) {
            bail!(Hinted::new(
                format!(
                    "the formula in {} of the sheet \"{sheet}\" has no value",
                    address(place.0, place.1)
                ),
                "open the workbook in a spreadsheet and save it",
            ));
        }
    }
    Ok(())
}

/// Writes the rows; how many are not empty.
fn write(
    sheet: &str,
    cells: &Range<Data>,
    options: &Options<'_>,
    table: &mut Snapshot,
) -> Result<usize> {
    let delimiter =
        u8::try_from(options.delimiter).context("the delimiter is no ASCII character")?;
    let (top, left) = cells.start().unwrap_or_default();
    let mut out = BufWriter::new(table);
    (0..top).try_for_each(|_| out.write_all(b"\n"))?;
    let mut rows = 0;
    for (number, row) in (top..).zip(cells.rows()) {
        if row.iter().all(|cell| *cell == Data::Empty) {
            out.write_all(b"\n")?;
            continue;
        }
        rows += 1;
        // A writer for each line: one for all lines has no way to an empty line.
        let mut line = csv::WriterBuilder::new();
        let mut line = line.delimiter(delimiter).buffer_capacity(LINE_BYTES).from_writer(&mut out);
        for (column, cell) in (left..).zip(row) {
            let text = text_of(cell, options.decimal).with_context(|| {
                format!("cell {} of the sheet \"{sheet}\"", address(number, column))
            })?;
            line.write_field(text)?;
        }
        line.write_record(None::<&[u8]>)?;
        line.flush()?;
    }
    out.flush()?;
    Ok(rows)
}

/// `C7`, for a place counted from 0.
fn address(row: u32, column: u32) -> String {
    let (mut letters, mut rest) = (Vec::new(), column + 1);
    while rest > 0 {
        letters.insert(0, char::from(b'A' + ((rest - 1) % 26) as u8));
        rest = (rest - 1) / 26;
    }
    format!("{}{}", letters.into_iter().collect::<String>(), row + 1)
}

/// A cell as text.
fn text_of(cell: &Data, decimal: char) -> Result<String> {
    Ok(match cell {
        Data::Empty => String::new(),
        Data::String(text) => {
            text.split(['\r', '\n']).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
        }
        Data::Int(number) => number.to_string(),
        Data::Float(value) => number(*value).replace('.', &decimal.to_string()),
        Data::Bool(is_true) => is_true.to_string(),
        Data::DateTime(moment) if moment.is_duration() => duration(moment.as_f64()),
        Data::DateTime(moment) => date_time(moment),
        Data::DateTimeIso(text) => text.strip_suffix("T00:00:00").unwrap_or(text).to_owned(),
        Data::DurationIso(text) => text.clone(),
        Data::Error(error) => {
            bail!(Hinted::new(
                format!("it holds the error {error}"),
                "correct it, or empty the cell",
            ))
        }
    })
}

/// `1023`, also where computing has left `1023.0000000000001`: decimals have the 15 digits that
/// spreadsheets show.
fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        // Adding zero takes the sign from a zero.
        return (value + 0.0).to_string();
    }
    let shown = format!("{value:.14e}").parse::<f64>();
    shown.unwrap_or(value).to_string()
}

/// `2000-12-31`, with its time when that is not midnight.
fn date_time(moment: &ExcelDateTime) -> String {
    let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
    let date = format!("{year:04}-{month:02}-{day:02}");
    match (hour, minute, second) {
        (0, 0, 0) => date,
        (_, _, 0) => format!("{date}T{hour:02}:{minute:02}"),
        _ => format!("{date}T{hour:02}:{minute:02}:{second:02}"),
    }
}

/// `26:30:00`, of a part of a day.
fn duration(days: f64) -> String {
    let seconds = (days * 86_400.0).round() as i64;
    let (sign, seconds) = (if seconds < 0 { "-" } else { "" }, seconds.unsigned_abs());
    format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Reading, read};
    use super::*;

    /// A workbook of `tests/workbooks`, which `make.py` there made.
    fn reading(file: &str, sheet: Option<&str>) -> Result<(String, Vec<Remark>)> {
        let scratch = tempfile::TempDir::new()?;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/workbooks");
        let options = Options {
            scratch: scratch.path(),
            format: steppe_spec::Format::Csv,
            container: steppe_spec::Container::Lines,
            delimiter: ';',
            decimal: ',',
            sheet,
        };
        let Reading { copy, told } = read(&folder.join(file), options)?;
        Ok((std::fs::read_to_string(copy.path())?, told))
    }

    #[test]
    fn every_kind_of_workbook_gives_the_same_table() {
        let (expected, told) = reading("table.xlsx", None).expect("read");
        assert_eq!(told, ["sheet \"Лист1\", 49 rows, as CSV".to_owned().into()]);
        assert!(expected.starts_with("region;year;marriages\nАкмолинская область;2000;1016\n"));
        assert_eq!(expected.lines().count(), 49);
        for file in ["table.xls", "table.ods"] {
            assert_eq!(reading(file, None).expect("read"), (expected.clone(), told.clone()));
        }
    }

    #[test]
    fn cells_become_text_and_rows_lines() {
        let (text, told) = reading("kinds.xlsx", Some("Data")).expect("read");
        let expected = "\nname of region;day;value;final\n\
                        \"A, \"\"x\"\"\";2000-12-31;1234567890123;true\n\n\
                        B;2000-12-31T00:30;0,1;26:30:00\n";
        assert_eq!(text, expected);
        assert_eq!(told, ["sheet \"Data\", 3 rows, as CSV".to_owned().into()]);
        let (text, told) = reading("kinds.xlsx", None).expect("read");
        assert_eq!(text, "Source: an office\n", "the first visible sheet");
        let what = "other sheets, not read: \"Data\"".to_owned();
        assert_eq!(told[1], Remark { what, hint: Some(CHOOSES) });
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_place() {
        let refused = |file, sheet| {
            let error = reading(file, sheet).expect_err("refused");
            format!("{error:#}")
        };
        let sheet = Some("Data");
        assert!(
            refused("error.xlsx", sheet).starts_with("cell D6 of the sheet \"Data\": it holds")
        );
        assert!(refused("formula.xlsx", sheet).starts_with("the formula in D6 of the sheet"));
        assert!(refused("far.xlsx", sheet).contains("reaches from B2 to XFD1048576"));
        let unknown = refused("kinds.xlsx", Some("data"));
        assert!(unknown.ends_with("no sheet \"data\"; it has \"Notes\", \"Data\""), "{unknown}");
    }

    #[test]
    fn a_damaged_workbook_is_read_or_refused() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/workbooks");
        let scratch = tempfile::TempDir::new().expect("a folder");
        let options = Options {
            scratch: scratch.path(),
            format: steppe_spec::Format::Csv,
            container: steppe_spec::Container::Lines,
            delimiter: ',',
            decimal: '.',
            sheet: None,
        };
        let mut refused = 0;
        for name in ["table.xls", "table.xlsx", "table.ods"] {
            let whole = std::fs::read(folder.join(name)).expect("a workbook");
            for damage in 0..64 {
                let (mut bytes, step) = (whole.clone(), whole.len() / 64);
                // A few bytes behind the marks that tell what it is.
                bytes[8 + damage * step..][..4].fill(0xff);
                let file = scratch.path().join(name);
                std::fs::write(&file, bytes).expect("written");
                refused += u32::from(read(&file, options).is_err());
            }
        }
        assert!((32..192).contains(&refused), "{refused}");
    }

    #[test]
    fn an_archive_that_is_no_workbook_is_refused() {
        let scratch = tempfile::TempDir::new().expect("a folder");
        let file = scratch.path().join("people.zip");
        let mut archive = zip::ZipWriter::new(std::fs::File::create(&file).expect("created"));
        let stored = zip::write::SimpleFileOptions::default();
        archive.start_file("people.csv", stored).expect("begun");
        archive.write_all(b"region,year\n").expect("written");
        archive.finish().expect("complete");
        let options = Options {
            scratch: scratch.path(),
            format: steppe_spec::Format::Csv,
            container: steppe_spec::Container::Lines,
            delimiter: ',',
            decimal: '.',
            sheet: None,
        };
        let error = read(&file, options).expect_err("refused").to_string();
        assert!(error.contains("an archive and no workbook"), "{error}");
    }

    #[test]
    fn numbers_have_the_digits_that_spreadsheets_show() {
        for (value, text) in [
            (1_023.000_000_000_000_1, "1023"),
            (0.1 + 0.2, "0.3"),
            (-0.0, "0"),
            (-12.5, "-12.5"),
            (1_234_567_890_123_456.0, "1234567890123456"),
            (1e21, "1000000000000000000000"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn places_are_named_as_spreadsheets_do() {
        let named = [(0, 0), (6, 2), (9, 25), (0, 26), (1_048_575, 16_383)];
        let names = named.map(|(row, column)| address(row, column));
        assert_eq!(names, ["A1", "C7", "Z10", "AA1", "XFD1048576"]);
    }
}
