//! Which rows models learn from, and which they are judged on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TabularTask;
use crate::defects::Defects;

/// Which rows models learn from, and which they are judged on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Split {
    /// How rows are told apart: by time where the task has one, by entity where entities have
    /// several rows, and otherwise by chance, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<SplitKind>,
    /// Relative sizes of what options are searched on, of what tells whether that helped, and of
    /// what the model is judged on, once: `[60, 20, 20]`, `[70, 0, 30]`. Families are compared in
    /// folds of all but the last.
    #[schemars(length(min = 3, max = 3), inner(range(min = 0, max = 1_000_000)))]
    pub shares: Vec<u32>,
    /// Column of what must not be on both sides, with `kind = "group"`; the entity when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Folds in which families are compared.
    #[schemars(range(min = 2, max = 50))]
    pub folds: usize,
    /// Times that the folds are drawn anew; three below 10,000 rows, otherwise once, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub repeats: Option<usize>,
}

/// How rows are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SplitKind {
    /// By chance, with as many of each class on all sides.
    Stratified,
    /// The oldest rows are learnt from, the newest judged on.
    Chronological,
    /// By chance, with all rows of a group on the same side.
    Group,
    /// No rows are kept apart for the end: folds are all there is.
    KFold,
}

impl Default for Split {
    fn default() -> Self {
        Self { kind: None, shares: vec![60, 20, 20], by: None, folds: 5, repeats: None }
    }
}

impl Split {
    pub(super) fn defects(&self, task: &TabularTask, out: &mut Defects) {
        let shares = &self.shares;
        let whole = shares.len() == 3 && shares[0] > 0;
        out.need("task.split.shares", whole, || {
            "`task.split.shares` are three numbers, and the first is more than 0".to_owned()
        });
        let judged = shares.get(2).is_none_or(|test| *test > 0);
        out.need("task.split.shares", judged || self.kind == Some(SplitKind::KFold), || {
            "`task.split.shares` keeps no rows to judge on; `kind = \"k-fold\"` says that folds \
             are all there is"
                .to_owned()
        });
        let time = task.time.is_some();
        out.need("task.split.kind", time || self.kind != Some(SplitKind::Chronological), || {
            "`task.split.kind = \"chronological\"` needs `time`, the column of when a row was \
             known"
                .to_owned()
        });
        let group = self.by.is_some() || task.entity.is_some();
        out.need("task.split.kind", group || self.kind != Some(SplitKind::Group), || {
            "`task.split.kind = \"group\"` needs `by`, the column of groups, or `entity`".to_owned()
        });
        let by = self.by.is_none() || self.kind == Some(SplitKind::Group);
        out.need("task.split.by", by, || "`task.split.by` needs `kind = \"group\"`".to_owned());
    }
}
