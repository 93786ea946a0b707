//! Which rows are near to a point: a k-d tree (Bentley 1975) over rows of a matrix.
//!
//! A node knows the box around its rows, so that what is too far, or wholly taken, is not looked
//! at. Distances are sums of squares in the order of columns, as scikit-learn's trees have them.

use super::matrix::Matrix;

/// Rows that are not cut further.
const LEAF_ROWS: usize = 16;

struct Node {
    first: usize,
    end: usize,
    /// The node to the right; the one to the left is the next one. Of a leaf, 0.
    right: usize,
}

/// The tree.
pub(crate) struct Neighbours {
    columns: usize,
    /// Numbers of the rows, those of a node next to each other.
    rows: Vec<usize>,
    /// Their values, row after row.
    points: Vec<f64>,
    nodes: Vec<Node>,
    /// Of each node the least value in each column, then the largest ones.
    boxes: Vec<f64>,
}

impl Neighbours {
    /// Of some rows.
    pub(crate) fn new(columns: &Matrix, mut rows: Vec<usize>) -> Self {
        let mut tree = Self {
            columns: columns.columns(),
            rows: Vec::new(),
            points: Vec::new(),
            nodes: Vec::new(),
            boxes: Vec::new(),
        };
        let count = rows.len();
        tree.node(columns, &mut rows, 0..count);
        tree.points = rows.iter().flat_map(|&row| columns.row(row)).collect();
        tree.rows = rows;
        tree
    }

    fn node(&mut self, columns: &Matrix, rows: &mut [usize], range: std::ops::Range<usize>) {
        let own = self.nodes.len();
        self.nodes.push(Node { first: range.start, end: range.end, right: 0 });
        let of = |column: usize| {
            let values = rows[range.clone()].iter().map(move |&row| columns.at(row, column));
            let widest = (f64::INFINITY, f64::NEG_INFINITY);
            values.fold(widest, |(low, high), v| (low.min(v), high.max(v)))
        };
        let bounds: Vec<(f64, f64)> = (0..self.columns).map(of).collect();
        self.boxes.extend(bounds.iter().map(|(low, _)| *low));
        self.boxes.extend(bounds.iter().map(|(_, high)| *high));
        let width = |column: &usize| bounds[*column].1 - bounds[*column].0;
        let widest = (0..self.columns).max_by(|a, b| width(a).total_cmp(&width(b)));
        let Some(widest) = widest.filter(|column| width(column) > 0.0) else { return };
        if range.len() <= LEAF_ROWS {
            return;
        }
        let values = columns.column(widest);
        let middle = range.len() / 2;
        rows[range.clone()]
            .select_nth_unstable_by(middle, |&a, &b| values[a].total_cmp(&values[b]));
        let middle = range.start + middle;
        self.node(columns, rows, range.start..middle);
        self.nodes[own].right = self.nodes.len();
        self.node(columns, rows, middle..range.end);
    }

    /// Number of rows.
    pub(crate) fn count(&self) -> usize {
        self.rows.len()
    }

    /// The number in the matrix of the row at a place of the tree.
    pub(crate) fn row(&self, place: usize) -> usize {
        self.rows[place]
    }

    /// The values at a place of the tree.
    pub(crate) fn point(&self, place: usize) -> &[f64] {
        &self.points[place * self.columns..(place + 1) * self.columns]
    }

    fn square_to(&self, place: usize, point: &[f64]) -> f64 {
        let differences = self.point(place).iter().zip(point).map(|(a, b)| a - b);
        differences.fold(0.0, |sum, difference| sum + difference * difference)
    }

    /// No row of the node is nearer.
    fn square_to_box(&self, node: usize, point: &[f64]) -> f64 {
        let bounds = &self.boxes[2 * node * self.columns..2 * (node + 1) * self.columns];
        let (low, high) = bounds.split_at(self.columns);
        let mut sum = 0.0;
        for ((value, low), high) in point.iter().zip(low).zip(high) {
            let outside = (low - value).max(value - high).max(0.0);
            sum += outside * outside;
        }
        sum
    }

    /// The children, the nearer one first, each with how near it may be.
    fn children(&self, node: usize, point: &[f64]) -> [(usize, f64); 2] {
        let of = |child: usize| (child, self.square_to_box(child, point));
        let (left, right) = (of(node + 1), of(self.nodes[node].right));
        if right.1 < left.1 { [right, left] } else { [left, right] }
    }

    /// How many rows are within the root of `square`; it stops when there are `enough`.
    pub(crate) fn count_within(&self, point: &[f64], square: f64, enough: usize) -> usize {
        let mut found = 0;
        self.count_in(0, point, square, enough, &mut found);
        found
    }

    fn count_in(&self, node: usize, point: &[f64], square: f64, enough: usize, found: &mut usize) {
        let Node { first, end, right } = self.nodes[node];
        if right == 0 {
            let near = (first..end).filter(|&place| self.square_to(place, point) <= square);
            *found += near.count();
            return;
        }
        for (child, nearest) in self.children(node, point) {
            if nearest <= square && *found < enough {
                self.count_in(child, point, square, enough, found);
            }
        }
    }

    /// Visits the places of all rows within the root of `square`.
    pub(crate) fn each_within(&self, point: &[f64], square: f64, visit: &mut impl FnMut(usize)) {
        self.each_in(0, point, square, visit);
    }

    fn each_in(&self, node: usize, point: &[f64], square: f64, visit: &mut impl FnMut(usize)) {
        let Node { first, end, right } = self.nodes[node];
        if right == 0 {
            (first..end).filter(|&at| self.square_to(at, point) <= square).for_each(visit);
            return;
        }
        for (child, nearest) in self.children(node, point) {
            if nearest <= square {
                self.each_in(child, point, square, visit);
            }
        }
    }

    /// Squared distances of the `count` nearest rows, nearest first; of all if there are fewer.
    pub(crate) fn nearest(&self, point: &[f64], count: usize) -> Vec<f64> {
        let mut squares = Vec::with_capacity(count + 1);
        if count > 0 {
            self.nearest_in(0, point, count, &mut squares);
        }
        squares
    }

    fn nearest_in(&self, node: usize, point: &[f64], count: usize, squares: &mut Vec<f64>) {
        let farthest = |squares: &[f64]| match squares.len() < count {
            true => f64::INFINITY,
            false => squares[count - 1],
        };
        let Node { first, end, right } = self.nodes[node];
        if right != 0 {
            for (child, nearest) in self.children(node, point) {
                if nearest < farthest(squares) {
                    self.nearest_in(child, point, count, squares);
                }
            }
            return;
        }
        for place in first..end {
            let square = self.square_to(place, point);
            if square < farthest(squares) {
                squares.insert(squares.partition_point(|other| *other <= square), square);
                squares.truncate(count);
            }
        }
    }
}

/// Rows of a tree that are taken one after another, each once.
pub(crate) struct Pool<'a> {
    tree: &'a Neighbours,
    /// Of each node, how many rows are left.
    left: Vec<usize>,
    taken: Vec<bool>,
}

impl<'a> Pool<'a> {
    /// All rows of a tree.
    pub(crate) fn new(tree: &'a Neighbours) -> Self {
        let left = tree.nodes.iter().map(|node| node.end - node.first).collect();
        Self { tree, left, taken: vec![false; tree.count()] }
    }

    /// Whether the row at a place is taken.
    pub(crate) fn is_taken(&self, place: usize) -> bool {
        self.taken[place]
    }

    /// Takes the rows within the root of `square` that are left, and adds their places.
    pub(crate) fn take_within(&mut self, point: &[f64], square: f64, places: &mut Vec<usize>) {
        self.take_in(0, point, square, places);
    }

    fn take_in(&mut self, node: usize, point: &[f64], square: f64, places: &mut Vec<usize>) {
        let before = places.len();
        let Node { first, end, right } = self.tree.nodes[node];
        if right == 0 {
            for place in first..end {
                if !self.taken[place] && self.tree.square_to(place, point) <= square {
                    self.taken[place] = true;
                    places.push(place);
                }
            }
        } else {
            for child in [node + 1, right] {
                if self.left[child] > 0 && self.tree.square_to_box(child, point) <= square {
                    self.take_in(child, point, square, places);
                }
            }
        }
        self.left[node] -= places.len() - before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of three columns, many of them equal in one or all.
    fn sample(rows: usize) -> Matrix {
        let mut rng = fastrand::Rng::with_seed(rows as u64);
        let mut values = Vec::new();
        for row in 0..rows {
            let rounded = (rng.f64() * 4.0).round();
            let row = if row % 5 == 0 { [1.0; 3] } else { [rng.f64() * 4.0, rounded, rng.f64()] };
            values.extend(row);
        }
        Matrix::from_rows(3, &values)
    }

    fn squares(columns: &Matrix, point: &[f64]) -> Vec<f64> {
        let square = |row: usize| -> f64 {
            columns.row(row).iter().zip(point).map(|(a, b)| (a - b) * (a - b)).sum()
        };
        (0..columns.rows()).map(square).collect()
    }

    #[test]
    fn it_finds_what_looking_at_all_rows_finds() {
        for rows in [1, 16, 17, 300] {
            let columns = sample(rows);
            let tree = Neighbours::new(&columns, (0..rows).collect());
            for point in [[1.0; 3], [0.3, 2.0, 0.9], [-9.0, 0.0, 0.0]] {
                let all = squares(&columns, &point);
                for square in [0.0, 0.3, 1.0, 1e9] {
                    let near: Vec<usize> = (0..rows).filter(|row| all[*row] <= square).collect();
                    let mut found = Vec::new();
                    tree.each_within(&point, square, &mut |place| found.push(tree.row(place)));
                    found.sort_unstable();
                    assert_eq!(found, near);
                    assert_eq!(tree.count_within(&point, square, usize::MAX), near.len());
                    assert!(tree.count_within(&point, square, 3) >= near.len().min(3));
                }
                let mut sorted = all;
                sorted.sort_by(f64::total_cmp);
                assert_eq!(tree.nearest(&point, 7), sorted[..rows.min(7)]);
                assert_eq!(tree.nearest(&point, 0), [0.0; 0]);
            }
        }
    }

    #[test]
    fn rows_are_taken_once() {
        let columns = sample(300);
        let tree = Neighbours::new(&columns, (0..300).collect());
        let mut pool = Pool::new(&tree);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        pool.take_within(&[1.0; 3], 0.5, &mut first);
        pool.take_within(&[1.0; 3], 0.5, &mut second);
        assert_eq!((first.len(), second.len()), (tree.count_within(&[1.0; 3], 0.5, 300), 0));
        pool.take_within(&[1.0; 3], 1e9, &mut second);
        assert_eq!(first.len() + second.len(), 300);
        assert!((0..300).all(|place| pool.is_taken(place)));
    }

    #[test]
    fn no_rows_are_near_to_nothing() {
        let tree = Neighbours::new(&Matrix::empty(0), Vec::new());
        assert_eq!((tree.count(), tree.count_within(&[], 1.0, 1)), (0, 0));
        assert_eq!(tree.nearest(&[], 1), [0.0; 0]);
    }
}
