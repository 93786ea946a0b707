//! Encryption and decryption, of data and of data keys.
//!
//! A ciphertext begins with a version and the key's ID, so that it can be decrypted without being
//! told the key; what it is bound to is the key and the encryption context.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::{Found, allow, arn, find, invalid, keys, material, usable};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::service::Call;

/// Version of the form of ciphertexts.
const VERSION: u8 = 1;
/// Bytes that are encrypted at once.
const PLAINTEXT_BYTES_MAX: usize = 4_096;
/// Bytes of an encryption context.
const CONTEXT_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a data key, or of random numbers.
const RANDOM_BYTES_MAX: u64 = 1_024;

const ALGORITHM: &str = "SYMMETRIC_DEFAULT";

/// What a ciphertext is bound to: the key and the context, whose order says nothing.
fn bound_to(id: &str, context: &Value) -> ApiResult<Vec<u8>> {
    let pairs = context.as_object().into_iter().flatten();
    let mut pairs: Vec<(&String, &Value)> = pairs.collect();
    pairs.sort_by_key(|(name, _)| *name);
    let text = json!([id, pairs]).to_string();
    if text.len() > CONTEXT_BYTES_MAX {
        return Err(invalid("The encryption context is longer than 8192 bytes."));
    }
    Ok(text.into_bytes())
}

fn check_algorithm(call: &Call<'_>, member: &str) -> ApiResult<()> {
    match call.text(member) {
        None | Some(ALGORITHM) => Ok(()),
        Some(other) => Err(ApiError::new(
            "InvalidKeyUsageException",
            format!("The algorithm {other} is not compatible with a symmetric key."),
        )),
    }
}

fn bytes(call: &Call<'_>, member: &str) -> ApiResult<Vec<u8>> {
    let decoded = BASE64.decode(call.required(member)?);
    decoded.map_err(|_| ApiError::new("SerializationException", format!("{member} is not base64.")))
}

fn seal(cloud: &Cloud, found: &Found, context: &Value, plaintext: &[u8]) -> ApiResult<Vec<u8>> {
    usable(cloud, found)?;
    let id = uuid::Uuid::parse_str(&found.id).map_err(ApiError::internal)?;
    let aad = bound_to(&found.id, context)?;
    let sealed =
        cloud.services.kms.root.encrypt(&found.id, &found.key.material, &aad, plaintext)?;
    Ok([&[VERSION], id.as_bytes().as_slice(), &sealed].concat())
}

fn wrong_ciphertext() -> ApiError {
    ApiError::new("InvalidCiphertextException", "")
}

/// The key of a ciphertext, and what it encrypted.
fn parts<'a>(cloud: &Cloud, blob: &'a [u8]) -> ApiResult<(Found, &'a [u8])> {
    let (head, sealed) = blob.split_at_checked(17).ok_or_else(wrong_ciphertext)?;
    let id = uuid::Uuid::from_slice(&head[1..]).map_err(|_| wrong_ciphertext())?;
    if head[0] != VERSION {
        return Err(wrong_ciphertext());
    }
    Ok((find(cloud, &id.to_string())?, sealed))
}

fn open(cloud: &Cloud, found: &Found, context: &Value, sealed: &[u8]) -> ApiResult<Vec<u8>> {
    usable(cloud, found)?;
    let aad = bound_to(&found.id, context)?;
    let opened = cloud.services.kms.root.decrypt(&found.id, &found.key.material, &aad, sealed)?;
    opened.ok_or_else(wrong_ciphertext)
}

/// Encrypts for another service (`ssm`), as its caller; with the service's own key when none is
/// named. The ID of the key, and the ciphertext.
pub fn encrypt(
    cloud: &Cloud,
    caller: &Caller,
    service: &str,
    key: Option<&str>,
    context: &Value,
    plaintext: &[u8],
) -> ApiResult<(String, Vec<u8>)> {
    let own = format!("alias/aws/{service}");
    let found = match key {
        Some(key) if !key.ends_with(&own) => find(cloud, key)?,
        _ => keys::managed(cloud, service)?,
    };
    allow(cloud, caller, "kms:Encrypt", &found, Some(service))?;
    let sealed = seal(cloud, &found, context, plaintext)?;
    Ok((found.id, sealed))
}

/// Decrypts for another service, as its caller.
pub fn decrypt(
    cloud: &Cloud,
    caller: &Caller,
    service: &str,
    context: &Value,
    blob: &[u8],
) -> ApiResult<Vec<u8>> {
    let (found, sealed) = parts(cloud, blob)?;
    allow(cloud, caller, "kms:Decrypt", &found, Some(service))?;
    open(cloud, &found, context, sealed)
}

/// `Encrypt`.
pub fn encrypt_call(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    check_algorithm(call, "EncryptionAlgorithm")?;
    let found = super::named(call, "KeyId")?;
    let plaintext = bytes(call, "Plaintext")?;
    if plaintext.len() > PLAINTEXT_BYTES_MAX {
        return Err(invalid(
            "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: \
             Member must have length less than or equal to 4096",
        ));
    }
    let sealed = seal(cloud, &found, &call.params["EncryptionContext"], &plaintext)?;
    Ok(json!({
        "CiphertextBlob": BASE64.encode(sealed), "KeyId": arn(cloud, &found.id),
        "EncryptionAlgorithm": ALGORITHM,
    }))
}

/// The key that a caller says a ciphertext is of must be that one.
fn check_same(cloud: &Cloud, said: Option<&str>, found: &Found) -> ApiResult<()> {
    let Some(said) = said else { return Ok(()) };
    if find(cloud, said)?.id == found.id {
        return Ok(());
    }
    let message =
        "The key ID in the request does not identify a CMK that can perform this operation.";
    Err(ApiError::new("IncorrectKeyException", message))
}

/// `Decrypt`.
pub fn decrypt_call(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    check_algorithm(call, "EncryptionAlgorithm")?;
    let blob = bytes(call, "CiphertextBlob")?;
    let (found, sealed) = parts(cloud, &blob)?;
    check_same(cloud, call.text("KeyId"), &found)?;
    allow(cloud, call.caller, "kms:Decrypt", &found, None)?;
    let plaintext = open(cloud, &found, &call.params["EncryptionContext"], sealed)?;
    Ok(json!({
        "Plaintext": BASE64.encode(plaintext), "KeyId": arn(cloud, &found.id),
        "EncryptionAlgorithm": ALGORITHM,
    }))
}

/// `ReEncrypt`: the plaintext stays here.
pub fn re_encrypt(call: &Call<'_>) -> ApiResult {
    let (cloud, params) = (call.cloud, call.params);
    check_algorithm(call, "SourceEncryptionAlgorithm")?;
    check_algorithm(call, "DestinationEncryptionAlgorithm")?;
    let blob = bytes(call, "CiphertextBlob")?;
    let (from, sealed) = parts(cloud, &blob)?;
    check_same(cloud, call.text("SourceKeyId"), &from)?;
    let to = find(cloud, call.required("DestinationKeyId")?)?;
    allow(cloud, call.caller, "kms:ReEncryptFrom", &from, None)?;
    allow(cloud, call.caller, "kms:ReEncryptTo", &to, None)?;
    let plaintext = open(cloud, &from, &params["SourceEncryptionContext"], sealed)?;
    let sealed = seal(cloud, &to, &params["DestinationEncryptionContext"], &plaintext)?;
    Ok(json!({
        "CiphertextBlob": BASE64.encode(sealed), "SourceKeyId": arn(cloud, &from.id),
        "KeyId": arn(cloud, &to.id), "SourceEncryptionAlgorithm": ALGORITHM,
        "DestinationEncryptionAlgorithm": ALGORITHM,
    }))
}

/// `GenerateDataKey`, `GenerateDataKeyWithoutPlaintext`.
pub fn data_key(call: &Call<'_>, with_plaintext: bool) -> ApiResult {
    let cloud = call.cloud;
    let found = super::named(call, "KeyId")?;
    let count = match (call.text("KeySpec"), call.params["NumberOfBytes"].as_u64()) {
        (Some("AES_256"), None) => 32,
        (Some("AES_128"), None) => 16,
        (None, Some(count)) if (1..=RANDOM_BYTES_MAX).contains(&count) => count as usize,
        _ => return Err(invalid("Please specify either number of bytes or key spec.")),
    };
    usable(cloud, &found)?;
    let plaintext = material::random(count)?;
    let sealed = seal(cloud, &found, &call.params["EncryptionContext"], &plaintext)?;
    let mut answer = Map::new();
    answer.insert("KeyId".to_owned(), arn(cloud, &found.id).into());
    answer.insert("CiphertextBlob".to_owned(), BASE64.encode(sealed).into());
    if with_plaintext {
        answer.insert("Plaintext".to_owned(), BASE64.encode(plaintext).into());
    }
    Ok(Value::Object(answer))
}

/// `GenerateRandom`.
pub fn random(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let count = call.params["NumberOfBytes"].as_u64();
    let count = count.filter(|count| (1..=RANDOM_BYTES_MAX).contains(count));
    let count = count.ok_or_else(|| invalid("NumberOfBytes must be 1 to 1024."))?;
    Ok(json!({ "Plaintext": BASE64.encode(material::random(count as usize)?) }))
}
