//! Which builds in the artifacts bucket a deployment is still made of.
//!
//! Age says nothing about that: a stack that was not changed for a year is made of builds of last
//! year. So each deployment that succeeded notes its own, and the one before stays complete.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use steppe_wire::keys;

/// What the present deployment and the one before are made of, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builds {
    /// The deployment in place.
    pub present: BTreeSet<String>,
    /// The one before it.
    pub previous: BTreeSet<String>,
}

/// The note in the artifacts bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedBuilds {
    /// What it says; `None` when it cannot be read.
    pub builds: Option<Builds>,
    /// The ETag with which it was read; it is only ever replaced as it was read.
    pub tag: String,
}

impl Builds {
    /// After a deployment that is made of `uploaded` has succeeded, where these `keys` were seen.
    ///
    /// Without a note of an earlier deployment everything that is there may be the one before.
    pub fn after<'a>(
        before: Option<&Self>,
        uploaded: impl Iterator<Item = &'a str>,
        keys: &BTreeSet<String>,
    ) -> Self {
        let present: BTreeSet<String> =
            uploaded.filter(|key| keys::is_build(key)).map(str::to_owned).collect();
        let previous = match before {
            Some(before) if before.present == present => before.previous.clone(),
            Some(before) => before.present.clone(),
            None => keys.iter().filter(|k| keys::is_build(k)).cloned().collect(),
        };
        Self { present, previous }
    }

    /// Builds among these keys that neither deployment is made of.
    pub fn superseded(&self, keys: &BTreeSet<String>) -> Vec<String> {
        let named = |key: &&String| self.present.contains(*key) || self.previous.contains(*key);
        keys.iter().filter(|k| keys::is_build(k) && !named(k)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn the_present_deployment_and_the_one_before_stay_complete() {
        let (one, two, three) = ("bin/server/1/x", "bin/server/2/x", "bin/server/3/x");
        let mut there = set(&["models/m/1/card.json", "models/m/current.json", "builds.json"]);
        let mut note: Option<Builds> = None;
        let mut deploy = |key: &str| {
            let next = Builds::after(note.as_ref(), [key].into_iter(), &there);
            there.insert(key.to_owned());
            let gone = next.superseded(&there);
            there.retain(|key| !gone.contains(key));
            note = Some(next);
            gone
        };
        assert_eq!(deploy(one), Vec::<String>::new());
        assert_eq!(deploy(one), Vec::<String>::new(), "the same again supersedes nothing");
        assert_eq!(deploy(two), Vec::<String>::new(), "the one before stays");
        assert_eq!(deploy(two), Vec::<String>::new());
        assert_eq!(deploy(three), [one]);
        assert_eq!(deploy(two), Vec::<String>::new(), "there and back");
        assert_eq!(deploy(one), [three]);
    }

    #[test]
    fn without_a_note_nothing_is_superseded_yet() {
        let there = set(&["bin/server/1/x", "lambda/jobs/1.zip"]);
        let first = Builds::after(None, ["bin/server/2/x"].into_iter(), &there);
        assert_eq!(first.superseded(&there), Vec::<String>::new());
        let second = Builds::after(Some(&first), ["bin/server/3/x"].into_iter(), &there);
        assert_eq!(second.superseded(&there), ["bin/server/1/x", "lambda/jobs/1.zip"]);
    }

    #[test]
    fn a_failed_deployments_builds_are_superseded_by_the_next() {
        let note = Builds { present: set(&["bin/server/1/x"]), previous: set(&[]) };
        let there = set(&["bin/server/1/x", "bin/server/failed/x"]);
        let next = Builds::after(Some(&note), ["bin/server/2/x"].into_iter(), &there);
        assert_eq!(next.superseded(&there), ["bin/server/failed/x"]);
    }
}
