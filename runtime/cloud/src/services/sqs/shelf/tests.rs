//! Tests of the shelf of a queue.

use std::collections::BTreeMap as Map;

use super::*;
use crate::kernel::store::Store;

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

struct Fixture {
    _folder: tempfile::TempDir,
    rows: Table<Row>,
    shelf: Shelf,
    settings: Settings,
}

fn fixture(fifo: bool) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = Table::new(&Store::open(folder.path()).expect("a store"), "rows");
    let mut attributes = Map::new();
    attributes.insert("FifoQueue".to_owned(), fifo.to_string());
    let shelf = Shelf::open("q", &rows);
    Fixture { _folder: folder, rows, shelf, settings: Settings::of(&attributes) }
}

impl Fixture {
    fn send(&self, body: &str, group: Option<&str>, at: i64) -> u64 {
        let message = Message {
            body: body.to_owned(),
            sent: time(at),
            available: time(at),
            group: group.map(str::to_owned),
            ..Message::default()
        };
        self.shelf.add(&self.rows, vec![message], time(at)).expect("stored")[0]
    }

    fn receive(&self, count: usize, at: i64) -> Vec<Taken> {
        let until = time(at + 30);
        let chosen = self.shelf.choose(&self.settings, count, until, time(at));
        self.shelf.keep(&self.rows, &chosen.received).expect("stored");
        chosen.received
    }
}

fn numbers(taken: &[Taken]) -> Vec<u64> {
    taken.iter().map(|taken| taken.sequence).collect()
}

#[test]
fn a_message_is_hidden_while_somebody_has_it_also_after_a_restart() {
    let mut f = fixture(false);
    let first = f.send("a", None, 0);
    assert_eq!(numbers(&f.receive(10, 0)), [first]);
    assert!(f.receive(10, 29).is_empty());
    f.shelf = Shelf::open("q", &f.rows);
    assert!(f.receive(10, 29).is_empty());
    assert_eq!(f.shelf.next_visible(time(29)), Some(time(30)));
    let again = f.receive(10, 30);
    assert_eq!((numbers(&again), again[0].receipt.receives), (vec![first], 2));
    f.shelf.delete(&f.rows, &[first]).expect("stored");
    assert_eq!(Shelf::open("q", &f.rows).counts(time(99)), Counts::default());
    assert!(f.rows.is_empty());
}

#[test]
fn a_group_waits_for_what_is_in_flight() {
    let f = fixture(true);
    let a1 = f.send("a1", Some("a"), 0);
    let a2 = f.send("a2", Some("a"), 0);
    let b1 = f.send("b1", Some("b"), 0);
    assert_eq!(numbers(&f.receive(1, 0)), [a1]);
    assert_eq!(numbers(&f.receive(10, 0)), [b1]);
    assert!(f.receive(10, 1).is_empty());
    f.shelf.delete(&f.rows, &[a1]).expect("stored");
    assert_eq!(numbers(&f.receive(10, 1)), [a2]);
}

#[test]
fn what_was_sent_is_known_for_five_minutes() {
    let mut f = fixture(true);
    let send = |f: &Fixture, id: &str, at: i64| {
        let message = Message { id: id.to_owned(), sent: time(at), ..Message::default() };
        f.shelf.add_once(&f.rows, message, "key", time(at)).expect("stored")
    };
    let first = send(&f, "1", 0);
    f.shelf.delete(&f.rows, &[first.sequence]).expect("stored");
    f.shelf = Shelf::open("q", &f.rows);
    assert_eq!(send(&f, "2", 299), first);
    let later = send(&f, "3", 300);
    assert!(later.id == "3" && later.sequence > first.sequence);
}

#[test]
fn messages_received_too_often_are_told_apart() {
    let mut f = fixture(false);
    let number = f.send("a", None, 0);
    f.settings.redrive =
        Some(super::super::attributes::Redrive { target: String::new(), receives_max: 1 });
    assert_eq!(numbers(&f.receive(1, 0)), [number]);
    let chosen = f.shelf.choose(&f.settings, 1, time(60), time(30));
    let dead: Vec<u64> = chosen.dead.iter().map(|(number, _)| *number).collect();
    assert_eq!((chosen.received.len(), dead), (0, vec![number]));
    assert_eq!(f.shelf.counts(time(30)), Counts::default());
    f.shelf.put_back(chosen.dead);
    assert_eq!(f.shelf.counts(time(30)).ready, 1);
}

#[test]
fn what_is_too_old_goes() {
    let f = fixture(false);
    f.send("old", None, 0);
    let new = f.send("new", None, 50);
    f.shelf.expire(&f.rows, SignedDuration::from_secs(60), time(60)).expect("stored");
    assert_eq!(f.shelf.numbers(10), [new]);
    assert_eq!(f.rows.len(), 1);
}
