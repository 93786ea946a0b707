//! Exact Shapley values of one tree and one row in polynomial time (Lundberg et al. 2020,
//! "From local explanations to global understanding for explainable AI", algorithm 2).
//!
//! What is not known of a row goes both ways, in the shares in which the rows did that the tree was
//! grown on. The algorithm follows all ways at once and keeps, for each, how many sets of known
//! columns of each size lead there.

use super::trees::Tree;

/// One column on the way to a node.
#[derive(Debug, Clone, Copy, Default)]
struct Element {
    column: usize,
    /// Share of rows that go this way where the column is not known.
    zero: f64,
    /// Whether the row goes this way where it is known: 1 or 0.
    one: f64,
    /// Weight of the sets of as many known columns as this element's place.
    weight: f64,
}

/// No column: what the way starts with.
const START: usize = usize::MAX;

/// Adds the values of `tree` to `effects`, one per column. With the tree's expected value they add
/// up to its answer.
pub(crate) fn add(tree: &Tree, row: &[f64], effects: &mut [f64]) {
    let longest = depth(tree, 0) + 2;
    let mut buffer = vec![Element::default(); longest * (longest + 1) / 2];
    Walk { tree, row, effects }.visit(
        0,
        &mut buffer,
        0,
        Element { column: START, zero: 1.0, one: 1.0, weight: 0.0 },
    );
}

fn depth(tree: &Tree, node: usize) -> usize {
    match tree.is_leaf(node) {
        true => 0,
        false => 1 + depth(tree, node + 1).max(depth(tree, tree.right[node] as usize)),
    }
}

struct Walk<'a> {
    tree: &'a Tree,
    row: &'a [f64],
    effects: &'a mut [f64],
}

impl Walk<'_> {
    /// Follows the way to `node` on, by `step`. The first `length` elements of `buffer` are the way
    /// to its parent; the rest is free.
    fn visit(&mut self, node: usize, buffer: &mut [Element], length: usize, step: Element) {
        let (parent, way) = buffer.split_at_mut(length);
        way[..length].copy_from_slice(parent);
        extend(way, length, step);
        if self.tree.is_leaf(node) {
            for place in 1..=length {
                let Element { column, zero, one, .. } = way[place];
                let weight = without(way, length, place);
                self.effects[column] += weight * (one - zero) * self.tree.value[node];
            }
            return;
        }
        let column = self.tree.column[node] as usize;
        let (mut zero, mut one, mut length) = (1.0, 1.0, length + 1);
        if let Some(place) = way[1..length].iter().position(|element| element.column == column) {
            (zero, one) = (way[place + 1].zero, way[place + 1].one);
            remove(way, length - 1, place + 1);
            length -= 1;
        }
        let (hot, cold) = self.tree.children(node, self.row);
        for (child, one) in [(hot, one), (cold, 0.0)] {
            let zero = zero * self.tree.cover[child] / self.tree.cover[node];
            self.visit(child, way, length, Element { column, zero, one, weight: 0.0 });
        }
    }
}

/// Adds an element after `last` ones.
fn extend(way: &mut [Element], last: usize, step: Element) {
    way[last] = Element { weight: if last == 0 { 1.0 } else { 0.0 }, ..step };
    let size = (last + 1) as f64;
    for i in (0..last).rev() {
        way[i + 1].weight += step.one * way[i].weight * (i + 1) as f64 / size;
        way[i].weight *= step.zero * (last - i) as f64 / size;
    }
}

/// Undoes the addition of the element at `place`; the last one is at `last`.
fn remove(way: &mut [Element], last: usize, place: usize) {
    let Element { zero, one, .. } = way[place];
    let size = (last + 1) as f64;
    let mut next = way[last].weight;
    for i in (0..last).rev() {
        if one == 0.0 {
            way[i].weight *= size / (zero * (last - i) as f64);
        } else {
            let weight = next * size / ((i + 1) as f64 * one);
            next = way[i].weight - weight * zero * (last - i) as f64 / size;
            way[i].weight = weight;
        }
    }
    for i in place..last {
        let Element { column, zero, one, .. } = way[i + 1];
        way[i] = Element { column, zero, one, weight: way[i].weight };
    }
}

/// Sum of the weights that there would be without the element at `place`.
fn without(way: &[Element], last: usize, place: usize) -> f64 {
    let Element { zero, one, .. } = way[place];
    let size = (last + 1) as f64;
    let (mut next, mut total) = (way[last].weight, 0.0);
    for i in (0..last).rev() {
        if one == 0.0 {
            total += way[i].weight * size / (zero * (last - i) as f64);
        } else {
            let weight = next * size / ((i + 1) as f64 * one);
            total += weight;
            next = way[i].weight - weight * zero * (last - i) as f64 / size;
        }
    }
    total
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rows::trees::Trees;

    /// Shapley values by their definition: over all sets of the other columns, what a column adds.
    pub(crate) fn brute_force(columns: usize, with: &dyn Fn(&[bool]) -> f64) -> Vec<f64> {
        let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
        let value = |column: usize| {
            let sets = (0..1_usize << columns).filter(|set| set >> column & 1 == 0);
            sets.map(|set| {
                let known = |also: bool| {
                    let known = (0..columns).map(|c| set >> c & 1 == 1 || (also && c == column));
                    with(&known.collect::<Vec<_>>())
                };
                let size = set.count_ones() as usize;
                let weight = factorial(size) * factorial(columns - size - 1) / factorial(columns);
                weight * (known(true) - known(false))
            })
            .sum()
        };
        (0..columns).map(value).collect()
    }

    /// What a tree answers where only some columns are known.
    fn expectation(tree: &Tree, node: usize, row: &[f64], known: &[bool]) -> f64 {
        if tree.is_leaf(node) {
            return tree.value[node];
        }
        let (to, other) = tree.children(node, row);
        if known[tree.column[node] as usize] {
            return expectation(tree, to, row, known);
        }
        let part = |child| tree.cover[child] * expectation(tree, child, row, known);
        (part(to) + part(other)) / tree.cover[node]
    }

    /// Compares the effects of some trees on a row with those by definition.
    #[track_caller]
    pub(crate) fn check(trees: &Trees, row: &[f64]) {
        let with = |known: &[bool]| {
            trees.base + trees.trees.iter().map(|t| expectation(t, 0, row, known)).sum::<f64>()
        };
        let parts = trees.effects(row);
        for (effect, exact) in parts.effects.iter().zip(brute_force(row.len(), &with)) {
            assert!((effect - exact).abs() < 1e-9, "{effect} instead of {exact} for {row:?}");
        }
        assert!((parts.base - with(&vec![false; row.len()])).abs() < 1e-9);
        let sum = parts.base + parts.effects.iter().sum::<f64>();
        assert!((sum - trees.margin(row)).abs() < 1e-9);
    }

    /// A tree of chance, in which columns come again below themselves.
    fn chance(tree: &mut Tree, rng: &mut fastrand::Rng, depth: usize) {
        if depth == 0 || rng.f64() < 0.15 {
            tree.leaf(rng.f64() * 4.0 - 2.0, 0.5 + rng.f64() * 10.0);
            return;
        }
        let parent = tree.split(rng.usize(..4), rng.f64(), rng.bool());
        chance(tree, rng, depth - 1);
        tree.join(parent);
        chance(tree, rng, depth - 1);
        tree.close(parent);
    }

    #[test]
    fn effects_are_shapley_values_by_definition() {
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..50 {
            let mut trees = Trees { base: rng.f64(), trees: vec![Tree::default(); 3] };
            trees.trees.iter_mut().for_each(|tree| chance(tree, &mut rng, 6));
            let missing = rng.usize(..5);
            let value = |column| if column == missing { f64::NAN } else { rng.f64() };
            let row: Vec<f64> = (0..4).map(value).collect();
            check(&trees, &row);
        }
    }
}
