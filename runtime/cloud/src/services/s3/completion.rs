//! Multipart uploads are put together.
//!
//! A completion that was repeated, because its answer was lost, is answered as the first was: the
//! object knows the upload that it came by.

use std::sync::Arc;

use md5::{Digest, Md5};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::Api;
use super::checksums::{
    Algorithm, Checksum, answer_checksum_and_type, bad_digest, claimed_checksums, single,
};
use super::conditions::WriteConditions;
use super::errors::{invalid_request, malformed_xml};
use super::options::{self, take};
use super::parts::PARTS_MAX;
use super::store::{
    FinishedPart, FinishedUpload, NewObject, Object as StoredObject, Part, Received, StoreError,
    Upload,
};
use crate::kernel::cloud::Cloud;

/// The least size of a part that is not the last.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;

/// A completion as it was asked for.
struct Asked {
    bucket: String,
    key: String,
    id: String,
    parts: Vec<CompletedPart>,
    /// Size that the object is said to have.
    size: Option<i64>,
    /// Checksum that it is said to have.
    checksum: Option<(Algorithm, String)>,
}

pub async fn complete_multipart_upload(
    api: &Api,
    req: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let S3Request { input, extensions, .. } = req;
    take!(input => CompleteMultipartUploadInput {
            bucket, key, upload_id, multipart_upload, mpu_object_size, if_match, if_none_match,
            checksum_type, checksum_crc32, checksum_crc32c, checksum_crc64nvme, checksum_sha1,
            checksum_sha256,
        }
        elsewhere { expected_bucket_owner, request_payer }
        refuse { sse_customer_algorithm, sse_customer_key, sse_customer_key_md5 });
    let claimed = claimed_checksums!(
        checksum_crc32,
        checksum_crc32c,
        checksum_crc64nvme,
        checksum_sha1,
        checksum_sha256
    );
    let condition = WriteConditions::new(if_match, if_none_match)?;
    let parts = multipart_upload.and_then(|m| m.parts).unwrap_or_default();
    if parts.is_empty() || parts.len() > PARTS_MAX as usize {
        return Err(malformed_xml());
    }
    let asked = Asked {
        size: mpu_object_size,
        checksum: single(claimed)?,
        id: upload_id,
        bucket,
        key,
        parts,
    };
    api.buckets().get(&asked.bucket)?;
    let upload = match api.buckets().upload(&asked.id, &asked.bucket, &asked.key) {
        Err(StoreError::NoSuchUpload) => {
            let object = repeated(api, &asked).ok_or(StoreError::NoSuchUpload)?;
            return Ok(answer(api, asked, &object));
        }
        other => other?,
    };
    check_type(&upload, checksum_type.as_ref())?;
    let _claim = api.buckets().claim_completion(&asked.id).ok_or_else(|| {
        s3_error!(
            OperationAborted,
            "A conflicting conditional operation is currently in progress against this resource. \
             Try again."
        )
    })?;
    let found = find_parts(&asked, &upload, &api.buckets().parts(&asked.id))?;
    let algorithm = upload.algorithm.unwrap_or(Algorithm::Crc64Nvme);
    let received = api.blocking({
        let found = found.clone();
        move |cloud| concatenate(cloud, algorithm, &found)
    });
    let received = received.await?;
    let composite = upload.composite.then(|| {
        let checksums: Vec<&Checksum> = found.iter().map(|p| &p.checksum).collect();
        Checksum::of_parts(algorithm, &checksums)
    });
    let checksum = composite.unwrap_or_else(|| received.checksum.clone());
    check_claims(&asked, &received, &checksum)?;
    let new = NewObject {
        etag: Some(etag(&found)),
        checksum: Some(checksum),
        upload: Some(finished(&asked.id, &upload, &found)),
        meta: upload.meta.clone(),
        received,
    };
    let cause = api.cause(&extensions, "CompleteMultipartUpload");
    let object = api
        .blocking({
            let (bucket, key, id) = (asked.bucket.clone(), asked.key.clone(), asked.id.clone());
            move |cloud| {
                let object = cloud.services.s3.put(&bucket, &key, new, &condition, &cause)?;
                // The object is there: what stays of the upload can be aborted or is collected.
                cloud.services.s3.end_upload(&id).unwrap_or_else(|e| tracing::warn!("{e}"));
                Ok(object)
            }
        })
        .await?;
    Ok(answer(api, asked, &object))
}

/// The object that the same completion made before.
fn repeated(api: &Api, asked: &Asked) -> Option<Arc<StoredObject>> {
    let object = api.buckets().head(&asked.bucket, &asked.key).ok()?;
    let upload = object.upload.as_ref()?;
    let numbers = upload.parts.iter().map(|p| Some(p.number));
    let same = upload.id == asked.id && numbers.eq(asked.parts.iter().map(|p| p.part_number));
    same.then_some(object)
}

fn answer(
    api: &Api,
    asked: Asked,
    object: &StoredObject,
) -> S3Response<CompleteMultipartUploadOutput> {
    let endpoint = api.cloud.config.endpoint();
    let mut output = CompleteMultipartUploadOutput {
        version_id: api.new_version_id(&asked.bucket, object),
        expiration: api.expiration(&asked.bucket, &asked.key, object),
        location: Some(format!("{endpoint}/{}/{}", asked.bucket, asked.key)),
        bucket: Some(asked.bucket),
        key: Some(asked.key),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        server_side_encryption: options::encryption(),
        ..Default::default()
    };
    answer_checksum_and_type!(output, object.checksum.as_ref());
    S3Response::new(output)
}

fn check_type(upload: &Upload, kind: Option<&ChecksumType>) -> S3Result<()> {
    let expected = if upload.composite { "COMPOSITE" } else { "FULL_OBJECT" };
    match kind.map(ChecksumType::as_str) {
        None => Ok(()),
        Some(kind) if kind == expected => Ok(()),
        Some(kind) => Err(invalid_request(format!(
            "The upload was created using the {expected} checksum mode. The complete request must \
             use the same checksum mode, not {kind}."
        ))),
    }
}

fn invalid_part() -> S3Error {
    s3_error!(
        InvalidPart,
        "One or more of the specified parts could not be found.  The part may not have been \
         uploaded, or the specified entity tag may not match the part's entity tag."
    )
}

/// The stored parts that are named, which must be as they are named.
fn find_parts(asked: &Asked, upload: &Upload, stored: &[Arc<Part>]) -> S3Result<Vec<Arc<Part>>> {
    let mut found: Vec<Arc<Part>> = Vec::new();
    for named in &asked.parts {
        let CompletedPart {
            part_number,
            e_tag,
            checksum_crc32,
            checksum_crc32c,
            checksum_crc64nvme,
            checksum_sha1,
            checksum_sha256,
        } = named.clone();
        let (Some(number), Some(tag)) = (part_number, e_tag) else { return Err(malformed_xml()) };
        if found.last().is_some_and(|last| last.number >= number) {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order. The parts list must be specified in \
                 order by part number."
            ));
        }
        let part = stored.iter().find(|p| p.number == number).ok_or_else(invalid_part)?;
        if part.etag != tag.value() {
            return Err(invalid_part());
        }
        let claimed = claimed_checksums!(
            checksum_crc32,
            checksum_crc32c,
            checksum_crc64nvme,
            checksum_sha1,
            checksum_sha256
        );
        match single(claimed)? {
            Some((algorithm, value))
                if algorithm != part.checksum.algorithm || value != part.checksum.value =>
            {
                return Err(invalid_part());
            }
            None if upload.composite => {
                let name = part.checksum.algorithm.name().to_lowercase();
                return Err(invalid_request(format!(
                    "The upload was created using a {name} checksum. The complete request must \
                     include the checksum for each part. It was missing for part {number} in the \
                     request."
                )));
            }
            _ => {}
        }
        found.push(part.clone());
    }
    let (_, all_but_last) = found.split_last().ok_or_else(malformed_xml)?;
    if all_but_last.iter().any(|p| p.size < PART_BYTES_MIN) {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size"
        ));
    }
    Ok(found)
}

fn concatenate(
    cloud: &Arc<Cloud>,
    algorithm: Algorithm,
    parts: &[Arc<Part>],
) -> Result<Received, StoreError> {
    let mut incoming = cloud.services.s3.incoming(algorithm)?;
    for part in parts {
        incoming.copy(cloud.services.s3.read_part(part)?)?;
    }
    Ok(incoming.finish())
}

fn check_claims(asked: &Asked, received: &Received, checksum: &Checksum) -> S3Result<()> {
    if asked.size.is_some_and(|size| u64::try_from(size).ok() != Some(received.size)) {
        return Err(invalid_request(format!(
            "The provided 'x-amz-mp-object-size' header does not match what was computed: {}",
            received.size
        )));
    }
    match &asked.checksum {
        Some((algorithm, _)) if *algorithm != checksum.algorithm => Err(invalid_request(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum \
                 Type: {}",
            checksum.algorithm.name().to_lowercase(),
            algorithm.name().to_lowercase()
        ))),
        // Clients may leave out the number of parts of a composite checksum.
        Some((algorithm, value)) if !checksum.value.starts_with(value.as_str()) => {
            Err(bad_digest(*algorithm))
        }
        _ => Ok(()),
    }
}

/// MD5 of the parts' MD5s, with their number.
fn etag(parts: &[Arc<Part>]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(hex::decode(&part.etag).unwrap_or_default());
    }
    format!("{}-{}", hex::encode(hash.finalize()), parts.len())
}

fn finished(id: &str, upload: &Upload, parts: &[Arc<Part>]) -> FinishedUpload {
    let part = |p: &Arc<Part>| FinishedPart {
        number: p.number,
        size: p.size,
        checksum: upload.composite.then(|| p.checksum.clone()),
    };
    FinishedUpload { id: id.to_owned(), parts: parts.iter().map(part).collect() }
}
