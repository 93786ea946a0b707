//! A page of a listing as S3 writes it.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>

use std::borrow::Cow;

use object_store::path::Path;
use object_store::{Error, ObjectMeta, Result};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    contents: Vec<Contents>,
    #[serde(default)]
    common_prefixes: Vec<Group>,
    encoding_type: Option<String>,
    is_truncated: bool,
    next_continuation_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    last_modified: String,
    #[serde(rename = "ETag")]
    e_tag: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Group {
    prefix: String,
}

/// What an error's document says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Refusal {
    /// As `AccessDenied`.
    pub code: String,
    /// In words.
    pub message: String,
}

impl Refusal {
    /// Reads a document; what is none has neither code nor words.
    pub fn parse(body: &str) -> Self {
        quick_xml::de::from_str(body).unwrap_or_default()
    }
}

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Objects, or an error for a key that no path can name.
    pub objects: Vec<Result<ObjectMeta>>,
    /// Folders, when they were asked for.
    pub folders: Vec<Result<Path>>,
    /// Where the next page begins; nothing on the last one.
    pub next: Option<String>,
}

impl Page {
    /// Reads an answer; the error says what is wrong with it.
    pub fn parse(body: &str) -> std::result::Result<Self, String> {
        let answer: Answer = quick_xml::de::from_str(body).map_err(|e| e.to_string())?;
        let encoded = answer.encoding_type.as_deref() == Some("url");
        let objects: std::result::Result<Vec<_>, String> =
            answer.contents.into_iter().map(|c| object(c, encoded)).collect();
        let folder = |group: Group| decode(&group.prefix, encoded).map(|key| path(&key));
        let folders: std::result::Result<Vec<_>, String> =
            answer.common_prefixes.into_iter().map(folder).collect();
        let next = answer.next_continuation_token.filter(|_| answer.is_truncated);
        if answer.is_truncated && next.is_none() {
            return Err("it is cut off and does not say where the next page begins".to_owned());
        }
        Ok(Self { objects: objects?, folders: folders?, next })
    }
}

fn object(contents: Contents, encoded: bool) -> std::result::Result<Result<ObjectMeta>, String> {
    let key = decode(&contents.key, encoded)?;
    let last_modified = contents
        .last_modified
        .parse()
        .map_err(|e| format!("`{}` is no time: {e}", contents.last_modified))?;
    let meta = |location| ObjectMeta {
        location,
        last_modified,
        size: contents.size,
        e_tag: contents.e_tag,
        version: None,
    };
    Ok(path(&key).map(meta))
}

fn path(key: &str) -> Result<Path> {
    Path::parse(key).map_err(Error::from)
}

/// As forms are encoded: `+` is a space.
fn decode(key: &str, encoded: bool) -> std::result::Result<String, String> {
    if !encoded {
        return Ok(key.to_owned());
    }
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map(Cow::into_owned);
    decoded.map_err(|_| format!("the key `{key}` is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(encoding: &str, key: &str, more: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Name>b</Name><Prefix>a</Prefix>{more}{encoding}<KeyCount>1</KeyCount>\
             <Contents><Key>{key}</Key><LastModified>2025-03-04T05:06:07.000Z</LastModified>\
             <ETag>&quot;abc&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass>\
             </Contents></ListBucketResult>"
        )
    }

    const URL: &str = "<EncodingType>url</EncodingType>";
    const WHOLE: &str = "<IsTruncated>false</IsTruncated>";

    fn key(encoding: &str, key: &str) -> String {
        let page = Page::parse(&answer(encoding, key, WHOLE)).expect("a page");
        match &page.objects[..] {
            [Ok(object)] => object.location.to_string(),
            [Err(error)] => format!("unnameable {}", crate::unnameable(error).unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_are_decoded_only_when_they_are_encoded() {
        assert_eq!(key(URL, "a/b+c%2Bd%26%D0%A9"), "a/b c+d&Щ");
        assert_eq!(key("", "a/b+c%2B&amp;"), "a/b+c%2B&");
        assert_eq!(key(URL, "a/%01"), "unnameable a/\u{1}");
        assert_eq!(key(URL, "a//b"), "unnameable a//b");
        assert!(Page::parse(&answer(URL, "%FF", WHOLE)).is_err());
    }

    #[test]
    fn the_next_page_is_told_or_the_answer_is_wrong() {
        let token = "<NextContinuationToken>t+1</NextContinuationToken>";
        let cut = "<IsTruncated>true</IsTruncated>";
        let next = |more: &str| Page::parse(&answer(URL, "a", more)).map(|page| page.next);
        assert_eq!(next(&format!("{cut}{token}")), Ok(Some("t+1".to_owned())));
        assert_eq!(next(WHOLE), Ok(None));
        assert!(next(cut).is_err() && Page::parse("<html/>").is_err() && next("").is_err());
    }

    #[test]
    fn what_an_object_is() {
        let page = Page::parse(&answer(URL, "a", WHOLE)).expect("a page");
        let object = page.objects[0].as_ref().expect("an object");
        assert_eq!((object.size, object.e_tag.as_deref()), (7, Some("\"abc\"")));
        assert_eq!(object.last_modified.timestamp(), 1_741_064_767);
    }
}
