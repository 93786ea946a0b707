//! Seeded chance that is the same on every number of cores.

use std::collections::BTreeSet;

use fastrand::Rng;

/// Chance of the `number`th of several things that are made at once, from their common seed.
/// Neighbouring seeds of one generator are related: a multiple of an odd constant is not.
pub(crate) fn rng(seed: u64, number: usize) -> Rng {
    let mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Rng::with_seed(seed.wrapping_add(mixed))
}

/// `count` of `rows` rows, each at most once, in order; all if there are not as many. Floyd's
/// algorithm: it looks at no row that it does not take.
pub(crate) fn rows(rng: &mut Rng, rows: usize, count: usize) -> Vec<usize> {
    let mut drawn = BTreeSet::new();
    for last in rows.saturating_sub(count)..rows {
        let row = rng.usize(..=last);
        if !drawn.insert(row) {
            drawn.insert(last);
        }
    }
    drawn.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_drawn_as_often_as_others_and_once_at_a_time() {
        let mut times = [0; 10];
        for number in 0..3_000 {
            let drawn = rows(&mut rng(1, number), 10, 4);
            assert!(drawn.len() == 4 && drawn.is_sorted_by(|a, b| a < b));
            drawn.iter().for_each(|&row| times[row] += 1);
        }
        assert!(times.iter().all(|&times| (1_100..1_300).contains(&times)), "{times:?}");
        assert_eq!(rows(&mut rng(1, 0), 3, 5), [0, 1, 2]);
        assert_eq!(rows(&mut rng(1, 0), 0, 5), [0; 0]);
    }
}
