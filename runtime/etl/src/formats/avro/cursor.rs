//! Values of Avro in the bytes of a block.

use anyhow::{Context, Result, bail, ensure};

use super::schema::{Kind, Schema};

/// Depth of values that are skipped: a type may contain itself.
const DEPTH_MAX: usize = 64;

/// Values that are skipped in a block, besides [`SKIPS_PER_BYTE`]: those of some types take no
/// bytes, and types may have as many of them as they like.
const SKIPS_MAX: usize = 1_000_000;
const SKIPS_PER_BYTE: usize = 16;

/// What is left of a block.
#[derive(Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    skips: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of a block.
    pub fn new(bytes: &'a [u8]) -> Self {
        let skips = bytes.len().saturating_mul(SKIPS_PER_BYTE).saturating_add(SKIPS_MAX);
        Self { rest: bytes, skips }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(length).context("the block ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next bytes, as many as an array has.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    /// A whole number, in seven bits a byte.
    pub fn long(&mut self) -> Result<i64> {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            let fits = shift < 63 || (shift == 63 && bits <= 1);
            ensure!(fits, "a number has more than 64 bits");
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
            shift += 7;
        }
    }

    /// A whole number of 32 bits.
    pub fn int(&mut self) -> Result<i32> {
        i32::try_from(self.long()?).context("a number has more than 32 bits")
    }

    /// A truth value.
    pub fn boolean(&mut self) -> Result<bool> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => bail!("{other} is no truth value"),
        }
    }

    /// Bytes with their length before them.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.long()?).context("a length is negative")?;
        self.take(length)
    }

    /// Which of `count` something is.
    pub fn choice(&mut self, count: usize) -> Result<usize> {
        let choice = usize::try_from(self.long()?).ok().filter(|choice| *choice < count);
        choice.with_context(|| format!("a choice is none of {count}"))
    }

    /// Passes over a value of a type.
    pub fn skip(&mut self, schema: &Schema, id: usize, depth: usize) -> Result<()> {
        ensure!(depth < DEPTH_MAX, "values are nested more than {DEPTH_MAX} deep");
        self.skips = self.skips.checked_sub(1).context("values without bytes are too many")?;
        match schema.kind(id) {
            Kind::Null => {}
            Kind::Boolean => drop(self.take(1)?),
            Kind::Int | Kind::Long | Kind::Enum(_) => drop(self.long()?),
            Kind::Float => drop(self.take(4)?),
            Kind::Double => drop(self.take(8)?),
            Kind::Bytes | Kind::Text => drop(self.bytes()?),
            Kind::Fixed(size) => drop(self.take(*size)?),
            Kind::Record(fields) => {
                for field in fields {
                    self.skip(schema, field.id, depth + 1)?;
                }
            }
            Kind::Union(choices) => {
                let choice = self.choice(choices.len())?;
                self.skip(schema, choices[choice], depth + 1)?;
            }
            Kind::Array(item) => self.skip_items(schema, *item, false, depth + 1)?,
            Kind::Map(value) => self.skip_items(schema, *value, true, depth + 1)?,
        }
        Ok(())
    }

    fn skip_items(
        &mut self,
        schema: &Schema,
        id: usize,
        has_keys: bool,
        depth: usize,
    ) -> Result<()> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.bytes()?;
                continue;
            }
            for _ in 0..count {
                let before = self.left();
                if has_keys {
                    self.bytes()?;
                }
                self.skip(schema, id, depth)?;
                if self.left() == before {
                    // What takes no bytes takes none however often.
                    break;
                }
            }
        }
    }
}
