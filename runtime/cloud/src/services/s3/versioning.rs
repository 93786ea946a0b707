//! Versions: whether a bucket keeps them, and their listing.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};
use serde_json::json;

use super::Api;
use super::conditions::which;
use super::errors::{invalid_argument, not_implemented};
use super::listing::{Encoding, Entry, Pager, Question, page_size, prefixes, some_delimiter};
use super::options::take;
use super::store::{Place, Versioning};

/// Where the setting is kept.
pub const VERSIONING: &str = "VersioningConfiguration";

pub async fn get_bucket_versioning(
    api: &Api,
    req: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    take!(req.input => GetBucketVersioningInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    let status = match api.buckets().about(&bucket)?.versioning {
        Versioning::Never => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    Ok(S3Response::new(GetBucketVersioningOutput {
        mfa_delete: None,
        status: status.map(BucketVersioningStatus::from_static),
    }))
}

pub async fn put_bucket_versioning(
    api: &Api,
    req: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    take!(req.input => PutBucketVersioningInput { bucket, versioning_configuration }
        elsewhere { checksum_algorithm, content_md5, expected_bucket_owner } refuse { mfa });
    let VersioningConfiguration { mfa_delete, status } = versioning_configuration;
    if mfa_delete.is_some_and(|mfa| mfa.as_str() != "Disabled") {
        return Err(not_implemented("MFADelete of PutBucketVersioning"));
    }
    let status = status.map(|status| status.as_str().to_owned());
    let status = status.filter(|s| s == "Enabled" || s == "Suspended").ok_or_else(|| {
        s3_error!(
            IllegalVersioningConfigurationException,
            "The Versioning element must be specified"
        )
    })?;
    let changed = api.blocking(move |cloud| {
        cloud.services.s3.configure(&bucket, |b| {
            b.settings.insert(VERSIONING.to_owned(), json!({ "Status": status }));
        })
    });
    changed.await?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

pub async fn list_object_versions(
    api: &Api,
    req: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    take!(req.input => ListObjectVersionsInput {
            bucket, delimiter, encoding_type, key_marker, max_keys, prefix, version_id_marker,
        }
        elsewhere { expected_bucket_owner, request_payer, optional_object_attributes } refuse {});
    let key_marker = key_marker.filter(|m| !m.is_empty());
    let version_marker = version_id_marker.filter(|m| !m.is_empty());
    if key_marker.is_none() && version_marker.is_some() {
        return Err(invalid_argument(
            "A version-id marker cannot be specified without a key marker.",
        ));
    }
    let version = version_marker.as_deref().map(|id| which(Some(id))).transpose()?;
    let encoding = Encoding::parse(encoding_type.as_ref())?;
    let prefix = prefix.unwrap_or_default();
    let question = Question {
        prefix: &prefix,
        delimiter: some_delimiter(delimiter.as_deref()),
        after: key_marker.as_deref(),
        max: page_size(max_keys, "max-keys")?,
    };
    let from = key_marker.clone().map(|key| Place { key, version });
    let mut pager: Pager<'_, (Entry, bool)> = Pager::new(&question);
    api.buckets().scan_versions(&bucket, &prefix, from.as_ref(), |key, version, latest| {
        pager.add(key, || ((key.to_owned(), version), latest))
    })?;
    let page = pager.page;
    // A page that ends in a group goes on behind it; one that ends in a version, behind that.
    let last = page.entries.last().filter(|((key, _), _)| page.next.as_ref() == Some(key));
    let next_version_id_marker = last.map(|((_, version), _)| version.version_id());
    let (markers, versions): (Vec<_>, Vec<_>) =
        page.entries.into_iter().partition(|((_, version), _)| version.marker);
    Ok(S3Response::new(ListObjectVersionsOutput {
        name: Some(bucket),
        max_keys: i32::try_from(question.max).ok(),
        is_truncated: Some(page.next.is_some()),
        next_version_id_marker,
        next_key_marker: page.next.map(|n| encoding.write(&n)),
        delimiter: question.delimiter.map(|d| encoding.write(d)),
        key_marker: Some(encoding.write(key_marker.as_deref().unwrap_or_default())),
        version_id_marker: Some(version_marker.unwrap_or_default()),
        prefix: Some(encoding.write(&prefix)),
        versions: Some(versions.iter().map(|v| api.listed_version(v, encoding)).collect()),
        delete_markers: Some(markers.iter().map(|m| api.listed_marker(m, encoding)).collect()),
        common_prefixes: prefixes(&page.groups, encoding),
        encoding_type: encoding.answer(),
        ..Default::default()
    }))
}

impl Api {
    fn listed_version(&self, (entry, latest): &(Entry, bool), encoding: Encoding) -> ObjectVersion {
        let object = self.listed(entry, encoding, true);
        ObjectVersion {
            checksum_algorithm: object.checksum_algorithm,
            checksum_type: object.checksum_type,
            e_tag: object.e_tag,
            is_latest: Some(*latest),
            key: object.key,
            last_modified: object.last_modified,
            owner: object.owner,
            size: object.size,
            storage_class: object.storage_class.map(|c| c.as_str().to_owned().into()),
            version_id: Some(entry.1.version_id()),
            ..Default::default()
        }
    }

    fn listed_marker(
        &self,
        ((key, marker), latest): &(Entry, bool),
        encoding: Encoding,
    ) -> DeleteMarkerEntry {
        DeleteMarkerEntry {
            is_latest: Some(*latest),
            key: Some(encoding.write(key)),
            last_modified: Some(super::timestamp(marker.modified)),
            owner: Some(super::owner(&self.cloud.config.account)),
            version_id: Some(marker.version_id()),
        }
    }
}
