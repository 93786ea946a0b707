//! The S3 key layout, as pure functions. Each doc comment shows an example.
//!
//! Two buckets: *artifacts* is made before the stack and holds what the stack is made of; *data*
//! belongs to the stack and holds what the pipeline reads and writes.

use uuid::Uuid;

/// Prefix of the files of an input: `raw/energy/readings/`. A new upload replaces them all.
pub fn raw_prefix(pipeline: &str, input: &str) -> String {
    format!("raw/{pipeline}/{input}/")
}

/// What `deploy` uploaded last: `raw/energy/_uploaded.json`. Readers leave out such names.
pub fn uploaded(pipeline: &str) -> String {
    format!("raw/{pipeline}/_uploaded.json")
}

/// Prefix of a table that a run makes: `processed/energy/demand/`.
pub fn table_prefix(pipeline: &str, table: &str) -> String {
    format!("processed/{pipeline}/{table}/")
}

/// Prefix of the records of an input that quality rules turned away: `rejects/energy/readings/`.
pub fn rejects_prefix(pipeline: &str, input: &str) -> String {
    format!("rejects/{pipeline}/{input}/")
}

/// Row counts of the last cleaning: `reports/marriages/etl.json`.
pub fn etl_report(pipeline: &str) -> String {
    format!("reports/{pipeline}/etl.json")
}

/// Prefix of a pipeline's reports: `reports/marriages/`.
pub fn reports_prefix(pipeline: &str) -> String {
    format!("reports/{pipeline}/")
}

/// The newest drift check: `reports/marriages/drift.json`.
pub fn drift_report(pipeline: &str) -> String {
    format!("reports/{pipeline}/drift.json")
}

/// Which of the executions that uploads started is to run: `reports/marriages/next_run.json`.
pub fn next_run(pipeline: &str) -> String {
    format!("reports/{pipeline}/next_run.json")
}

/// Prefix of stored forecasts: `predictions/`.
pub const PREDICTIONS_PREFIX: &str = "predictions/";

/// Prefix of Athena's results: `athena/`.
pub const ATHENA_PREFIX: &str = "athena/";

/// One stored forecast: `predictions/output_6f2c….json`.
pub fn prediction(id: &Uuid) -> String {
    format!("{PREDICTIONS_PREFIX}output_{id}.json")
}

/// Prefix of what is predicted in batches: `batches/`.
pub const BATCHES_PREFIX: &str = "batches/";

/// Prefix of what a task predicts in batches: `batches/stroke/`. A crawler calls its table by the
/// last folder.
pub fn batches_prefix(task: &str) -> String {
    format!("{BATCHES_PREFIX}{task}/")
}

/// The name of a run: that of its execution.
pub fn run(execution: &str) -> &str {
    execution.rsplit(':').next().unwrap_or(execution)
}

/// The same of one run, a partition of the table: `batches/stroke/run=6f2c…/`.
pub fn batches_of_run(task: &str, run: &str) -> String {
    format!("{}run={run}/", batches_prefix(task))
}

/// What a run predicted for a part of the table: `batches/stroke/run=6f2c…/part-00003.parquet`.
/// The same run and part always name the same object.
pub fn batch(task: &str, run: &str, part: usize) -> String {
    format!("{}{part:05}.parquet", batch_of_run(task, run))
}

/// What the objects of a run's parts begin with: `batches/stroke/run=6f2c…/part-`.
pub fn batch_of_run(task: &str, run: &str) -> String {
    format!("{}part-", batches_of_run(task, run))
}

/// Whether an object has what a run predicted for a part of the table.
pub fn is_batch(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or_default();
    key.contains("/run=") && name.starts_with("part-") && name.ends_with(".parquet")
}

/// What was predicted in the backtest for a part of the table, beside what came:
/// `batches/close/run=6f2c…/backtest-00003.parquet`.
pub fn backtest_batch(task: &str, run: &str, part: usize) -> String {
    format!("{}backtest-{part:05}.parquet", batches_of_run(task, run))
}

/// Prefix of what runs say to themselves: `runs/stroke/`.
pub fn runs_prefix(pipeline: &str) -> String {
    format!("runs/{pipeline}/")
}

/// The parts of a run, one a line: `runs/stroke/6f2c…/parts.jsonl`.
pub fn parts(pipeline: &str, run: &str) -> String {
    format!("{}{run}/parts.jsonl", runs_prefix(pipeline))
}

/// Prefix of what was found without a target: `found/unusual/`.
pub fn found_prefix(task: &str) -> String {
    format!("found/{task}/")
}

/// The same of one execution: `found/unusual/6f2c….parquet`. The same execution always names the
/// same object.
pub fn found(task: &str, execution: &str) -> String {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, execution.as_bytes());
    format!("{}{id}.parquet", found_prefix(task))
}

/// The identity of a forecast: the same execution and series always name the same object, so a
/// retry overwrites instead of adding.
pub fn prediction_id(execution: &str, series: &str) -> Uuid {
    let name = format!("{execution}\u{0}{series}");
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
}

/// File name of a model's card.
pub const CARD_FILE: &str = "card.json";
/// File name of a model's weights.
pub const WEIGHTS_FILE: &str = "weights.safetensors";

/// Prefix of a pipeline's models: `models/marriages/`.
pub fn models_prefix(pipeline: &str) -> String {
    format!("models/{pipeline}/")
}

/// Prefix of what became of trainings: `models/marriages/trainings/`.
pub fn trainings_prefix(pipeline: &str) -> String {
    format!("models/{pipeline}/trainings/")
}

/// What became of one training: `models/marriages/trainings/3f9a….json`.
pub fn training_record(pipeline: &str, training_key: &str) -> String {
    format!("{}{training_key}.json", trainings_prefix(pipeline))
}

/// Prefix of the checkpoints of one training: `models/marriages/checkpoints/3f9a…/`.
pub fn checkpoints_prefix(pipeline: &str, training_key: &str) -> String {
    format!("models/{pipeline}/checkpoints/{training_key}/")
}

/// What to train: `specs/3f9a….json`.
pub fn train_spec(sha256: &str) -> String {
    format!("specs/{sha256}.json")
}

/// Pointer to the model in service: `models/marriages/current.json`.
pub fn model_pointer(pipeline: &str) -> String {
    format!("models/{pipeline}/current.json")
}

/// A file of one model version: `models/marriages/3f9a…/card.json`.
pub fn model_file(pipeline: &str, version: &str, file: &str) -> String {
    format!("models/{pipeline}/{version}/{file}")
}

/// The model server's binary: `bin/server/3f9a…/steppe-server`.
pub fn server_binary(sha256: &str) -> String {
    format!("bin/server/{sha256}/steppe-server")
}

/// The predictor's package: `lambda/predictor/3f9a….zip`.
pub fn predictor_zip(sha256: &str) -> String {
    format!("lambda/predictor/{sha256}.zip")
}

/// The package of the jobs: `lambda/jobs/3f9a….zip`.
pub fn jobs_zip(sha256: &str) -> String {
    format!("lambda/jobs/{sha256}.zip")
}

/// The Glue script: `glue/3f9a…/etl.py`.
pub fn glue_script(sha256: &str) -> String {
    format!("glue/{sha256}/etl.py")
}

/// The ETL plan that both engines run: `glue/3f9a…/plan.json`.
pub fn etl_plan(sha256: &str) -> String {
    format!("glue/{sha256}/plan.json")
}

/// The rendered template: `templates/3f9a….yaml`.
pub fn template(sha256: &str) -> String {
    format!("templates/{sha256}.yaml")
}

/// What the last two deployments are made of.
pub const BUILDS: &str = "builds.json";

/// Whether a key is of something built, which a deployment makes anew when it is missing. Models
/// are not: whoever rolls back wants one of them.
pub fn is_build(key: &str) -> bool {
    ["bin/", "glue/", "lambda/", "specs/", "templates/"].iter().any(|p| key.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_told_from_what_is_kept() {
        let sha = "3f9a";
        let built = [
            server_binary(sha),
            predictor_zip(sha),
            jobs_zip(sha),
            glue_script(sha),
            etl_plan(sha),
            train_spec(sha),
            template(sha),
        ];
        assert!(built.iter().all(|key| is_build(key)), "{built:?}");
        let kept = [model_pointer("bin"), model_file("glue", "1", "card.json"), BUILDS.to_owned()];
        assert!(!kept.iter().any(|key| is_build(key)), "{kept:?}");
    }

    #[test]
    fn a_retry_names_the_same_object_and_another_series_does_not() {
        let id = prediction_id("arn:execution:1", "Almaty");
        assert_eq!(id, prediction_id("arn:execution:1", "Almaty"));
        assert_ne!(id, prediction_id("arn:execution:1", "Astana"));
        assert_ne!(id, prediction_id("arn:execution:2", "Almaty"));
        assert!(prediction(&id).starts_with("predictions/output_"));
    }
}
