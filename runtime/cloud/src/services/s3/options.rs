//! Options of requests. An operation names every member of its input: those that it uses, those
//! that are decided elsewhere, and those that it does not have, which are refused by name when they
//! are set. A member that nobody named does not compile.

use axum::http::HeaderMap;
use s3s::dto::{ServerSideEncryption, StorageClass};
use s3s::{S3Result, s3_error};

use super::errors::{custom, invalid_argument, not_implemented};
use super::store::Meta;

/// Takes an input apart and refuses what the operation does not have.
///
/// `elsewhere` are members that another place has decided: the expected owner in the access check,
/// who pays (the owner's own requests are never charged to another), and what `s3s` has consumed.
macro_rules! take {
    ($input:expr => $Input:ident { $($used:ident),* $(,)? }
        elsewhere { $($elsewhere:ident),* $(,)? }
        refuse { $($other:ident),* $(,)? }) => {
        let $Input { $($used,)* $($elsewhere: _,)* $($other,)* } = $input;
        $($crate::services::s3::options::refuse(stringify!($Input), stringify!($other), $other.is_some())?;)*
    };
}
pub(super) use take;

/// An error when a member that the operation does not have is set.
pub fn refuse(input: &str, member: &str, set: bool) -> S3Result<()> {
    if !set {
        return Ok(());
    }
    let operation = input.trim_end_matches("Input");
    Err(not_implemented(&format!("{} of {operation}", member_name(member))))
}

/// `sse_customer_key_md5` as the API has it: `SSECustomerKeyMD5`.
fn member_name(member: &str) -> String {
    let mut name = String::new();
    for word in member.split('_') {
        match word {
            "acl" | "mfa" | "sse" | "md5" | "ssekms" => name += &word.to_ascii_uppercase(),
            other => {
                let mut letters = other.chars();
                name.extend(letters.next().map(|c| c.to_ascii_uppercase()));
                name += letters.as_str();
            }
        }
    }
    name
}

/// Access control lists are switched off, as they are in every new bucket of AWS: what only repeats
/// that the owner owns is taken, everything else is refused.
pub fn check_acl(acl: Option<&str>, grants: &[&Option<String>]) -> S3Result<()> {
    let plain = matches!(acl, None | Some("private" | "bucket-owner-full-control"));
    if plain && grants.iter().all(|g| g.is_none()) {
        return Ok(());
    }
    Err(s3_error!(AccessControlListNotSupported, "The bucket does not allow ACLs"))
}

/// The storage class when it is not STANDARD. Those from which objects are read at once are kept
/// and told: they differ in what they cost. The others are refused.
pub fn storage_class_of(class: Option<&StorageClass>) -> S3Result<Option<String>> {
    match class.map(StorageClass::as_str) {
        None | Some("STANDARD") => Ok(None),
        Some(
            kept @ ("REDUCED_REDUNDANCY"
            | "STANDARD_IA"
            | "ONEZONE_IA"
            | "INTELLIGENT_TIERING"
            | "GLACIER_IR"),
        ) => Ok(Some(kept.to_owned())),
        Some(
            other @ ("GLACIER" | "DEEP_ARCHIVE" | "OUTPOSTS" | "SNOW" | "EXPRESS_ONEZONE"
            | "FSX_OPENZFS" | "FSX_ONTAP"),
        ) => Err(not_implemented(&format!("the storage class {other}"))),
        Some(_) => {
            Err(custom("InvalidStorageClass", 400, "The storage class you specified is not valid"))
        }
    }
}

/// The storage class as it is told.
pub fn storage_class(meta: &Meta) -> StorageClass {
    let kept = meta.storage_class.clone();
    kept.map_or(StorageClass::from_static(StorageClass::STANDARD), StorageClass::from)
}

/// Encryption with S3's own keys is what AWS does with every object; others are refused.
pub fn check_encryption(encryption: Option<&ServerSideEncryption>) -> S3Result<()> {
    match encryption.map(ServerSideEncryption::as_str) {
        None | Some("AES256") => Ok(()),
        Some(other @ ("aws:kms" | "aws:kms:dsse" | "aws:fsx")) => {
            Err(not_implemented(&format!("the encryption {other}")))
        }
        Some(_) => Err(invalid_argument("The encryption method specified is not supported")),
    }
}

/// What AWS answers about the encryption of every object.
pub fn encryption() -> Option<ServerSideEncryption> {
    Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256))
}

/// Bytes of user metadata that S3 takes.
const METADATA_BYTES_MAX: usize = 2 * 1024;

/// What an upload's headers say about the object. System headers are kept as they came.
pub fn meta(
    headers: &HeaderMap,
    metadata: Option<s3s::dto::Metadata>,
    class: Option<&StorageClass>,
) -> S3Result<Meta> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let metadata = metadata.unwrap_or_default();
    let bytes: usize = metadata.iter().map(|(k, v)| k.len() + v.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(s3_error!(
            MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size"
        ));
    }
    let tags = text("x-amz-tagging").map(|t| super::tagging::parse(&t)).transpose()?;
    Ok(Meta {
        content_type: text("content-type"),
        cache_control: text("cache-control"),
        content_disposition: text("content-disposition"),
        content_encoding: text("content-encoding").and_then(|e| without_chunking(&e)),
        content_language: text("content-language"),
        expires: text("expires"),
        storage_class: storage_class_of(class)?,
        metadata: metadata.into_iter().collect(),
        tags: tags.unwrap_or_default(),
    })
}

/// `aws-chunked` belongs to the transfer and not to the object.
fn without_chunking(encoding: &str) -> Option<String> {
    let kept: Vec<&str> = encoding.split(',').filter(|part| part.trim() != "aws-chunked").collect();
    let kept = kept.join(",").trim().to_owned();
    (!kept.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_by_their_names_in_the_api() {
        assert_eq!(member_name("sse_customer_key_md5"), "SSECustomerKeyMD5");
        assert_eq!(member_name("ssekms_key_id"), "SSEKMSKeyId");
        assert_eq!(member_name("website_redirect_location"), "WebsiteRedirectLocation");
        assert_eq!(member_name("mfa"), "MFA");
    }

    #[test]
    fn chunking_is_not_an_encoding_of_the_object() {
        assert_eq!(without_chunking("aws-chunked"), None);
        assert_eq!(without_chunking("aws-chunked, gzip").as_deref(), Some("gzip"));
        assert_eq!(without_chunking("gzip,br").as_deref(), Some("gzip,br"));
        assert_eq!(without_chunking("deflate, gzip").as_deref(), Some("deflate, gzip"));
    }
}
