//! The files that somebody gives for a new pipeline: unpacked, as text in UTF-8 where they are
//! text, and with the form in which each is.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use steppe_plan::events::Fact;
use steppe_spec::Container;
use steppe_wire::etl::TableFormat;
use steppe_wire::format::{BEGINNING_BYTES, Format};
use steppe_wire::hint::Hinted;
use steppe_wire::look::{Dialect, LookFile};

use crate::draft::{dialect, format_of};
use crate::hint::OrHint;
use crate::host::Host;
use crate::inputs::files_of;
use crate::reading::{self, Options, Snapshot};

/// Bytes of a text by which its dialect is told.
const DIALECT_BYTES: u64 = 1024 * 1024;

/// A file as it was given, and as it is looked at.
#[derive(Debug)]
pub struct Given {
    /// The file.
    pub file: PathBuf,
    /// The input that it was given for.
    pub input: Option<String>,
    /// Its format.
    pub format: TableFormat,
    /// How its text becomes fields.
    pub dialect: Option<Dialect>,
    copy: Snapshot,
}

impl Given {
    /// It, for the engine.
    pub fn look(&self) -> LookFile {
        LookFile {
            path: self.copy.path().display().to_string(),
            called: self.file.display().to_string(),
            input: self.input.clone(),
            format: self.format,
            csv: self.dialect,
            has_footnotes: None,
        }
    }
}

/// Reads what was given as `FOLDER`, `FILE` or `INPUT=FILE`.
pub fn read(data: &[String], scratch: &Path, host: &Host) -> Result<Vec<Given>> {
    let mut given = Vec::new();
    for text in data {
        let (input, path) = named(text)?;
        let folder = path.is_dir();
        for file in files_of(path)? {
            match read_one(&file, input, scratch, host) {
                Ok(one) => given.push(one),
                Err(error) if folder => {
                    let why = error.root_cause().to_string();
                    let what = format!("{} left out: {why}", file.display());
                    host.fact(Fact::Read { what, hints: vec![] });
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot read the data {}", file.display()));
                }
            }
        }
    }
    if given.is_empty() {
        bail!(Hinted::new("no file has a table", "give CSV, JSON lines, Parquet, Avro or ORC"));
    }
    Ok(given)
}

/// The input that `INPUT=FILE` names, and the file.
fn named(text: &str) -> Result<(Option<&str>, &Path)> {
    let whole = Path::new(text);
    let Some((name, path)) = text.split_once('=').filter(|_| !whole.exists()) else {
        return Ok((None, whole));
    };
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !plain || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        bail!(Hinted::new(
            format!("`{name}` is no name of an input"),
            "it begins with a lower-case letter and has such letters, digits and underscores",
        ));
    }
    Ok((Some(name), Path::new(path)))
}

fn read_one(file: &Path, input: Option<&str>, scratch: &Path, host: &Host) -> Result<Given> {
    // It is read again when the manifest is tried.
    if !file.metadata()?.is_file() {
        bail!(Hinted::new("it is no plain file", "write what it gives into a file"));
    }
    let begin = reading::begin(file, BEGINNING_BYTES as u64)?;
    if begin.trim_ascii().is_empty() {
        bail!(Hinted::new("the file is empty", "give a file with a header and records"));
    }
    let format = match Format::of(&begin) {
        Format::Table(format) => format,
        // Whether there are names in it at all, only its values say.
        Format::Sequence => bail!(Hinted::new(
            "the file is a Hadoop sequence file, of which no manifest is guessed: its fields have \
             no names",
            "write the manifest by hand, with `container = \"sequence\"`, `format` \"csv\" or \
             \"json\", and `columns` in the order of the fields; docs/manifest.md has an example",
        )),
        Format::Other(name, way) => bail!(Hinted::new(format!("the file is {name}"), way)),
        _ => TableFormat::Csv,
    };
    let options = Options {
        scratch,
        format: format_of(format),
        container: Container::Lines,
        delimiter: ',',
        decimal: '.',
        sheet: None,
    };
    let read = reading::read(file, options)?;
    for remark in read.told {
        let what = format!("{}: {}", file.display(), remark.what);
        let hints = remark.hint.into_iter().map(str::to_owned).collect();
        host.fact(Fact::Read { what, hints });
    }
    let mut dialect = None;
    if format == TableFormat::Csv {
        let mut begin = Vec::new();
        read.copy.read()?.take(DIALECT_BYTES).read_to_end(&mut begin)?;
        dialect = Some(dialect::of(&begin).or_hint(|| {
            Hinted::new(
                "no table of several columns is found in it",
                "a table has a header, and below it fields between `,`, `;`, tabs or `|`",
            )
        })?);
    }
    Ok(Given {
        file: file.to_owned(),
        input: input.map(str::to_owned),
        format,
        dialect,
        copy: read.copy,
    })
}
