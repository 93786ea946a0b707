//! Whether a model sees what it must not see: what happened after the time that it stands at.
//!
//! Every family is fitted to the past twice, once with the future as it was and once with the
//! future scrambled, and what it answers is compared bit for bit. This finds scales that were
//! fitted on the future, windows that reach over their end, and values that were filled from what
//! came later.

use crate::error::TrainError;
use crate::task::Task;
use steppe_spec::Family;

/// Refuses a family whose answers change with what comes after their time. Those that were looked
/// at: for others there is too little data.
pub fn check<T: Task>(
    data: &T::Data,
    spec: &T::Spec,
    families: &[Family],
) -> Result<Vec<Family>, TrainError> {
    let mut checked = families.to_vec();
    for time in T::times_to_check(data, spec) {
        let both = T::scrambled(data, spec, time);
        let mut enough = Vec::with_capacity(checked.len());
        for family in checked {
            match compare::<T>(&both, time, spec, &[family]) {
                Ok(()) => enough.push(family),
                Err(TrainError::TooShort { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        checked = enough;
    }
    Ok(checked)
}

/// Compares what families answer at `time` from two sets of data that are the same until then.
pub(crate) fn compare<T: Task>(
    (as_it_was, scrambled): &(T::Data, T::Data),
    time: i64,
    spec: &T::Spec,
    families: &[Family],
) -> Result<(), TrainError> {
    // A combination sees what its members see.
    for &family in families.iter().filter(|family| **family != Family::Combination) {
        // One short training is enough: a leak shows in the first gradient.
        let mut short = spec.clone();
        if let Some(recipe) = T::recipe(family) {
            (recipe.shorten)(&mut short);
        }
        let told = |data| T::told_at(data, time, family, &short);
        if told(as_it_was)? != told(scrambled)? {
            return Err(TrainError::Leak(format!(
                "{} of `{}` changes with values after its origin",
                T::ANSWER,
                family.name()
            )));
        }
    }
    Ok(())
}
