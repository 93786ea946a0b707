//! Source columns as they come: numbers, truth values, categories; any of them may be missing.

use super::error::RowsError;

/// Values of one source column.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Numbers; NaN is missing.
    Number(Vec<f64>),
    /// Truth values.
    Boolean(Vec<Option<bool>>),
    /// Levels, by their places in a list of names.
    Category {
        /// A place per row.
        codes: Vec<Option<u32>>,
        /// The names.
        levels: Vec<String>,
    },
}

impl Column {
    /// Of the names of levels, one per row.
    pub fn category<'a>(rows: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let mut levels: Vec<String> = Vec::new();
        let mut places = std::collections::HashMap::new();
        let mut code = |name: &'a str| {
            *places.entry(name).or_insert_with(|| {
                levels.push(name.to_owned());
                levels.len() as u32 - 1
            })
        };
        let codes = rows.into_iter().map(|name| name.map(&mut code)).collect();
        Self::Category { codes, levels }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Number(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::Category { codes, .. } => codes.len(),
        }
    }

    /// What its values are, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "numbers",
            Self::Boolean(_) => "truth values",
            Self::Category { .. } => "categories",
        }
    }

    /// A value as a number: that of a truth value is 0 or 1; a category has none.
    pub(crate) fn number(&self, row: usize) -> Option<f64> {
        match self {
            Self::Number(values) => Some(values[row]),
            Self::Boolean(values) => {
                Some(values[row].map_or(f64::NAN, |value| f64::from(u8::from(value))))
            }
            Self::Category { .. } => None,
        }
    }
}

/// Source columns by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    rows: usize,
    columns: Vec<(String, Column)>,
}

impl Table {
    /// Of `rows` rows, without columns.
    pub fn new(rows: usize) -> Self {
        Self { rows, columns: Vec::new() }
    }

    /// Adds a column.
    ///
    /// # Errors
    /// If its name is taken, it has more or fewer rows, infinite numbers, or a level without name.
    pub fn push(&mut self, name: &str, column: Column) -> Result<(), RowsError> {
        let refuse = |what: String| Err(RowsError::Unsuitable(what));
        if self.columns.iter().any(|(taken, _)| taken == name) {
            return refuse(format!("there are two columns `{name}`"));
        }
        if column.rows() != self.rows {
            return refuse(format!("`{name}` has {} of {} rows", column.rows(), self.rows));
        }
        match &column {
            Column::Number(values) => {
                if let Some(row) = values.iter().position(|value| value.is_infinite()) {
                    return refuse(format!("`{name}` is {} in row {row}", values[row]));
                }
            }
            Column::Category { codes, levels } => {
                let beyond = |code: &u32| *code as usize >= levels.len();
                if codes.iter().flatten().any(beyond) {
                    return refuse(format!("`{name}` has a level without a name"));
                }
            }
            Column::Boolean(_) => {}
        }
        self.columns.push((name.to_owned(), column));
        Ok(())
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.columns.iter().map(|(name, column)| (name.as_str(), column))
    }

    pub(crate) fn columns_mut(&mut self) -> impl Iterator<Item = &mut (String, Column)> {
        self.columns.iter_mut()
    }

    /// A column by its name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns().find(|(found, _)| *found == name).map(|(_, column)| column)
    }

    /// Some of the rows, in the order of their numbers.
    pub fn select(&self, rows: &[usize]) -> Self {
        let part = |column: &Column| match column {
            Column::Number(values) => Column::Number(super::matrix::select(values, rows)),
            Column::Boolean(values) => Column::Boolean(super::matrix::select(values, rows)),
            Column::Category { codes, levels } => Column::Category {
                codes: super::matrix::select(codes, rows),
                levels: levels.clone(),
            },
        };
        let columns = self.columns.iter().map(|(name, column)| (name.clone(), part(column)));
        Self { rows: rows.len(), columns: columns.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_and_rows_selected() {
        let mut table = Table::new(3);
        table.push("n", Column::Number(vec![1.0, f64::NAN, 3.0])).expect("a column");
        let kinds = Column::category([Some("a"), None, Some("a")]);
        table.push("kind", kinds.clone()).expect("a column");
        assert_eq!(table.column("kind"), Some(&kinds));
        let part = table.select(&[2, 0]);
        assert_eq!(part.column("n"), Some(&Column::Number(vec![3.0, 1.0])));
        assert_eq!(part.column("none"), None);
    }

    #[test]
    fn columns_that_are_none_are_refused() {
        let mut table = Table::new(1);
        table.push("n", Column::Number(vec![1.0])).expect("a column");
        let mut refused =
            |name: &str, column| table.push(name, column).expect_err("refused").to_string();
        assert_eq!(refused("n", Column::Number(vec![1.0])), "there are two columns `n`");
        assert_eq!(refused("m", Column::Number(vec![])), "`m` has 0 of 1 rows");
        let infinite = refused("m", Column::Number(vec![f64::INFINITY]));
        assert_eq!(infinite, "`m` is inf in row 0");
        let beyond = Column::Category { codes: vec![Some(0)], levels: vec![] };
        assert_eq!(refused("m", beyond), "`m` has a level without a name");
    }
}
