//! Checksums of objects and parts: what a client claims, what the bytes have, what is answered.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::{S3Error, S3Result, TrailingHeaders, s3_error};
use serde::{Deserialize, Serialize};

use super::errors::{custom, invalid_request};

/// An algorithm that S3 knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Algorithm {
    /// ISO/HDLC.
    Crc32,
    /// Castagnoli.
    Crc32c,
    /// The one that S3 takes when the client takes none.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// `CRC32`, as members of the API have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// `x-amz-checksum-crc32`.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The algorithm of that name.
    pub fn named(name: &str) -> S3Result<Self> {
        let found = Self::ALL.into_iter().find(|a| a.name() == name);
        found.ok_or_else(|| {
            invalid_request(
                "Checksum algorithm provided is unsupported. Please try again with any of the \
                 valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
            )
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// A hasher for this algorithm.
    pub fn hasher(self) -> ChecksumHasher {
        let mut hasher = ChecksumHasher::default();
        match self {
            Self::Crc32 => hasher.crc32 = Some(Crc32::new()),
            Self::Crc32c => hasher.crc32c = Some(Crc32c::new()),
            Self::Crc64Nvme => hasher.crc64nvme = Some(Crc64Nvme::new()),
            Self::Sha1 => hasher.sha1 = Some(Sha1::new()),
            Self::Sha256 => hasher.sha256 = Some(Sha256::new()),
        }
        hasher
    }

    /// The checksum that this algorithm's hasher has come to.
    pub fn finish(self, hasher: ChecksumHasher) -> Checksum {
        let sums = hasher.finalize();
        let value = match self {
            Self::Crc32 => sums.checksum_crc32,
            Self::Crc32c => sums.checksum_crc32c,
            Self::Crc64Nvme => sums.checksum_crc64nvme,
            Self::Sha1 => sums.checksum_sha1,
            Self::Sha256 => sums.checksum_sha256,
        };
        Checksum { algorithm: self, value: value.unwrap_or_default(), composite: false }
    }
}

/// A checksum that is kept with an object or a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// In base64; of composite ones with the number of parts: `…-3`.
    pub value: String,
    /// Whether it is the checksum of the parts' checksums.
    pub composite: bool,
}

impl Checksum {
    /// `FULL_OBJECT` or `COMPOSITE`.
    pub fn kind(&self) -> &'static str {
        if self.composite { "COMPOSITE" } else { "FULL_OBJECT" }
    }

    /// The same without the number of parts, as GetObjectAttributes tells it.
    pub fn bare(&self) -> Self {
        let value = self.value.split('-').next().unwrap_or_default().to_owned();
        Self { value, ..self.clone() }
    }

    /// The checksum of the parts' checksums.
    pub fn of_parts(algorithm: Algorithm, parts: &[&Checksum]) -> Self {
        let mut hasher = algorithm.hasher();
        for part in parts {
            hasher.update(&BASE64.decode(&part.value).unwrap_or_default());
        }
        let value = format!("{}-{}", algorithm.finish(hasher).value, parts.len());
        Self { algorithm, value, composite: true }
    }
}

/// Sets the members of an output that hold checksums.
macro_rules! answer_checksum {
    ($output:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            let value = Some(checksum.value.clone());
            match checksum.algorithm {
                $crate::services::s3::checksums::Algorithm::Crc32 => $output.checksum_crc32 = value,
                $crate::services::s3::checksums::Algorithm::Crc32c => {
                    $output.checksum_crc32c = value
                }
                $crate::services::s3::checksums::Algorithm::Crc64Nvme => {
                    $output.checksum_crc64nvme = value
                }
                $crate::services::s3::checksums::Algorithm::Sha1 => $output.checksum_sha1 = value,
                $crate::services::s3::checksums::Algorithm::Sha256 => {
                    $output.checksum_sha256 = value
                }
            }
        }
    };
}
pub(super) use answer_checksum;

/// Sets the type of the checksum as well.
macro_rules! answer_checksum_and_type {
    ($output:expr, $checksum:expr) => {
        $crate::services::s3::checksums::answer_checksum!($output, $checksum);
        $output.checksum_type = $checksum.map(|c| s3s::dto::ChecksumType::from_static(c.kind()));
    };
}
pub(super) use answer_checksum_and_type;

/// The checksums that an input brings, as pairs of algorithm and value.
macro_rules! claimed_checksums {
    ($crc32:expr, $crc32c:expr, $crc64nvme:expr, $sha1:expr, $sha256:expr) => {
        [
            ($crate::services::s3::checksums::Algorithm::Crc32, $crc32),
            ($crate::services::s3::checksums::Algorithm::Crc32c, $crc32c),
            ($crate::services::s3::checksums::Algorithm::Crc64Nvme, $crc64nvme),
            ($crate::services::s3::checksums::Algorithm::Sha1, $sha1),
            ($crate::services::s3::checksums::Algorithm::Sha256, $sha256),
        ]
    };
}
pub(super) use claimed_checksums;

/// What a client says the bytes have.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    /// Algorithm, and the value unless it comes in a trailer.
    pub checksum: Option<(Algorithm, Option<String>)>,
    /// `Content-MD5`.
    pub md5: Option<[u8; 16]>,
}

impl Claim {
    /// Reads the claim from an upload's headers and members.
    pub fn read(
        headers: &HeaderMap,
        values: [(Algorithm, Option<String>); 5],
        content_md5: Option<&str>,
    ) -> S3Result<Self> {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        // `s3s` takes an empty one for none.
        let md5 = content_md5.or(text("content-md5")).map(parse_md5).transpose()?;
        let mut checksum = single(values)?.map(|(a, v)| (a, Some(v)));
        if let Some(trailer) = text("x-amz-trailer") {
            let announced = Algorithm::ALL.into_iter().find(|a| trailer.trim() == a.header());
            let announced = announced.ok_or_else(|| {
                invalid_request("The value specified in the x-amz-trailer header is not supported")
            })?;
            if checksum.replace((announced, None)).is_some() {
                return Err(invalid_request(MULTIPLE));
            }
        }
        if let Some(wanted) = text("x-amz-sdk-checksum-algorithm") {
            let wanted = Algorithm::named(&wanted.to_ascii_uppercase())?;
            match checksum {
                Some((algorithm, _)) if algorithm == wanted => {}
                Some(_) => {
                    return Err(invalid_request(
                        "Value for x-amz-sdk-checksum-algorithm header is invalid.",
                    ));
                }
                None => return Err(invalid_request(NO_CHECKSUM)),
            }
        }
        Ok(Self { checksum, md5 })
    }

    /// The algorithm to calculate: the client's, else S3's own.
    pub fn algorithm(&self) -> Algorithm {
        self.checksum.as_ref().map_or(Algorithm::Crc64Nvme, |(algorithm, _)| *algorithm)
    }

    /// Compares the claim with what has arrived.
    pub fn verify(
        &self,
        md5: &[u8; 16],
        actual: &Checksum,
        trailers: Option<&TrailingHeaders>,
    ) -> S3Result<()> {
        if self.md5.as_ref().is_some_and(|claimed| claimed != md5) {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what we received."
            ));
        }
        let Some((algorithm, value)) = &self.checksum else { return Ok(()) };
        let trailer = || {
            trailers.and_then(TrailingHeaders::take).and_then(|h| {
                h.get(algorithm.header()).and_then(|v| v.to_str().ok()).map(str::to_owned)
            })
        };
        let claimed = value.clone().or_else(trailer).ok_or_else(|| {
            custom(
                "MalformedTrailerError",
                400,
                "The request contained trailing data that was not well-formed or did not conform \
                 to our published schema.",
            )
        })?;
        check_form(*algorithm, &claimed)?;
        if claimed == actual.value { Ok(()) } else { Err(bad_digest(*algorithm)) }
    }
}

const MULTIPLE: &str =
    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
const NO_CHECKSUM: &str = "x-amz-sdk-checksum-algorithm specified, but no corresponding \
    x-amz-checksum-* or x-amz-trailer headers were found.";

/// The one checksum among an input's members, if there is one.
pub fn single(values: [(Algorithm, Option<String>); 5]) -> S3Result<Option<(Algorithm, String)>> {
    let mut given = values.into_iter().filter_map(|(a, value)| Some((a, value?)));
    let Some((algorithm, value)) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(invalid_request(MULTIPLE));
    }
    check_form(algorithm, &value)?;
    Ok(Some((algorithm, value)))
}

fn check_form(algorithm: Algorithm, value: &str) -> S3Result<()> {
    // Checksums of checksums end in the number of parts.
    let plain = value.split_once('-').map_or(value, |(sum, _)| sum);
    if BASE64.decode(plain).is_ok_and(|b| b.len() == algorithm.bytes()) {
        return Ok(());
    }
    Err(invalid_request(format!("Value for {} header is invalid.", algorithm.header())))
}

/// The bytes are not those that were announced.
pub fn bad_digest(algorithm: Algorithm) -> S3Error {
    let name = algorithm.name();
    s3_error!(BadDigest, "The {name} you specified did not match the calculated checksum.")
}

/// `Content-MD5` as bytes.
pub fn parse_md5(value: &str) -> S3Result<[u8; 16]> {
    let bytes = BASE64.decode(value).ok().and_then(|b| <[u8; 16]>::try_from(b).ok());
    bytes.ok_or_else(|| s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid."))
}

/// Checks the digests in the headers of a request whose body was read whole.
pub fn verify_body(headers: &HeaderMap, body: &[u8]) -> S3Result<()> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let values = Algorithm::ALL.map(|a| (a, text(a.header())));
    let md5 = text("content-md5");
    if md5.is_none() && values.iter().all(|(_, v)| v.is_none()) {
        return Ok(());
    }
    let claim = Claim {
        checksum: single(values)?.map(|(a, v)| (a, Some(v))),
        md5: md5.as_deref().map(parse_md5).transpose()?,
    };
    let mut hasher = claim.algorithm().hasher();
    hasher.update(body);
    let actual = claim.algorithm().finish(hasher);
    claim.verify(&s3s::crypto::Md5::checksum(body), &actual, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_composite_checksum_is_that_of_the_documentation() {
        // Step 9 of "Tutorial: Upload an object through multipart upload" in S3's user guide.
        let part = |value: &str| {
            let value = value.to_owned();
            Checksum { algorithm: Algorithm::Sha256, value, composite: false }
        };
        let parts = [
            part("QLl8R4i4+SaJlrl8ZIcutc5TbZtwt2NwB8lTXkd3GH0="),
            part("xCdgs1K5Bm4jWETYw/CmGYr+m6O2DcGfpckx5NVokvE="),
            part("f5wsfsa5bB+yXuwzqG1Bst91uYneqGD3CCidpb54mAo="),
        ];
        let whole = Checksum::of_parts(Algorithm::Sha256, &parts.each_ref());
        assert_eq!(whole.value, "aI8EoktCdotjU8Bq46DrPCxQCGuGcPIhJ51noWs6hvk=-3");
        assert_eq!(whole.bare().value, "aI8EoktCdotjU8Bq46DrPCxQCGuGcPIhJ51noWs6hvk=");
        assert_eq!(whole.bare().kind(), "COMPOSITE");
        assert_eq!(parts[0].bare(), parts[0]);
    }
}
