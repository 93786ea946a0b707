//! What the parts of a run came to, when a distributed Map has scored them: its children's outputs
//! lie in S3.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html>

use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use steppe_store::BucketError;
use steppe_wire::failure::Failure;
use steppe_wire::keys;

use super::{Run, Scored, Scorer};

/// Bytes of a file of results: what people are told, and a line per part.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The manifest of a Map's results.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    result_files: ResultFiles,
}

/// Its files by how children ended. Those of failed children are not read: then the Map has failed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct ResultFiles {
    #[serde(default)]
    succeeded: Vec<ResultFile>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResultFile {
    key: String,
}

impl Scorer {
    /// The sum of what children came to.
    pub(super) async fn sum(
        &self,
        run: &Run,
        (results, left_out_max): (&str, usize),
    ) -> Result<Scored, Failure> {
        let manifest: Manifest = self.json(results).await?;
        let mut all = Scored::default();
        for file in manifest.result_files.succeeded {
            // One output per child, which has scored some parts.
            let children: Vec<Vec<Scored>> = self.json(&file.key).await?;
            children.into_iter().flatten().for_each(|part| all.add(part));
        }
        all.forecasts.truncate(run.shown);
        all.left_out.truncate(left_out_max);
        Ok(all)
    }

    async fn json<T: DeserializeOwned>(&self, key: &str) -> Result<T, Failure> {
        let own = keys::runs_prefix(&self.pipeline);
        if !key.starts_with(&own) {
            return Err(Failure::permanent(format!("`{key}` is not in `{own}`")));
        }
        let failed = |e| Failure::from(BucketError::of(key, e));
        let found = self.data.get(&Path::from(key)).await.map_err(failed)?;
        if found.meta.size > FILE_BYTES_MAX {
            let (size, most) = (found.meta.size, FILE_BYTES_MAX);
            return Err(Failure::permanent(format!("`{key}` has {size} bytes, more than {most}")));
        }
        let bytes = found.bytes().await.map_err(failed)?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Failure::permanent(format!("`{key}` has no results of a Map: {e}")))
    }
}

impl Scored {
    fn add(&mut self, part: Self) {
        self.count += part.count;
        self.absent += part.absent;
        self.left_out.extend(part.left_out);
        self.forecasts.extend(part.forecasts);
        self.yes = self.yes.or(part.yes.map(|_| 0)).map(|sum| sum + part.yes.unwrap_or_default());
        self.label = self.label.take().or(part.label);
    }
}
