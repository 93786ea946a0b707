//! Intervals hold what they promise, and go no further than they may.

use steppe_spec::Width;

use super::*;

fn place(series: &str, change: f64) -> Place<'_> {
    Place { series, step: 0, change, spread: None, reach: 1e6 }
}

fn asked(level: f64) -> Asked {
    Asked { level, decision: None, counts: false }
}

fn measure(scale: Transform) -> Measure {
    Measure::new(scale, 1, Width::Changes)
}

fn normal(rng: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
}

#[test]
fn intervals_cover_what_they_promise_for_calm_and_wild_series() {
    let mut rng = fastrand::Rng::with_seed(9);
    let mut draw = |n: usize| -> Vec<(String, usize, f64)> {
        let wild = |i: usize| (1 + i % 10) as f64;
        let one = |i: usize| (format!("s{}", i % 10), i / 10, normal(&mut rng) * wild(i));
        (0..n).map(one).collect()
    };
    let (seen, unseen) = (draw(2_000), draw(2_000));
    let mut residuals = Vec::new();
    for (name, origin, error) in &seen {
        residuals.push(Residual {
            place: place(name, 1.0),
            origin: *origin,
            error: *error,
            values: (0.0, 0.0),
        });
    }
    let calibration =
        Calibration::fit(residuals.iter().copied(), (1, 1), asked(0.8), measure(Transform::None));
    let covered = |wild: bool| {
        let chosen: Vec<_> = unseen.iter().filter(|(n, ..)| !wild || n == "s9").collect();
        let inside = chosen.iter().filter(|(name, _, error)| {
            let (low, high) = calibration.interval(&calibration.spread(0.0, &place(name, 1.0)));
            low <= *error && *error <= high
        });
        inside.count() as f64 / chosen.len() as f64
    };
    assert!((covered(false) - 0.8).abs() < 0.03, "{}", covered(false));
    assert!((covered(true) - 0.8).abs() < 0.08, "{}", covered(true));
}

#[test]
fn a_quantile_to_decide_by_covers_what_it_promises_and_lies_where_it_belongs() {
    for (decision, seed) in [(0.75, 1), (0.6, 2), (0.3, 3), (0.97, 4)] {
        let mut rng = fastrand::Rng::with_seed(seed);
        let names: Vec<String> = (0..20).map(|i| format!("s{i}")).collect();
        // Skewed, so that both sides differ.
        let error = |rng: &mut fastrand::Rng| {
            let z = normal(rng);
            if z > 0.0 { 2.0 * z } else { z }
        };
        let mut residuals = Vec::new();
        for origin in 0..100 {
            for name in &names {
                let error = error(&mut rng);
                residuals.push(Residual {
                    place: place(name, 1.0),
                    origin,
                    error,
                    values: (0.0, 0.0),
                });
            }
        }
        let both = Asked { level: 0.9, decision: Some(decision), counts: false };
        let fitted =
            Calibration::fit(residuals.iter().copied(), (1, 1), both, measure(Transform::None));
        let spread = fitted.spread(0.0, &place("s3", 1.0));
        let (decided, (lower, upper)) = (fitted.at(decision, &spread), fitted.interval(&spread));
        assert!(lower <= decided && (decided <= upper) == (decision <= 0.95), "{decided}");
        let quantiles = fitted.quantiles(&spread);
        assert!(quantiles.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{quantiles:?}");
        let unseen = (0..4_000).filter(|_| error(&mut rng) <= decided).count();
        let covered = unseen as f64 / 4_000.0;
        assert!((covered - decision).abs() < 0.03, "{decision}: {covered}");
    }
}

/// Share of 30 series that fall inside, over many sets whose origins have shocks in common.
fn covered_with_shocks(origins: usize) -> f64 {
    let mut rng = fastrand::Rng::with_seed(3);
    let names: Vec<String> = (0..30).map(|i| format!("s{i}")).collect();
    let (mut inside, mut all) = (0.0, 0.0);
    for _ in 0..400 {
        let mut errors = || {
            let shock = normal(&mut rng);
            names.iter().map(|_| shock + normal(&mut rng)).collect::<Vec<f64>>()
        };
        let seen: Vec<Vec<f64>> = (0..origins).map(|_| errors()).collect();
        let next = errors();
        let mut residuals = Vec::new();
        for (origin, errors) in seen.iter().enumerate() {
            for (name, error) in names.iter().zip(errors) {
                residuals.push(Residual {
                    place: place(name, 1.0),
                    origin,
                    error: *error,
                    values: (0.0, 0.0),
                });
            }
        }
        let fitted = Calibration::fit(
            residuals.iter().copied(),
            (1, 1),
            asked(0.9),
            measure(Transform::None),
        );
        for (name, error) in names.iter().zip(next) {
            let (low, high) = fitted.interval(&fitted.spread(0.0, &place(name, 1.0)));
            inside += f64::from(u8::from(low <= error && error <= high));
            all += 1.0;
        }
    }
    inside / all
}

#[test]
fn shocks_that_hit_every_series_are_covered_too() {
    for origins in [3, 5, 8, 20, 80] {
        let covered = covered_with_shocks(origins);
        assert!((0.87..=0.97).contains(&covered), "{origins} origins: {covered}");
    }
}

/// Three forecasts of nearly the same eight periods are one observation of each of them.
#[test]
fn origins_that_forecast_the_same_periods_do_not_narrow_an_interval() {
    let mut rng = fastrand::Rng::with_seed(4);
    let names: Vec<String> = (0..200).map(|i| format!("s{i}")).collect();
    let mut residuals = Vec::new();
    for name in &names {
        let steps: Vec<f64> = (0..11).map(|_| normal(&mut rng)).collect();
        for (origin, step) in (0..3).flat_map(|origin| (0..8).map(move |step| (origin, step))) {
            let error = steps[origin..=origin + step].iter().sum();
            residuals.push(Residual {
                place: Place { step, ..place(name, 1.0) },
                origin,
                error,
                values: (0.0, 0.0),
            });
        }
    }
    let fitted =
        Calibration::fit(residuals.iter().copied(), (8, 1), asked(0.9), measure(Transform::None));
    let mut inside = 0;
    for name in &names {
        let mut error = 0.0;
        for step in 0..8 {
            error += normal(&mut rng);
            let place = Place { step, ..place(name, 1.0) };
            let (low, high) = fitted.interval(&fitted.spread(0.0, &place));
            inside += usize::from(low <= error && error <= high);
        }
    }
    let covered = inside as f64 / (8 * names.len()) as f64;
    assert!((0.84..=0.95).contains(&covered), "{covered}");
}

#[test]
fn one_jump_of_a_quiet_series_does_not_open_all_intervals() {
    let names: Vec<String> = (0..8).map(|i| format!("s{i}")).collect();
    let mut residuals = Vec::new();
    for origin in 0..8 {
        for (i, name) in names.iter().enumerate() {
            // The first series was zero for ever, and is 5,000 at the end.
            let jump = i == 0 && origin == 7;
            let calm = 0.02 * ((origin * 7 + i * 3) % 5) as f64 - 0.04;
            let error = if jump { 8.5 } else { calm };
            let change = if i == 0 { UNIT_MIN } else { 0.05 };
            residuals.push(Residual {
                place: place(name, change),
                origin,
                error,
                values: (0.0, 0.0),
            });
        }
    }
    let fitted =
        Calibration::fit(residuals.iter().copied(), (1, 1), asked(0.9), measure(Transform::Log));
    let ends = |name, change: f64, point: f64, largest: f64| {
        let place = Place { reach: largest.ln_1p(), ..place(name, change) };
        fitted.interval(&fitted.spread(point, &place))
    };
    let (low, high) = ends("s3", 0.05, 5_000.0, 5_500.0);
    assert!(low > 2_000.0 && high < 12_000.0, "{low} to {high}");
    let (low, high) = ends("s0", 0.4, 5_000.0, 5_000.0);
    assert!(low >= 0.0 && high <= 4.0 * 5_001.0, "{low} to {high}");
    let (_, high) = ends("unknown", 0.9, 4.0, 4.0);
    assert!(high <= 20.0, "a count of at most 4: {high}");
}

#[test]
fn intervals_are_finite_and_ordered_and_never_beyond_ten_times_what_was_seen() {
    let mut rng = fastrand::Rng::with_seed(11);
    for round in 0..300 {
        let (transform, counts) = match round % 3 {
            0 => (Transform::None, false),
            kind => (Transform::Log, kind == 2),
        };
        let mut size = || 10f64.powf(rng.f64() * 16.0 - 4.0);
        let names: Vec<String> = (0..5).map(|i| format!("s{i}")).collect();
        let mut residuals = Vec::new();
        for name in &names {
            for origin in 0..1 + round % 7 {
                let (forecast, came) = (size(), if origin % 3 == 0 { 0.0 } else { size() });
                let values = (forecast.floor(), came.floor());
                let error = transform.apply(values.1) - transform.apply(values.0);
                let change = if origin % 2 == 0 { UNIT_MIN } else { size() };
                residuals.push(Residual { place: place(name, change), origin, error, values });
            }
        }
        let asked = Asked { level: 0.999, decision: Some(0.7), counts };
        let all = residuals.iter().copied();
        let fitted = Calibration::fit(all, (1, 1), asked, measure(transform));
        for name in ["s1", "new"] {
            let (largest, change) = (size().floor(), size());
            let reach = reach(transform, &[0.0, largest]);
            let point = bounded(transform, reach, size());
            let place = Place { reach, ..place(name, change) };
            let spread = fitted.spread(point, &place);
            let quantiles = fitted.quantiles(&spread);
            assert!(quantiles.is_sorted_by(|a, b| a.1 <= b.1), "{quantiles:?}");
            let (low, high) = fitted.interval(&spread);
            assert!(low.is_finite() && high.is_finite(), "{low} to {high}");
            assert!(low <= point && point <= high, "{low} {point} {high}");
            if transform == Transform::Log {
                assert!(low >= 0.0 && high <= (10.0 * (largest + 1.0)).ceil(), "{high}");
            }
            if counts {
                assert_eq!((low.fract(), high.fract()), (0.0, 0.0));
            }
        }
    }
}

/// A count with the given mean and dispersion 0.5: of independent events whose rate is drawn.
fn count(rng: &mut fastrand::Rng, mean: f64) -> f64 {
    // Of shape 2: a sum of two exponential draws.
    let rate = -mean / 2.0 * (rng.f64().max(1e-12).ln() + rng.f64().max(1e-12).ln());
    let (mut events, mut passed) = (0.0, -rng.f64().max(1e-12).ln());
    while passed < rate {
        (events, passed) = (events + 1.0, passed - rng.f64().max(1e-12).ln());
    }
    events
}

#[test]
fn small_counts_have_whole_intervals_that_cover() {
    let mut rng = fastrand::Rng::with_seed(5);
    let names: Vec<String> = (0..60).map(|i| format!("s{i}")).collect();
    let mean = |i: usize| 0.3 * (1 + i % 30) as f64;
    let mut residuals = Vec::new();
    for origin in 0..8 {
        for (i, name) in names.iter().enumerate() {
            // Forecasts on a scale of logarithms are too low.
            let values = (0.8 * mean(i), count(&mut rng, mean(i)));
            let error = values.1.ln_1p() - values.0.ln_1p();
            residuals.push(Residual { place: place(name, 0.5), origin, error, values });
        }
    }
    let asked = Asked { counts: true, ..asked(0.9) };
    let all = residuals.iter().copied();
    let fitted = Calibration::fit(all, (1, 1), asked, measure(Transform::Log));
    let (mut inside, mut above, mut width) = (0.0, 0.0, 0.0);
    for round in 0..6_000 {
        let i = round % 60;
        let place = Place { reach: 40f64.ln_1p(), ..place(&names[i], 0.5) };
        let (low, high) = fitted.interval(&fitted.spread(0.8 * mean(i), &place));
        assert_eq!((low.fract(), high.fract()), (0.0, 0.0), "{low} to {high}");
        let came = count(&mut rng, mean(i));
        inside += f64::from(u8::from(low <= came && came <= high)) / 6_000.0;
        above += f64::from(u8::from(came > high)) / 6_000.0;
        width += (high - low) / 6_000.0;
    }
    // Whole ends hold somewhat more than they promise.
    assert!((0.89..=0.97).contains(&inside), "{inside}");
    assert!((0.02..=0.06).contains(&above), "{above}");
    assert!((9.0..=15.0).contains(&width), "{width}");
}

#[test]
fn constants_are_held_by_their_intervals() {
    let names: Vec<String> = (0..12).map(|i| format!("s{i}")).collect();
    let residual = |(origin, i): (usize, usize)| Residual {
        place: place(&names[i], UNIT_MIN),
        origin,
        error: 1e-16 * (i as f64 - 6.0),
        values: (0.0, 0.0),
    };
    let residuals: Vec<Residual<'_>> =
        (0..8).flat_map(|o| (0..12).map(move |i| (o, i))).map(residual).collect();
    let fitted =
        Calibration::fit(residuals.iter().copied(), (1, 1), asked(0.9), measure(Transform::Log));
    let spread = fitted.spread(1_234.000_000_000_1, &place("s1", UNIT_MIN));
    let (low, high) = fitted.interval(&spread);
    assert!(crate::forecast::metrics::holds(low, high, 1_234.0), "{low} to {high}");
}

#[test]
fn few_errors_are_joined_by_those_of_neighbouring_steps() {
    let by_step: Vec<Vec<(usize, f64)>> = (0..5).map(|s| vec![(0, f64::from(s)); 90]).collect();
    assert_eq!(neighbours(&by_step, 0).len(), 270);
    assert_eq!(neighbours(&by_step[..1], 0).len(), 90);
}

#[test]
fn what_is_no_number_is_not_made_one() {
    for odd in [f64::NAN, f64::INFINITY] {
        assert_eq!(bounded(Transform::Log, 3.0, odd).to_bits(), odd.to_bits());
    }
    let most = bounded(Transform::Log, 9f64.ln_1p(), 1e9);
    assert!((most - 99.0).abs() < 1e-9, "ten times ten, less one: {most}");
}
