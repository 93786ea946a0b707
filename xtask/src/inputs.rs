//! Which of the files that a person gives is of which input.
//!
//! A file is of the input whose columns its header has. Where that is not certain, it is asked for
//! by name, never guessed.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use steppe_plan::catalogue::{RawHeader, raw_header};
use steppe_spec::{Container, Input, Manifest};
use steppe_wire::etl::header::{position, trimmed};
use steppe_wire::etl::records::Records;
use steppe_wire::etl::{EtlPlan, InputPlan};
use steppe_wire::hint::Hinted;

use crate::reading::{self, Reading, Remark, Snapshot};

/// Longest header of a data file.
const HEADER_BYTES_MAX: u64 = 1024 * 1024;
/// Files that a folder may have.
const FILES_MAX: usize = 10_000;
/// What keys of S3 and names of files have without doubt.
const PLAIN: &str = "-_.";

/// Raw data of a pipeline.
#[derive(Debug)]
pub struct RawData {
    /// The files of each input, in the manifest's order.
    pub inputs: Vec<RawInput>,
    /// Whether they are the manifest's synthetic samples.
    pub synthetic: bool,
    /// Files that were given and are of no input.
    pub left_out: Vec<PathBuf>,
}

/// The files of an input.
#[derive(Debug)]
pub struct RawInput {
    /// Name of the input.
    pub name: String,
    /// The files.
    pub files: Vec<RawFile>,
    /// The first one's header, as the catalogue has it.
    pub header: RawHeader,
}

/// A file as it was given, and as everything else works on it.
#[derive(Debug)]
pub struct RawFile {
    /// The file as it was given.
    pub given: PathBuf,
    /// Its name in the bucket, below the input's prefix.
    pub name: String,
    /// What was done to read it.
    pub told: Vec<Remark>,
    /// What is cleaned, trained on and uploaded: text in UTF-8, or the file as it is.
    pub copy: Snapshot,
}

impl RawData {
    /// The file that was given; of several the first one and how many more.
    pub fn given(&self) -> String {
        let mut files = self.inputs.iter().flat_map(|input| &input.files);
        let first = files.next().map(|file| file.given.display().to_string()).unwrap_or_default();
        match files.count() {
            0 => first,
            more => format!("{first} and {more} more"),
        }
    }

    /// The hash of all of it.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for input in &self.inputs {
            for file in &input.files {
                hash.update(format!("{}/{} {}\n", input.name, file.name, file.copy.sha256()));
            }
        }
        hash.finalize().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("text");
            text
        })
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().flat_map(|input| &input.files).map(|file| file.copy.bytes()).sum()
    }
}

/// What is read, and how.
pub struct Inputs<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// Root of the repository.
    pub root: &'a Path,
    /// The pipeline's folder.
    pub folder: &'a Path,
    /// Its plan.
    pub plan: &'a EtlPlan,
    /// The folder of everything that is made here.
    pub scratch: &'a Path,
}

impl Inputs<'_> {
    /// Reads what was given as `FOLDER`, `FILE` or `NAME=FILE`; the samples when nothing was.
    pub fn read(&self, given: &[String]) -> Result<RawData> {
        let (assigned, left_out) = match given {
            [] => (self.samples()?, vec![]),
            given => self.assigned(given)?,
        };
        let mut inputs = Vec::with_capacity(assigned.len());
        for ((input, plan), files) in
            self.manifest.inputs.iter().zip(&self.plan.inputs).zip(assigned)
        {
            if files.is_empty() {
                bail!(Hinted::new(
                    format!("no file is of the input `{}`", input.name),
                    format!("`--data {}=FILE` says which is", input.name),
                ));
            }
            inputs.push(self.input(input, plan, files)?);
        }
        Ok(RawData { inputs, synthetic: given.is_empty(), left_out })
    }

    fn samples(&self) -> Result<Vec<Vec<PathBuf>>> {
        let sample = |input: &Input| match &input.sample {
            Some(sample) => files_of(&self.folder.join(sample)),
            None => bail!(Hinted::new(
                format!("the input `{}` has no sample", input.name),
                "give files with `--data FILE`",
            )),
        };
        self.manifest.inputs.iter().map(sample).collect()
    }

    /// The files of each input, and those that are of none.
    fn assigned(&self, given: &[String]) -> Result<(Vec<Vec<PathBuf>>, Vec<PathBuf>)> {
        let mut assigned = vec![Vec::new(); self.manifest.inputs.len()];
        let mut left_out = Vec::new();
        for text in given {
            if let Some((at, path)) = self.named(text) {
                assigned[at].extend(files_of(Path::new(path))?);
                continue;
            }
            let path = Path::new(text);
            let folder = path.is_dir();
            for file in files_of(path)? {
                match self.of(&file)? {
                    Some(at) => assigned[at].push(file),
                    None if folder => left_out.push(file),
                    None => bail!(self.of_none(&file)),
                }
            }
        }
        assigned.iter_mut().for_each(|files| {
            files.sort();
            files.dedup();
        });
        Ok((assigned, left_out))
    }

    /// The input that `NAME=FILE` names.
    fn named<'t>(&self, text: &'t str) -> Option<(usize, &'t str)> {
        let (name, path) = text.split_once('=')?;
        let at = self.manifest.inputs.iter().position(|input| input.name == name)?;
        Some((at, path))
    }

    fn of_none(&self, file: &Path) -> Hinted {
        let names: Vec<&str> = self.manifest.inputs.iter().map(|i| i.name.as_str()).collect();
        Hinted::new(
            format!(
                "{} has the columns of none of the inputs {}",
                file.display(),
                names.join(", ")
            ),
            format!("`--data {}={}` says of which it is", names[0], file.display()),
        )
    }

    /// The input that a file is of: the only one, or the one whose columns it has.
    fn of(&self, file: &Path) -> Result<Option<usize>> {
        if self.manifest.inputs.len() == 1 {
            return Ok(Some(0));
        }
        let begin = reading::begin(file, HEADER_BYTES_MAX)
            .with_context(|| format!("cannot read the data {}", file.display()))?;
        let plans = self.plan.inputs.iter().enumerate();
        let fits = plans.filter(|(_, plan)| has_columns(&begin, plan)).map(|(at, _)| at);
        match fits.collect::<Vec<_>>()[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [one, other, ..] => {
                let name = |at: usize| &self.manifest.inputs[at].name;
                bail!(Hinted::new(
                    format!(
                        "{} has the columns of the inputs `{}` and `{}`",
                        file.display(),
                        name(one),
                        name(other)
                    ),
                    format!("`--data {}={}` says of which it is", name(one), file.display()),
                ))
            }
        }
    }

    fn input(&self, input: &Input, plan: &InputPlan, files: Vec<PathBuf>) -> Result<RawInput> {
        let options = reading::Options {
            scratch: self.scratch,
            format: input.format,
            container: input.container,
            delimiter: input.delimiter,
            decimal: input.decimal,
            sheet: input.sheet.as_deref(),
        };
        let (mut read, mut header) = (Vec::<RawFile>::with_capacity(files.len()), None);
        for given in files {
            let context = || format!("cannot read the data {}", given.display());
            let Reading { copy, told } = reading::read(&given, options).with_context(context)?;
            if header.is_none() {
                let mut begin = Vec::new();
                let mut text = copy.read()?.take(HEADER_BYTES_MAX);
                text.read_to_end(&mut begin).with_context(context)?;
                header = Some(raw_header(&begin, plan).with_context(context)?);
            }
            let name = free(&given, input, &read);
            // A sample is called as it is in the repository, wherever that is.
            let own = given.starts_with(self.folder).then(|| given.strip_prefix(self.root).ok());
            let given = own.flatten().map_or(given.clone(), Path::to_path_buf);
            read.push(RawFile { given, name, told, copy });
        }
        let header = header.context("an input has files")?;
        Ok(RawInput { name: input.name.clone(), files: read, header })
    }
}

/// Whether what begins so has all columns of an input; formats that cannot be looked into here are
/// told by their beginning.
fn has_columns(begin: &[u8], plan: &InputPlan) -> bool {
    use steppe_wire::format::Format as Kind;
    if !plan.container.is_lines() {
        return Kind::of(begin) == Kind::Sequence;
    }
    let Some(csv) = &plan.csv else {
        return matches!(Kind::of(begin), Kind::Table(kind) if kind == plan.format);
    };
    if Kind::of(begin) != Kind::Text {
        return false;
    }
    let mut record = csv::ByteRecord::new();
    let Ok(delimiter) = u8::try_from(csv.delimiter) else { return false };
    let Ok(Some(_)) = Records::new(begin, delimiter, csv.skip_lines).read(&mut record) else {
        return false;
    };
    let text = |field: &[u8]| trimmed(&String::from_utf8_lossy(field)).to_owned();
    let header: Vec<String> = record.iter().map(text).collect();
    let made = |name: &String| {
        csv.wide.as_ref().is_some_and(|wide| [&wide.names, &wide.values].contains(&name))
    };
    let mut wanted = plan.columns.iter().filter(|column| !made(&column.name));
    wanted.all(|column| matches!(position(&header, column), Ok(Some(_))))
}

/// The files of a path: itself, or those in the folder.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot read the data {}", path.display());
    if !path.is_dir() {
        File::open(path).map_err(|error| anyhow::anyhow!("{error}")).with_context(context)?;
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).with_context(context)? {
        let entry = entry.with_context(context)?;
        let hidden = entry.file_name().to_string_lossy().starts_with(['.', '_']);
        if entry.path().is_file() && !hidden {
            files.push(entry.path());
        }
        if files.len() > FILES_MAX {
            bail!("the folder {} has more than {FILES_MAX} files", path.display());
        }
    }
    if files.is_empty() {
        bail!("the folder {} has no files", path.display());
    }
    files.sort();
    Ok(files)
}

/// The name of a file in the bucket: its own, as far as it is plain, and its format.
fn free(given: &Path, input: &Input, taken: &[RawFile]) -> String {
    let stem = given.file_name().unwrap_or_default().to_string_lossy();
    let stem = stem.split('.').next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || PLAIN.contains(c) { c } else { '-' };
    let stem: String = stem.chars().map(plain).take(100).collect();
    let stem = match stem.trim_matches(['-', '_', '.']) {
        "" => "data",
        stem => stem,
    };
    let extension = match input.container {
        Container::Lines => steppe_wire::etl::TableFormat::from(input.format).name(),
        Container::Sequence => "seq",
    };
    let name = |number: usize| match number {
        1 => format!("{stem}.{extension}"),
        more => format!("{stem}-{more}.{extension}"),
    };
    let is_free = |name: &String| !taken.iter().any(|file| file.name == *name);
    (1..).map(name).find(is_free).unwrap_or_default()
}
