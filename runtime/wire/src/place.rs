//! Places in S3 that people write down: `s3://bucket/prefix/` for a table or the files of a job,
//! and `s3://bucket/key` for one object. Nothing else is a place, neither a path nor a whole
//! bucket.
//!
//! Whoever deletes or overwrites below a place relies on the prefix, so an empty one is refused.
//! The prefix ends in `/` also when it was written without, because `data` must not cover
//! `data-other/`.

use std::fmt;

use thiserror::Error;

/// Longest key of S3, in bytes.
const KEY_BYTES_MAX: usize = 1_024;
/// What AWS advises against in keys, and what readers take for a pattern or an escape.
const CHARACTERS_REFUSED: &str = "\\{}^%`[]\"<>~#|*?";

/// Why a text is not a place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlaceError {
    /// It does not begin with `s3://`.
    #[error("`{0}` is not an address in S3; it must begin with `s3://`")]
    NotS3(String),
    /// The name of the bucket breaks S3's rules.
    #[error("`{0}` names no bucket that can exist")]
    Bucket(String),
    /// Nothing follows the bucket.
    #[error("`{0}` is a whole bucket; a place needs a prefix: `s3://bucket/prefix/`")]
    NoPrefix(String),
    /// An object is wanted, and this ends in `/`.
    #[error("`{0}` is a prefix; an object is wanted: `s3://bucket/key`")]
    NotAnObject(String),
    /// The key cannot be relied on.
    #[error("`{0}` is not a usable key in S3: {1}")]
    Key(String, &'static str),
}

/// A prefix in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Place {
    /// Name of the bucket.
    pub bucket: String,
    /// Never empty, ends in `/`: `processed/marriages/`.
    pub prefix: String,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Object {
    /// Name of the bucket.
    pub bucket: String,
    /// Never empty, does not end in `/`: `raw/marriages/data.csv`.
    pub key: String,
}

impl S3Place {
    /// Reads `s3://bucket/prefix/`.
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        let (bucket, key) = split(text)?;
        let prefix = key.strip_suffix('/').unwrap_or(key);
        if prefix.is_empty() {
            return Err(PlaceError::NoPrefix(text.to_owned()));
        }
        check_key(text, prefix)?;
        Ok(Self { bucket: bucket.to_owned(), prefix: format!("{prefix}/") })
    }

    /// Whether the object lies below this place.
    pub fn contains(&self, object: &S3Object) -> bool {
        self.bucket == object.bucket && object.key.starts_with(&self.prefix)
    }

    /// Whether one of the two lies in the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.bucket == other.bucket
            && (self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix))
    }

    /// An object directly below this place.
    pub fn object(&self, name: &str) -> S3Object {
        S3Object { bucket: self.bucket.clone(), key: format!("{}{name}", self.prefix) }
    }
}

impl S3Object {
    /// Reads `s3://bucket/key`.
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        let (bucket, key) = split(text)?;
        if key.is_empty() {
            return Err(PlaceError::NoPrefix(text.to_owned()));
        }
        if key.ends_with('/') {
            return Err(PlaceError::NotAnObject(text.to_owned()));
        }
        check_key(text, key)?;
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl fmt::Display for S3Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

impl fmt::Display for S3Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// Bucket and the rest, which may be empty.
fn split(text: &str) -> Result<(&str, &str), PlaceError> {
    let rest = text.strip_prefix("s3://").ok_or_else(|| PlaceError::NotS3(text.to_owned()))?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if is_bucket_name(bucket) {
        Ok((bucket, key))
    } else {
        Err(PlaceError::Bucket(text.to_owned()))
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
fn is_bucket_name(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.starts_with(alphanumeric)
        && name.ends_with(alphanumeric)
        && !name.contains("..")
        && name.chars().all(|c| alphanumeric(c) || c == '-' || c == '.')
}

fn check_key(text: &str, key: &str) -> Result<(), PlaceError> {
    let refused = |why| Err(PlaceError::Key(text.to_owned(), why));
    if key.len() > KEY_BYTES_MAX {
        return refused("it has more than 1,024 bytes");
    }
    if key.chars().any(|c| c.is_control() || CHARACTERS_REFUSED.contains(c)) {
        return refused("it has a control character or one of \\ { } ^ % ` [ ] \" < > ~ # | * ?");
    }
    if key.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return refused("a part between its slashes is empty, `.` or `..`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> S3Place {
        S3Place::parse(text).expect("a place")
    }

    #[test]
    fn a_place_is_a_bucket_and_a_prefix() {
        let expected = S3Place { bucket: "my-data".into(), prefix: "processed/x/".into() };
        assert_eq!(place("s3://my-data/processed/x/"), expected);
        assert_eq!(place("s3://my-data/processed/x"), expected);
        assert_eq!(expected.to_string(), "s3://my-data/processed/x/");
        let object = S3Object::parse("s3://my-data/raw/Данные 1.csv").expect("an object");
        assert_eq!(object.to_string(), "s3://my-data/raw/Данные 1.csv");
    }

    #[test]
    fn nothing_else_is_a_place() {
        for text in [
            "",
            "/home/u",
            "home/u",
            "file:///home/u/",
            "S3://my-data/x/",
            "s3a://my-data/x/",
            "s3://",
            "s3:///x/",
            "s3://my-data",
            "s3://my-data/",
            "s3://my-data//",
            "s3://my-data//x/",
            "s3://my-data/x//",
            "s3://my-data/x/../",
            "s3://my-data/./",
            "s3://my-data/%2e%2e/",
            "s3://my-data/x*/",
            "s3://my-data/x?y/",
            "s3://my-data/x#y/",
            "s3://my-data/a\nb/",
            "s3://user@my-data/x/",
            "s3://my-data:80/x/",
            "s3://My_Data/x/",
            "s3://a/x/",
        ] {
            assert!(S3Place::parse(text).is_err(), "{text:?}");
        }
        for text in ["s3://my-data/x/", "s3://my-data/", "s3://my-data", "/p.json"] {
            assert!(S3Object::parse(text).is_err(), "{text:?}");
        }
        let long = format!("s3://my-data/{}", "x".repeat(KEY_BYTES_MAX + 1));
        assert!(S3Place::parse(&long).is_err() && S3Object::parse(&long).is_err());
    }

    #[test]
    fn places_that_share_objects_overlap() {
        let data = place("s3://my-data/data/");
        assert!(data.overlaps(&place("s3://my-data/data/x/")));
        assert!(place("s3://my-data/data/x/").overlaps(&data));
        assert!(!data.overlaps(&place("s3://my-data/data-other/")));
        assert!(!data.overlaps(&place("s3://other/data/")));
        assert!(data.contains(&data.object("part-0.csv")));
        assert!(!data.contains(&S3Object::parse("s3://my-data/data").expect("an object")));
    }
}
