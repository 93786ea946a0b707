//! What a deployment costs, from published prices.

use super::parts;
use crate::manifest::Manifest;

/// Region of the prices.
const PRICE_REGION: &str = "us-east-1";

/// What the stack costs while nothing runs, in US dollars a month; `None` for an unknown instance
/// type.
///
/// On-demand Linux prices of us-east-1 (<https://aws.amazon.com/ec2/pricing/on-demand/>), 730 hours,
/// 8 GiB of gp3 at 0.08 $/GiB, 0.10 $ per alarm; other regions differ by up to a third.
pub fn idle_cost_usd(manifest: &Manifest, instance_type: &str) -> Option<f64> {
    let per_hour = match instance_type {
        "t3.nano" => 0.0052,
        "t3.micro" => 0.0104,
        "t3.small" => 0.0208,
        "t3.medium" => 0.0416,
        "t4g.nano" => 0.0042,
        "t4g.micro" => 0.0084,
        "t4g.small" => 0.0168,
        "t4g.medium" => 0.0336,
        "c7g.medium" => 0.0363,
        "m7g.medium" => 0.0408,
        _ => return None,
    };
    let alarms = if manifest.stack.alarms { parts::alarms(manifest, "").len() } else { 0 };
    Some(per_hour * 730.0 + 8.0 * 0.08 + alarms as f64 * 0.10)
}

/// What one run of the cleaning job costs at least, in US dollars: every run is billed for a
/// minute.
///
/// 0.44 $ per DPU and hour (<https://aws.amazon.com/glue/pricing/>); a worker of the type G.1X is one DPU.
pub fn glue_run_usd(manifest: &Manifest) -> f64 {
    f64::from(manifest.stack.etl_workers) * 0.44 / 60.0
}

/// The costs for people.
pub fn told(manifest: &Manifest, instance_type: &str) -> String {
    let idle = match idle_cost_usd(manifest, instance_type) {
        Some(usd) => format!("about {usd:.2} US dollars a month while nothing runs"),
        None => "unknown while nothing runs".to_owned(),
    };
    format!(
        "{idle} ({instance_type}), and from {:.3} for each run of the cleaning job; prices of \
         {PRICE_REGION}, other regions differ by up to a third",
        glue_run_usd(manifest)
    )
}
