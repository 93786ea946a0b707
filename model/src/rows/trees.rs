//! A sum of trees, whoever grew them: answers, checks, and what is stored.
//!
//! Nodes are numbers in parallel lists, parents before children and the left child right after its
//! parent, so that a tree is read without following pointers and every way is known to end.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::RowsError;
use super::linear_model::Effects;
use super::matrix::Matrix;
use super::tree_shap;

/// Trees that are read, at most.
pub const TREES_MAX: usize = 10_000;
/// Splits in a row, at most.
pub const DEPTH_MAX: usize = 64;

/// A tree's nodes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// The column that a node looks at; of a leaf, 0.
    pub column: Vec<u32>,
    /// A value below goes to the left; of a leaf, 0.
    pub threshold: Vec<f64>,
    /// Whether a missing value goes to the left.
    pub missing_left: Vec<bool>,
    /// The node to the right; the one to the left is the next one. Of a leaf, 0.
    pub right: Vec<u32>,
    /// What a leaf adds; of a node that looks, 0.
    pub value: Vec<f64>,
    /// How much of what it was grown on came by: more than 0.
    pub cover: Vec<f64>,
}

impl Tree {
    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.column.len()
    }

    /// Adds a leaf.
    pub fn leaf(&mut self, value: f64, cover: f64) {
        self.node((0, 0.0), false, cover);
        *self.value.last_mut().expect("a node was added") = value;
    }

    /// Adds a node that looks at a column. Its left child comes next; [`Tree::join`] then tells
    /// where its right one is.
    pub fn split(&mut self, column: usize, threshold: f64, missing_left: bool) -> usize {
        self.node((column as u32, threshold), missing_left, 0.0);
        self.nodes() - 1
    }

    /// The next node is the right child of `parent`.
    pub fn join(&mut self, parent: usize) {
        self.right[parent] = self.nodes() as u32;
    }

    /// Both children of `parent` are there: as much came by as by them.
    pub fn close(&mut self, parent: usize) {
        self.cover[parent] = self.cover[parent + 1] + self.cover[self.right[parent] as usize];
    }

    fn node(&mut self, (column, threshold): (u32, f64), missing_left: bool, cover: f64) {
        self.column.push(column);
        self.threshold.push(threshold);
        self.missing_left.push(missing_left);
        self.right.push(0);
        self.value.push(0.0);
        self.cover.push(cover);
    }

    /// Whether a node is a leaf.
    pub fn is_leaf(&self, node: usize) -> bool {
        self.right[node] == 0
    }

    /// The child that a row goes to, and the other one.
    pub fn children(&self, node: usize, row: &[f64]) -> (usize, usize) {
        let value = row[self.column[node] as usize];
        let left =
            if value.is_nan() { self.missing_left[node] } else { value < self.threshold[node] };
        let (next, right) = (node + 1, self.right[node] as usize);
        if left { (next, right) } else { (right, next) }
    }

    /// What the tree adds for a row.
    pub fn answer(&self, row: &[f64]) -> f64 {
        let mut node = 0;
        while !self.is_leaf(node) {
            node = self.children(node, row).0;
        }
        self.value[node]
    }

    /// What the tree adds on average where it was grown.
    pub fn expected(&self) -> f64 {
        let leaves = (0..self.nodes()).filter(|&node| self.is_leaf(node));
        leaves.map(|node| self.value[node] * self.cover[node]).sum::<f64>() / self.cover[0]
    }

    /// Splits on the longest way; an error if some way ends at no leaf.
    fn depth(&self, columns: usize) -> Result<usize, &'static str> {
        let nodes = self.nodes();
        let lengths =
            [self.threshold.len(), self.missing_left.len(), self.right.len(), self.value.len()];
        if nodes == 0 || lengths.iter().any(|n| *n != nodes) || self.cover.len() != nodes {
            return Err("has lists of different lengths");
        }
        // Every node but the root is the child of exactly one node before it.
        let mut depths = vec![None; nodes];
        depths[0] = Some(0);
        for node in 0..nodes {
            let Some(depth) = depths[node] else { return Err("has a node that is nobody's child") };
            if !(self.cover[node] > 0.0 && self.cover[node].is_finite()) {
                return Err("has a node that nothing came by");
            }
            if self.is_leaf(node) {
                if !self.value[node].is_finite() {
                    return Err("adds numbers that are not finite");
                }
                continue;
            }
            if self.column[node] as usize >= columns || !self.threshold[node].is_finite() {
                return Err("looks at what does not exist");
            }
            for child in [node + 1, self.right[node] as usize] {
                if child <= node || child >= nodes || depths[child].is_some() {
                    return Err("has a way that ends at no leaf");
                }
                depths[child] = Some(depth + 1);
            }
        }
        Ok(depths.into_iter().flatten().max().unwrap_or(0))
    }
}

/// What trees add up to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trees {
    /// What they are added to.
    pub base: f64,
    /// The trees.
    pub trees: Vec<Tree>,
}

/// Rows that are answered by one thread.
const ROWS_A_PIECE: usize = 512;

impl Trees {
    /// The sum for one row of values, one per column.
    pub fn margin(&self, row: &[f64]) -> f64 {
        self.trees.iter().fold(self.base, |sum, tree| sum + tree.answer(row))
    }

    /// The sum for each row. A tree answers many rows before the next one is asked, because it
    /// stays near the processor as long, and all trees together do not.
    pub fn margins(&self, columns: &Matrix) -> Vec<f64> {
        let (mut margins, width) = (vec![self.base; columns.rows()], columns.columns());
        margins.par_chunks_mut(ROWS_A_PIECE).enumerate().for_each(|(piece, margins)| {
            let mut rows = vec![0.0; margins.len() * width];
            for at in 0..margins.len() {
                let to = &mut rows[at * width..(at + 1) * width];
                columns.copy_row(piece * ROWS_A_PIECE + at, to);
            }
            for tree in &self.trees {
                for (at, margin) in margins.iter_mut().enumerate() {
                    *margin += tree.answer(&rows[at * width..(at + 1) * width]);
                }
            }
        });
        margins
    }

    /// What each column adds to the average answer: exact Shapley values.
    pub fn effects(&self, row: &[f64]) -> Effects {
        let base = self.base + self.trees.iter().map(Tree::expected).sum::<f64>();
        let mut effects = vec![0.0; row.len()];
        self.trees.iter().for_each(|tree| tree_shap::add(tree, row, &mut effects));
        Effects { base, effects }
    }

    /// Refuses trees in which a row of `columns` columns could be lost: what was read is what
    /// somebody wrote.
    pub fn check(&self, columns: usize) -> Result<(), RowsError> {
        let defect = |why: String| Err(RowsError::stored("a model of trees", why));
        if self.trees.len() > TREES_MAX {
            return defect(format!("it has {} trees, more than can be run", self.trees.len()));
        }
        if !self.base.is_finite() {
            return defect("it starts from a value that is not finite".to_owned());
        }
        for (number, tree) in self.trees.iter().enumerate() {
            match tree.depth(columns) {
                Ok(depth) if depth <= DEPTH_MAX => {}
                Ok(depth) => return defect(format!("tree {number} has {depth} splits in a row")),
                Err(why) => return defect(format!("tree {number} {why}")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        let root = tree.split(1, 5.0, true);
        tree.leaf(-1.0, 3.0);
        tree.join(root);
        tree.leaf(2.0, 1.0);
        tree.close(root);
        tree
    }

    #[test]
    fn a_row_finds_its_leaf() {
        let trees = Trees { base: 0.5, trees: vec![tree(), tree()] };
        assert_eq!(trees.check(2), Ok(()));
        assert_eq!(trees.margin(&[0.0, 4.9]), -1.5);
        assert_eq!(trees.margin(&[0.0, 5.0]), 4.5);
        assert_eq!(trees.margin(&[0.0, f64::NAN]), -1.5);
        assert_eq!(tree().expected(), -0.25);
        let many = Matrix::new(2_000, 2, (0..4_000).map(|i| f64::from(i % 10)).collect());
        let alone: Vec<f64> = (0..2_000).map(|row| trees.margin(&many.row(row))).collect();
        assert_eq!(trees.margins(&many), alone);
    }

    #[test]
    fn trees_in_which_a_row_could_be_lost_are_refused() {
        let refused = |change: &dyn Fn(&mut Tree)| {
            let mut tree = tree();
            change(&mut tree);
            let trees = Trees { base: 0.0, trees: vec![tree] };
            trees.check(2).expect_err("refused").to_string()
        };
        assert!(refused(&|t| t.right[0] = 1).contains("ends at no leaf"), "one child twice");
        assert!(refused(&|t| t.right[0] = 7).contains("ends at no leaf"));
        assert!(refused(&|t| t.right[2] = 1).contains("ends at no leaf"), "back to a parent");
        assert!(refused(&|t| t.column[0] = 2).contains("does not exist"));
        assert!(refused(&|t| t.threshold[0] = f64::NAN).contains("does not exist"));
        assert!(refused(&|t| t.value[1] = f64::INFINITY).contains("not finite"));
        assert!(refused(&|t| t.cover[1] = 0.0).contains("nothing came by"));
        assert!(refused(&|t| t.cover.truncate(1)).contains("different lengths"));
        assert!(refused(&|t| t.leaf(1.0, 1.0)).contains("nobody's child"));
        assert!(refused(&|t| *t = Tree::default()).contains("different lengths"));
        let mut deep = Tree::default();
        for _ in 0..=DEPTH_MAX {
            deep.split(0, 1.0, false);
        }
        deep.leaf(0.0, 1.0);
        for parent in (0..=DEPTH_MAX).rev() {
            deep.join(parent);
            deep.leaf(0.0, 1.0);
            deep.close(parent);
        }
        let deep = Trees { base: 0.0, trees: vec![deep] };
        assert!(deep.check(1).expect_err("deep").to_string().contains("65 splits in a row"));
        assert!(Trees { base: f64::NAN, trees: vec![] }.check(1).is_err());
        assert!(Trees { base: 0.0, trees: vec![tree(); TREES_MAX + 1] }.check(2).is_err());
    }
}
