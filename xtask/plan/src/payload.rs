//! What fits into an execution: AWS bounds what one state hands to the next.
//!
//! A run that exceeds the bound ends with `States.DataLimitExceeded`, which no state can catch, so
//! nobody would be told. Therefore each forecast is reduced to what people are told of it, whatever
//! the horizon (the rest lies in S3), and the state machine refuses more series than fit before it
//! asks for the first.

use steppe_wire::keys;

/// Bytes of input, result and output of a state, and of a message of SNS.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
pub const STATE_BYTES_MAX: usize = 262_144;
/// Rows of one page of Athena's results without the header: what the check of the clean table sees.
pub const VERIFIED_SERIES_MAX: usize = 999;
/// Forecasts that an email lists; the others are counted.
pub const MAILED_FORECASTS_MAX: usize = 100;
/// Bytes kept for what surrounds the forecasts: ARN, bucket, and what the training said.
const ENVELOPE_BYTES: usize = 8_000;

/// The longest number in JSON, and the longest period.
const LONGEST_NUMBER: &str = "-2.2250738585072014e-308";
const LONGEST_PERIOD: &str = "2024-01-01T00:30";

/// Bytes that one forecast takes in the state machine's data at most, without the series' name.
pub fn summary_bytes() -> usize {
    let key = keys::prediction(&keys::prediction_id("", ""));
    format!(
        "{{\"series\":,\"period\":\"{LONGEST_PERIOD}\",\"value\":{LONGEST_NUMBER},\
         \"lower\":{LONGEST_NUMBER},\"upper\":{LONGEST_NUMBER},\"s3_key\":\"{key}\"}}"
    )
    .len()
}

/// Bytes that all forecasts of an execution may take together, names included.
pub fn summaries_bytes_max() -> usize {
    STATE_BYTES_MAX - ENVELOPE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_of_series_fits_with_names_of_forty_bytes() {
        // The name stands in quotes, with a comma behind the forecast.
        let with_name = summary_bytes() + 40 + 3;
        assert!(VERIFIED_SERIES_MAX * with_name <= summaries_bytes_max(), "{with_name}");
    }

    #[test]
    fn an_email_fits_whatever_the_values_are() {
        // `#,##0` writes the largest number with 309 digits and a comma after every third.
        let number = f64::MAX.to_string().len() * 4 / 3 + 2;
        let place = "s3://".len() + 63 + 1 + keys::prediction(&keys::prediction_id("", "")).len();
        // A name is cut to 100 characters of at most 4 bytes.
        let line = 100 * 4 + LONGEST_PERIOD.len() + 3 * number + place + 20;
        assert!(MAILED_FORECASTS_MAX * line + ENVELOPE_BYTES <= STATE_BYTES_MAX, "{line}");
    }
}
