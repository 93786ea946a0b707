//! The messages of one queue: their order and who has them in memory, everything on the disk.
//!
//! Rows of a queue begin with its ID: `ID/SEQUENCE` is a message, `ID/SEQUENCEr` who received it
//! last, `ID/d/…` what was sent in the last five minutes to a FIFO queue.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::attributes::Settings;
use super::rows::{Handle, Message, Receipt, Row, Seen};
use crate::kernel::store::{NotStored, Table};

/// How long a FIFO queue knows what was sent.
const DUPLICATES: SignedDuration = SignedDuration::from_mins(5);
/// Messages that are in flight at the same time.
pub const IN_FLIGHT_MAX: usize = 120_000;

/// What is known in memory of a message.
#[derive(Debug, Clone)]
pub struct Entry {
    sent: Timestamp,
    available: Timestamp,
    group: Option<String>,
    receipt: Option<Receipt>,
}

impl Entry {
    /// How often it was received here.
    pub fn receives(&self) -> u64 {
        self.receipt.map_or(0, |receipt| receipt.receives)
    }

    fn of(message: &Message) -> Self {
        Self {
            sent: message.sent,
            available: message.available,
            group: message.group.clone(),
            receipt: None,
        }
    }

    fn visible(&self) -> Timestamp {
        self.receipt.map_or(self.available, |receipt| receipt.visible)
    }
}

/// How many messages a queue has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub ready: usize,
    pub in_flight: usize,
    pub delayed: usize,
}

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<u64, Entry>,
    seen: HashMap<String, Seen>,
    last: u64,
    /// Nothing is older.
    oldest: Timestamp,
}

/// The messages of one queue.
#[derive(Debug)]
pub struct Shelf {
    id: String,
    inner: Mutex<Inner>,
    /// Woken when something may be received that could not be before.
    pub changed: Notify,
}

/// A message that was taken from a shelf to be received, or to be moved.
#[derive(Debug, Clone)]
pub struct Taken {
    pub sequence: u64,
    pub receipt: Receipt,
}

/// What a receiver gets, and what was received too often.
#[derive(Debug, Default)]
pub struct Chosen {
    pub received: Vec<Taken>,
    /// They are off the shelf, with their rows kept.
    pub dead: Vec<(u64, Entry)>,
    /// Whether messages are left out because too many are in flight.
    pub full: bool,
}

impl Shelf {
    /// Reads what the disk has of a queue.
    pub fn open(id: &str, rows: &Table<Row>) -> Self {
        let mut inner = Inner { oldest: Timestamp::MAX, ..Inner::default() };
        let prefix = format!("{id}/");
        rows.scan(&prefix, None, |name, row| {
            inner.read(&name[prefix.len()..], &row);
            std::ops::ControlFlow::Continue(())
        });
        Self { id: id.to_owned(), inner: Mutex::new(inner), changed: Notify::new() }
    }

    pub fn row(&self, sequence: u64) -> String {
        format!("{}/{sequence:020}", self.id)
    }

    fn receipt_row(&self, sequence: u64) -> String {
        format!("{}/{sequence:020}r", self.id)
    }

    fn seen_row(&self, key: &str) -> String {
        format!("{}/d/{key}", self.id)
    }

    /// Adds messages, of which each is on the disk when this returns; their sequence numbers.
    pub fn add(
        &self,
        rows: &Table<Row>,
        messages: Vec<Message>,
        now: Timestamp,
    ) -> Result<Vec<u64>, NotStored> {
        self.add_and_delete(rows, messages, now, &[])
    }

    /// The same together with a deletion of rows, of this queue or others.
    pub fn add_and_delete(
        &self,
        rows: &Table<Row>,
        messages: Vec<Message>,
        now: Timestamp,
        deletes: &[String],
    ) -> Result<Vec<u64>, NotStored> {
        let numbers: Vec<u64> = {
            let mut inner = self.inner.lock();
            messages.iter().map(|_| inner.next(now)).collect()
        };
        let entries: Vec<Entry> = messages.iter().map(Entry::of).collect();
        let named = numbers.iter().zip(messages);
        let puts = named.map(|(n, m)| (self.row(*n), Row::Message(Box::new(m))));
        rows.put_all(puts, deletes.iter().map(String::as_str))?;
        let mut inner = self.inner.lock();
        for (number, entry) in numbers.iter().zip(entries) {
            inner.insert(*number, entry);
        }
        drop(inner);
        self.changed.notify_waiters();
        Ok(numbers)
    }

    /// Adds a message to a FIFO queue, unless one with the same `key` was sent in the last five
    /// minutes, whose ID and sequence number are the answer then. Senders wait for each other, so
    /// that the order of the numbers is that of the messages.
    pub fn add_once(
        &self,
        rows: &Table<Row>,
        message: Message,
        key: &str,
        now: Timestamp,
    ) -> Result<Seen, NotStored> {
        let mut inner = self.inner.lock();
        let is_new = |seen: &Seen| now.duration_since(seen.sent) < DUPLICATES;
        if let Some(seen) = inner.seen.get(key).filter(|seen| is_new(seen)) {
            return Ok(seen.clone());
        }
        let sequence = inner.next(now);
        let seen = Seen { id: message.id.clone(), sequence, sent: now };
        let old: Vec<String> = inner
            .seen
            .iter()
            .filter(|(old, seen)| *old != key && !is_new(seen))
            .map(|(old, _)| old.clone())
            .collect();
        let entry = Entry::of(&message);
        let puts = [
            (self.row(sequence), Row::Message(Box::new(message))),
            (self.seen_row(key), Row::Seen(seen.clone())),
        ];
        let deletes: Vec<String> = old.iter().map(|old| self.seen_row(old)).collect();
        rows.put_all(puts, deletes.iter().map(String::as_str))?;
        old.iter().for_each(|old| drop(inner.seen.remove(old)));
        inner.seen.insert(key.to_owned(), seen.clone());
        inner.insert(sequence, entry);
        drop(inner);
        self.changed.notify_waiters();
        Ok(seen)
    }

    /// Deletes what is older than the queue keeps.
    pub fn expire(
        &self,
        rows: &Table<Row>,
        retention: SignedDuration,
        now: Timestamp,
    ) -> Result<(), NotStored> {
        let old = {
            let mut inner = self.inner.lock();
            let is_old = |sent: Timestamp| now.duration_since(sent) >= retention;
            if !is_old(inner.oldest) {
                return Ok(());
            }
            let old: Vec<u64> = inner
                .entries
                .iter()
                .filter(|(_, entry)| is_old(entry.sent))
                .map(|(number, _)| *number)
                .collect();
            old.iter().for_each(|number| drop(inner.entries.remove(number)));
            inner.oldest = inner.entries.values().map(|e| e.sent).min().unwrap_or(Timestamp::MAX);
            old
        };
        self.delete_rows(rows, &old)?;
        self.changed.notify_waiters();
        Ok(())
    }

    fn delete_rows(&self, rows: &Table<Row>, numbers: &[u64]) -> Result<(), NotStored> {
        let names = self.rows_of(numbers);
        if names.is_empty() { Ok(()) } else { rows.put_all([], names.iter().map(String::as_str)) }
    }

    /// All rows of messages.
    pub fn rows_of(&self, numbers: &[u64]) -> Vec<String> {
        numbers.iter().flat_map(|number| [self.row(*number), self.receipt_row(*number)]).collect()
    }

    /// Takes at most `count` messages for a receiver, who has them until `until`. They are on the
    /// disk when [`Shelf::keep`] returns.
    pub fn choose(
        &self,
        settings: &Settings,
        count: usize,
        until: Timestamp,
        now: Timestamp,
    ) -> Chosen {
        let receives_max = settings.redrive.as_ref().map(|redrive| redrive.receives_max);
        let mut inner = self.inner.lock();
        let mut room = IN_FLIGHT_MAX.saturating_sub(inner.in_flight(now));
        let (mut chosen, mut held) = (Chosen::default(), HashSet::new());
        for (number, entry) in &mut inner.entries {
            if chosen.received.len() == count {
                break;
            }
            let group = entry.group.clone().filter(|_| settings.fifo);
            if group.as_ref().is_some_and(|group| held.contains(group)) {
                continue;
            }
            if entry.visible() > now {
                held.extend(group);
                continue;
            }
            let receives = entry.receives();
            if receives_max.is_some_and(|most| receives >= most) {
                chosen.dead.push((*number, entry.clone()));
                // What comes after it in its group waits until it is gone.
                held.extend(group);
                continue;
            }
            if room == 0 {
                chosen.full = true;
                break;
            }
            room -= 1;
            let receipt = Receipt {
                visible: until,
                receives: receives + 1,
                first: entry.receipt.map_or(now, |receipt| receipt.first),
                last: now,
                nonce: fastrand::u64(1..),
            };
            entry.receipt = Some(receipt);
            chosen.received.push(Taken { sequence: *number, receipt });
        }
        chosen.dead.iter().for_each(|(number, _)| drop(inner.entries.remove(number)));
        chosen
    }

    /// Writes who received what.
    pub fn keep(&self, rows: &Table<Row>, taken: &[Taken]) -> Result<(), NotStored> {
        let puts = taken.iter().map(|t| (self.receipt_row(t.sequence), Row::Receipt(t.receipt)));
        rows.put_all(puts, [])
    }

    /// Takes messages off the shelf, of which the rows stay.
    pub fn take_off(&self, numbers: &[u64]) {
        let mut inner = self.inner.lock();
        numbers.iter().for_each(|number| drop(inner.entries.remove(number)));
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Puts back what was taken off.
    pub fn put_back(&self, entries: Vec<(u64, Entry)>) {
        let mut inner = self.inner.lock();
        entries.into_iter().for_each(|(number, entry)| inner.insert(number, entry));
        drop(inner);
        self.changed.notify_waiters();
    }

    /// The receipt of a handle, when it is the newest of its message.
    pub fn receipt(&self, handle: &Handle) -> Option<Receipt> {
        let receipt = self.inner.lock().entries.get(&handle.sequence)?.receipt?;
        (receipt.nonce == handle.nonce).then_some(receipt)
    }

    /// Deletes messages.
    pub fn delete(&self, rows: &Table<Row>, numbers: &[u64]) -> Result<(), NotStored> {
        self.delete_rows(rows, numbers)?;
        self.take_off(numbers);
        Ok(())
    }

    /// Changes when messages may be received again.
    pub fn set_visible(
        &self,
        rows: &Table<Row>,
        changes: &[(u64, Timestamp)],
    ) -> Result<(), NotStored> {
        let mut taken = Vec::new();
        {
            let mut inner = self.inner.lock();
            for (sequence, visible) in changes {
                if let Some(receipt) =
                    inner.entries.get_mut(sequence).and_then(|entry| entry.receipt.as_mut())
                {
                    receipt.visible = *visible;
                    taken.push(Taken { sequence: *sequence, receipt: *receipt });
                }
            }
        }
        self.keep(rows, &taken)?;
        self.changed.notify_waiters();
        Ok(())
    }

    /// Deletes all messages; what was sent before is still known.
    pub fn purge(&self, rows: &Table<Row>) -> Result<(), NotStored> {
        let numbers = self.numbers(usize::MAX);
        self.delete(rows, &numbers)
    }

    /// The first messages, whether they may be received or not.
    pub fn numbers(&self, count: usize) -> Vec<u64> {
        self.inner.lock().entries.keys().take(count).copied().collect()
    }

    /// The first messages that may be received, taken off the shelf.
    pub fn take_ready(&self, count: usize, now: Timestamp) -> Vec<(u64, Entry)> {
        let mut inner = self.inner.lock();
        let ready = inner.entries.iter().filter(|(_, entry)| entry.visible() <= now);
        let taken: Vec<(u64, Entry)> = ready.take(count).map(|(n, e)| (*n, e.clone())).collect();
        taken.iter().for_each(|(number, _)| drop(inner.entries.remove(number)));
        taken
    }

    /// When the next message may be received that cannot be yet.
    pub fn next_visible(&self, now: Timestamp) -> Option<Timestamp> {
        let inner = self.inner.lock();
        inner.entries.values().map(Entry::visible).filter(|visible| *visible > now).min()
    }

    pub fn counts(&self, now: Timestamp) -> Counts {
        let mut counts = Counts::default();
        for entry in self.inner.lock().entries.values() {
            match (entry.visible() > now, entry.receipt.is_some()) {
                (false, _) => counts.ready += 1,
                (true, true) => counts.in_flight += 1,
                (true, false) => counts.delayed += 1,
            }
        }
        counts
    }
}

impl Inner {
    fn read(&mut self, name: &str, row: &Row) {
        match row {
            Row::Message(message) => {
                if let Ok(number) = name.parse() {
                    self.insert(number, Entry::of(message));
                }
            }
            Row::Receipt(receipt) => {
                let number = name.strip_suffix('r').and_then(|number| number.parse::<u64>().ok());
                if let Some(entry) = number.and_then(|number| self.entries.get_mut(&number)) {
                    entry.receipt = Some(*receipt);
                }
            }
            Row::Seen(seen) => {
                self.last = self.last.max(seen.sequence);
                if let Some(key) = name.strip_prefix("d/") {
                    self.seen.insert(key.to_owned(), seen.clone());
                }
            }
        }
    }

    fn insert(&mut self, number: u64, entry: Entry) {
        self.last = self.last.max(number);
        self.oldest = self.oldest.min(entry.sent);
        self.entries.insert(number, entry);
    }

    /// The next sequence number: of 20 digits, and larger than all before, also those of messages
    /// that are gone.
    fn next(&mut self, now: Timestamp) -> u64 {
        let by_time = u64::try_from(now.as_microsecond()).unwrap_or(0).saturating_mul(10_000);
        self.last = by_time.max(self.last + 1);
        self.last
    }

    fn in_flight(&self, now: Timestamp) -> usize {
        // Counting is only needed near the limit.
        if self.entries.len() < IN_FLIGHT_MAX {
            return 0;
        }
        let in_flight = |entry: &&Entry| entry.receipt.is_some() && entry.visible() > now;
        self.entries.values().filter(in_flight).count()
    }
}

#[cfg(test)]
mod tests;
