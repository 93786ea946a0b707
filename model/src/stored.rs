//! What an artifact holds of fitted models: a record of each in the card, and tensors in the file
//! beside it.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::artifact::ArtifactError;
use steppe_spec::Family;

/// What a fitted model leaves in an artifact.
#[derive(Debug, Clone, Default)]
pub struct Saved {
    /// For the card; null when there is nothing to keep.
    pub record: Value,
    tensors: Vec<Tensor>,
}

#[derive(Debug, Clone)]
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Saved {
    /// Keeps a record in the card.
    pub fn record(&mut self, record: &impl Serialize) {
        self.record = serde_json::to_value(record).expect("a record has only string keys");
    }

    /// Keeps a matrix under a name of the family's own.
    pub fn matrix(&mut self, name: String, (rows, columns): (usize, usize), values: &[f32]) {
        let (dtype, shape, bytes) = (Dtype::F32, vec![rows, columns], to_bytes(values));
        self.tensors.push(Tensor { name, dtype, shape, bytes });
    }

    /// Keeps a text under a name of the family's own.
    pub fn text(&mut self, name: &str, text: &str) {
        let (name, dtype, bytes) = (name.to_owned(), Dtype::U8, text.as_bytes().to_vec());
        self.tensors.push(Tensor { name, dtype, shape: vec![bytes.len()], bytes });
    }
}

/// The file of tensors of several families, each of which has its own names, and of what else is
/// kept with them.
pub fn tensors_to_bytes<'a>(
    saved: impl Iterator<Item = (Family, &'a Saved)>,
    beside: &[(&'static str, Vec<u8>)],
) -> Vec<u8> {
    let mut views: BTreeMap<String, TensorView<'_>> = BTreeMap::new();
    for (family, saved) in saved {
        for Tensor { name, dtype, shape, bytes } in &saved.tensors {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            views.insert(full(family, name), view.expect("the shape is the data's"));
        }
    }
    for (name, bytes) in beside {
        views.insert((*name).to_owned(), view(Dtype::U8, bytes, 1));
    }
    safetensors::serialize(views, None).expect("every view is valid")
}

fn full(family: Family, name: &str) -> String {
    format!("{}.{name}", family.name())
}

/// What an artifact that is read has of one family.
#[derive(Debug)]
pub struct Stored<'a> {
    /// The family.
    pub family: Family,
    /// What the card has of it.
    pub record: &'a Value,
    /// The tensors of all families.
    pub tensors: &'a SafeTensors<'a>,
}

impl Stored<'_> {
    /// The record that [`Saved::record`] kept.
    pub fn record<R: DeserializeOwned>(&self) -> Result<R, ArtifactError> {
        R::deserialize(self.record).map_err(|e| {
            ArtifactError::Model(format!("what the card has of `{}`: {e}", self.family.name()))
        })
    }

    /// `expected` finite numbers that [`Saved::matrix`] kept.
    pub fn numbers(&self, name: &str, expected: usize) -> Result<Vec<f32>, ArtifactError> {
        let tensor = full(self.family, name);
        let stored = self.tensors.tensor(&tensor)?;
        let values = from_bytes(stored.data());
        if stored.dtype() != Dtype::F32 || !values.iter().all(|v| v.is_finite()) {
            let defect = format!("tensor `{tensor}` has weights that are no finite numbers");
            return Err(ArtifactError::Defect(defect));
        }
        match values.len() {
            found if found == expected => Ok(values),
            found => Err(ArtifactError::Shape { tensor, found, expected }),
        }
    }

    /// The text that [`Saved::text`] kept.
    pub fn text(&self, name: &str) -> Result<String, ArtifactError> {
        let tensor = full(self.family, name);
        let bytes = self.tensors.tensor(&tensor)?.data().to_vec();
        String::from_utf8(bytes)
            .map_err(|e| ArtifactError::Model(format!("tensor `{tensor}` is no text: {e}")))
    }
}

/// The bytes of `values`, little-endian.
pub fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The values of little-endian `bytes`.
pub fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// A flat tensor over `bytes`.
pub fn view(dtype: Dtype, bytes: &[u8], size: usize) -> TensorView<'_> {
    TensorView::new(dtype, vec![bytes.len() / size], bytes).expect("the length is the data's")
}
