//! Listings: of objects in both versions of the API, and of unfinished uploads.

use std::ops::ControlFlow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Api;
use super::errors::invalid_argument;
use super::options::{self, take};
use super::store::Object as StoredObject;

/// Entries in one page of a listing.
const PAGE: i32 = 1_000;

/// How names are written in an answer.
#[derive(Clone, Copy)]
pub struct Encoding(bool);

impl Encoding {
    /// Reads what is asked for.
    pub fn parse(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self(false)),
            Some("url") => Ok(Self(true)),
            Some(_) => Err(invalid_argument("Invalid Encoding Method specified in Request")),
        }
    }

    /// As AWS does it: like a form, but `/` stays.
    pub fn write(self, name: &str) -> String {
        if !self.0 {
            return name.to_owned();
        }
        let encode = |part: &str| url::form_urlencoded::byte_serialize(part.as_bytes()).collect();
        name.split('/').map(encode).collect::<Vec<String>>().join("/")
    }

    /// What the answer says of it.
    pub fn answer(self) -> Option<EncodingType> {
        self.0.then(|| EncodingType::from_static(EncodingType::URL))
    }
}

/// Entries in one page.
pub fn page_size(asked: Option<i32>, name: &str) -> S3Result<usize> {
    let size = asked.unwrap_or(PAGE).min(PAGE);
    usize::try_from(size).map_err(|_| {
        invalid_argument(format!("Argument {name} must be an integer between 0 and 2147483647"))
    })
}

/// An empty delimiter is none.
pub fn some_delimiter(delimiter: Option<&str>) -> Option<&str> {
    delimiter.filter(|d| !d.is_empty())
}

/// Keys after which a listing goes to the end of the group that it is in.
const GROUP_READ: usize = 64;

/// What a page is asked for.
pub struct Question<'a> {
    /// What keys begin with.
    pub prefix: &'a str,
    /// What ends groups.
    pub delimiter: Option<&'a str>,
    /// Entries up to this one were seen; of a group, all keys in it.
    pub after: Option<&'a str>,
    /// Entries and groups in one page.
    pub max: usize,
}

impl Question<'_> {
    /// The group of a key.
    fn group_of<'k>(&self, key: &'k str) -> Option<&'k str> {
        let start = self.prefix.len();
        let delimiter = self.delimiter?;
        key[start..].find(delimiter).map(|at| &key[..start + at + delimiter.len()])
    }
}

/// One page of a listing.
pub struct Page<T> {
    /// What is in no group.
    pub entries: Vec<T>,
    /// Groups.
    pub groups: Vec<String>,
    /// The last entry of a page that more follow.
    pub next: Option<String>,
}

/// Makes a page of entries that come in the order of their keys.
fn page<T>(entries: impl IntoIterator<Item = (String, T)>, question: &Question<'_>) -> Page<T> {
    let mut pager = Pager::new(question);
    for (key, entry) in entries {
        if pager.add(&key, || entry).is_break() {
            break;
        }
    }
    pager.page
}

/// A page that is being made.
pub struct Pager<'q, T> {
    question: &'q Question<'q>,
    /// What there is so far.
    pub page: Page<T>,
    last: String,
}

impl<'q, T> Pager<'q, T> {
    /// An empty page.
    pub fn new(question: &'q Question<'q>) -> Self {
        let page = Page { entries: vec![], groups: vec![], next: None };
        Self { question, page, last: String::new() }
    }

    /// Takes the next entry, and breaks off when the page is full.
    pub fn add(&mut self, key: &str, entry: impl FnOnce() -> T) -> ControlFlow<()> {
        let Question { after, max, .. } = *self.question;
        let group = self.question.group_of(key);
        let page = &mut self.page;
        if let Some(group) = group
            && (page.groups.last().is_some_and(|last| last == group)
                || after.is_some_and(|a| a.starts_with(group)))
        {
            // Groups that an earlier page had, or this one, come once.
            return ControlFlow::Continue(());
        }
        if page.entries.len() + page.groups.len() >= max {
            page.next = (max > 0).then(|| std::mem::take(&mut self.last));
            return ControlFlow::Break(());
        }
        self.last = group.unwrap_or(key).to_owned();
        match group {
            Some(group) => page.groups.push(group.to_owned()),
            None => page.entries.push(entry()),
        }
        ControlFlow::Continue(())
    }
}

/// Groups as they are answered.
pub fn prefixes(groups: &[String], encoding: Encoding) -> Option<Vec<CommonPrefix>> {
    let prefix = |g: &String| CommonPrefix { prefix: Some(encoding.write(g)) };
    Some(groups.iter().map(prefix).collect())
}

/// An object with its key.
pub type Entry = (String, std::sync::Arc<StoredObject>);

impl Api {
    fn list(&self, bucket: &str, question: &Question<'_>) -> S3Result<Page<Entry>> {
        let objects = self.buckets().objects(bucket)?;
        let mut pager = Pager::new(question);
        let mut after = question.after.map(str::to_owned);
        loop {
            let (mut read, mut behind) = (0, None);
            objects.scan(question.prefix, after.as_deref(), |key, object| {
                pager.add(key, || (key.to_owned(), object))?;
                read += 1;
                // Of a large group the rest is not read: its keys sort before this one.
                let past = question.group_of(key).map(|group| format!("{group}{}", char::MAX));
                behind = past.filter(|past| read >= GROUP_READ && past.as_str() > key);
                if behind.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match behind {
                Some(past) => after = Some(past),
                None => return Ok(pager.page),
            }
        }
    }

    /// An object as it is listed.
    pub fn listed(&self, (key, object): &Entry, encoding: Encoding, with_owner: bool) -> Object {
        let algorithm = |c: &super::checksums::Checksum| {
            vec![ChecksumAlgorithm::from_static(c.algorithm.name())]
        };
        let checksum = object.checksum.as_ref();
        Object {
            key: Some(encoding.write(key)),
            size: i64::try_from(object.size).ok(),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(super::timestamp(object.modified)),
            storage_class: Some(options::storage_class(&object.meta).as_str().to_owned().into()),
            owner: with_owner.then(|| super::owner(&self.cloud.config.account)),
            checksum_algorithm: checksum.map(algorithm),
            checksum_type: checksum.map(|c| ChecksumType::from_static(c.kind())),
            ..Default::default()
        }
    }
}

pub async fn list_objects(
    api: &Api,
    req: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    // No object here is being restored, which is all that there is to optional attributes.
    take!(req.input => ListObjectsInput {
            bucket, delimiter, encoding_type, marker, max_keys, prefix,
        }
        elsewhere { expected_bucket_owner, request_payer, optional_object_attributes } refuse {});
    let encoding = Encoding::parse(encoding_type.as_ref())?;
    let prefix = prefix.unwrap_or_default();
    let question = Question {
        prefix: &prefix,
        delimiter: some_delimiter(delimiter.as_deref()),
        after: marker.as_deref().filter(|m| !m.is_empty()),
        max: page_size(max_keys, "max-keys")?,
    };
    let page = api.list(&bucket, &question)?;
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(bucket),
        max_keys: i32::try_from(question.max).ok(),
        is_truncated: Some(page.next.is_some()),
        // Without a delimiter the last key says where to go on.
        next_marker: page.next.filter(|_| question.delimiter.is_some()).map(|n| encoding.write(&n)),
        delimiter: question.delimiter.map(|d| encoding.write(d)),
        marker: Some(encoding.write(marker.as_deref().unwrap_or_default())),
        prefix: Some(encoding.write(&prefix)),
        contents: Some(page.entries.iter().map(|e| api.listed(e, encoding, true)).collect()),
        common_prefixes: prefixes(&page.groups, encoding),
        encoding_type: encoding.answer(),
        ..Default::default()
    }))
}

pub async fn list_objects_v2(
    api: &Api,
    req: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    take!(req.input => ListObjectsV2Input {
            bucket, continuation_token, delimiter, encoding_type, fetch_owner, max_keys, prefix,
            start_after,
        }
        elsewhere { expected_bucket_owner, request_payer, optional_object_attributes } refuse {});
    let encoding = Encoding::parse(encoding_type.as_ref())?;
    let prefix = prefix.unwrap_or_default();
    let token = continuation_token.as_deref().map(read_token).transpose()?;
    let question = Question {
        prefix: &prefix,
        delimiter: some_delimiter(delimiter.as_deref()),
        after: token.as_deref().or(start_after.as_deref()).filter(|m| !m.is_empty()),
        max: page_size(max_keys, "max-keys")?,
    };
    let page = api.list(&bucket, &question)?;
    let with_owner = fetch_owner.unwrap_or(false);
    let count = page.entries.len() + page.groups.len();
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(bucket),
        key_count: i32::try_from(count).ok(),
        max_keys: i32::try_from(question.max).ok(),
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.map(|last| BASE64.encode(last)),
        delimiter: question.delimiter.map(|d| encoding.write(d)),
        continuation_token,
        start_after: start_after.map(|s| encoding.write(&s)),
        prefix: Some(encoding.write(&prefix)),
        contents: Some(page.entries.iter().map(|e| api.listed(e, encoding, with_owner)).collect()),
        common_prefixes: prefixes(&page.groups, encoding),
        encoding_type: encoding.answer(),
        ..Default::default()
    }))
}

fn read_token(token: &str) -> S3Result<String> {
    let read = BASE64.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    read.filter(|t| !t.is_empty())
        .ok_or_else(|| invalid_argument("The continuation token provided is incorrect"))
}

pub async fn list_multipart_uploads(
    api: &Api,
    req: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    take!(req.input => ListMultipartUploadsInput {
            bucket, delimiter, encoding_type, key_marker, max_uploads, prefix, upload_id_marker,
        }
        elsewhere { expected_bucket_owner, request_payer } refuse {});
    api.buckets().get(&bucket)?;
    let encoding = Encoding::parse(encoding_type.as_ref())?;
    let prefix = prefix.unwrap_or_default();
    let key_marker = key_marker.filter(|m| !m.is_empty());
    let id_marker = upload_id_marker.filter(|m| !m.is_empty() && key_marker.is_some());
    let mut uploads = api.buckets().uploads_to(&bucket);
    uploads.retain(|(_, u)| u.key.starts_with(&prefix));
    if let Some(marker) = &key_marker {
        // Of the marker's own key those uploads are left that follow the one that was last.
        let last = id_marker.as_ref().and_then(|id| uploads.iter().position(|(i, _)| i == id));
        let mut position = 0;
        uploads.retain(|(_, u)| {
            let follows = last.is_some_and(|last| u.key == *marker && position > last);
            position += 1;
            u.key > *marker || follows
        });
    }
    let question = Question {
        prefix: &prefix,
        delimiter: some_delimiter(delimiter.as_deref()),
        after: key_marker.as_deref().filter(|_| id_marker.is_none()),
        max: page_size(max_uploads, "max-uploads")?,
    };
    let entries = uploads.into_iter().map(|(id, u)| (u.key.clone(), (id, u)));
    let page = page(entries, &question);
    let owner = super::owner(&api.cloud.config.account);
    let last_id = page.entries.last().map(|(id, _)| id.clone());
    let listed = page.entries.iter().map(|(id, upload)| MultipartUpload {
        upload_id: Some(id.clone()),
        key: Some(encoding.write(&upload.key)),
        initiated: Some(super::timestamp(upload.initiated)),
        initiator: Some(Initiator { id: owner.id.clone(), display_name: None }),
        owner: Some(owner.clone()),
        storage_class: Some(options::storage_class(&upload.meta)),
        checksum_algorithm: upload.algorithm.map(|a| ChecksumAlgorithm::from_static(a.name())),
        ..Default::default()
    });
    Ok(S3Response::new(ListMultipartUploadsOutput {
        uploads: Some(listed.collect()),
        bucket: Some(bucket),
        max_uploads: i32::try_from(question.max).ok(),
        is_truncated: Some(page.next.is_some()),
        next_upload_id_marker: page.next.as_ref().and(last_id),
        next_key_marker: page.next.map(|n| encoding.write(&n)),
        delimiter: question.delimiter.map(|d| encoding.write(d)),
        key_marker: Some(encoding.write(key_marker.as_deref().unwrap_or_default())),
        upload_id_marker: Some(id_marker.unwrap_or_default()),
        prefix: Some(encoding.write(&prefix)),
        common_prefixes: prefixes(&page.groups, encoding),
        encoding_type: encoding.answer(),
        ..Default::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(delimiter: Option<&str>, max: usize) -> Vec<Vec<String>> {
        let keys = ["a", "b/1", "b/2", "c/1", "d", "e/1", "e/2"];
        let mut pages = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let left = keys.iter().filter(|k| after.as_deref().is_none_or(|a| **k > a));
            let entries = left.map(|k| ((*k).to_owned(), (*k).to_owned()));
            let question = Question { prefix: "", delimiter, after: after.as_deref(), max };
            let page = page(entries, &question);
            let mut shown = page.entries;
            shown.extend(page.groups);
            shown.sort();
            pages.push(shown);
            match page.next {
                Some(next) => after = Some(next),
                None => return pages,
            }
        }
    }

    #[test]
    fn pages_have_every_key_and_every_group_once() {
        assert_eq!(pages(None, 5).concat().len(), 7);
        for max in 1..=6 {
            assert_eq!(pages(Some("/"), max).concat(), ["a", "b/", "c/", "d", "e/"], "{max}");
        }
    }

    #[test]
    fn names_are_encoded_as_forms_are_but_for_slashes() {
        assert_eq!(Encoding(true).write("a b/+\u{1}é~*"), "a+b/%2B%01%C3%A9%7E*");
        assert_eq!(Encoding(false).write("a b"), "a b");
    }
}
