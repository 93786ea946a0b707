//! Shards of a stream: ranges of hash keys, and what becomes of them when they are split and
//! merged. Pure.

use jiff::Timestamp;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::sequence::Sequence;

/// Digits of a shard's number.
const ID: &str = "shardId-";

/// A shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Its number within the stream.
    pub number: u32,
    /// The hash keys that it takes, first and last.
    pub range: (Key, Key),
    /// The shards that it was made of: one that was split, or two that were merged.
    pub parents: Vec<u32>,
    /// When it was made.
    pub made: Timestamp,
    /// Since when it takes no more records, and the position at which it ended.
    pub closed: Option<(Timestamp, u64)>,
}

/// A hash key; a text in JSON, where numbers are smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(pub u128);

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0.to_string()
    }
}

impl TryFrom<String> for Key {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl Key {
    /// The hash key of a partition key.
    pub fn of(partition_key: &str) -> Self {
        Self(u128::from_be_bytes(Md5::digest(partition_key).into()))
    }
}

/// The ID of a shard: `shardId-000000000001`.
pub fn id(number: u32) -> String {
    format!("{ID}{number:012}")
}

/// The number of an ID.
pub fn number(id: &str) -> Option<u32> {
    let digits = id.strip_prefix(ID).filter(|digits| digits.len() == 12)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

impl Shard {
    /// Whether it takes records.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Whether it takes records with that hash key.
    pub fn takes(&self, key: Key) -> bool {
        (self.range.0..=self.range.1).contains(&key)
    }

    /// A sequence number of it.
    pub fn sequence(&self, position: u64, millis: i64) -> Sequence {
        Sequence { made_secs: self.made.as_second(), position, millis, shard: self.number }
    }

    /// It in AWS's form.
    pub fn describe(&self) -> Value {
        let made = self.made.as_second();
        let begin = Sequence::first(made, self.number).digits();
        let end = self.closed.map(|(_, end)| Sequence::last(made, self.number, end).digits());
        let parent = |index: usize| self.parents.get(index).copied().map(id);
        let mut out = json!({
            "ShardId": id(self.number), "HashKeyRange": self.describe_range(),
            "SequenceNumberRange": { "StartingSequenceNumber": begin },
        });
        for (name, parent) in [("ParentShardId", parent(0)), ("AdjacentParentShardId", parent(1))] {
            if let Some(parent) = parent {
                out[name] = parent.into();
            }
        }
        if let Some(end) = end {
            out["SequenceNumberRange"]["EndingSequenceNumber"] = end.into();
        }
        out
    }

    /// Its range in AWS's form.
    pub fn describe_range(&self) -> Value {
        let [first, last] = [self.range.0, self.range.1].map(String::from);
        json!({ "StartingHashKey": first, "EndingHashKey": last })
    }
}

/// Shards of a stream, and the number of the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shards {
    /// All that there are, by number.
    pub all: Vec<Shard>,
    /// The number of the next one.
    pub next: u32,
}

/// Where the range of the `index`th of `count` equal ranges begins.
fn boundary(index: u128, count: u128) -> u128 {
    // 2^128 is no number of its own here, so the whole and the rest are multiplied apart.
    let (whole, rest) = (u128::MAX / count, u128::MAX % count + 1);
    whole * index + rest * index / count
}

impl Shards {
    /// `count` shards with equal ranges.
    pub fn uniform(count: u32, made: Timestamp) -> Self {
        let mut shards = Self::default();
        for index in 0..u128::from(count) {
            let begin = Key(boundary(index, count.into()));
            let last = index + 1 == u128::from(count);
            let end = Key(if last { u128::MAX } else { boundary(index + 1, count.into()) - 1 });
            shards.add((begin, end), vec![], made);
        }
        shards
    }

    fn add(&mut self, range: (Key, Key), parents: Vec<u32>, made: Timestamp) {
        self.all.push(Shard { number: self.next, range, parents, made, closed: None });
        self.next += 1;
    }

    /// Those that take records, by their ranges.
    pub fn open(&self) -> Vec<&Shard> {
        let mut open: Vec<&Shard> = self.all.iter().filter(|shard| shard.is_open()).collect();
        open.sort_by_key(|shard| shard.range.0);
        open
    }

    /// The one of that number.
    pub fn get(&self, number: u32) -> Option<&Shard> {
        self.all.iter().find(|shard| shard.number == number)
    }

    /// The one that takes a hash key.
    pub fn taking(&self, key: Key) -> Option<&Shard> {
        self.all.iter().find(|shard| shard.is_open() && shard.takes(key))
    }

    /// The ones that were made of it.
    pub fn children(&self, number: u32) -> impl Iterator<Item = &Shard> {
        self.all.iter().filter(move |shard| shard.parents.contains(&number))
    }

    fn close(&mut self, number: u32, at: Timestamp, end: u64) {
        if let Some(shard) = self.all.iter_mut().find(|shard| shard.number == number) {
            shard.closed = Some((at, end));
        }
    }

    /// Splits an open shard into what is below `key` and what is not.
    pub fn split(&mut self, number: u32, key: Key, at: Timestamp, end: u64) {
        let Some((first, last)) = self.get(number).map(|shard| shard.range) else { return };
        self.close(number, at, end);
        self.add((first, Key(key.0 - 1)), vec![number], at);
        self.add((key, last), vec![number], at);
    }

    /// Merges two open shards whose ranges lie beside each other.
    pub fn merge(&mut self, (one, other): (u32, u32), at: Timestamp, ends: (u64, u64)) {
        let (Some(a), Some(b)) = (self.get(one), self.get(other)) else { return };
        let range = (a.range.0.min(b.range.0), a.range.1.max(b.range.1));
        self.close(one, at, ends.0);
        self.close(other, at, ends.1);
        self.add(range, vec![one, other], at);
    }

    /// Splits and merges open shards until there are `count` with equal ranges, as AWS does it;
    /// `end` says where the log of a shard ends.
    pub fn scale(&mut self, count: u32, at: Timestamp, end: impl Fn(u32) -> u64) {
        let count = u128::from(count);
        let begins: Vec<Key> = (0..count).map(|index| Key(boundary(index, count))).collect();
        for begin in &begins {
            let cut = self.taking(*begin).filter(|shard| shard.range.0 != *begin);
            if let Some(number) = cut.map(|shard| shard.number) {
                self.split(number, *begin, at, end(number));
            }
        }
        loop {
            let open = self.open();
            let pair = open.windows(2).find(|pair| !begins.contains(&pair[1].range.0));
            let Some((a, b)) = pair.map(|pair| (pair[0].number, pair[1].number)) else { return };
            self.merge((a, b), at, (end(a), end(b)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(shards: &Shards) -> Vec<(u128, u128)> {
        shards.open().iter().map(|shard| (shard.range.0.0, shard.range.1.0)).collect()
    }

    fn covers(shards: &Shards) -> bool {
        let ranges = ranges(shards);
        ranges.first().is_some_and(|range| range.0 == 0)
            && ranges.last().is_some_and(|range| range.1 == u128::MAX)
            && ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0)
    }

    #[test]
    fn ranges_are_those_of_aws() {
        let two = Shards::uniform(2, Timestamp::UNIX_EPOCH);
        let half = 170_141_183_460_469_231_731_687_303_715_884_105_728;
        assert_eq!(ranges(&two), [(0, half - 1), (half, u128::MAX)]);
        let three = Shards::uniform(3, Timestamp::UNIX_EPOCH);
        let third = 113_427_455_640_312_821_154_458_202_477_256_070_485;
        assert_eq!(ranges(&three)[1], (third, 2 * third - 1));
        assert!((1..=500).all(|count| covers(&Shards::uniform(count, Timestamp::UNIX_EPOCH))));
        // https://docs.aws.amazon.com/streams/latest/dev/key-concepts.html: MD5 of the key.
        assert_eq!(Key::of("").0, 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
        assert_eq!(
            serde_json::to_value(Key(u128::MAX)).expect("JSON"),
            json!(u128::MAX.to_string())
        );
    }

    #[test]
    fn scaling_splits_and_merges_until_all_are_equal() {
        let at = Timestamp::UNIX_EPOCH;
        for (from, to) in [(1, 2), (2, 4), (5, 3), (3, 5), (4, 2), (7, 7)] {
            let mut shards = Shards::uniform(from, at);
            shards.scale(to, at, |_| 9);
            assert_eq!(ranges(&shards), ranges(&Shards::uniform(to, at)), "{from} to {to}");
            assert!(shards.all.iter().all(|shard| shard.parents.len() <= 2));
        }
    }

    #[test]
    fn a_shard_is_split_and_its_children_merged() {
        let at = Timestamp::UNIX_EPOCH;
        let mut shards = Shards::uniform(1, at);
        shards.split(0, Key(10), at, 77);
        assert!(covers(&shards));
        assert_eq!(shards.children(0).map(|shard| shard.number).collect::<Vec<_>>(), [1, 2]);
        shards.merge((2, 1), at, (1, 2));
        assert_eq!(ranges(&shards), [(0, u128::MAX)]);
        let merged = shards.get(3).expect("made").describe();
        assert_eq!(merged["ParentShardId"], "shardId-000000000002");
        assert_eq!(merged["AdjacentParentShardId"], "shardId-000000000001");
        assert!(
            shards.get(0).expect("kept").describe()["SequenceNumberRange"]["EndingSequenceNumber"]
                .is_string()
        );
        assert_eq!(number("shardId-000000000003"), Some(3));
        assert_eq!(number("shardId-3"), None);
    }
}
