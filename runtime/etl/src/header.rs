//! What the columns of a file become: columns of the view `file`, and rows of a wide table.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use steppe_wire::etl::header::{complete_names, position, trimmed};
use steppe_wire::etl::{self, ColumnName, CsvOptions};
use steppe_wire::hint::Hinted;

/// A header that has all that the plan asks for.
#[derive(Debug)]
pub struct Header {
    columns: Vec<String>,
    wide: Option<Wide>,
}

/// Where a row comes from.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Number of the record.
    pub record: i64,
    /// The column, of a cell of a wide table.
    pub column: Option<&'a str>,
}

impl Header {
    /// Of a file whose header has these fields.
    pub fn new(fields: Vec<String>, own: &[ColumnName], csv: &CsvOptions) -> Result<Self> {
        let names = complete_names(&fields, own, csv)?;
        let Some(wide) = &csv.wide else { return Ok(Self { columns: names, wide: None }) };
        let wide = Wide::new(fields, &names, wide)?;
        let kept = wide.keep.iter().map(|index| names[*index].clone());
        let columns = kept.chain(wide.made.clone()).collect();
        Ok(Self { columns, wide: Some(wide) })
    }

    /// Names of the columns of the view `file`, without the record's number.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How cells become rows.
    pub fn wide(&self) -> Option<&Wide> {
        self.wide.as_ref()
    }

    /// Where the row with this number comes from.
    pub fn origin(&self, row: i64) -> Origin<'_> {
        match &self.wide {
            None => Origin { record: row, column: None },
            Some(wide) => {
                let (record, cell) = ((row - 1) / wide.width(), (row - 1) % wide.width());
                let index = usize::try_from(cell).ok().and_then(|cell| wide.periods.get(cell));
                let column = index.map(|index| wide.fields[*index].as_str());
                Origin { record: record + 1, column }
            }
        }
    }
}

/// How the cells of a record become rows.
#[derive(Debug)]
pub struct Wide {
    fields: Vec<String>,
    keep: Vec<usize>,
    periods: Vec<usize>,
    unnamed: Vec<usize>,
    made: [String; 2],
    missing: BTreeSet<String>,
}

impl Wide {
    fn new(fields: Vec<String>, names: &[String], plan: &etl::Wide) -> Result<Self> {
        let made = [plan.names.clone(), plan.values.clone()];
        if let Some(index) = names.iter().position(|name| made.contains(name)) {
            bail!(Hinted::new(
                format!(
                    "column {} of the header is called `{}`, as `wide` calls what it makes",
                    index + 1,
                    fields[index]
                ),
                "give `names` and `values` other names, or rename the column in the file"
            ));
        }
        let mut keep = Vec::new();
        for name in &plan.keep {
            let kind = "string".to_owned();
            let wanted = ColumnName { source: name.clone(), name: name.clone(), kind, zone: None };
            keep.extend(position(&fields, &wanted)?);
        }
        keep.sort_unstable();
        keep.dedup();
        let others = (0..fields.len()).filter(|index| !keep.contains(index));
        let (unnamed, periods): (Vec<_>, Vec<_>) = others.partition(|i| fields[*i].is_empty());
        if periods.is_empty() {
            bail!(Hinted::new(
                "every column of the header is kept, so there is none to make records of",
                "leave `wide` out of the manifest"
            ));
        }
        let missing = plan.missing.iter().cloned().collect();
        Ok(Self { fields, keep, periods, unnamed, made, missing })
    }

    fn width(&self) -> i64 {
        self.periods.len() as i64
    }

    /// What makes no records must not be lost without a word: a line with one field, such as a
    /// note, and what is in a column without a name.
    pub fn refuse_odd(&self, fields: &[&str], line: u64) -> Result<()> {
        if fields.iter().filter(|field| !trimmed(field).is_empty()).count() <= 1 {
            bail!(Hinted::new(
                format!("line {line}: one field is not empty, so this is no record of the table"),
                "delete the line; `footnotes = \"leave-out\"` in the manifest leaves out such \
                 lines after the table"
            ));
        }
        match self.unnamed.iter().find(|index| !trimmed(fields[**index]).is_empty()) {
            None => Ok(()),
            Some(index) => bail!(Hinted::new(
                format!(
                    "line {line}: column {} has no name in the header and holds `{}`",
                    index + 1,
                    trimmed(fields[*index])
                ),
                "give it a name in the file, or empty it"
            )),
        }
    }

    /// Numbers and fields of the rows of record `number`.
    pub fn cells<'a>(
        &'a self,
        fields: &'a [&str],
        number: i64,
    ) -> impl Iterator<Item = (i64, impl Iterator<Item = &'a str>)> {
        let has_value = |(_, index): &(i64, &usize)| {
            let value = trimmed(fields[**index]);
            !value.is_empty() && !self.missing.contains(value)
        };
        let kept = |index: &'a usize| fields[*index];
        let first = (number - 1) * self.width() + 1;
        (first..).zip(&self.periods).filter(has_value).map(move |(row, index)| {
            let made = [self.fields[*index].as_str(), fields[*index]];
            (row, self.keep.iter().map(kept).chain(made))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(fields: &[&str]) -> Result<Header> {
        let own =
            [("Регион", "region"), ("year", "year"), ("n", "n")].map(|(source, name)| ColumnName {
                source: source.into(),
                name: name.into(),
                kind: "string".into(),
                zone: None,
            });
        let csv: CsvOptions = serde_json::from_value(serde_json::json!({
            "delimiter": ";", "skip_lines": 0, "leave_out_footnotes": false,
            "wide": { "keep": ["Регион"], "names": "year", "values": "n", "missing": ["…"] },
        }))
        .expect("options");
        Header::new(fields.iter().map(|f| (*f).to_owned()).collect(), &own, &csv)
    }

    #[test]
    fn cells_become_rows_that_know_where_they_come_from() {
        let header = header(&["регион", "2000", "", "2001 г."]).expect("complete");
        assert_eq!(header.columns(), ["region", "year", "n"]);
        let wide = header.wide().expect("wide");
        let cells = |fields: &[&str], number| -> Vec<(i64, Vec<String>)> {
            let cells = wide.cells(fields, number);
            cells.map(|(row, cell)| (row, cell.map(str::to_owned).collect())).collect()
        };
        let row = |texts: [&str; 3]| texts.map(str::to_owned).to_vec();
        assert_eq!(cells(&["А", " … ", "", "5"], 1), [(2, row(["А", "2001 г.", "5"]))]);
        assert_eq!(cells(&["Б", "1", "", "\u{a0}"], 2), [(3, row(["Б", "2000", "1"]))]);
        assert_eq!(header.origin(2), Origin { record: 1, column: Some("2001 г.") });
        assert_eq!(header.origin(3), Origin { record: 2, column: Some("2000") });
        assert!(wide.refuse_odd(&["А", "1", " ", "2"], 4).is_ok());
        let told = wide.refuse_odd(&["А", "1", "x", "2"], 4).expect_err("a value").to_string();
        assert!(told.starts_with("line 4: column 3 has no name in the header and holds `x`"));
        let told = wide.refuse_odd(&["* note", "", " ", ""], 5).expect_err("a note").to_string();
        assert!(told.starts_with("line 5: one field is not empty"), "{told}");
    }

    #[test]
    fn headers_that_cannot_be_turned_are_refused() {
        let told = |fields: &[&str]| header(fields).expect_err("a defect").to_string();
        assert!(told(&["Область", "2000"]).contains("column `Регион` is missing"));
        assert!(told(&["Регион", "2000", "Year"]).contains("column 3 of the header is called"));
        assert!(told(&["Регион", ""]).contains("every column of the header is kept"));
        assert!(told(&["", ""]).contains("the file is empty; expected a header with the columns"));
    }
}
