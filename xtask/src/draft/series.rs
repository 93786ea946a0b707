//! Which columns name series: the smallest set that, with the time, identifies every record.

use anyhow::{Result, bail};
use steppe_spec::ColumnType;
use steppe_wire::hint::Hinted;
use steppe_wire::look::KeyLook;

use super::choice::Choice;
use super::input::InputDraft;

/// Columns that name series together, at most.
const COLUMNS_MAX: usize = 3;
/// The share of the records that may be repeated, and are set aside then.
const REPEATED_SHARE: u64 = 100;

/// Whoever counts how many records have sets of columns in common.
pub type Ask<'a> = dyn FnMut(Vec<Vec<usize>>) -> Result<Vec<KeyLook>> + 'a;

/// What names series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The columns; none when there is one series.
    pub columns: Vec<usize>,
    /// Records that have what another one has.
    pub repeated: u64,
    /// Whether these are equal in everything.
    pub is_exact: bool,
    /// Records that were compared, when not all were.
    pub compared: Option<u64>,
    /// Other columns that would do as well.
    pub others: Vec<usize>,
}

/// What names the series of the forecast that was chosen.
pub fn of(input: &InputDraft, choice: &Choice, ask: &mut Ask<'_>) -> Result<Series> {
    let place = |at: usize| input.columns.all[at].place;
    let base: Vec<usize> = place(choice.time).into_iter().collect();
    let set = |columns: &[usize]| -> Vec<usize> {
        base.iter().copied().chain(columns.iter().filter_map(|at| place(*at))).collect()
    };
    let whole: Vec<usize> = input.columns.all.iter().filter_map(|column| column.place).collect();
    // Lines of a wide table are few; each must be a series of its own.
    let tolerated = if input.wide.is_some() { 0 } else { input.records / REPEATED_SHARE };
    let (mut nearly, mut example) = (None, None);
    for columns in stages(input, choice) {
        let mut asked: Vec<Vec<usize>> = columns.iter().map(|own| set(own)).collect();
        asked.push(whole.clone());
        let mut found = ask(asked)?;
        let all = found.pop().filter(|all| input.wide.is_none() && !all.is_given_up);
        let exact = all.map_or(0, |all| all.repeated);
        let fits = |look: &&KeyLook| !look.is_given_up && look.repeated <= tolerated.max(exact);
        let Some(least) = found.iter().filter(fits).map(|look| look.repeated).min() else {
            let repeated = found.iter().min_by_key(|look| look.repeated);
            example = repeated.and_then(|look| look.example.clone()).or(example);
            continue;
        };
        let mut fitting =
            columns.iter().zip(&found).filter(|(_, l)| fits(l) && l.repeated == least);
        let Some((own, look)) = fitting.next() else { continue };
        let others = fitting.filter(|(other, _)| other.len() == 1 && !own.is_empty());
        let others = others.map(|(other, _)| other[0]);
        let series = Series {
            columns: own.clone(),
            repeated: least,
            is_exact: least > 0 && least <= exact,
            compared: (look.compared < rows(input)).then_some(look.compared),
            others: others.collect(),
        };
        // A set that identifies all is better than a smaller one that does not.
        if least <= exact {
            return Ok(series);
        }
        nearly = nearly.or(Some(series));
    }
    if let Some(series) = nearly {
        return Ok(series);
    }
    let name = |at: &usize| input.columns.all[*at].column.source().to_owned();
    let time = name(&choice.time);
    let given = choice.series.iter().flatten().map(name).collect::<Vec<_>>();
    let told = example.map(|values| format!(", such as {}", values.join(", "))).unwrap_or_default();
    let what = match &given[..] {
        [] => format!("no column names series so that each has one record per `{time}`{told}"),
        names => format!(
            "there are several records of the same {} and `{time}`{told}",
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
        ),
    };
    bail!(Hinted::new(
        what,
        "`--series COLUMN`, also several, says what a series is; events have to be summed up per \
         period first"
    ))
}

/// Records of the file: of a wide table its lines.
fn rows(input: &InputDraft) -> u64 {
    if input.wide.is_some() { 0 } else { input.records }
}

/// Sets of columns that are tried together, the smaller first.
fn stages(input: &InputDraft, choice: &Choice) -> Vec<Vec<Vec<usize>>> {
    if let Some(series) = &choice.series {
        return vec![vec![series.clone()]];
    }
    let is_text = |at: &&usize| input.columns.all[**at].column.kind == ColumnType::String;
    let all = &choice.candidates;
    let (texts, others): (Vec<usize>, Vec<usize>) = all.iter().partition(|at| is_text(at));
    let single = |columns: &[usize]| columns.iter().map(|at| vec![*at]).collect::<Vec<_>>();
    // A wide table of one line, or a time that is there once, is one series. Most tables are of one
    // series or have one name for each, so both are asked at once.
    let first = std::iter::once(vec![]).chain(single(&texts)).collect();
    let mut stages = vec![first, single(&others)];
    for size in 2..=COLUMNS_MAX {
        stages.push(sets(all, size));
    }
    stages.retain(|stage| !stage.is_empty());
    stages
}

/// Every set of so many of these.
fn sets(all: &[usize], size: usize) -> Vec<Vec<usize>> {
    if size == 0 {
        return vec![vec![]];
    }
    let mut found = Vec::new();
    for (at, first) in all.iter().enumerate() {
        for mut rest in sets(&all[at + 1..], size - 1) {
            rest.insert(0, *first);
            found.push(rest);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_of_one_size() {
        assert_eq!(sets(&[1, 2, 3], 2), [[1, 2], [1, 3], [2, 3]]);
        assert_eq!(sets(&[1], 2), Vec::<Vec<usize>>::new());
    }
}
