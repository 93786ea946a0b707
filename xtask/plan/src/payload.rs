//! What fits into an execution: AWS bounds what one state hands to the next.
//!
//! A run that exceeds the bound ends with `States.DataLimitExceeded`, however often it is gone on
//! with. Therefore series are read page by page and forecast in groups, a run carries along only
//! what people are told of, and everything else lies in S3.

/// Bytes of input, result and output of a state, and of a message of SNS.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
pub const STATE_BYTES_MAX: usize = 262_144;
/// Rows of a page of Athena's results: names of series that a state holds at once.
pub const PAGE_ROWS: usize = 500;
/// Series up to which each is asked for by itself and has an object of its own in S3.
pub const SINGLE_MAX: usize = 100;
/// Series that are asked for together when there are more.
pub const SERIES_PER_CALL: usize = 50;
/// Forecasts that an email lists; the others are counted.
pub const FORECASTS_SHOWN: usize = 100;
/// Series that are not forecast and are listed with the reason; the others are counted.
pub const LEFT_OUT_SHOWN: usize = 20;
/// Of one call, series that are not forecast and are handed on with the reason.
pub const LEFT_OUT_PER_CALL: usize = 5;
/// The same of a part.
pub const LEFT_OUT_PER_PART: usize = 3;
/// Parts of a table that a run scores itself; more are scored by executions of their own.
pub const PARTS_INLINE_MAX: usize = 40;
/// Parts that such an execution scores, one after the other.
pub const PARTS_PER_CHILD: u32 = 8;
/// Rows of a part.
pub const ROWS_PER_PART: u32 = 10_000;
/// Series of a part.
pub const SERIES_PER_PART: u32 = 500;

#[cfg(test)]
mod tests {
    use steppe_wire::predict::SUMMARY_BYTES_MAX;

    use super::*;

    /// Bytes kept for what surrounds the forecasts: ARN, bucket, and what the training said.
    const ENVELOPE_BYTES: usize = 8_000;

    #[test]
    fn what_a_run_carries_along_fits_into_a_state() {
        let shown = (FORECASTS_SHOWN + SERIES_PER_CALL) * SUMMARY_BYTES_MAX;
        let calls = PAGE_ROWS.div_ceil(SERIES_PER_CALL).max(SINGLE_MAX);
        let left_out = (LEFT_OUT_SHOWN + calls) * SUMMARY_BYTES_MAX;
        assert!(shown + left_out + ENVELOPE_BYTES <= STATE_BYTES_MAX, "{shown} {left_out}");
    }

    #[test]
    fn what_parts_answer_fits_into_a_state() {
        let told = FORECASTS_SHOWN + PARTS_INLINE_MAX * LEFT_OUT_PER_PART;
        // Of each part also the numbers.
        let answers = told * SUMMARY_BYTES_MAX + PARTS_INLINE_MAX * 100;
        assert!(answers + ENVELOPE_BYTES <= STATE_BYTES_MAX, "{answers}");
    }

    #[test]
    fn a_page_of_names_fits_into_a_state() {
        // A row of Athena's answer: a name of 200 bytes and two counts.
        let row = r#"{"Data":[{"VarCharValue":""},{"VarCharValue":"1234567"},{"VarCharValue":"1234567"}]},"#;
        assert!(PAGE_ROWS * (200 + row.len()) <= STATE_BYTES_MAX);
    }
}
