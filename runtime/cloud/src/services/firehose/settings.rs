//! The configuration of a destination: what is read of it, and how it is shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use steppe_wire::convert::Compression;

use super::{invalid, prefix};
use crate::kernel::error::{ApiError, ApiResult};

/// MiB of a buffer, by default and at most.
const BUFFER_MIB: (u64, u64) = (5, 128);
/// The same when records are converted, where a buffer has at least 64.
const CONVERTED_MIB: (u64, u64) = (128, 64);
/// Seconds of a buffer, by default and at most.
const BUFFER_SECS: (u64, u64) = (300, 900);

/// Members that are read, with their members, of a configuration and of an update.
const MEMBERS: [&str; 14] = [
    "RoleARN",
    "BucketARN",
    "Prefix",
    "ErrorOutputPrefix",
    "BufferingHints",
    "CompressionFormat",
    "EncryptionConfiguration",
    "CloudWatchLoggingOptions",
    "ProcessingConfiguration",
    "S3BackupMode",
    "DataFormatConversionConfiguration",
    "DynamicPartitioningConfiguration",
    "FileExtension",
    "CustomTimeZone",
];

/// Where a delivery stream delivers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Destination {
    /// The configuration as it was given, without what is null.
    pub given: Value,
    /// The role that delivers.
    pub role: String,
    /// The bucket's name.
    pub bucket: String,
    /// Prefix of keys, with what AWS adds.
    pub prefix: String,
    /// Prefix of the keys of errors, with what AWS adds.
    pub error_prefix: String,
    /// Bytes of a buffer.
    pub buffer_bytes: u64,
    /// Seconds of a buffer.
    pub buffer_secs: u64,
    /// Whether objects are compressed by gzip.
    pub gzip: bool,
    /// What comes after each record.
    pub delimiter: String,
    /// How keys end.
    pub extension: String,
    /// Log group and stream of errors.
    pub log: Option<(String, String)>,
    /// How records are converted.
    pub conversion: Option<Conversion>,
}

/// How records are converted to Parquet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conversion {
    /// The role that reads the catalogue.
    pub role: String,
    /// Database of the catalogue.
    pub database: String,
    /// Table of the catalogue.
    pub table: String,
    /// Version of the table; nothing for the newest.
    pub version: Option<String>,
    /// Whether keys of JSON are compared in small letters.
    pub case_insensitive: bool,
    /// Keys of JSON by the columns that have other names.
    pub keys: BTreeMap<String, String>,
    /// How pages are compressed.
    pub compression: Compression,
}

fn unread(member: &str) -> ApiError {
    ApiError::unknown_parameter(member, "firehose:ExtendedS3DestinationConfiguration")
}

/// Refuses the members of a structure that are not read.
fn only(value: &Value, path: &str, members: &[&str]) -> ApiResult<()> {
    let given = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    for (name, _) in given {
        if !members.contains(&name.as_str()) {
            return Err(unread(&format!("{path}{name}")));
        }
    }
    Ok(())
}

/// An update laid over a configuration.
pub fn merged(former: &Value, update: &Value) -> Value {
    let mut out = former.clone();
    for (name, value) in update.as_object().into_iter().flatten() {
        if !value.is_null() {
            out[name] = value.clone();
        }
    }
    out
}

impl Destination {
    /// Reads a configuration.
    pub fn parse(given: &Value) -> ApiResult<Self> {
        only(given, "", &MEMBERS)?;
        check_plain(given)?;
        let bucket = given["BucketARN"].as_str().unwrap_or_default();
        let bucket = bucket.strip_prefix("arn:aws:s3:::").filter(|name| !name.is_empty());
        let bucket = bucket.ok_or_else(|| invalid("BucketARN is not the ARN of a bucket."))?;
        let text = |name: &str| given[name].as_str().unwrap_or_default();
        let (prefix, error_prefix) = prefix::check(text("Prefix"), text("ErrorOutputPrefix"))
            .map_err(|words| match words.starts_with("The embedded cloud") {
                true => ApiError::new("NotImplemented", words).with_status(501),
                false => invalid(words),
            })?;
        let conversion = conversion(&given["DataFormatConversionConfiguration"])?;
        let gzip = text("CompressionFormat") == "GZIP";
        if conversion.is_some() && gzip {
            return Err(invalid(
                "CompressionFormat must be UNCOMPRESSED when data format conversion is enabled.",
            ));
        }
        let (bytes, secs) = hints(&given["BufferingHints"], conversion.is_some())?;
        let extension = match (text("FileExtension"), &conversion, gzip) {
            ("", Some(_), _) => ".parquet",
            ("", None, true) => ".gz",
            (given, ..) => given,
        };
        Ok(Self {
            given: without_nulls(given),
            role: text("RoleARN").to_owned(),
            bucket: bucket.to_owned(),
            prefix,
            error_prefix,
            buffer_bytes: bytes,
            buffer_secs: secs,
            gzip,
            delimiter: delimiter(&given["ProcessingConfiguration"])?,
            extension: extension.to_owned(),
            log: log(&given["CloudWatchLoggingOptions"])?,
            conversion,
        })
    }

    /// It as `DescribeDeliveryStream` shows it.
    pub fn describe(&self) -> Value {
        let mut out = self.given.clone();
        out["BufferingHints"] = json!({
            "SizeInMBs": self.buffer_bytes / (1024 * 1024), "IntervalInSeconds": self.buffer_secs,
        });
        out["CompressionFormat"] = if self.gzip { "GZIP" } else { "UNCOMPRESSED" }.into();
        out["EncryptionConfiguration"] = json!({ "NoEncryptionConfig": "NoEncryption" });
        out["S3BackupMode"] = "Disabled".into();
        if out["CloudWatchLoggingOptions"].is_null() {
            out["CloudWatchLoggingOptions"] = json!({ "Enabled": false });
        }
        out
    }

    /// The part of it that every destination in S3 has.
    pub fn describe_plain(&self) -> Value {
        let whole = self.describe();
        let names = [
            "RoleARN",
            "BucketARN",
            "Prefix",
            "ErrorOutputPrefix",
            "BufferingHints",
            "CompressionFormat",
            "EncryptionConfiguration",
            "CloudWatchLoggingOptions",
        ];
        let member = |name: &str| (name.to_owned(), whole[name].clone());
        let members: Map<String, Value> = names.into_iter().map(member).collect();
        without_nulls(&Value::Object(members))
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        other => other.clone(),
    }
}

/// Members that may only say that something is off.
fn check_plain(given: &Value) -> ApiResult<()> {
    let off = |value: &Value| value.is_null() || *value == false;
    if !matches!(given["CompressionFormat"].as_str(), None | Some("UNCOMPRESSED" | "GZIP")) {
        return Err(unread("CompressionFormat"));
    }
    if !given["EncryptionConfiguration"]["KMSEncryptionConfig"].is_null() {
        return Err(unread("EncryptionConfiguration.KMSEncryptionConfig"));
    }
    if !matches!(given["S3BackupMode"].as_str(), None | Some("Disabled")) {
        return Err(unread("S3BackupMode"));
    }
    if !off(&given["DynamicPartitioningConfiguration"]["Enabled"]) {
        return Err(unread("DynamicPartitioningConfiguration"));
    }
    if !matches!(given["CustomTimeZone"].as_str(), None | Some("UTC")) {
        return Err(unread("CustomTimeZone"));
    }
    Ok(())
}

/// Bytes and seconds of a buffer.
fn hints(given: &Value, converted: bool) -> ApiResult<(u64, u64)> {
    let least = if converted { CONVERTED_MIB.1 } else { 0 };
    let default = if converted { CONVERTED_MIB.0 } else { BUFFER_MIB.0 };
    let mib = given["SizeInMBs"].as_u64().unwrap_or(default);
    if !(least..=BUFFER_MIB.1).contains(&mib) {
        return Err(invalid(format!(
            "BufferingHints.SizeInMBs must be at least {least} and at most {}.",
            BUFFER_MIB.1
        )));
    }
    let secs = given["IntervalInSeconds"].as_u64().unwrap_or(BUFFER_SECS.0);
    if secs > BUFFER_SECS.1 {
        let most = BUFFER_SECS.1;
        return Err(invalid(format!("BufferingHints.IntervalInSeconds must be at most {most}.")));
    }
    Ok((mib * 1024 * 1024, secs))
}

/// What comes after each record; of all processors only this one is here.
fn delimiter(given: &Value) -> ApiResult<String> {
    if given["Enabled"] != true {
        return Ok(String::new());
    }
    let mut delimiter = String::new();
    for processor in given["Processors"].as_array().into_iter().flatten() {
        let kind = processor["Type"].as_str().unwrap_or_default();
        if kind != "AppendDelimiterToRecord" {
            return Err(unread(&format!("ProcessingConfiguration.Processors.{kind}")));
        }
        let parameters = processor["Parameters"].as_array().into_iter().flatten();
        let given = parameters.filter(|parameter| parameter["ParameterName"] == "Delimiter");
        let given = given.filter_map(|parameter| parameter["ParameterValue"].as_str()).next();
        delimiter = given.unwrap_or("\\n").replace("\\n", "\n").replace("\\t", "\t");
    }
    Ok(delimiter)
}

fn log(given: &Value) -> ApiResult<Option<(String, String)>> {
    if given["Enabled"] != true {
        return Ok(None);
    }
    let text = |name: &str| given[name].as_str().filter(|text| !text.is_empty());
    match (text("LogGroupName"), text("LogStreamName")) {
        (Some(group), Some(stream)) => Ok(Some((group.to_owned(), stream.to_owned()))),
        _ => Err(invalid("CloudWatchLoggingOptions needs LogGroupName and LogStreamName.")),
    }
}

fn conversion(given: &Value) -> ApiResult<Option<Conversion>> {
    if given.is_null() || given["Enabled"] == false {
        return Ok(None);
    }
    let (schema, input, output) = (
        &given["SchemaConfiguration"],
        &given["InputFormatConfiguration"]["Deserializer"],
        &given["OutputFormatConfiguration"]["Serializer"],
    );
    let path = "DataFormatConversionConfiguration.";
    let text = |name: &str| {
        schema[name]
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| invalid(format!("{path}SchemaConfiguration.{name} is required.")))
    };
    only(input, &format!("{path}Deserializer."), &["OpenXJsonSerDe", "HiveJsonSerDe"])?;
    only(output, &format!("{path}Serializer."), &["ParquetSerDe"])?;
    let (openx, hive) = (&input["OpenXJsonSerDe"], &input["HiveJsonSerDe"]);
    if openx.is_null() == hive.is_null() {
        return Err(invalid(format!("{path}InputFormatConfiguration needs one Deserializer.")));
    }
    if output["ParquetSerDe"].is_null() {
        return Err(invalid(format!("{path}OutputFormatConfiguration needs a Serializer.")));
    }
    let of_openx =
        ["CaseInsensitive", "ColumnToJsonKeyMappings", "ConvertDotsInJsonKeysToUnderscores"];
    only(openx, &format!("{path}OpenXJsonSerDe."), &of_openx)?;
    if openx["ConvertDotsInJsonKeysToUnderscores"] == true {
        return Err(unread(&format!("{path}OpenXJsonSerDe.ConvertDotsInJsonKeysToUnderscores")));
    }
    if hive["TimestampFormats"].as_array().is_some_and(|formats| !formats.is_empty()) {
        return Err(unread(&format!("{path}HiveJsonSerDe.TimestampFormats")));
    }
    only(&output["ParquetSerDe"], &format!("{path}ParquetSerDe."), &["Compression"])?;
    let compression = match output["ParquetSerDe"]["Compression"].as_str() {
        Some("UNCOMPRESSED") => Compression::Uncompressed,
        Some("GZIP") => Compression::Gzip,
        _ => Compression::Snappy,
    };
    let keys = openx["ColumnToJsonKeyMappings"].as_object().into_iter().flatten();
    let keys = keys.filter_map(|(column, key)| Some((column.clone(), key.as_str()?.to_owned())));
    Ok(Some(Conversion {
        role: text("RoleARN")?,
        database: text("DatabaseName")?,
        table: text("TableName")?,
        version: schema["VersionId"].as_str().filter(|v| *v != "LATEST").map(str::to_owned),
        case_insensitive: openx["CaseInsensitive"] != false,
        keys: keys.collect(),
        compression,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: Value) -> Result<Destination, String> {
        let base = json!({ "RoleARN": "arn:aws:iam::0:role/r", "BucketARN": "arn:aws:s3:::b" });
        Destination::parse(&merged(&base, &more)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_is_aws_default() {
        let plain = parse(json!({})).expect("right");
        assert_eq!((plain.buffer_bytes, plain.buffer_secs), (5 * 1024 * 1024, 300));
        assert_eq!((plain.extension.as_str(), plain.gzip), ("", false));
        assert_eq!(plain.describe()["CompressionFormat"], "UNCOMPRESSED");
        let gzip = parse(json!({ "CompressionFormat": "GZIP" })).expect("right");
        assert_eq!(gzip.extension, ".gz");
        let conversion = json!({
            "SchemaConfiguration": { "RoleARN": "r", "DatabaseName": "d", "TableName": "t" },
            "InputFormatConfiguration": { "Deserializer": { "OpenXJsonSerDe": {} } },
            "OutputFormatConfiguration": { "Serializer": { "ParquetSerDe": {} } },
        });
        let converted =
            parse(json!({ "DataFormatConversionConfiguration": conversion })).expect("right");
        assert_eq!(converted.buffer_bytes, 128 * 1024 * 1024);
        assert_eq!(converted.conversion.expect("one").compression, Compression::Snappy);
    }

    #[test]
    fn what_is_not_here_is_refused_by_name() {
        let processor = |kind: &str| json!({ "Enabled": true, "Processors": [{ "Type": kind }] });
        for (given, named) in [
            (json!({ "CompressionFormat": "ZIP" }), "CompressionFormat"),
            (json!({ "S3BackupMode": "Enabled" }), "S3BackupMode"),
            (
                json!({ "DynamicPartitioningConfiguration": { "Enabled": true } }),
                "DynamicPartitioning",
            ),
            (json!({ "ProcessingConfiguration": processor("Lambda") }), "Processors.Lambda"),
            (json!({ "CustomTimeZone": "Asia/Almaty" }), "CustomTimeZone"),
            (
                json!({ "Prefix": "!{partitionKeyFromQuery:a}/", "ErrorOutputPrefix": "e/" }),
                "partitionKeyFromQuery",
            ),
        ] {
            let refused = parse(given).expect_err("refused");
            assert!(refused.starts_with("NotImplemented") && refused.contains(named), "{refused}");
        }
        let appended =
            parse(json!({ "ProcessingConfiguration": processor("AppendDelimiterToRecord") }));
        assert_eq!(appended.expect("right").delimiter, "\n");
        assert!(parse(json!({ "BufferingHints": { "SizeInMBs": 129 } })).is_err());
    }
}
