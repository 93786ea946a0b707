//! Numbers as bytes, and bytes as tensors.

use safetensors::tensor::{Dtype, TensorView};

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
