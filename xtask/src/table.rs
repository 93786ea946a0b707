//! Tables for people.

use crate::terminal::shown;

/// A table with aligned columns; numbers to the right. Every cell stays on its line.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<_> = header.iter().map(|text| shown(text)).collect();
    let rows: Vec<Vec<_>> = rows.iter().map(|r| r.iter().map(|c| shown(c)).collect()).collect();
    let width = |i: usize| {
        rows.iter()
            .map(|r| r[i].chars().count())
            .chain([header[i].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let numeric: Vec<bool> = (0..header.len())
        .map(|i| {
            !rows.is_empty() && rows.iter().all(|r| r[i].is_empty() || r[i].parse::<f64>().is_ok())
        })
        .collect();
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[std::borrow::Cow<str>]| {
        let cell = |i: usize, text: &str| {
            if numeric[i] {
                format!("{text:>0$}", widths[i])
            } else {
                format!("{text:<0$}", widths[i])
            }
        };
        let cells: Vec<String> = cells.iter().enumerate().map(|(i, text)| cell(i, text)).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let rule: Vec<_> = widths.iter().map(|w| "─".repeat(*w).into()).collect();
    let mut out = line(&header) + &line(&rule);
    rows.iter().for_each(|r| out += &line(r));
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn tables_align_numbers_to_the_right() {
        let text = super::table(
            &["name", "n"],
            &[vec!["a".into(), "7".into()], vec!["bcdef".into(), "1234".into()]],
        );
        assert_eq!(text, "name      n\n─────  ────\na         7\nbcdef  1234\n");
    }
}
