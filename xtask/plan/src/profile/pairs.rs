//! How numbers go together: Pearson's correlation of every two columns, over the records that have
//! both.

use serde::Serialize;

use super::{ColumnProfile, Question, Rows, Shape, Subject, TableProfile, row};

/// Columns that are compared, the first ones.
pub const COLUMNS_MAX: usize = 30;
/// Pairs of a statement.
const PAIRS: usize = 150;

/// How columns of numbers go together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Correlations {
    /// The columns.
    pub columns: Vec<String>,
    /// Columns of numbers that were left out, because only so many are compared.
    pub left_out: usize,
    /// Every two of them, the strongest first; those without a correlation last.
    pub pairs: Vec<Pair>,
}

/// Two columns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// The places of both in `columns`.
    #[serde(skip)]
    pub at: (usize, usize),
    /// The one.
    pub a: String,
    /// The other.
    pub b: String,
    /// Pearson's correlation, if there is one.
    pub correlation: Option<f64>,
    /// Records that have both.
    pub cases: u64,
}

/// Columns that are compared, and how many are not.
fn columns(profile: &TableProfile) -> (Vec<usize>, usize) {
    let varies = |column: &ColumnProfile| match &column.shape {
        Shape::Numbers(numbers) => numbers.min != numbers.max,
        _ => false,
    };
    let all = profile.columns.iter().enumerate().filter(|(_, column)| varies(column));
    let mut columns: Vec<usize> = all.map(|(at, _)| at).collect();
    let left_out = columns.len().saturating_sub(COLUMNS_MAX);
    columns.truncate(COLUMNS_MAX);
    (columns, left_out)
}

/// Pairs of places among the columns.
fn pairs(count: usize) -> Vec<(usize, usize)> {
    (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect()
}

pub fn questions(subject: &Subject, profile: &TableProfile) -> Vec<Question> {
    let (columns, _) = columns(profile);
    let question = |part: &[(usize, usize)]| {
        let measures = part.iter().map(|(a, b)| {
            let (a, b) = (columns[*a], columns[*b]);
            format!(
                "  corr(c{a}, c{b}), count(CASE WHEN c{a} IS NOT NULL AND c{b} IS NOT NULL THEN 1 \
                 END)"
            )
        });
        let measures = measures.collect::<Vec<_>>().join(",\n");
        let mut used: Vec<usize> =
            part.iter().flat_map(|(a, b)| [columns[*a], columns[*b]]).collect();
        used.sort_unstable();
        used.dedup();
        Question { sql: format!("SELECT\n{measures}\n{}", subject.rows(&used)), rows_max: 1 }
    };
    pairs(columns.len()).chunks(PAIRS).map(question).collect()
}

pub fn read(
    whole: &TableProfile,
    profile: &mut TableProfile,
    answers: &mut std::slice::Iter<'_, Rows>,
) -> Result<(), String> {
    let (places, left_out) = columns(whole);
    let columns: Vec<String> = places.iter().map(|at| whole.columns[*at].column.clone()).collect();
    let mut found = Vec::new();
    for part in pairs(columns.len()).chunks(PAIRS) {
        let mut cells = row(answers)?;
        for (a, b) in part {
            let (correlation, cases) = (cells.finite()?, cells.count()?);
            // Rounding takes it beyond its bounds, and two cases always lie on a line.
            let correlation = correlation.filter(|_| cases > 2).map(|r| r.clamp(-1.0, 1.0));
            let (one, other) = (columns[*a].clone(), columns[*b].clone());
            found.push(Pair { at: (*a, *b), a: one, b: other, correlation, cases });
        }
    }
    let strength = |pair: &Pair| pair.correlation.map_or(-1.0, f64::abs);
    found.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
    if columns.len() > 1 {
        profile.correlations = Some(Correlations { columns, left_out, pairs: found });
    }
    Ok(())
}
