//! CBOR (RFC 8949), as much of it as Smithy's protocol `rpc-v2-cbor` uses.
//!
//! Times (tag 1) become numbers of seconds and bytes base64, as in AWS's JSON protocols.

use base64::Engine;
use serde_json::{Map, Number, Value};

use super::moment::{self, Format};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::model::{Member, Model, Shape, Structure};

/// Levels of a value.
const DEPTH_MAX: usize = 32;
/// Tag of seconds since 1970.
const TIME_TAG: u64 = 1;

/// In what moments are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Seconds, as Smithy's protocol has them.
    Seconds,
    /// Milliseconds, as AWS's older protocol has them.
    Millis,
}

/// Reads one value, which must be all there is.
pub fn decode(bytes: &[u8], times: Times) -> ApiResult {
    let mut reader = Reader { bytes, at: 0, times };
    let value = reader.value(0)?;
    if reader.at == bytes.len() { Ok(value) } else { Err(malformed()) }
}

/// Writes the members of a structure by its shape; what is null is left out, as in the other
/// protocols. The error is the path of a member that AWS does not know.
pub fn encode(
    model: &Model,
    structure: &Structure,
    value: &Value,
    times: Times,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    Shaped { model, times }.structure(structure, value, &mut out)?;
    Ok(out)
}

/// Writes a value that no shape describes: an error.
pub fn encode_plain(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

/// Writes values by their shapes.
struct Shaped<'m> {
    model: &'m Model,
    times: Times,
}

impl Shaped<'_> {
    fn structure(
        &self,
        structure: &Structure,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let Value::Object(members) = value else { return Err("the whole".to_owned()) };
        let given = || members.iter().filter(|(_, value)| !value.is_null());
        head(5, given().count() as u64, out);
        for (name, value) in given() {
            let member = structure.members.get(name).ok_or_else(|| name.clone())?;
            write_text(member.wire_name(name), out);
            self.member(member, value, out).map_err(|inner| format!("{name}.{inner}"))?;
        }
        Ok(())
    }

    fn member(&self, member: &Member, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        match (self.model.of(member), value) {
            (Some(Shape::Structure(structure)), _) => self.structure(structure, value, out)?,
            (Some(Shape::List(list)), Value::Array(items)) => {
                head(4, items.len() as u64, out);
                items.iter().try_for_each(|item| self.member(&list.member, item, out))?;
            }
            (Some(Shape::Map(map)), Value::Object(entries)) => {
                head(5, entries.len() as u64, out);
                for (key, value) in entries {
                    write_text(key, out);
                    self.member(&map.value, value, out)?;
                }
            }
            (Some(Shape::Timestamp(_)), _) => {
                head(6, TIME_TAG, out);
                write(&self.moment(value), out);
            }
            (Some(Shape::Blob(_)), Value::String(text)) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                let bytes = bytes.map_err(|_| "bytes".to_owned())?;
                head(2, bytes.len() as u64, out);
                out.extend_from_slice(&bytes);
            }
            _ => write(value, out),
        }
        Ok(())
    }

    fn moment(&self, value: &Value) -> Value {
        match self.times {
            Times::Seconds => moment::write(value, None, Format::Seconds),
            Times::Millis => moment::of(value).map(|time| time.as_millisecond()).into(),
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    head(3, text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn malformed() -> ApiError {
    ApiError::new("SerializationException", "the body is not the CBOR of an input")
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    times: Times,
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> ApiResult<&[u8]> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(malformed)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// The argument of an item; `None` stands for an indefinite length.
    fn argument(&mut self, short: u8) -> ApiResult<Option<u64>> {
        let length = match short {
            0..=23 => return Ok(Some(u64::from(short))),
            24..=27 => 1 << (short - 24),
            31 => return Ok(None),
            _ => return Err(malformed()),
        };
        let bytes = self.take(length)?;
        Ok(Some(bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))))
    }

    fn ends(&mut self) -> bool {
        let end = self.bytes.get(self.at) == Some(&0xff);
        self.at += usize::from(end);
        end
    }

    fn value(&mut self, level: usize) -> ApiResult {
        if level > DEPTH_MAX {
            return Err(malformed());
        }
        let first = self.take(1)?[0];
        let (major, short) = (first >> 5, first & 0x1f);
        match major {
            0 => Ok(Value::from(self.argument(short)?.ok_or_else(malformed)?)),
            1 => {
                let number = self.argument(short)?.ok_or_else(malformed)?;
                let number = i64::try_from(number).map_err(|_| malformed())?;
                Ok(Value::from(-1 - number))
            }
            2 => {
                let bytes = self.chunks(2, short)?;
                Ok(Value::String(base64::engine::general_purpose::STANDARD.encode(bytes)))
            }
            3 => self.text(short).map(Value::String),
            4 => self.items(short, level),
            5 => self.fields(short, level),
            6 => {
                let tag = self.argument(short)?;
                let value = self.value(level + 1)?;
                match (tag, self.times, value.as_f64()) {
                    (Some(TIME_TAG), Times::Millis, Some(millis)) => float(millis / 1_000.0),
                    _ => Ok(value),
                }
            }
            _ => self.simple(short),
        }
    }

    fn text(&mut self, short: u8) -> ApiResult<String> {
        String::from_utf8(self.chunks(3, short)?).map_err(|_| malformed())
    }

    /// A string, which may come in chunks.
    fn chunks(&mut self, major: u8, short: u8) -> ApiResult<Vec<u8>> {
        if let Some(length) = self.argument(short)? {
            let length = usize::try_from(length).map_err(|_| malformed())?;
            return Ok(self.take(length)?.to_vec());
        }
        let mut all = Vec::new();
        while !self.ends() {
            let first = self.take(1)?[0];
            if first >> 5 != major {
                return Err(malformed());
            }
            let length = self.argument(first & 0x1f)?.ok_or_else(malformed)?;
            let length = usize::try_from(length).map_err(|_| malformed())?;
            all.extend_from_slice(self.take(length)?);
        }
        Ok(all)
    }

    fn items(&mut self, short: u8, level: usize) -> ApiResult {
        let count = self.argument(short)?;
        let mut items = Vec::new();
        while self.more(count, items.len()) {
            items.push(self.value(level + 1)?);
        }
        Ok(Value::Array(items))
    }

    fn fields(&mut self, short: u8, level: usize) -> ApiResult {
        let count = self.argument(short)?;
        let mut fields = Map::new();
        let mut read = 0;
        while self.more(count, read) {
            let first = self.take(1)?[0];
            if first >> 5 != 3 {
                return Err(malformed());
            }
            let name = self.text(first & 0x1f)?;
            fields.insert(name, self.value(level + 1)?);
            read += 1;
        }
        Ok(Value::Object(fields))
    }

    fn more(&mut self, count: Option<u64>, read: usize) -> bool {
        count.map_or_else(|| !self.ends(), |count| (read as u64) < count)
    }

    fn simple(&mut self, short: u8) -> ApiResult {
        match short {
            20 => Ok(Value::Bool(false)),
            21 => Ok(Value::Bool(true)),
            22 | 23 => Ok(Value::Null),
            25 => {
                let bytes = self.take(2)?;
                float(f64::from(half(u16::from_be_bytes([bytes[0], bytes[1]]))))
            }
            26 => {
                let bits = self.argument(26)?.ok_or_else(malformed)?;
                float(f64::from(f32::from_bits(u32::try_from(bits).map_err(|_| malformed())?)))
            }
            27 => float(f64::from_bits(self.argument(27)?.ok_or_else(malformed)?)),
            _ => Err(malformed()),
        }
    }
}

fn float(number: f64) -> ApiResult {
    Number::from_f64(number).map(Value::Number).ok_or_else(malformed)
}

/// A number of 16 bits.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = ((bits >> 10) & 0x1f, f32::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 => f32::INFINITY,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(i32::from(exponent) - 15),
    };
    if bits & 0x8000 == 0 { size } else { -size }
}

fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major | bytes[7]),
        24..=0xff => out.extend([major | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Answers are as deep as AWS's shapes.
fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(bool) => out.push(0xf4 | u8::from(*bool)),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => head(0, number, out),
            (None, Some(number)) => head(1, (-1 - number).unsigned_abs(), out),
            _ => {
                out.push(0xfb);
                out.extend_from_slice(&number.as_f64().unwrap_or_default().to_be_bytes());
            }
        },
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            head(4, items.len() as u64, out);
            items.iter().for_each(|item| write(item, out));
        }
        Value::Object(fields) => {
            head(5, fields.len() as u64, out);
            for (name, value) in fields {
                write_text(name, out);
                write(value, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_come_back() {
        let value = json!({
            "Names": ["a", "ü"], "Count": 300, "Least": -70_000, "Share": 0.25, "On": true,
            "Large": 5_000_000_000_u64
        });
        assert_eq!(decode(&encode_plain(&value), Times::Seconds).expect("CBOR"), value);
    }

    #[test]
    fn what_clients_write_is_read() {
        // {"A": [1, -2], "T": epoch 1.5} with indefinite lengths, a tag and a number of 16 bits.
        let bytes =
            [0xbf, 0x61, b'A', 0x9f, 0x01, 0x21, 0xff, 0x61, b'T', 0xc1, 0xf9, 0x3e, 0x00, 0xff];
        let read = |bytes: &[u8], times| decode(bytes, times).expect("CBOR");
        assert_eq!(read(&bytes, Times::Seconds), json!({ "A": [1, -2], "T": 1.5 }));
        // Epoch 1,500, in milliseconds.
        assert_eq!(read(&[0xc1, 0x19, 0x05, 0xdc], Times::Millis), json!(1.5));
    }

    #[test]
    fn what_is_deep_or_cut_off_is_refused() {
        for bytes in [
            vec![0x81; 200_000],
            vec![0xc1; 200_000],
            vec![0x9f; 200_000],
            vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            vec![0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            vec![0xa1, 0x01, 0x01],
            vec![],
        ] {
            assert!(decode(&bytes, Times::Seconds).is_err());
        }
    }
}
