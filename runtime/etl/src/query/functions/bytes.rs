//! Functions of bytes and of addresses.
//!
//! <https://trino.io/docs/current/functions/binary.html>,
//! <https://trino.io/docs/current/functions/url.html>

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, Mac};
use md5::Md5;
use percent_encoding::percent_decode_str;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use url::Url;

use super::call::{self, Call, Outcome, Spec, invalid};
use super::value::Value;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
const BASE64URL: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn text_or_bytes(value: &Value) -> &[u8] {
    match value {
        Value::Text(text) => text.as_bytes(),
        other => other.bytes(),
    }
}

fn decoded(engine: &GeneralPurpose, value: &Value) -> Outcome {
    let done = engine.decode(text_or_bytes(value));
    done.map(Value::Bytes).or_else(invalid)
}

fn from_hex(_: &Call, v: &[Value]) -> Outcome {
    let digits = text_or_bytes(&v[0]);
    let digit = |byte: u8| char::from(byte).to_digit(16);
    if !digits.len().is_multiple_of(2) {
        return invalid(format!("invalid input length {}", digits.len()));
    }
    let pairs = digits.chunks(2).map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8));
    pairs
        .collect::<Option<Vec<u8>>>()
        .map_or_else(|| invalid("invalid hex character"), |bytes| Ok(Value::Bytes(bytes)))
}

fn to_base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(5) {
        let mut bits = [0u8; 8];
        bits[3..3 + chunk.len()].copy_from_slice(chunk);
        let number = u64::from_be_bytes(bits);
        let letters = (chunk.len() * 8).div_ceil(5);
        for place in 0..8 {
            let index = (number >> (35 - 5 * place)) & 31;
            let letter = if place < letters { BASE32[index as usize] } else { b'=' };
            text.push(char::from(letter));
        }
    }
    text
}

fn from_base32(value: &Value) -> Outcome {
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for letter in text_or_bytes(value).iter().filter(|letter| **letter != b'=') {
        let Some(five) = BASE32.iter().position(|known| *known == letter.to_ascii_uppercase())
        else {
            return invalid(format!("Unrecognized character: {}", char::from(*letter)));
        };
        bits = (bits << 5 | five as u32) & 0xffff;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Ok(Value::Bytes(bytes))
}

/// Bytes that are no text become the letter of replacement, or what is told.
fn from_utf8(_: &Call, v: &[Value]) -> Outcome {
    let bytes = v[0].bytes();
    let instead = match v.get(1) {
        None => '\u{fffd}'.to_string(),
        Some(Value::Whole(number)) => match u32::try_from(*number).ok().and_then(char::from_u32) {
            Some(letter) => letter.to_string(),
            None => return invalid("Invalid replacement character"),
        },
        Some(text) if text.str().chars().count() > 1 => {
            return invalid("Replacement character string must be empty or a single character");
        }
        Some(text) => text.str().to_owned(),
    };
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push_str(&instead);
        }
    }
    Ok(Value::Text(text))
}

macro_rules! hmac {
    ($name:literal, $hash:ty) => {
        call::of($name, &["(varbinary, varbinary) -> varbinary"], |_, v| {
            let Ok(mut mac) = Hmac::<$hash>::new_from_slice(v[1].bytes()) else {
                return invalid("the key is of no length of this function");
            };
            mac.update(v[0].bytes());
            Ok(Value::Bytes(mac.finalize().into_bytes().to_vec()))
        })
    };
}

macro_rules! digest {
    ($name:literal, $hash:ty) => {
        call::of($name, OF_BYTES, |_, v| Ok(Value::Bytes(<$hash>::digest(v[0].bytes()).to_vec())))
    };
}

fn big_endian<const N: usize>(value: &Value) -> Outcome<[u8; N]> {
    value.bytes().try_into().or_else(|_| {
        invalid(format!("expected {N}-byte input for a number, but got {}", value.bytes().len()))
    })
}

/// An address and what it is; NULL when it is none.
fn part(v: &[Value], of: impl FnOnce(&Url, &str) -> Option<String>) -> Outcome {
    let text = v[0].str();
    let url = Url::parse(text).ok();
    Ok(Value::or_null(url.and_then(|url| of(&url, text)), Value::Text))
}

/// What stands behind a sign, as it is written.
fn query_of(text: &str) -> Option<&str> {
    let before = text.split('#').next()?;
    before.split_once('?').map(|(_, query)| query)
}

/// As a form has it: letters, digits and `.-*_` stay, a space is a plus.
fn url_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

fn url_decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn parameter(v: &[Value]) -> Outcome {
    part(v, |_, text| {
        let pairs = query_of(text)?.split('&');
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let found = pairs.map(|(k, value)| (url_decode(k), value)).find(|(k, _)| k == v[1].str());
        found.map(|(_, value)| url_decode(value))
    })
}

const OF_BYTES: &[&str] = &["(varbinary) -> varbinary"];
const TO_TEXT: &[&str] = &["(varbinary) -> varchar"];
const FROM_TEXT: &[&str] = &["(varchar) -> varbinary", "(varbinary) -> varbinary"];
const OF_URL: &[&str] = &["(varchar) -> varchar"];

/// The functions.
pub const FUNCTIONS: &[Spec] = &[
    digest!("md5", Md5),
    digest!("sha1", Sha1),
    digest!("sha256", Sha256),
    digest!("sha512", Sha512),
    hmac!("hmac_md5", Md5),
    hmac!("hmac_sha1", Sha1),
    hmac!("hmac_sha256", Sha256),
    hmac!("hmac_sha512", Sha512),
    call::of("xxhash64", OF_BYTES, |_, v| {
        let hash = twox_hash::XxHash64::oneshot(0, v[0].bytes());
        Ok(Value::Bytes(hash.to_be_bytes().to_vec()))
    }),
    call::of("crc32", &["(varbinary) -> bigint"], |_, v| {
        Ok(Value::Whole(i64::from(crc32fast::hash(v[0].bytes()))))
    }),
    call::of("to_hex", TO_TEXT, |_, v| {
        Ok(Value::Text(v[0].bytes().iter().map(|byte| format!("{byte:02X}")).collect()))
    }),
    call::of("from_hex", FROM_TEXT, from_hex),
    call::of("to_base64", TO_TEXT, |_, v| Ok(Value::Text(BASE64.encode(v[0].bytes())))),
    call::of("from_base64", FROM_TEXT, |_, v| decoded(&BASE64, &v[0])),
    call::of("to_base64url", TO_TEXT, |_, v| Ok(Value::Text(BASE64URL.encode(v[0].bytes())))),
    call::of("from_base64url", FROM_TEXT, |_, v| decoded(&BASE64URL, &v[0])),
    call::of("to_base32", TO_TEXT, |_, v| Ok(Value::Text(to_base32(v[0].bytes())))),
    call::of("from_base32", FROM_TEXT, |_, v| from_base32(&v[0])),
    call::of("to_utf8", &["(varchar) -> varbinary"], |_, v| {
        Ok(Value::Bytes(v[0].str().as_bytes().to_vec()))
    }),
    call::of(
        "from_utf8",
        &[
            "(varbinary) -> varchar",
            "(varbinary, bigint) -> varchar",
            "(varbinary, varchar) -> varchar",
        ],
        from_utf8,
    ),
    call::of("to_big_endian_64", &["(bigint) -> varbinary"], |_, v| {
        Ok(Value::Bytes(v[0].whole().to_be_bytes().to_vec()))
    }),
    call::of("from_big_endian_64", &["(varbinary) -> bigint"], |_, v| {
        Ok(Value::Whole(i64::from_be_bytes(big_endian(&v[0])?)))
    }),
    call::of("to_big_endian_32", &["(integer) -> varbinary"], |_, v| {
        Ok(Value::Bytes((v[0].whole() as i32).to_be_bytes().to_vec()))
    }),
    call::of("from_big_endian_32", &["(varbinary) -> integer"], |_, v| {
        Ok(Value::Whole(i64::from(i32::from_be_bytes(big_endian(&v[0])?))))
    }),
    call::of("to_ieee754_64", &["(double) -> varbinary"], |_, v| {
        Ok(Value::Bytes(v[0].double().to_be_bytes().to_vec()))
    }),
    call::of("from_ieee754_64", &["(varbinary) -> double"], |_, v| {
        Ok(Value::Double(f64::from_be_bytes(big_endian(&v[0])?)))
    }),
    call::of("to_ieee754_32", &["(real) -> varbinary"], |_, v| {
        Ok(Value::Bytes((v[0].double() as f32).to_be_bytes().to_vec()))
    }),
    call::of("from_ieee754_32", &["(varbinary) -> real"], |_, v| {
        Ok(Value::Real(f32::from_be_bytes(big_endian(&v[0])?)))
    }),
    call::of("url_encode", OF_URL, |_, v| Ok(Value::Text(url_encode(v[0].str())))),
    call::of("url_decode", OF_URL, |_, v| Ok(Value::Text(url_decode(v[0].str())))),
    call::of("url_extract_protocol", OF_URL, |_, v| {
        part(v, |url, _| Some(url.scheme().to_owned()))
    }),
    call::of("url_extract_host", OF_URL, |_, v| {
        part(v, |url, _| Some(url.host_str().unwrap_or_default().to_owned()))
    }),
    call::of("url_extract_port", &["(varchar) -> bigint"], |_, v| {
        // As it is written: the one that a protocol has by itself too.
        let url = Url::parse(v[0].str()).ok();
        let port = url.and_then(|url| {
            let written = url.host_str().is_some_and(|host| {
                let after = v[0].str().split_once(host).map_or("", |(_, after)| after);
                after.starts_with(':')
            });
            written.then(|| url.port_or_known_default()).flatten()
        });
        Ok(Value::or_null(port, |port| Value::Whole(i64::from(port))))
    }),
    call::of("url_extract_path", OF_URL, |_, v| {
        part(v, |url, text| {
            let bare = text.split(['?', '#']).next()?;
            let rest = bare.split_once("://").map_or(bare, |(_, rest)| rest);
            // An address without a path has one for the library, and none for Trino.
            Some(if rest.contains('/') { decode_percent(url.path()) } else { String::new() })
        })
    }),
    call::of("url_extract_query", OF_URL, |_, v| {
        part(v, |_, text| Some(query_of(text).map(decode_percent).unwrap_or_default()))
    }),
    call::of("url_extract_fragment", OF_URL, |_, v| {
        part(v, |_, text| {
            Some(text.split_once('#').map(|(_, after)| decode_percent(after)).unwrap_or_default())
        })
    }),
    call::of("url_extract_parameter", &["(varchar, varchar) -> varchar"], |_, v| parameter(v)),
];

fn decode_percent(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
