//! Work on all cores.
//!
//! The iterators of `rayon` are compiled anew for every closure that they are given, at 20 places an
//! eighth of this crate's code. These functions hand it one that is called through a pointer; what
//! is done with an item is long beside that.

use rayon::prelude::*;
use std::sync::OnceLock;

/// What `f` makes of every number below `count`, in their order.
pub fn each<T: Send + Sync>(count: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let places: Vec<OnceLock<T>> = (0..count).map(|_| OnceLock::new()).collect();
    on_all_cores(count, &|number| {
        let made = places[number].set(f(number));
        assert!(made.is_ok(), "a number comes once");
    });
    let made = places.into_iter().map(OnceLock::into_inner);
    made.map(|made| made.expect("every number came")).collect()
}

/// What `f` makes of every item, in their order.
pub fn of<'a, A: Sync, T: Send + Sync>(items: &'a [A], f: impl Fn(&'a A) -> T + Sync) -> Vec<T> {
    each(items.len(), |number| f(&items[number]))
}

fn on_all_cores(count: usize, f: &(dyn Fn(usize) + Sync)) {
    (0..count).into_par_iter().for_each(f);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_what_was_asked() {
        assert_eq!(each(1_000, |n| n * 2), (0..2_000).step_by(2).collect::<Vec<_>>());
        assert_eq!(of(&["a", "bc"], |text| text.len()), [1, 2]);
        assert!(of(&[] as &[u8], |_| ()).is_empty());
    }
}
