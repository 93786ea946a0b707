//! Invented data in the shape of a manifest: the same seed gives the same file.

use steppe_spec::{Manifest, Sample};

/// The sample as CSV with the manifest's header; `None` when the manifest has no sample.
///
/// Every region follows the country's invented growth with its own deviation, and small noise.
pub fn sample_csv(manifest: &Manifest) -> Option<String> {
    let sample = manifest.data.sample.as_ref()?;
    let task = &manifest.task;
    let source = |name: &str| {
        manifest.column(name).and_then(|c| c.source.clone()).unwrap_or_else(|| name.to_owned())
    };
    let separator = manifest.data.delimiter;
    let mut csv = format!(
        "{}{separator}{}{separator}{}\n",
        source(&task.series),
        source(&task.time),
        source(&task.target)
    );
    for (region, year, value) in rows(sample) {
        csv += &format!("{region}{separator}{year}{separator}{value}\n");
    }
    Some(csv)
}

fn rows(sample: &Sample) -> Vec<(&str, i32, u64)> {
    let mut rng = fastrand::Rng::with_seed(sample.seed);
    let mut wave = |size: f64| (rng.f64() + rng.f64() - 1.0) * size;
    let mut growth = 0.015;
    let country: Vec<f64> = (sample.first_year..=sample.last_year)
        .map(|_| {
            // Growth returns to its mean and is itself correlated: booms and slumps last some
            // years.
            growth = 0.6 * growth + 0.4 * 0.015 + wave(0.04);
            growth
        })
        .collect();
    let mut rows = Vec::new();
    for region in &sample.regions {
        let (mut level, own_growth) = (region.level, wave(0.015));
        for (year, country_growth) in (sample.first_year..).zip(&country) {
            rows.push((
                region.name.as_str(),
                year,
                (level * (1.0 + wave(0.02))).round().max(0.0) as u64,
            ));
            level *= 1.0 + country_growth + own_growth;
        }
    }
    rows
}
