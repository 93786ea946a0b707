//! A family of models as everything around it sees it.
//!
//! A family is a file in `families/` and a line in the list there. It implements [`Family`] for
//! each task that it can do; from the list a macro writes the closed enum of fitted models and
//! every match on it. So training, cards, artifacts, backtests, leak checks and serving know no
//! family.

use std::fmt::Debug;

use crate::artifact::ArtifactError;
use crate::error::TrainError;
use crate::host::Stage;
use crate::rows::tuning::Parameter;
use crate::stored::{Saved, Stored};
use crate::task::Task;
use steppe_spec::Family as Name;

/// One way to answer the questions of a task, fitted. How it answers is the task's own trait.
pub trait Family<T: Task>: Debug + Clone + PartialEq + Send + Sync {
    /// Whether it learns from all data together, so that fitting it costs time and it has to be
    /// fitted anew where less is known.
    const GLOBAL: bool = true;
    /// Whether an answer takes microseconds, so that a server gives it between two others.
    const QUICK: bool;

    /// Fits it on all of `data`. Equal data, configurations and seeds give equal models, whatever
    /// checkpoints `stage` has.
    fn fit(data: &T::Data, spec: &T::Spec, stage: &Stage<'_>) -> Result<Self, TrainError>;

    /// Leaves in an artifact what [`Family::load`] needs.
    fn save(&self, saved: &mut Saved);

    /// Reads what [`Family::save`] left, and checks every length and range on which answers rest:
    /// that hashes are right says only that it is what somebody wrote.
    fn load(stored: &Stored<'_>, spec: &T::Spec) -> Result<Self, ArtifactError>;

    /// What a card tells of its configuration beside its name.
    fn about(_spec: &T::Spec) -> Option<String> {
        None
    }

    /// Options that can be searched for, around those of a configuration.
    fn parameters(_spec: &T::Spec) -> Vec<Parameter> {
        vec![]
    }

    /// Sets options that were found, in the order of [`Family::parameters`].
    fn set(_spec: &mut T::Spec, _values: &[f64]) {}

    /// Makes fitting as short as it can be and still read all of its input: what a leak check
    /// needs.
    fn shorten(_spec: &mut T::Spec) {}
}

type Fit<T> = fn(
    &<T as Task>::Data,
    &<T as Task>::Spec,
    &Stage<'_>,
) -> Result<<T as Task>::Model, TrainError>;

/// A family by its name alone: how its models come to be, before there is one.
#[expect(missing_docs, reason = "the members of `Family`, documented there")]
pub struct Recipe<T: Task> {
    pub global: bool,
    pub quick: bool,
    pub fit: Fit<T>,
    pub load: fn(&Stored<'_>, &T::Spec) -> Result<T::Model, ArtifactError>,
    pub about: fn(&T::Spec) -> Option<String>,
    pub shorten: fn(&mut T::Spec),
    pub parameters: fn(&T::Spec) -> Vec<Parameter>,
    pub set: fn(&mut T::Spec, &[f64]),
}

impl<T: Task> Recipe<T> {
    /// Of the family `F`.
    pub fn of<F: Family<T> + Into<T::Model>>() -> Self {
        Self {
            global: F::GLOBAL,
            quick: F::QUICK,
            fit: |data, spec, stage| F::fit(data, spec, stage).map(Into::into),
            load: |stored, spec| F::load(stored, spec).map(Into::into),
            about: F::about,
            shorten: F::shorten,
            parameters: F::parameters,
            set: F::set,
        }
    }
}

/// A fitted model of any of a task's families: the enum that the macro `families` writes.
pub trait Fitted: Debug + Clone + PartialEq + Send + Sync + 'static {
    /// Its family.
    fn family(&self) -> Name;

    /// See [`Family::save`].
    fn save(&self, saved: &mut Saved);
}

/// Writes, from the list of a task's families, the enum of their fitted models, the match from a
/// name to a family, and those from a fitted model to what it does.
macro_rules! families {
    (
        $(#[$about:meta])*
        $model:ident of $task:ty as $role:ident { $($name:ident: $family:ty),+ $(,)? }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "the variants are the families, documented there")]
        pub enum $model {
            $($name($family)),+
        }

        $(impl From<$family> for $model {
            fn from(fitted: $family) -> Self {
                Self::$name(fitted)
            }
        })+

        impl $model {
            /// How a family is fitted and read; none for one that does something else.
            pub(crate) fn recipe(
                family: steppe_spec::Family,
            ) -> Option<$crate::family::Recipe<$task>> {
                match family {
                    $(steppe_spec::Family::$name => {
                        Some($crate::family::Recipe::of::<$family>())
                    })+
                    _ => None,
                }
            }

            /// It, as what answers.
            pub(crate) fn role(&self) -> &dyn $role {
                match self {
                    $(Self::$name(fitted) => fitted),+
                }
            }
        }

        impl $crate::family::Fitted for $model {
            fn family(&self) -> steppe_spec::Family {
                match self {
                    $(Self::$name(_) => steppe_spec::Family::$name),+
                }
            }

            fn save(&self, saved: &mut $crate::stored::Saved) {
                match self {
                    $(Self::$name(fitted) => {
                        $crate::family::Family::<$task>::save(fitted, saved);
                    })+
                }
            }
        }
    };
}
pub(crate) use families;
