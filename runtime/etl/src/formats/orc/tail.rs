//! The tail of an ORC file, looked at before the library does: it follows types into types as deep
//! as they are nested, which a stack bears only when they are a small tree.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use orc_rust::proto::{CompressionKind, Footer, PostScript};
use prost::Message;
use steppe_wire::hint::Hinted;
use tokio_util::bytes::Bytes;

use crate::formats::spool::Spool;

/// Depth of types within types.
const DEPTH_MAX: usize = 64;
/// Bytes of a footer without its compression.
const FOOTER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of a block without its compression, unless the file says how many.
const BLOCK_BYTES: u64 = 256 * 1024;

/// Refuses a file whose types are no small tree.
pub fn check(file: &Spool) -> Result<()> {
    footer(|after, length| file.before_end(after, length)).map(|_| ())
}

/// The footer of a file of which `before_end` gives so many bytes before the last ones; its types
/// are a small tree.
pub fn footer(before_end: impl Fn(u64, u64) -> std::io::Result<Bytes>) -> Result<Footer> {
    let last = before_end(0, 1)?;
    let length = u64::from(last[0]);
    let postscript = before_end(1, length)?;
    let postscript = PostScript::decode(postscript)?;
    ensure!(postscript.magic() == "ORC", "it does not end as one");
    let footer = before_end(1 + length, postscript.footer_length())?;
    let block = postscript.compression_block_size.unwrap_or(BLOCK_BYTES);
    let footer = decompressed(&footer, postscript.compression(), block)?;
    let footer = Footer::decode(&footer[..])?;
    check_types(&footer)?;
    Ok(footer)
}

/// Children come after their parents, and have one each.
fn check_types(footer: &Footer) -> Result<()> {
    let mut depths = vec![None; footer.types.len()];
    if let Some(root) = depths.first_mut() {
        *root = Some(0);
    }
    for (parent, parent_type) in footer.types.iter().enumerate() {
        for child in &parent_type.subtypes {
            let child = usize::try_from(*child)?;
            let depth = depths[parent].context("its types are no tree")? + 1;
            ensure!(depth <= DEPTH_MAX, "its types are nested more than {DEPTH_MAX} deep");
            let place = depths.get_mut(child).filter(|place| child > parent && place.is_none());
            *place.context("its types are no tree")? = Some(depth);
        }
    }
    Ok(())
}

/// Blocks, each with three bytes of its length before it and whether it is as it was.
fn decompressed(bytes: &[u8], kind: CompressionKind, block: u64) -> Result<Vec<u8>> {
    if kind == CompressionKind::None {
        return Ok(bytes.to_vec());
    }
    let (mut rest, mut out) = (bytes, Vec::new());
    while let Some((header, after)) = rest.split_first_chunk::<3>() {
        let [low, middle, high] = header.map(usize::from);
        let header = low | middle << 8 | high << 16;
        let (part, after) = after.split_at_checked(header >> 1).context("it ends too early")?;
        if header & 1 == 1 {
            out.extend_from_slice(part);
        } else {
            let left = (FOOTER_BYTES_MAX - out.len()) as u64 + 1;
            decompress(part, kind, block, left, &mut out)?;
        }
        ensure!(out.len() <= FOOTER_BYTES_MAX, "its footer is too large");
        rest = after;
    }
    Ok(out)
}

fn decompress(
    part: &[u8],
    kind: CompressionKind,
    block: u64,
    bytes_max: u64,
    out: &mut Vec<u8>,
) -> Result<()> {
    match kind {
        CompressionKind::Zlib => {
            flate2::read::DeflateDecoder::new(part).take(bytes_max).read_to_end(out)?;
        }
        CompressionKind::Zstd => {
            zstd::Decoder::with_buffer(part)?.take(bytes_max).read_to_end(out)?;
        }
        CompressionKind::Snappy => {
            ensure!(snap::raw::decompress_len(part)? as u64 <= bytes_max, "it is too large");
            out.extend(snap::raw::Decoder::new().decompress_vec(part)?);
        }
        CompressionKind::Lz4 => {
            let block = usize::try_from(block.min(bytes_max))?;
            out.extend(lz4_flex::block::decompress(part, block)?);
        }
        CompressionKind::None | CompressionKind::Lzo => {
            bail!(Hinted::new(
                "it is compressed by LZO",
                "compress it by zlib, snappy, zstd or lz4"
            ))
        }
    }
    Ok(())
}
