//! Names of buckets, and hosts that have a bucket in them.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>

use s3s::host::{S3Host, VirtualHost};
use s3s::{S3Result, s3_error};

/// Beginnings that AWS keeps for itself.
const RESERVED_PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
/// Ends that AWS keeps for itself.
const RESERVED_SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

/// Whether a bucket may have this name.
pub fn is_bucket_name(name: &str) -> bool {
    s3s::path::check_bucket_name(name)
        && !name.contains(".-")
        && !name.contains("-.")
        && !RESERVED_PREFIXES.iter().any(|p| name.starts_with(p))
        && !RESERVED_SUFFIXES.iter().any(|s| name.ends_with(s))
}

/// Hosts of this cloud without a bucket, the longer ones first.
const HOSTS: [&str; 3] = ["s3.localhost", "localhost", "127.0.0.1"];

/// Tells `localhost:4580` from `bucket.localhost:4580`.
pub struct Hosts;

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        for base in HOSTS {
            if name == base {
                return Ok(VirtualHost::new(base));
            }
            if let Some(bucket) = name.strip_suffix(base).and_then(|h| h.strip_suffix('.')) {
                return Ok(VirtualHost::new(base).with_bucket(bucket));
            }
        }
        Err(s3_error!(
            InvalidRequest,
            "The embedded cloud serves no host `{name}`: use 127.0.0.1 or localhost with the \
             bucket in the path, or BUCKET.localhost."
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_bucket_or_none() {
        let bucket = |host: &str| {
            let found = Hosts.parse_host_header(host).map(|h| h.bucket().map(str::to_owned));
            found.map_err(|_| ())
        };
        assert_eq!(bucket("localhost:4580"), Ok(None));
        assert_eq!(bucket("s3.localhost"), Ok(None));
        assert_eq!(bucket("my.data.localhost:1"), Ok(Some("my.data".to_owned())));
        assert_eq!(bucket("data.s3.localhost:1"), Ok(Some("data".to_owned())));
        assert_eq!(bucket("data.127.0.0.1:1"), Ok(Some("data".to_owned())));
        assert_eq!(bucket("data.s3.amazonaws.com"), Err(()));
    }

    #[test]
    fn reserved_names_are_none() {
        for name in ["xn--a", "sthree-a", "a-s3alias", "a--ol-s3", "a--x-s3", "192.168.1.1", "a..b"]
        {
            assert!(!is_bucket_name(name), "{name}");
        }
        assert!(is_bucket_name("steppe-marriages-dev-data-000000000000"));
    }
}
