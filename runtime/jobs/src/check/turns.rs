//! Which of several executions that uploads started is to run.
//!
//! Each writes its own name over the others' as soon as it begins, waits, and looks. Whoever finds
//! another name ends: that one was written later, so what it has still to do begins after this
//! execution's upload was there. The last name is found by its own execution, so one always runs
//! that sees everything. It rests on S3 alone, where a read sees the last finished write, also one
//! that replaces an object: <https://disaster-recovery.workshop.aws/en/services/storage/s3.html>.

use serde::{Deserialize, Serialize};
use steppe_store::{Bucket, read_json, write_json};
use steppe_wire::failure::Failure;
use steppe_wire::keys;

/// The execution that is to run.
#[derive(Debug, Serialize, Deserialize)]
struct NextRun {
    execution: String,
}

/// Says that `execution` is to run, and none before it.
pub async fn take(data: &Bucket, pipeline: &str, execution: &str) -> Result<(), Failure> {
    let next = NextRun { execution: execution.to_owned() };
    Ok(write_json(data, &keys::next_run(pipeline), &next).await?)
}

/// The execution that is to run, when it is another than `execution`.
pub async fn other(
    data: &Bucket,
    pipeline: &str,
    execution: &str,
) -> Result<Option<String>, Failure> {
    let next: Option<NextRun> =
        read_json(data, &keys::next_run(pipeline), "the name of an execution").await?;
    // Somebody may have deleted it, and then nobody else is known.
    Ok(next.map(|next| next.execution).filter(|next| next != execution))
}
