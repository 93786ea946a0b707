//! `pipeline new`: looks at files and writes a first manifest that runs on them.
//!
//! Nothing is written before the data were cleaned and read as a forecast by the manifest. What is
//! written stands whole or not at all. The data are never copied into the pipeline.

mod given;
mod trial;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use steppe_plan::events::{Did, Fact, Step};
use steppe_spec::name_defect;
use steppe_wire::hint::Hinted;
use steppe_wire::look::{KeyLook, Look, LookFile, LookRequest};

use crate::artifacts::{self, own_binary};
use crate::cli::{Args, NewPipeline};
use crate::draft::{self, Draft, InputDraft, Seen, Wanted, shell};
use crate::exit::Outcome;
use crate::hint::OrHint;
use crate::host::Host;
use crate::project::{pipelines, root, scratch, write};
use given::Given;
use trial::Trial;

/// What a program is told of a new pipeline.
#[derive(Serialize)]
struct Told<'a> {
    pipeline: &'a str,
    folder: String,
    inputs: Vec<ToldInput<'a>>,
    series: &'a str,
    time: &'a str,
    target: &'a str,
    frequency: &'static str,
    look_at: &'a [String],
    next: &'a [String],
}

#[derive(Serialize)]
struct ToldInput<'a> {
    name: &'a str,
    format: &'static str,
    files: Vec<String>,
    records: u64,
    columns: Vec<&'a str>,
}

/// Runs the verb.
pub async fn new(args: &Args, host: &Host, new: &NewPipeline) -> Result<Outcome> {
    let root = root()?;
    let folder = pipelines(&root).join(&new.name);
    refuse_name(&new.name, &folder)?;
    artifacts::build_own(&root, host).await?;
    let scratch = scratch(&root);
    let given = given::read(&new.data, &scratch, host)?;
    let engine = Engine { root: &root, scratch: &scratch };
    let work = host.begin(Step::Look, None);
    let request = LookRequest { files: given.iter().map(Given::look).collect(), keys: Vec::new() };
    let look = engine.look(&request)?;
    let records = look.inputs.iter().map(|input| input.records).sum();
    work.done(Did::Look { files: given.len(), records });
    let command = command(new);
    let seen = Seen { name: &new.name, request: &request, look: &look, command: &command };
    let wanted =
        Wanted { target: new.target.clone(), time: new.time.clone(), series: new.series.clone() };
    let mut draft =
        draft::of(&seen, &wanted, &mut |input, keys| engine.keys(&request, input, keys))?;
    let trial = Trial { args, host, given: &given, data: &new.data };
    let data = trial.run(&mut draft).await.map_err(trial::hinted)?;
    let next = next(&new.name, &data);
    let notes = draft.notes();
    keep(&folder, &draft, &readme(&draft, &given, &notes, &next))?;
    notes.iter().for_each(|note| host.fact(Fact::Guess { what: note.clone() }));
    let shown = folder.strip_prefix(&root).unwrap_or(&folder).display().to_string();
    host.did(Did::WritePipeline { folder: shown.clone() });
    host.fact(Fact::Next { commands: next.clone() });
    tell(host, &draft, &given, &shown, (&notes, &next));
    Ok(Outcome::Done)
}

fn refuse_name(name: &str, folder: &Path) -> Result<()> {
    if let Some(defect) = name_defect(name) {
        let hint = "such as `sales`: it is part of the names of buckets";
        bail!(Hinted::new(format!("the name `{name}` {defect}"), hint));
    }
    if folder.exists() {
        bail!(Hinted::new(
            format!("the pipeline `{name}` is there already"),
            format!("choose another name, or delete {} first", folder.display()),
        ));
    }
    Ok(())
}

/// The command as it was given, for hints that add to it.
fn command(new: &NewPipeline) -> String {
    let data = new.data.iter().map(|data| shell(data)).collect::<Vec<_>>().join(" ");
    let mut command = format!("cargo xtask pipeline new {} --data {data}", new.name);
    let options =
        [("target", new.target.iter().collect::<Vec<_>>()), ("time", new.time.iter().collect())];
    let options = options.into_iter().chain([("series", new.series.iter().collect())]);
    for (option, columns) in options.filter(|(_, columns)| !columns.is_empty()) {
        let columns: Vec<String> = columns.iter().map(|column| shell(column)).collect();
        let _ = write!(command, " --{option} {}", columns.join(" "));
    }
    command
}

/// What can be done next.
fn next(name: &str, data: &[String]) -> Vec<String> {
    let data = data.iter().map(|data| shell(data)).collect::<Vec<_>>().join(" ");
    let verb = |verb| format!("cargo xtask {verb} --pipeline {name} --data {data}");
    vec![verb("evaluate"), verb("deploy")]
}

/// The program that reads data.
struct Engine<'a> {
    root: &'a Path,
    scratch: &'a Path,
}

impl Engine<'_> {
    fn look(&self, request: &LookRequest) -> Result<Look> {
        let file = self.scratch.join("looks").join(format!("{}.json", std::process::id()));
        write(&file, &serde_json::to_vec(request)?)?;
        let mut command = std::process::Command::new(own_binary(self.root, "steppe-etl"));
        let output = command.arg("look").arg("--request").arg(&file).output();
        // It says where copies are that go with this command.
        let _ = std::fs::remove_file(&file);
        let output = output.or_hint(|| {
            Hinted::new("cannot start the engine", "`cargo build --bin steppe-etl` builds it")
        })?;
        if !output.status.success() {
            bail!(Hinted::of_process(&String::from_utf8_lossy(&output.stderr)));
        }
        serde_json::from_slice(&output.stdout).context("the engine's answer is not readable")
    }

    fn keys(
        &self,
        request: &LookRequest,
        input: &InputDraft,
        keys: Vec<Vec<usize>>,
    ) -> Result<Vec<KeyLook>> {
        let file = |at: &usize| LookFile {
            has_footnotes: Some(input.has_footnotes),
            ..request.files[*at].clone()
        };
        let files: Vec<LookFile> = input.files.iter().map(file).collect();
        Ok(self.look(&LookRequest { files, keys })?.keys)
    }
}

/// Writes the pipeline: beside its place, and then there.
fn keep(folder: &Path, draft: &Draft, readme: &str) -> Result<()> {
    let context = || format!("cannot write {}", folder.display());
    let all = folder.parent().with_context(context)?;
    let beside = all.join(format!(".{}-{}.new", draft.name, std::process::id()));
    let mut files = draft.sql();
    files.push(("pipeline.toml".to_owned(), draft.manifest()));
    files.push(("README.md".to_owned(), readme.to_owned()));
    let written = || -> std::io::Result<()> {
        std::fs::create_dir_all(&beside)?;
        for (name, text) in &files {
            std::fs::write(beside.join(name), text)?;
        }
        // Fails when somebody made it meanwhile.
        std::fs::rename(&beside, folder)
    };
    let done = written();
    if done.is_err() {
        let _ = std::fs::remove_dir_all(&beside);
    }
    done.with_context(context)
}

fn files_of(draft_files: &[usize], given: &[Given]) -> Vec<PathBuf> {
    draft_files.iter().map(|at| given[*at].file.clone()).collect()
}

/// What the pipeline is, for people.
fn readme(draft: &Draft, given: &[Given], notes: &[String], next: &[String]) -> String {
    let task = &draft.task;
    let mut out = format!(
        "# {}\n\n{}, {}, the time being `{}`. A first manifest by `cargo xtask pipeline new`, \
         which\nwas tried on these data; `pipeline.toml` is meant to be changed.\n\n\
         | input | files | records |\n|---|---|---|\n",
        draft.name,
        draft.description(),
        task.frequency.name(),
        task.time
    );
    for input in &draft.inputs {
        let files = files_of(&input.files, given);
        let name = |file: &PathBuf| file.file_name().map(|n| n.to_string_lossy().into_owned());
        let first = files.iter().filter_map(name).next().unwrap_or_default();
        let more =
            if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
        let _ = writeln!(out, "| `{}` | {first}{more} | {} |", input.name, input.records);
    }
    let _ = writeln!(out, "\n    {}", next.join("\n    "));
    if !notes.is_empty() {
        let _ = writeln!(out, "\nWhat is worth a look:\n\n- {}", notes.join("\n- "));
    }
    out
}

fn tell(
    host: &Host,
    draft: &Draft,
    given: &[Given],
    folder: &str,
    (notes, next): (&[String], &[String]),
) {
    let input = |input: &InputDraft| -> (Vec<String>, u64) {
        let files = files_of(&input.files, given);
        (files.iter().map(|file| file.display().to_string()).collect(), input.records)
    };
    let inputs = draft.inputs.iter().map(|own| {
        let (files, records) = input(own);
        ToldInput {
            name: &own.name,
            format: own.format.name(),
            files,
            records,
            columns: own.columns.all.iter().map(|c| c.column.name.as_str()).collect(),
        }
    });
    let task = &draft.task;
    let told = Told {
        pipeline: &draft.name,
        folder: folder.to_owned(),
        inputs: inputs.collect(),
        series: &task.series,
        time: &task.time,
        target: &task.target,
        frequency: task.frequency.name(),
        look_at: notes,
        next,
    };
    host.result(&told, &format!("{folder}/pipeline.toml\n"));
}
