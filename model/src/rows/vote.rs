//! Several scores of one set of rows, which need not be of one size: they vote by their places.

use super::error::RowsError;

/// How unusual each row is by all scores together: the mean of −ln p, where p is the share of rows
/// with at least such a score (Fisher 1925). What is first for one and in the midst for another is
/// so before what is a little unusual for both. Equal scores have equal p, that of the last one.
///
/// # Errors
/// If there is no score, one is NaN, or they are of different numbers of rows.
pub fn surprise(scores: &[&[f64]]) -> Result<Vec<f64>, RowsError> {
    let refuse = |what: String, hint| Err(RowsError::Setting { what, hint });
    let Some(first) = scores.first() else {
        return refuse("nobody votes".to_owned(), "give at least one score");
    };
    let rows = first.len();
    for (number, score) in scores.iter().enumerate() {
        if score.len() != rows {
            let what = format!("score {number} is of {} rows, the first of {rows}", score.len());
            return refuse(what, "give scores of the same rows");
        }
        if let Some(row) = score.iter().position(|value| value.is_nan()) {
            let what = format!("score {number} of row {row} is NaN, which has no rank");
            return refuse(what, "leave out the row or the score");
        }
    }
    let mut votes = vec![0.0; rows];
    for score in scores {
        let mut sorted = score.to_vec();
        sorted.sort_by(f64::total_cmp);
        for (vote, value) in votes.iter_mut().zip(*score) {
            let below = sorted.partition_point(|other| other < value);
            let share = (rows - below) as f64 / rows as f64;
            *vote -= share.ln() / scores.len() as f64;
        }
    }
    Ok(votes)
}

/// Which rows are the top `share` by a score: that share of the rows, rounded, but at least one.
/// Rows of equal scores are flagged together or not at all, so that the order of rows does not
/// decide; then there are fewer, and none if all are equal.
///
/// # Errors
/// If a score is NaN, or the share is not between 0 and 1.
pub fn flagged(scores: &[f64], share: f64) -> Result<Vec<bool>, RowsError> {
    let refuse = |what: String, hint| Err(RowsError::Setting { what, hint });
    if !(share > 0.0 && share < 1.0) {
        let what = format!("a share of {share} of the rows cannot be flagged");
        return refuse(what, "give a share above 0 and below 1, as 0.02");
    }
    if let Some(row) = scores.iter().position(|score| score.is_nan()) {
        let what = format!("the score of row {row} is NaN, which is neither high nor low");
        return refuse(what, "leave out the row");
    }
    let count = ((share * scores.len() as f64).round() as usize).max(1);
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    // The highest score that is not flagged.
    let below = sorted.get(count);
    Ok(scores.iter().map(|score| below.is_some_and(|below| score > below)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_different_sizes_count_alike() {
        let ln = |share: f64| -share.ln();
        let votes = surprise(&[&[1.0, 2.0, 3.0], &[0.0, 9e9, 5.0]]).expect("votes");
        let expected = [0.0, (ln(2.0 / 3.0) + ln(1.0 / 3.0)) / 2.0];
        assert!((votes[0] - expected[0]).abs() < 1e-12 && (votes[1] - expected[1]).abs() < 1e-12);
        assert_eq!(votes[1], votes[2]);
        let tied = surprise(&[&[1.0, 1.0, 4.0, 4.0]]).expect("votes");
        assert_eq!(tied, [0.0, 0.0, ln(0.5), ln(0.5)]);
        assert_eq!(surprise(&[&[7.0; 3]]), Ok(vec![0.0; 3]));
        assert_eq!(surprise(&[&[7.0]]), Ok(vec![0.0]));
        assert_eq!(surprise(&[&[]]), Ok(vec![]));
        let infinite = surprise(&[&[f64::INFINITY, 0.0, f64::NEG_INFINITY]]).expect("votes");
        assert!(infinite.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn what_is_first_for_one_is_before_what_is_a_little_unusual_for_all() {
        let one: Vec<f64> = (0..100).map(f64::from).collect();
        let mut other = one.clone();
        other.swap(99, 60);
        let votes = surprise(&[&one, &other]).expect("votes");
        assert!(votes[99] > votes[91], "first and fortieth is before ninth twice");
    }

    #[test]
    fn scores_that_cannot_vote_are_refused() {
        let refused = |scores: &[&[f64]]| {
            let refused = surprise(scores).expect_err("refused");
            assert!(refused.hint().is_some());
            refused.to_string()
        };
        assert_eq!(refused(&[]), "nobody votes");
        assert!(refused(&[&[1.0], &[1.0, 2.0]]).contains("score 1 is of 2 rows"));
        assert!(refused(&[&[1.0], &[f64::NAN]]).contains("score 1 of row 0 is NaN"));
    }

    #[test]
    fn the_top_share_is_flagged() {
        let scores: Vec<f64> = (0..20).map(f64::from).collect();
        let count = |scores: &[f64], share| {
            flagged(scores, share).expect("flagged").into_iter().filter(|is| *is).count()
        };
        assert_eq!(flagged(&scores, 0.1).expect("flagged")[18..], [true, true]);
        assert_eq!(count(&scores, 0.1), 2);
        assert_eq!(count(&scores, 0.001), 1, "at least one");
        assert_eq!(count(&[1.0, 2.0, 2.0, 2.0], 0.5), 0, "equal ones together");
        assert_eq!(count(&[1.0, 2.0, 2.0, 3.0], 0.5), 1);
        assert_eq!(count(&[5.0; 9], 0.2), 0);
        assert_eq!(count(&[], 0.2), 0);
        assert_eq!(count(&[5.0], 0.2), 0, "a single row is no more unusual than others");
        for share in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(flagged(&scores, share).is_err());
        }
        assert!(flagged(&[f64::NAN], 0.5).is_err());
    }
}
