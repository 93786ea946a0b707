//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Puts a predictive pipeline on AWS, or on this machine, with one command.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
pub struct Args {
    /// Environment of steppe.toml.
    #[arg(long, global = true, default_value = "local", env = "STEPPE_ENV")]
    pub env: String,
    /// Pipeline; the one in steppe.toml when absent.
    #[arg(long, global = true)]
    pub pipeline: Option<String>,
    /// Tell a program: every event as a line of JSON on standard output, the result among them.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Build, train, upload, create or update the stack, and run the pipeline once.
    Deploy {
        /// The data.
        #[command(flatten)]
        data: DataArgs,
        /// Agree to changes that lose data or widen access.
        #[arg(long)]
        yes: bool,
        /// Print the plan and stop.
        #[arg(long)]
        dry_run: bool,
        /// Do not run the pipeline: forecasts stay as they are until it runs.
        #[arg(long)]
        no_run: bool,
    },
    /// Run the pipeline once and check every result.
    SmokeTest {
        /// Series to forecast; all when absent.
        series: Vec<String>,
        /// Print the checks and stop.
        #[arg(long)]
        dry_run: bool,
    },
    /// Empty the buckets, delete the stack, look for leftovers.
    Destroy {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Print the plan and stop.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print what deploy would do.
    Plan {
        /// The data.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Print the CloudFormation template.
    Render {
        /// Write one template per combination of options into this folder instead.
        #[arg(long)]
        every_combination: Option<PathBuf>,
    },
    /// Train the model on this machine.
    Train {
        /// The data.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Compare every family of models on the data: a table, and a report with charts.
    Evaluate {
        /// The data.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Pipelines: write the first manifest of a new one.
    Pipeline {
        /// What to do with pipelines.
        #[command(subcommand)]
        verb: PipelineVerb,
    },
    /// Print the card of the model: the deployed one, or the one trained here; list, promote, roll
    /// back.
    Model {
        /// What to do with the models.
        #[command(subcommand)]
        verb: Option<ModelVerb>,
    },
    /// Run the deployed pipeline with training: a better model goes into service.
    Retrain(PlanArgs),
    /// Go on with the newest run of the deployed pipeline, if it failed or was cut off: what it has
    /// done stays done.
    Redrive(PlanArgs),
    /// Look for drift: what the deployed model sees, says and said, beside its backtest.
    Drift(PlanArgs),
    /// Ask the deployed predictor about one series, entity or row.
    Predict {
        /// Name of the series, or of what a row of the table is about.
        #[arg(required_unless_present = "row", conflicts_with = "row")]
        name: Option<String>,
        /// A row: a JSON object with a value per column, `null` where one is missing.
        #[arg(long)]
        row: Option<String>,
    },
    /// Ask Athena: SQL, or the name of a query; without either, list the names.
    Query {
        /// SQL or a name.
        sql_or_name: Option<String>,
        /// Rows to print.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Draw the whole answer as a page in `.steppe/reports/`.
        #[arg(long)]
        chart: bool,
    },
    /// Ask Athena what the tables hold: distributions, missing values, correlations, as a page.
    Profile {
        /// Tables; all when absent.
        tables: Vec<String>,
        /// Where the page goes; into `.steppe/reports/` when absent.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show the stack and its resources.
    Status,
    /// Print the stack's outputs.
    Outputs,
    /// Print logs.
    Logs {
        /// Whose.
        #[arg(default_value = "predictor")]
        of: LogSource,
        /// How far back.
        #[arg(long, default_value_t = 60)]
        minutes: u32,
    },
    /// Show what the stack's roles are granted and what they used, and the smallest policies.
    Iam,
    /// The embedded cloud: start, stop, look.
    Local {
        /// What to do with it.
        #[command(subcommand)]
        verb: LocalVerb,
    },
    /// Open the console of the embedded cloud: what is in it, as pages in a browser.
    Console {
        /// Print the link only.
        #[arg(long)]
        no_open: bool,
    },
    /// Check this machine and the configuration.
    Doctor,
}

/// Verbs of pipelines.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum PipelineVerb {
    /// Look at data and write a first manifest that runs.
    New(NewPipeline),
}

/// What a first manifest is made of.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct NewPipeline {
    /// Its name: lower-case letters and digits, at most 16.
    pub name: String,
    /// A folder, a file, or INPUT=FILE for the input INPUT; may be given several times. Files with
    /// the same columns are one input.
    #[arg(long, value_name = "FOLDER|FILE|INPUT=FILE", num_args = 1.., required = true)]
    pub data: Vec<String>,
    /// Column that is forecast, also as INPUT.COLUMN.
    #[arg(long, value_name = "COLUMN")]
    pub target: Option<String>,
    /// Column of the time.
    #[arg(long, value_name = "COLUMN")]
    pub time: Option<String>,
    /// Column that names the series; several of them name it together.
    #[arg(long, value_name = "COLUMN", num_args = 1..)]
    pub series: Vec<String>,
}

/// Verbs of models.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ModelVerb {
    /// List the models, their times in service, and what trainings found.
    List,
    /// Put a model into service.
    Promote {
        /// Its version, or the beginning of it.
        version: String,
        /// What of it.
        #[command(flatten)]
        plan: PlanArgs,
    },
    /// Put the model back into service that was there before.
    Rollback(PlanArgs),
}

/// How far a verb goes whose plan needs nobody's consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct PlanArgs {
    /// Print the plan and stop.
    #[arg(long)]
    pub dry_run: bool,
}

impl Verb {
    /// Its name, as it is typed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Deploy { .. } => "deploy",
            Self::SmokeTest { .. } => "smoke-test",
            Self::Destroy { .. } => "destroy",
            Self::Plan { .. } => "plan",
            Self::Render { .. } => "render",
            Self::Train { .. } => "train",
            Self::Evaluate { .. } => "evaluate",
            Self::Pipeline { .. } => "pipeline",
            Self::Model { .. } => "model",
            Self::Retrain(_) => "retrain",
            Self::Redrive(_) => "redrive",
            Self::Drift(_) => "drift",
            Self::Predict { .. } => "predict",
            Self::Query { .. } => "query",
            Self::Profile { .. } => "profile",
            Self::Status => "status",
            Self::Outputs => "outputs",
            Self::Logs { .. } => "logs",
            Self::Iam => "iam",
            Self::Local { .. } => "local",
            Self::Console { .. } => "console",
            Self::Doctor => "doctor",
        }
    }
}

/// Where the raw data come from.
#[derive(Debug, Clone, clap::Args)]
pub struct DataArgs {
    /// A folder, a file, or NAME=FILE for the input NAME; may be given several times. Tables also
    /// compressed, in an older encoding, or as a workbook. The manifest's synthetic samples when
    /// absent.
    #[arg(long, value_name = "FOLDER|FILE|NAME=FILE", num_args = 1..)]
    pub data: Vec<String>,
}

/// Logs that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogSource {
    /// The Lambda function.
    Predictor,
    /// The Glue job.
    Clean,
    /// The checks of inputs and forecasts.
    Check,
    /// The training in the stack.
    Train,
    /// What scores parts of the table.
    Score,
    /// What looks at tables without a target.
    Look,
    /// The check for drift.
    Drift,
    /// The model server's console.
    Server,
}

/// Verbs of the embedded cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum LocalVerb {
    /// Start it.
    Start,
    /// Stop it; its state stays.
    Stop,
    /// Say whether it runs.
    Status,
    /// Print the environment for other AWS clients: `eval "$(cargo xtask local env)"`.
    Env,
    /// Stop it and delete its state.
    Reset,
}
