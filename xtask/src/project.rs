//! The files of the project: configuration, manifest, data.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use steppe_plan::environment::{Environment, Project};
use steppe_plan::etl::{SqlFiles, etl_plan, sql_files};
use steppe_plan::names::Names;
use steppe_spec::{Manifest, nearest};
use steppe_wire::etl::EtlPlan;
use steppe_wire::hint::Hinted;
use steppe_wire::keys;
use tempfile::NamedTempFile;

use crate::cli::{Args, DataArgs};
use crate::hint::OrHint;
use crate::inputs::{Inputs, RawData};

/// The folder of everything that is made here and not kept in git.
const SCRATCH: &str = ".steppe";
/// Mode of folders in it.
const FOLDER_MODE: u32 = 0o700;
/// Mode of files in it.
const FILE_MODE: u32 = 0o600;
/// Whatever others may do with a file.
const OTHERS: u32 = 0o077;

/// Where a verb works: project, environment and pipeline, all parsed and checked.
#[derive(Debug)]
pub struct Workspace {
    /// Root of the repository.
    pub root: PathBuf,
    /// Name of the environment.
    pub environment_name: String,
    /// The environment.
    pub environment: Environment,
    /// The pipeline.
    pub manifest: Manifest,
    /// Text of each named query, in the manifest's order.
    pub query_sql: Vec<String>,
    /// Text of each check, in the manifest's order.
    pub check_sql: Vec<String>,
    /// The cleaning job.
    pub etl_plan: EtlPlan,
    /// Names of everything.
    pub names: Names,
}

impl Workspace {
    /// Reads and checks everything that the verb needs.
    pub fn open(args: &Args) -> Result<Self> {
        let root = root()?;
        let project = Project::parse("steppe.toml", &read(&root.join("steppe.toml"))?)?;
        let pipeline = args.pipeline.as_deref().unwrap_or(&project.pipeline);
        let dir = pipelines(&root).join(pipeline);
        let manifest_name = format!("model/pipelines/{pipeline}/pipeline.toml");
        if !root.join(&manifest_name).exists() {
            return Err(no_pipeline(&root, pipeline));
        }
        let text = read(&root.join(&manifest_name))?;
        Self::of(args, pipeline, &text, &|file| read(&dir.join(file)))
    }

    /// A workspace whose pipeline has this manifest and the files beside it that `beside` reads.
    pub fn of(
        args: &Args,
        pipeline: &str,
        text: &str,
        beside: &dyn Fn(&str) -> Result<String>,
    ) -> Result<Self> {
        let root = root()?;
        let project = Project::parse("steppe.toml", &read(&root.join("steppe.toml"))?)?;
        let environment = project.environment("steppe.toml", &args.env)?.clone();
        let manifest_name = format!("model/pipelines/{pipeline}/pipeline.toml");
        let manifest = Manifest::parse(&manifest_name, text)?;
        let query_sql = manifest.queries.iter().map(|q| beside(&q.file)).collect::<Result<_>>()?;
        let check_sql = manifest.checks.iter().map(|c| beside(&c.file)).collect::<Result<_>>()?;
        let mut sql = SqlFiles::new();
        for file in sql_files(&manifest) {
            sql.insert(file.to_owned(), beside(file)?);
        }
        environment.check(&manifest_name, text, &manifest)?;
        let names = project.names(&args.env, &environment, &manifest.name);
        if let Some(defect) = names.defect() {
            let hint = format!("shorten one of them in `steppe.toml` or in {manifest_name}");
            bail!(Hinted::new(defect, hint));
        }
        let etl_plan = etl_plan(&manifest, &sql, &format!("s3://{}/", names.data_bucket()));
        Ok(Self {
            root,
            environment_name: args.env.clone(),
            environment,
            manifest,
            query_sql,
            check_sql,
            etl_plan,
            names,
        })
    }

    /// `.steppe/`: everything that is made here and not kept in git.
    pub fn scratch(&self) -> PathBuf {
        scratch(&self.root)
    }

    /// The folder of the pipeline.
    pub fn folder(&self) -> PathBuf {
        pipelines(&self.root).join(&self.manifest.name)
    }

    /// Prefix of the table that the task is about.
    pub fn dataset_key(&self) -> String {
        keys::table_prefix(&self.names.pipeline, self.manifest.source().name)
    }

    /// The raw data: the given files, or the samples.
    pub fn raw_data(&self, args: &DataArgs) -> Result<RawData> {
        let inputs = Inputs {
            manifest: &self.manifest,
            root: &self.root,
            folder: &self.folder(),
            plan: &self.etl_plan,
            scratch: &self.scratch(),
        };
        inputs.read(&args.data)
    }
}

/// The folder with `steppe.toml`: the working folder or one above it.
pub fn root() -> Result<PathBuf> {
    let here = std::env::current_dir().context("there is no working folder")?;
    let found = here.ancestors().find(|dir| dir.join("steppe.toml").is_file());
    found.map(Path::to_path_buf).or_hint(|| {
        Hinted::new(
            format!("there is no steppe.toml in {} or a folder above it", here.display()),
            "work in a checkout of Steppe",
        )
    })
}

/// The folder with a folder for each pipeline.
pub fn pipelines(root: &Path) -> PathBuf {
    root.join("model/pipelines")
}

/// `.steppe/`, or `STEPPE_DIR` for tests that must not share it.
pub fn scratch(root: &Path) -> PathBuf {
    std::env::var_os("STEPPE_DIR").map_or_else(|| root.join(SCRATCH), PathBuf::from)
}

fn no_pipeline(root: &Path, pipeline: &str) -> anyhow::Error {
    let entries = std::fs::read_dir(pipelines(root)).into_iter().flatten().flatten();
    let known: Vec<String> =
        entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    let hint = match nearest(pipeline, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    Hinted::new(format!("there is no pipeline `{pipeline}`"), hint).into()
}

/// Reads a text file.
pub fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Makes a folder, and those above it, for nobody else to look into: data, models and keys of the
/// embedded cloud lie in there.
///
/// A folder that is there keeps its mode, because it may be one of the user's, unless it is the
/// `.steppe` that this program made.
pub fn make_private(dir: &Path) -> Result<()> {
    let context = || format!("cannot create {}", dir.display());
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(FOLDER_MODE).create(dir).with_context(context)?;
    let own = dir.ancestors().find(|d| d.file_name().is_some_and(|name| name == SCRATCH));
    let Some(own) = own else { return Ok(()) };
    let mode = std::fs::metadata(own).with_context(context)?.permissions().mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let private = std::fs::Permissions::from_mode(FOLDER_MODE);
    std::fs::set_permissions(own, private)
        .with_context(|| format!("cannot keep others out of {}", own.display()))
}

/// How a file that only its owner may read is opened for writing.
pub fn private_file() -> std::fs::OpenOptions {
    let mut options = std::fs::File::options();
    options.write(true).create(true).mode(FILE_MODE);
    options
}

/// Writes a private file whole or not at all, so that it is there when this returns; makes its
/// folder.
pub fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let context = || format!("cannot write {}", file.display());
    let Some(dir) = file.parent() else { bail!(context()) };
    make_private(dir)?;
    // Only its owner may read it, and it goes unless it is given its name.
    let mut new = NamedTempFile::new_in(dir).with_context(context)?;
    new.write_all(bytes).and_then(|()| new.as_file().sync_all()).with_context(context)?;
    new.persist(file).map(drop).map_err(|e| e.error).with_context(context)
}
