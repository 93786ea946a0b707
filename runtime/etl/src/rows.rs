//! Some of the rows of all files of an input: a bit for each.

use crate::source::row_place;

/// Bits of a word.
const BITS: usize = u64::BITS as usize;

/// The rows, by their files.
#[derive(Debug, Default)]
pub struct Rows {
    files: Vec<Vec<u64>>,
}

impl Rows {
    /// Adds the row of this number among those of all files.
    pub fn insert(&mut self, row: i64) {
        let (file, row) = row_place(row);
        let (word, bit) = (row as usize / BITS, row as usize % BITS);
        if self.files.len() <= file {
            self.files.resize_with(file + 1, Vec::new);
        }
        let words = &mut self.files[file];
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        words[word] |= 1 << bit;
    }

    /// Whether the row of this number in its file is one of them.
    pub fn has(&self, file: usize, row: i64) -> bool {
        let words = self.files.get(file).map(Vec::as_slice).unwrap_or_default();
        words.get(row as usize / BITS).is_some_and(|word| word >> (row as usize % BITS) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::row_number;

    #[test]
    fn rows_are_those_that_were_added() {
        let mut rows = Rows::default();
        assert!(!rows.has(0, 0));
        for (file, row) in [(0, 1), (0, 64), (3, 1), (3, 1_000)] {
            rows.insert(row_number(file, row));
        }
        let of = |file| (0..2_000).filter(|row| rows.has(file, *row)).collect::<Vec<_>>();
        assert_eq!((of(0), of(1), of(3), of(9)), (vec![1, 64], vec![], vec![1, 1_000], vec![]));
    }
}
