//! PostObject: an object out of a form, as web pages and `generate_presigned_post` send it.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html>

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use hmac::{Hmac, Mac};
use multer::{Field, Multipart};
use s3s::dto::{Metadata, ServerSideEncryption, StorageClass, Tagging};
use s3s::host::S3Host;
use s3s::{Body, HttpRequest, HttpResponse, S3Error, S3Result, s3_error};
use sha2::{Digest, Sha256};

use super::Api;
use super::access::Access;
use super::checksums::{Algorithm, Claim};
use super::conditions::WriteConditions;
use super::errors::{custom, denied, internal, invalid_argument, not_implemented};
use super::front::Losing;
use super::names::Hosts;
use super::objects::OBJECT_BYTES_MAX;
use super::options;
use super::post_policy::Policy;
use super::store::{NewObject, Object, Received};
use crate::kernel::cloud::Cloud;
use crate::kernel::identity::{Caller, Origin};

/// Bytes of all fields before the file.
const FIELDS_BYTES_MAX: usize = 20_000;
/// Fields that are headers of the object.
const HEADERS: &[&str] = &[
    "cache-control",
    "content-type",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
];
/// Other fields that are read.
const READ: &[&str] = &[
    "key",
    "acl",
    "bucket",
    "policy",
    "success_action_redirect",
    "redirect",
    "success_action_status",
    "tagging",
    "submit",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-signature",
    "x-amz-security-token",
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-checksum-algorithm",
];

/// Whether a request is a form.
pub fn is_form(request: &HttpRequest) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    request.method() == Method::POST
        && kind.is_some_and(|kind| kind.trim_start().starts_with("multipart/form-data"))
}

fn malformed(error: impl std::fmt::Display) -> S3Error {
    s3_error!(
        MalformedPOSTRequest,
        "The body of your POST request is not well-formed multipart/form-data. ({error})"
    )
}

/// The bucket in the path or the host.
fn bucket_of(request: &HttpRequest) -> S3Result<String> {
    let host = request.headers().get(header::HOST).and_then(|v| v.to_str().ok());
    let host = Hosts.parse_host_header(host.unwrap_or_default())?;
    let path = crate::protocol::percent_decode(request.uri().path().trim_matches('/'));
    match (host.bucket(), path.as_str()) {
        (Some(bucket), "") => Ok(bucket.to_owned()),
        (None, bucket) if !bucket.is_empty() && !bucket.contains('/') => Ok(bucket.to_owned()),
        _ => Err(s3_error!(
            MethodNotAllowed,
            "The specified method is not allowed against this resource."
        )),
    }
}

/// A form before its file.
struct Form {
    bucket: String,
    fields: BTreeMap<String, String>,
}

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// A field that forms must have.
    fn required(&self, name: &str) -> S3Result<&str> {
        self.get(name).ok_or_else(|| {
            invalid_argument(format!(
                "Bucket POST must contain a field named '{name}'.  If it is specified, please \
                 check the order of the fields."
            ))
        })
    }
}

/// Answers a form.
pub async fn answer(cloud: &Arc<Cloud>, request: HttpRequest) -> S3Result<HttpResponse> {
    let lost = request.extensions().get::<Losing>().cloned();
    super::front::strike(&cloud.faults, "PostObject", lost.as_ref()).await?;
    let bucket = bucket_of(&request)?;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let boundary = multer::parse_boundary(kind.unwrap_or_default()).map_err(malformed)?;
    let (mut parts, body) = request.into_parts();
    let mut multipart = Multipart::new(body, boundary);
    let (fields, file) = read_fields(&mut multipart).await?;
    let mut form = Form { bucket, fields };
    let key = form.required("key")?.replace("${filename}", file.file_name().unwrap_or_default());
    let origin = parts.extensions.get::<Origin>().cloned().unwrap_or_default();
    let (caller, policy) = admit(cloud, &form)?;
    form.fields.insert("key".to_owned(), key);
    let caller = caller.from(origin);
    policy.check(&form.bucket, &form.fields, jiff::Timestamp::now())?;
    check_fields(&form)?;
    parts.extensions.insert(caller.clone());
    Access(cloud.clone()).check_owner(&form.bucket, None)?;
    let api = Api { cloud: cloud.clone() };
    let object = write(&api, &parts.extensions, &form, &policy, file).await?;
    Ok(success(&api, &form, &object))
}

/// The fields, and the file that ends them.
async fn read_fields<'a>(
    multipart: &mut Multipart<'a>,
) -> S3Result<(BTreeMap<String, String>, Field<'a>)> {
    let (mut fields, mut left) = (BTreeMap::new(), FIELDS_BYTES_MAX);
    while let Some(mut field) = multipart.next_field().await.map_err(malformed)? {
        let name = field.name().unwrap_or_default().to_ascii_lowercase();
        if name == "file" {
            return Ok((fields, field));
        }
        let mut value = Vec::new();
        while let Some(chunk) = field.chunk().await.map_err(malformed)? {
            left = left.checked_sub(chunk.len()).ok_or_else(|| {
                custom(
                    "MaxPostPreDataLengthExceeded",
                    400,
                    "Your POST request fields preceding the upload file were too large.",
                )
            })?;
            value.extend_from_slice(&chunk);
        }
        left = left.saturating_sub(name.len());
        let value = String::from_utf8(value).map_err(malformed)?;
        fields.insert(name, value);
    }
    Err(invalid_argument("POST requires exactly one file upload per request."))
}

/// Who signed the form, and what it may contain.
fn admit(cloud: &Arc<Cloud>, form: &Form) -> S3Result<(Caller, Policy)> {
    if form.get("awsaccesskeyid").is_some() || form.get("signature").is_some() {
        return Err(s3_error!(
            InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use \
             AWS4-HMAC-SHA256. (boto3 signs forms with version 4 when `signature_version` is \
             `s3v4`.)"
        ));
    }
    if form.get("policy").is_none() && form.get("x-amz-signature").is_none() {
        return Err(Access(cloud.clone()).anonymous(Some(&form.bucket)));
    }
    let policy = form.required("policy")?;
    if form.required("x-amz-algorithm")? != "AWS4-HMAC-SHA256" {
        return Err(invalid_argument("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let (credential, date) = (form.required("x-amz-credential")?, form.required("x-amz-date")?);
    let signature = form.required("x-amz-signature")?;
    let parts: Vec<&str> = credential.split('/').collect();
    let [key, day, region, "s3", "aws4_request"] = parts.as_slice() else {
        return Err(invalid_argument(
            "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting \
             \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
        ));
    };
    if *region != cloud.config.region || !date.starts_with(day) {
        return Err(invalid_argument(format!(
            "Error parsing the X-Amz-Credential parameter; the region '{region}' or the date is \
             wrong; expecting '{}'",
            cloud.config.region
        )));
    }
    let (secret, caller) =
        cloud.identities.lookup(key, form.get("x-amz-security-token")).map_err(denied)?;
    let signing = [day, region, &"s3", &"aws4_request"]
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part));
    let expected = hex::encode(hmac(&signing, policy));
    // Compared as hashes, so that the time taken tells nothing about where they differ.
    if Sha256::digest(&expected) != Sha256::digest(signature) {
        return Err(s3_error!(SignatureDoesNotMatch));
    }
    Ok((caller, Policy::read(policy)?))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Fields of S3 that nothing here reads are refused by name; S3 ignores those of others.
fn check_fields(form: &Form) -> S3Result<()> {
    let known = |name: &str| {
        READ.contains(&name)
            || HEADERS.contains(&name)
            || name.starts_with("x-amz-meta-")
            || name.starts_with("x-amz-checksum-")
            || !name.starts_with("x-amz-")
    };
    if let Some(other) = form.fields.keys().find(|name| !known(name)) {
        return Err(not_implemented(&format!("the field {other} of PostObject")));
    }
    options::check_acl(form.get("acl"), &[])?;
    let encryption = form.get("x-amz-server-side-encryption").map(str::to_owned);
    options::check_encryption(encryption.map(ServerSideEncryption::from).as_ref())
}

/// The headers that the fields stand for.
fn headers_of(form: &Form) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let wanted = |name: &str| HEADERS.contains(&name) || name.starts_with("x-amz-");
    for (name, value) in form.fields.iter().filter(|(name, _)| wanted(name)) {
        let invalid = || invalid_argument(format!("The field {name} is invalid."));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        headers.insert(name, HeaderValue::from_str(value).map_err(|_| invalid())?);
    }
    Ok(headers)
}

async fn write(
    api: &Api,
    extensions: &axum::http::Extensions,
    form: &Form,
    policy: &Policy,
    file: Field<'_>,
) -> S3Result<Object> {
    let (bucket, key) = (form.bucket.clone(), form.required("key")?.to_owned());
    if key.is_empty() {
        return Err(invalid_argument("User key must have a length greater than 0."));
    }
    if key.len() > 1_024 {
        return Err(s3_error!(KeyTooLongError, "Your key is too long"));
    }
    let caller = super::access::caller(extensions)?;
    let resource = format!("arn:aws:s3:::{bucket}/{key}");
    let may = |action: &str| api.cloud.authorize(caller, action, &resource, &[]).map_err(denied);
    may("s3:PutObject")?;
    api.buckets().get(&bucket)?;
    let headers = headers_of(form)?;
    let metadata: Metadata = form
        .fields
        .iter()
        .filter_map(|(n, v)| Some((n.strip_prefix("x-amz-meta-")?.to_owned(), v.clone())))
        .collect();
    let class = form.get("x-amz-storage-class").map(|class| StorageClass::from(class.to_owned()));
    let mut meta = options::meta(&headers, Some(metadata), class.as_ref())?;
    if let Some(tagging) = form.get("tagging") {
        may("s3:PutObjectTagging")?;
        meta.tags = tags_of(tagging)?;
    }
    let values = Algorithm::ALL.map(|a| (a, form.get(a.header()).map(str::to_owned)));
    let claim = Claim::read(&headers, values, None)?;
    let received = receive(api, policy, &claim, file).await?;
    let cause = api.cause(extensions, "PostObject");
    let new = NewObject::whole(received, meta);
    let condition = WriteConditions::default();
    api.blocking(move |cloud| cloud.services.s3.put(&bucket, &key, new, &condition, &cause)).await
}

fn tags_of(xml: &str) -> S3Result<BTreeMap<String, String>> {
    let tagging: Tagging = s3s::xml::Deserializer::new(xml.as_bytes())
        .named_element("Tagging", s3s::xml::Deserializer::content)
        .map_err(|_| super::errors::malformed_xml())?;
    let pairs = tagging.tag_set.into_iter();
    super::tagging::check(
        pairs.map(|t| (t.key.unwrap_or_default(), t.value.unwrap_or_default())).collect(),
    )
}

async fn receive(
    api: &Api,
    policy: &Policy,
    claim: &Claim,
    mut file: Field<'_>,
) -> S3Result<Received> {
    let (least, most) = policy.length.clone().map_or((0, u64::MAX), RangeInclusive::into_inner);
    let most = most.min(u64::try_from(OBJECT_BYTES_MAX).unwrap_or(u64::MAX));
    let mut incoming = api.buckets().incoming(claim.algorithm())?;
    while let Some(chunk) = file.chunk().await.map_err(malformed)? {
        if incoming.size() + chunk.len() as u64 > most {
            return Err(s3_error!(
                EntityTooLarge,
                "Your proposed upload exceeds the maximum allowed size"
            ));
        }
        incoming.write(&chunk).map_err(internal)?;
    }
    if incoming.size() < least {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size"
        ));
    }
    let received = incoming.finish();
    claim.verify(&received.md5, &received.checksum, None)?;
    Ok(received)
}

/// What the form wants to be answered with.
fn success(api: &Api, form: &Form, object: &Object) -> HttpResponse {
    let key = form.get("key").unwrap_or_default();
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let encoded: String = encode(key);
    let path = encoded.replace("%2F", "/").replace('+', "%20");
    let location = format!("{}/{}/{path}", api.cloud.config.endpoint(), form.bucket);
    let tag = format!("\"{}\"", object.etag);
    let redirect = form.get("success_action_redirect").or(form.get("redirect"));
    let redirect = redirect.and_then(|to| url::Url::parse(to).ok()).map(|mut to| {
        let pairs = [("bucket", form.bucket.as_str()), ("key", key), ("etag", &tag)];
        to.query_pairs_mut().extend_pairs(pairs);
        to.to_string()
    });
    let status = match (&redirect, form.get("success_action_status")) {
        (Some(_), _) => StatusCode::SEE_OTHER,
        (None, Some("200")) => StatusCode::OK,
        (None, Some("201")) => StatusCode::CREATED,
        // Any other is taken for the default, as in AWS.
        _ => StatusCode::NO_CONTENT,
    };
    let body = match status {
        StatusCode::CREATED => Body::from(created(&location, &form.bucket, key, &tag)),
        _ => Body::empty(),
    };
    let mut response = HttpResponse::new(body);
    *response.status_mut() = status;
    let headers = [
        ("etag", Some(tag)),
        ("location", Some(redirect.unwrap_or(location))),
        ("x-amz-server-side-encryption", Some("AES256".to_owned())),
        ("x-amz-version-id", api.new_version_id(&form.bucket, object)),
        ("x-amz-expiration", api.expiration(&form.bucket, key, object)),
        ("content-type", (status == StatusCode::CREATED).then(|| "application/xml".to_owned())),
    ];
    for (name, value) in headers {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn created(location: &str, bucket: &str, key: &str, tag: &str) -> String {
    let escape = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location>\
         <Bucket>{bucket}</Bucket><Key>{}</Key><ETag>{}</ETag></PostResponse>",
        escape(location),
        escape(key),
        escape(tag)
    )
}
