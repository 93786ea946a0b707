//! What is known of a stack without its record, so that one is found by its name, and a page of
//! them is made, without reading those of the others.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::Stack;
use crate::kernel::indexed;

/// An entry of the index of stacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was deleted.
    pub deleted: Option<Timestamp>,
}

impl indexed::Entry<Stack> for Entry {
    /// The newest first.
    type Order = Reverse<Timestamp>;

    fn of(stack: &Stack) -> Self {
        let Stack { name, status, created, deleted, .. } = stack;
        let (name, status) = (name.clone(), status.clone());
        Self { name, status, created: *created, deleted: *deleted }
    }

    fn order(&self) -> Self::Order {
        Reverse(self.created)
    }
}

impl Entry {
    /// Whether it is not deleted.
    pub fn is_live(&self) -> bool {
        self.status != "DELETE_COMPLETE"
    }
}
