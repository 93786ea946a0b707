//! Which rows are learnt from and which are kept back.
//!
//! Every function returns numbers of rows, in ascending order, and each row exactly once. Nothing
//! here decides which way of splitting is right for some data.

use std::collections::BTreeMap;

use super::error::RowsError;

/// Rows by what they are for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// To fit on.
    pub train: Vec<usize>,
    /// To choose by; empty where folds of `train` do that.
    pub validation: Vec<usize>,
    /// To judge on, once.
    pub test: Vec<usize>,
}

/// Relative sizes of training, validation and test: `[60, 20, 20]`, `[70, 0, 30]`.
pub type Shares = [u32; 3];

/// What one fold learns from, and what it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// To fit on.
    pub train: Vec<usize>,
    /// To answer.
    pub test: Vec<usize>,
}

/// Each class in the given shares, by chance. `classes` has the class of each row; a numeric
/// target has one class. A class of which a part would get no row is an error.
pub fn stratified(classes: &[usize], shares: Shares, seed: u64) -> Result<Split, RowsError> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut parts: [Vec<usize>; 3] = Default::default();
    let wanted = shares.iter().filter(|share| **share > 0).count();
    for (class, mut rows) in by_value(classes) {
        rng.shuffle(&mut rows);
        let (first, second) = bounds(rows.len(), shares)?;
        let cut = [&rows[..first], &rows[first..second], &rows[second..]];
        if (0..3).any(|part| shares[part] > 0 && cut[part].is_empty()) {
            return Err(RowsError::FewerThanParts { class, rows: rows.len(), parts: wanted });
        }
        parts.iter_mut().zip(cut).for_each(|(part, rows)| part.extend(rows));
    }
    Ok(sorted(parts))
}

/// The oldest rows to learn from, the newest ones to judge on. Rows of the same time stay
/// together, so a part can be larger or smaller than its share.
pub fn chronological(times: &[i64], shares: Shares) -> Result<Split, RowsError> {
    let mut rows: Vec<usize> = (0..times.len()).collect();
    rows.sort_by_key(|&row| times[row]);
    let (first, second) = bounds(rows.len(), shares)?;
    let time_of = |at: usize| times[rows[at]];
    let first = untied(rows.len(), first, &time_of);
    let second = untied(rows.len(), second, &time_of).max(first);
    let parts = [&rows[..first], &rows[first..second], &rows[second..]].map(<[usize]>::to_vec);
    let empty = (0..3).find(|&part| shares[part] > 0 && parts[part].is_empty());
    match empty {
        None => Ok(sorted(parts)),
        Some(part) => Err(RowsError::Split {
            what: format!(
                "{} would have no rows, because rows of one time stay together",
                NAMES[part]
            ),
            hint: "a time of finer steps, or other shares",
        }),
    }
}

/// All rows of a group on the same side, groups by chance. `groups` has the group of each row.
pub fn by_group(groups: &[usize], shares: Shares, seed: u64) -> Result<Split, RowsError> {
    let total: u32 = shares.iter().sum();
    bounds(groups.len(), shares)?;
    let wanted = shares.map(|share| groups.len() as f64 * f64::from(share) / f64::from(total));
    let mut parts: [Vec<usize>; 3] = Default::default();
    for rows in shuffled_groups(groups, seed) {
        let missing = |part: usize| (wanted[part] - parts[part].len() as f64) / wanted[part];
        let wants = (0..3).filter(|&part| shares[part] > 0);
        let neediest = wants.max_by(|&a, &b| missing(a).total_cmp(&missing(b)).then(b.cmp(&a)));
        parts[neediest.expect("shares were checked")].extend(rows);
    }
    match (0..3).find(|&part| shares[part] > 0 && parts[part].is_empty()) {
        None => Ok(sorted(parts)),
        Some(part) => Err(RowsError::Split {
            what: format!("{} would have no rows: there are too few groups", NAMES[part]),
            hint: "a split by group needs at least a group for every part",
        }),
    }
}

/// `repeats` times `folds` folds, in each of which every class has its share, by chance. The folds
/// of one repeat together ask every row once.
pub fn stratified_folds(
    classes: &[usize],
    folds: usize,
    repeats: usize,
    seed: u64,
) -> Result<Vec<Fold>, RowsError> {
    two_folds(folds)?;
    let classes_rows = by_value(classes);
    if let Some((class, rows)) = classes_rows.iter().find(|(_, rows)| rows.len() < folds) {
        let (class, rows) = (*class, rows.len());
        return Err(RowsError::FewerThanParts { class, rows, parts: folds });
    }
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut all = Vec::with_capacity(folds * repeats);
    for _ in 0..repeats {
        let mut fold_of = vec![0; classes.len()];
        // The next class goes on where the last one ended, so that folds are of one size.
        let mut next = 0;
        for rows in classes_rows.values() {
            let mut rows = rows.clone();
            rng.shuffle(&mut rows);
            for row in rows {
                fold_of[row] = next % folds;
                next += 1;
            }
        }
        all.extend(from_numbers(&fold_of, folds));
    }
    Ok(all)
}

/// Folds of whole groups, by chance: no group is on both sides of one.
pub fn group_folds(groups: &[usize], folds: usize, seed: u64) -> Result<Vec<Fold>, RowsError> {
    two_folds(folds)?;
    let mut members = shuffled_groups(groups, seed);
    if members.len() < folds {
        return Err(RowsError::Split {
            what: format!("{folds} folds of whole groups, but there are {} groups", members.len()),
            hint: "fewer folds",
        });
    }
    // Large groups first, each into the smallest fold; chance decides among equals.
    members.sort_by_key(|rows| std::cmp::Reverse(rows.len()));
    let (mut fold_of, mut sizes) = (vec![0; groups.len()], vec![0; folds]);
    for rows in members {
        let smallest = (0..folds).min_by_key(|&fold| sizes[fold]).expect("two or more folds");
        sizes[smallest] += rows.len();
        rows.into_iter().for_each(|row| fold_of[row] = smallest);
    }
    Ok(from_numbers(&fold_of, folds))
}

/// Folds in which everything older is learnt from: the rows are cut into `folds` + 1 parts by
/// time, and each part but the first is asked with all before it. Rows of one time stay together.
pub fn chronological_folds(times: &[i64], folds: usize) -> Result<Vec<Fold>, RowsError> {
    let mut rows: Vec<usize> = (0..times.len()).collect();
    rows.sort_by_key(|&row| times[row]);
    let time_of = |at: usize| times[rows[at]];
    let mut cuts: Vec<usize> = (1..=folds)
        .map(|fold| untied(rows.len(), fold * rows.len() / (folds + 1), &time_of))
        .collect();
    cuts.push(rows.len());
    if folds == 0 || cuts[0] == 0 || cuts.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(RowsError::Split {
            what: format!("{folds} folds by time, but there are too few different times"),
            hint: "fewer folds, or a time of finer steps",
        });
    }
    let fold = |pair: &[usize]| {
        let (mut train, mut test) = (rows[..pair[0]].to_vec(), rows[pair[0]..pair[1]].to_vec());
        train.sort_unstable();
        test.sort_unstable();
        Fold { train, test }
    };
    Ok(cuts.windows(2).map(fold).collect())
}

const NAMES: [&str; 3] = ["the training part", "the validation part", "the test part"];

fn two_folds(folds: usize) -> Result<(), RowsError> {
    match folds {
        0 | 1 => Err(RowsError::Split {
            what: format!("{folds} folds leave nothing to learn from"),
            hint: "two or more",
        }),
        _ => Ok(()),
    }
}

/// Where the first and the second part of `rows` rows end.
fn bounds(rows: usize, shares: Shares) -> Result<(usize, usize), RowsError> {
    let total: u32 = shares.iter().sum();
    if shares[0] == 0 || total == shares[0] {
        return Err(RowsError::Split {
            what: format!(
                "shares of {shares:?} leave nothing to learn from or nothing to judge on"
            ),
            hint: "such as [60, 20, 20] or [70, 0, 30]",
        });
    }
    let end = |share: u32| (rows as f64 * f64::from(share) / f64::from(total)).round() as usize;
    Ok((end(shares[0]), end(shares[0] + shares[1])))
}

/// The cut nearest to `cut` that has rows of one time on one side only.
fn untied(rows: usize, cut: usize, time_of: &dyn Fn(usize) -> i64) -> usize {
    let tied = |at: usize| at > 0 && at < rows && time_of(at - 1) == time_of(at);
    let earlier = (0..=cut).rev().find(|&at| !tied(at)).unwrap_or(0);
    let later = (cut..=rows).find(|&at| !tied(at)).unwrap_or(rows);
    // A cut that leaves one side empty is no cut, if there is another one.
    let (early, late) = (cut - earlier, later - cut);
    match (earlier == 0, later == rows) {
        (true, false) => later,
        (false, true) => earlier,
        _ if early <= late => earlier,
        _ => later,
    }
}

fn by_value(values: &[usize]) -> BTreeMap<usize, Vec<usize>> {
    let mut rows: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, value) in values.iter().enumerate() {
        rows.entry(*value).or_default().push(row);
    }
    rows
}

fn shuffled_groups(groups: &[usize], seed: u64) -> Vec<Vec<usize>> {
    let mut members: Vec<Vec<usize>> = by_value(groups).into_values().collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut members);
    members
}

fn sorted(parts: [Vec<usize>; 3]) -> Split {
    let [train, validation, test] = parts.map(|mut rows| {
        rows.sort_unstable();
        rows
    });
    Split { train, validation, test }
}

fn from_numbers(fold_of: &[usize], folds: usize) -> Vec<Fold> {
    let with = |fold: usize, asked: bool| {
        let rows = 0..fold_of.len();
        rows.filter(|&row| (fold_of[row] == fold) == asked).collect::<Vec<_>>()
    };
    (0..folds).map(|fold| Fold { train: with(fold, false), test: with(fold, true) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 200 rows, a tenth of which are of class 1.
    fn classes() -> Vec<usize> {
        (0..200).map(|row| usize::from(row % 10 == 0)).collect()
    }

    fn all(split: &Split) -> Vec<usize> {
        let mut all = [&split.train[..], &split.validation, &split.test].concat();
        all.sort_unstable();
        all
    }

    #[test]
    fn every_class_has_its_share_in_every_part() {
        let classes = classes();
        let split = stratified(&classes, [60, 20, 20], 1).expect("split");
        let ones = |rows: &[usize]| rows.iter().filter(|row| classes[**row] == 1).count();
        assert_eq!(
            [&split.train, &split.validation, &split.test].map(|p| (p.len(), ones(p))),
            [(120, 12), (40, 4), (40, 4)]
        );
        assert_eq!(all(&split), (0..200).collect::<Vec<_>>());
        assert_eq!(split, stratified(&classes, [60, 20, 20], 1).expect("split"), "seeded");
        assert_ne!(split, stratified(&classes, [60, 20, 20], 2).expect("split"));
        let split = stratified(&classes, [70, 0, 30], 1).expect("split");
        assert_eq!((split.train.len(), split.validation.len()), (140, 0));
    }

    #[test]
    fn shares_without_a_part_to_learn_from_or_to_judge_on_are_refused() {
        for shares in [[0, 50, 50], [100, 0, 0], [0, 0, 0]] {
            assert!(stratified(&classes(), shares, 1).is_err(), "{shares:?}");
            assert!(chronological(&[1, 2, 3], shares).is_err(), "{shares:?}");
            assert!(by_group(&[1, 2, 3], shares, 1).is_err(), "{shares:?}");
        }
        let few = stratified(&[0, 0, 0, 0, 1], [60, 20, 20], 1).expect_err("one row of class 1");
        assert_eq!(few, RowsError::FewerThanParts { class: 1, rows: 1, parts: 3 });
    }

    #[test]
    fn rows_of_one_time_stay_together() {
        let times: Vec<i64> = (0..100).rev().map(|row| row / 7).collect();
        let split = chronological(&times, [60, 20, 20]).expect("split");
        assert_eq!(all(&split), (0..100).collect::<Vec<_>>());
        let range = |rows: &[usize]| {
            let times = rows.iter().map(|row| times[*row]);
            (times.clone().min().expect("rows"), times.max().expect("rows"))
        };
        let (train, validation) = (range(&split.train), range(&split.validation));
        assert!(train.1 < validation.0 && validation.1 < range(&split.test).0);
        assert!(split.train.len().abs_diff(60) <= 3, "{}", split.train.len());
        let one = chronological(&[5; 10], [70, 0, 30]).expect_err("one time only");
        assert!(one.to_string().contains("rows of one time stay together"), "{one}");
    }

    #[test]
    fn a_group_is_on_one_side_only() {
        let groups: Vec<usize> = (0..300).map(|row| (row * row) % 37).collect();
        for seed in 0..5 {
            let split = by_group(&groups, [60, 20, 20], seed).expect("split");
            assert_eq!(all(&split), (0..300).collect::<Vec<_>>());
            let of = |rows: &[usize]| rows.iter().map(|r| groups[*r]).collect::<Vec<_>>();
            let (train, test) = (of(&split.train), of(&split.test));
            assert!(train.iter().all(|group| !test.contains(group)));
            assert!(split.train.len().abs_diff(180) < 40, "{}", split.train.len());
            for fold in group_folds(&groups, 4, seed).expect("folds") {
                let (train, test) = (of(&fold.train), of(&fold.test));
                assert!(train.iter().all(|group| !test.contains(group)));
                assert_eq!(train.len() + test.len(), 300);
            }
        }
        assert!(group_folds(&[1, 1, 2], 3, 0).is_err());
    }

    #[test]
    fn each_repeat_asks_every_row_once() {
        let classes = classes();
        let folds = stratified_folds(&classes, 5, 3, 7).expect("folds");
        assert_eq!(folds.len(), 15);
        for repeat in folds.chunks(5) {
            let mut asked: Vec<usize> = repeat.iter().flat_map(|f| f.test.clone()).collect();
            asked.sort_unstable();
            assert_eq!(asked, (0..200).collect::<Vec<_>>());
        }
        for fold in &folds {
            assert_eq!(fold.test.iter().filter(|row| classes[**row] == 1).count(), 4);
            assert_eq!(fold.train.len() + fold.test.len(), 200);
        }
        assert_ne!(folds[0], folds[5]);
        let few = stratified_folds(&[0, 0, 0, 1, 1], 3, 1, 0).expect_err("two rows of class 1");
        assert!(few.to_string().starts_with("class 1 has 2 rows, too few for 3 parts"), "{few}");
        assert!(stratified_folds(&classes, 1, 1, 0).is_err());
    }

    #[test]
    fn folds_by_time_learn_from_what_is_older() {
        let times: Vec<i64> = (0..60).map(|row| row / 3).collect();
        let folds = chronological_folds(&times, 4).expect("folds");
        assert_eq!(folds.len(), 4);
        for fold in &folds {
            let newest = fold.train.iter().map(|row| times[*row]).max().expect("rows");
            assert!(fold.test.iter().all(|row| times[*row] > newest));
        }
        assert!(chronological_folds(&[1, 1, 1, 2], 2).is_err());
    }
}
