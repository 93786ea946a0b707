//! Times of the forward pass and of whole forecasts, for the artifact in a folder.
//!
//! `latency FOLDER [batch…]` prints one line per measurement: name, batch, microseconds (the median
//! of many runs), on one thread.

use std::time::Instant;

use steppe_model::artifact::Artifact;
use steppe_model::families::Model;
use steppe_model::families::lstm::kernel::{Cpu, Packed, Scratch};
use steppe_model::{ModelCard, Series};
use steppe_wire::keys::{CARD_FILE, WEIGHTS_FILE};
use steppe_wire::predict::ModelPointer;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: latency FOLDER")?;
    let card_bytes = std::fs::read(format!("{folder}/{CARD_FILE}"))?;
    let card: ModelCard = serde_json::from_slice(&card_bytes)?;
    use sha2::Digest;
    let card_sha256 = hex::encode(sha2::Sha256::digest(&card_bytes));
    let pointer = ModelPointer { version: card_sha256[..16].to_owned(), card_sha256 };
    let artifact =
        Artifact::load(card_bytes, std::fs::read(format!("{folder}/{WEIGHTS_FILE}"))?, &pointer)?;
    let Model::Lstm(ensemble) = &artifact.model else {
        return Err("the model is not an lstm".into());
    };
    let (net, context) = (&ensemble.members[0], card.spec.lstm.context);
    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    for cpu in Cpu::available() {
        let packed = Packed::for_cpu(net, cpu);
        for batch in [1, 4, 32] {
            let inputs = vec![0.1f32; batch * context * net.shape.features];
            let micros = median(|| packed.forward_into(&inputs, batch, &mut scratch, &mut out));
            println!("forward-{} {batch} {micros:.2}", cpu.name());
        }
    }
    let values: Vec<f64> = (0..context + 13).map(|i| 100.0 + f64::from(i as u8 % 12)).collect();
    for batch in [1, 4, 32] {
        let series: Vec<Series> =
            (0..batch).map(|i| Series::new(format!("s{i}"), 24_000, values.clone())).collect();
        let views: Vec<_> = series.iter().map(Series::view).collect();
        println!(
            "forecast {batch} {:.2}",
            median(|| drop(artifact.forecast(&views, card.spec.horizon)))
        );
    }
    Ok(())
}

/// Median time of many runs, in microseconds.
fn median(mut work: impl FnMut()) -> f64 {
    (0..200).for_each(|_| work());
    let mut times: Vec<f64> = (0..301)
        .map(|_| {
            let started = Instant::now();
            (0..10).for_each(|_| work());
            started.elapsed().as_secs_f64() * 1e5
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
