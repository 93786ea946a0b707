//! The file of a log group: one event per line, oldest first, bounded in age and in bytes.
//!
//! What is too old is hidden at once and leaves the file within an hour of the next event, as AWS
//! hides events before it deletes them. A file that has grown too large loses its older half.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Milliseconds that events may stay in the file after their time: a file is not written anew for
/// every event that becomes too old.
const SLACK_MS: i64 = 60 * 60 * 1_000;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its stream.
    pub stream: String,
    /// Milliseconds since 1970.
    pub time: i64,
    /// Its text.
    pub message: String,
}

/// What a file keeps.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Size that it does not keep exceeding.
    pub bytes_max: u64,
    /// Time of the oldest event that is kept, in milliseconds since 1970.
    pub oldest: i64,
}

/// Adds events.
pub fn append(path: &Path, events: &[Event], bounds: Bounds) -> io::Result<()> {
    let mut text = Vec::new();
    for event in events {
        serde_json::to_writer(&mut text, event)?;
        text.push(b'\n');
    }
    std::fs::create_dir_all(path.parent().unwrap_or(path))?;
    OpenOptions::new().create(true).append(true).open(path)?.write_all(&text)?;
    sweep(path, bounds)
}

/// Removes what is too old or too much.
pub fn sweep(path: &Path, bounds: Bounds) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    let mut lines = BufReader::new(file);
    let limit = if length > bounds.bytes_max { bounds.bytes_max / 2 } else { length };
    let mut first = String::new();
    lines.read_line(&mut first)?;
    if limit == length && time_of(&first).is_none_or(|time| time >= bounds.oldest - SLACK_MS) {
        return Ok(());
    }
    lines.rewind()?;
    let start = first_kept(&mut lines, length, limit, bounds.oldest)?;
    lines.seek(SeekFrom::Start(start))?;
    let new = path.with_extension("new");
    let mut kept = BufWriter::new(File::create(&new)?);
    io::copy(&mut lines, &mut kept)?;
    kept.flush()?;
    std::fs::rename(new, path)
}

/// Where the first event begins from which on all are kept: young enough, and at most `limit` bytes
/// from the end.
fn first_kept(lines: &mut impl BufRead, length: u64, limit: u64, oldest: i64) -> io::Result<u64> {
    let (mut start, mut line) = (0, String::new());
    while start < length {
        line.clear();
        let read = lines.read_line(&mut line)? as u64;
        let kept = time_of(&line).is_some_and(|time| time >= oldest);
        if read == 0 || (kept && length - start <= limit) {
            break;
        }
        start += read;
    }
    Ok(start)
}

fn time_of(line: &str) -> Option<i64> {
    serde_json::from_str::<Event>(line).ok().map(|event| event.time)
}

/// The events that are not too old.
pub fn read(path: &Path, bounds: Bounds) -> io::Result<Vec<Event>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        opened => opened?,
    };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    // A line that a crash left half is no event.
    let events = lines.filter_map(|line| serde_json::from_str::<Event>(&line).ok());
    Ok(events.filter(|event| event.time >= bounds.oldest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = SLACK_MS;

    fn event(time: i64) -> Event {
        Event { stream: "s".to_owned(), time, message: "m".repeat(80) }
    }

    fn times(path: &Path, oldest: i64) -> Vec<i64> {
        let events = read(path, Bounds { bytes_max: u64::MAX, oldest }).expect("readable");
        events.iter().map(|event| event.time).collect()
    }

    #[test]
    fn old_events_are_hidden_at_once_and_deleted_within_an_hour() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("logs/g.ndjson");
        let keep = |oldest| Bounds { bytes_max: u64::MAX, oldest };
        let all: Vec<Event> = (0..5).map(|n| event(n * HOUR)).collect();
        append(&path, &all, keep(0)).expect("written");
        assert_eq!(times(&path, HOUR), [HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR]);
        append(&path, &[event(5 * HOUR)], keep(HOUR)).expect("written");
        assert_eq!(times(&path, 0).len(), 6, "not yet worth a new file");
        sweep(&path, keep(3 * HOUR)).expect("swept");
        assert_eq!(times(&path, 0), [3 * HOUR, 4 * HOUR, 5 * HOUR]);
        sweep(&path, keep(9 * HOUR)).expect("swept");
        assert_eq!(times(&path, 0), [] as [i64; 0]);
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 0);
    }

    #[test]
    fn a_file_that_is_too_large_loses_its_older_half() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("g.ndjson");
        let bounds = Bounds { bytes_max: 1_500, oldest: 0 };
        for time in 0..1_000 {
            append(&path, &[event(time)], bounds).expect("written");
            assert!(std::fs::metadata(&path).expect("there").len() <= bounds.bytes_max);
        }
        let kept = times(&path, 0);
        assert!(kept.len() >= 5, "{kept:?}");
        assert!(kept.iter().copied().eq(1_000 - kept.len() as i64..1_000), "{kept:?}");
        // What a crash left half goes with what is too old.
        std::fs::write(&path, "{\"stream\"\n").expect("written");
        append(&path, &vec![event(1); 20], bounds).expect("written");
        assert!(!std::fs::read_to_string(&path).expect("text").starts_with("{\"stream\"\n"));
    }
}
