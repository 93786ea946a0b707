//! What keys are made of, and what they do. Nothing of it leaves this file unencrypted.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use steppe_wire::hint::Hinted;

use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::folder::write_private;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// A key that is encrypted by the root, in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(String);

/// What all keys are encrypted by.
pub struct Root(LessSafeKey);

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Root")
    }
}

/// Random bytes.
pub fn random(count: usize) -> ApiResult<Vec<u8>> {
    let mut bytes = vec![0; count];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| ApiError::internal("the machine has no random numbers"))?;
    Ok(bytes)
}

fn key_of(bytes: &[u8]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?))
}

/// Nonce and ciphertext.
fn seal(key: &LessSafeKey, aad: &[u8], plaintext: &[u8]) -> ApiResult<Vec<u8>> {
    let nonce: [u8; NONCE_LEN] =
        random(NONCE_LEN)?.try_into().map_err(|_| ApiError::internal("a nonce is too short"))?;
    let mut bytes = plaintext.to_vec();
    let nonce_again = Nonce::assume_unique_for_key(nonce);
    let sealed = key.seal_in_place_append_tag(nonce_again, Aad::from(aad), &mut bytes);
    sealed.map_err(|_| ApiError::internal("the plaintext is too long"))?;
    Ok([nonce.as_slice(), &bytes].concat())
}

fn open(key: &LessSafeKey, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, bytes) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut bytes = bytes.to_vec();
    let length = key.open_in_place(nonce, Aad::from(aad), &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

impl Root {
    /// Reads the root, or makes it; only its owner can read the file.
    pub fn open(folder: &Path) -> Result<Self> {
        let file = folder.join("kms.key");
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made = random(KEY_BYTES)?;
                write_private(&file, &made)
                    .with_context(|| format!("cannot write {}", file.display()))?;
                made
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        let root = key_of(&bytes).ok_or_else(|| {
            let is_damaged = format!("{} is damaged", file.display());
            let hint = "bring back the file that was there: without it no key of KMS can be used";
            Hinted::new(is_damaged, hint)
        })?;
        Ok(Self(root))
    }

    /// A new key for the record `id`.
    pub fn make(&self, id: &str) -> ApiResult<Sealed> {
        Ok(Sealed(BASE64.encode(seal(&self.0, id.as_bytes(), &random(KEY_BYTES)?)?)))
    }

    fn unsealed(&self, id: &str, sealed: &Sealed) -> ApiResult<LessSafeKey> {
        let bytes = BASE64.decode(&sealed.0).ok();
        let bytes = bytes.and_then(|bytes| open(&self.0, id.as_bytes(), &bytes));
        bytes.and_then(|bytes| key_of(&bytes)).ok_or_else(|| {
            ApiError::internal(format!("the key {id} was not made with the `kms.key` that is here"))
        })
    }

    /// Encrypts by a key.
    pub fn encrypt(
        &self,
        id: &str,
        sealed: &Sealed,
        aad: &[u8],
        plaintext: &[u8],
    ) -> ApiResult<Vec<u8>> {
        seal(&self.unsealed(id, sealed)?, aad, plaintext)
    }

    /// Decrypts by a key; nothing when it was not encrypted by it with the same context.
    pub fn decrypt(
        &self,
        id: &str,
        sealed: &Sealed,
        aad: &[u8],
        ciphertext: &[u8],
    ) -> ApiResult<Option<Vec<u8>>> {
        Ok(open(&self.unsealed(id, sealed)?, aad, ciphertext))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_decrypts_what_it_encrypted_also_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::open(folder.path()).expect("a root");
        let key = root.make("k").expect("a key");
        let sealed = root.encrypt("k", &key, b"context", b"secret").expect("encrypted");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        let root = Root::open(folder.path()).expect("the same root");
        let opened = |aad: &[u8], bytes: &[u8]| root.decrypt("k", &key, aad, bytes).expect("a key");
        assert_eq!(opened(b"context", &sealed).as_deref(), Some(b"secret".as_slice()));
        assert_eq!(opened(b"other", &sealed), None);
        let mut changed = sealed.clone();
        changed[20] ^= 1;
        assert_eq!(opened(b"context", &changed), None);
        assert_eq!(opened(b"context", &sealed[..5]), None);
        // A record that somebody renamed is no key.
        assert!(root.decrypt("other", &key, b"context", &sealed).is_err());
    }

    #[test]
    fn a_damaged_root_is_said_so() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("kms.key"), b"short").expect("written");
        let error = Root::open(folder.path()).expect_err("no root");
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
}
