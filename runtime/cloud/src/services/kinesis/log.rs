//! The records of one shard on the disk: a log of segments that are only ever appended to.
//!
//! A position is the offset of a record in the whole log; a segment is a file called after the
//! position it begins with. A record has its length and a checksum, so that what a crash cut off at
//! the end is found and cut off at the next start. A record is read only once it is on the disk,
//! and appending returns then: appends that come together share one synchronisation.

mod record;

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::kernel::durable::sync_dir;

pub use self::record::{Placed, Record};

use self::record::Reader;

/// Bytes after which a segment is closed.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

#[derive(Debug)]
struct Segment {
    begin: u64,
    end: u64,
    /// Arrivals of the first and the last record.
    arrived: (i64, i64),
    file: File,
}

#[derive(Debug)]
struct Inner {
    segments: Vec<Segment>,
    end: u64,
    /// Up to where the log is on the disk.
    synced: u64,
    /// When the last record came; none comes before it.
    latest: i64,
}

/// The log of a shard.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    inner: Mutex<Inner>,
    /// Held by who synchronises; who waits for it may find that it is done.
    syncing: Mutex<()>,
}

/// A segment: where it begins and ends, and its file.
type Part = (u64, u64, File);

impl Log {
    /// Opens the log in a folder, or makes it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        if !folder.exists() {
            std::fs::create_dir_all(folder)?;
            folder.parent().map_or(Ok(()), sync_dir)?;
        }
        let mut begins: Vec<u64> = std::fs::read_dir(folder)?
            .filter_map(|entry| {
                entry.ok()?.file_name().to_str()?.strip_suffix(".log")?.parse().ok()
            })
            .collect();
        begins.sort_unstable();
        let last = begins.pop();
        let mut segments = begins
            .into_iter()
            .map(|begin| Segment::open_closed(folder, begin))
            .collect::<io::Result<Vec<_>>>()?;
        // Only the last one can have been cut off.
        segments.extend(last.map(|begin| Segment::open(folder, begin)).transpose()?);
        for index in 1..segments.len() {
            segments[index - 1].arrived.1 = segments[index].arrived.0;
            let (from, to) = (segments[index - 1].end, segments[index].begin);
            if from != to {
                tracing::error!("{} lacks the positions {from} to {to}", folder.display());
            }
        }
        let end = segments.last().map_or(0, |segment| segment.end);
        let latest = segments.last().map_or(i64::MIN, |segment| segment.arrived.1);
        Ok(Self {
            folder: folder.to_owned(),
            inner: Mutex::new(Inner { segments, end, synced: end, latest }),
            syncing: Mutex::default(),
        })
    }

    /// Appends records; their positions and arrivals, and up to where [`Log::sync`] has to go
    /// before they may be told. No record comes before the one that it follows.
    pub fn write(&self, records: &[Record]) -> io::Result<(Vec<(u64, i64)>, u64)> {
        let mut inner = self.inner.lock();
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let at = inner.end;
            places.push((at, inner.push(&self.folder, record)?));
        }
        Ok((places, inner.end))
    }

    /// Waits until the log is on the disk up to a position.
    pub fn sync(&self, wanted: u64) -> io::Result<()> {
        let _syncing = self.syncing.lock();
        let (file, end) = {
            let inner = self.inner.lock();
            if inner.synced >= wanted {
                return Ok(());
            }
            let last = inner.segments.last().map(|segment| segment.file.try_clone()).transpose()?;
            (last, inner.end)
        };
        if let Some(file) = file {
            file.sync_data()?;
        }
        let mut inner = self.inner.lock();
        inner.synced = inner.synced.max(end);
        Ok(())
    }

    /// Up to where there are records.
    pub fn readable_end(&self) -> u64 {
        self.inner.lock().synced
    }

    /// Shows records from a position on, in order, until `each` breaks off. The error is a position
    /// at which no record begins.
    pub fn read(
        &self,
        from: u64,
        mut each: impl FnMut(Placed) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let (segments, synced) = self.snapshot(from)?;
        let mut at = from;
        for (begin, end, file) in segments {
            at = at.max(begin);
            let mut reader = Reader::new(file, (begin, end.min(synced)), at);
            while reader.at < reader.end {
                let placed = reader.next()?;
                at = placed.next;
                if each(placed).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The segments that end after a position, with clones of their files.
    fn snapshot(&self, from: u64) -> io::Result<(Vec<Part>, u64)> {
        let inner = self.inner.lock();
        let segments = inner.segments.iter().filter(|segment| segment.end > from);
        let segments = segments
            .map(|segment| Ok((segment.begin, segment.end, segment.file.try_clone()?)))
            .collect::<io::Result<Vec<_>>>()?;
        Ok((segments, inner.synced))
    }

    /// The position of the first record that came at or after a time; the end when there is none.
    pub fn first_since(&self, millis: i64) -> io::Result<u64> {
        let from = {
            let inner = self.inner.lock();
            let segment = inner.segments.iter().find(|segment| segment.arrived.1 >= millis);
            match segment {
                None => return Ok(inner.synced),
                Some(segment) => segment.begin,
            }
        };
        let mut found = None;
        self.read(from, |placed| match placed.record.arrived >= millis {
            true => {
                found = Some(placed.at);
                ControlFlow::Break(())
            }
            false => ControlFlow::Continue(()),
        })?;
        Ok(found.unwrap_or_else(|| self.readable_end()))
    }

    /// Deletes the segments that end at or before a position; the last one is closed first.
    pub fn forget_up_to(&self, position: u64) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let used = |inner: &Inner| {
            inner.segments.last().is_some_and(|s| s.end > s.begin && s.end <= position)
        };
        let large = |s: &Segment| s.end - s.begin >= SEGMENT_BYTES / 16;
        if used(&inner) && inner.end == inner.synced && inner.segments.last().is_some_and(large) {
            inner.begin_segment(&self.folder)?;
        }
        let last = inner.segments.len().saturating_sub(1);
        let old = inner.segments[..last].iter().take_while(|s| s.end <= position).count();
        for segment in inner.segments.drain(..old).collect::<Vec<_>>() {
            std::fs::remove_file(path(&self.folder, segment.begin))?;
        }
        Ok(())
    }

    /// Deletes the segments of which all records came before a time. The last one stays, so that
    /// the log knows where it ends; it is closed when its first record is that old.
    pub fn forget_before(&self, millis: i64) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let last = inner.segments.len().saturating_sub(1);
        let old = inner.segments[..last].iter().take_while(|s| s.arrived.1 < millis).count();
        for segment in inner.segments.drain(..old).collect::<Vec<_>>() {
            std::fs::remove_file(path(&self.folder, segment.begin))?;
        }
        let (end, synced) = (inner.end, inner.synced);
        let closes = inner.segments.last().is_some_and(|s| s.end > s.begin && s.arrived.1 < millis);
        if closes && end == synced {
            inner.begin_segment(&self.folder)?;
            let former = inner.segments.remove(0);
            std::fs::remove_file(path(&self.folder, former.begin))?;
        }
        Ok(())
    }
}

impl Inner {
    fn push(&mut self, folder: &Path, record: &Record) -> io::Result<i64> {
        if self.segments.last().is_none_or(|last| last.end - last.begin >= SEGMENT_BYTES) {
            self.begin_segment(folder)?;
        }
        let arrived = record.arrived.max(self.latest);
        let Some(segment) = self.segments.last_mut() else { return Ok(arrived) };
        let framed = record.framed(arrived);
        segment.file.write_all_at(&framed, segment.end - segment.begin)?;
        segment.arrived = (segment.arrived.0.min(arrived), arrived);
        segment.end += framed.len() as u64;
        (self.end, self.latest) = (segment.end, arrived);
        Ok(arrived)
    }

    /// The segment before is on the disk before there is another one.
    fn begin_segment(&mut self, folder: &Path) -> io::Result<()> {
        if let Some(last) = self.segments.last() {
            last.file.sync_data()?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path(folder, self.end))?;
        sync_dir(folder)?;
        let (begin, end) = (self.end, self.end);
        self.segments.push(Segment { begin, end, arrived: (i64::MAX, i64::MIN), file });
        Ok(())
    }
}

fn path(folder: &Path, begin: u64) -> PathBuf {
    folder.join(format!("{begin:020}.log"))
}

impl Segment {
    /// Opens a segment that was closed; of its records the first is looked at. Those of the next
    /// one came later.
    fn open_closed(folder: &Path, begin: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).open(path(folder, begin))?;
        let end = begin + file.metadata()?.len();
        let mut reader = Reader::new(file.try_clone()?, (begin, end), begin);
        let arrived = reader.next()?.record.arrived;
        Ok(Self { begin, end, arrived: (arrived, arrived), file })
    }

    /// Opens the last segment and cuts off what is not whole at its end.
    fn open(folder: &Path, begin: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path(folder, begin))?;
        let length = file.metadata()?.len();
        let mut reader = Reader::new(file.try_clone()?, (begin, begin + length), begin);
        let mut arrived = (i64::MAX, i64::MIN);
        let mut end = begin;
        while reader.at < reader.end {
            let Ok(placed) = reader.next() else { break };
            arrived = (arrived.0.min(placed.record.arrived), placed.record.arrived);
            end = placed.next;
        }
        if end < begin + length {
            let cut = begin + length - end;
            tracing::warn!("{cut} bytes that were not whole are cut off {}", folder.display());
            file.set_len(end - begin)?;
            file.sync_all()?;
        }
        Ok(Self { begin, end, arrived, file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(arrived: i64, data: &[u8]) -> Record {
        Record { arrived, key: "k".to_owned(), data: data.to_vec() }
    }

    fn append(log: &Log, records: &[Record]) -> Vec<u64> {
        let (places, end) = log.write(records).expect("written");
        log.sync(end).expect("on the disk");
        places.into_iter().map(|(at, _)| at).collect()
    }

    fn all(log: &Log, from: u64) -> Vec<Placed> {
        let mut found = Vec::new();
        log.read(from, |placed| {
            found.push(placed);
            ControlFlow::Continue(())
        })
        .expect("readable");
        found
    }

    #[test]
    fn records_come_back_in_order_also_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(folder.path()).expect("opens");
        let large = vec![7; 5 * 1024 * 1024];
        let records: Vec<Record> = (0..6).map(|i| record(i, &large)).collect();
        let positions = append(&log, &records);
        let again = Log::open(folder.path()).expect("opens");
        for log in [log, again] {
            let found = all(&log, 0);
            assert_eq!(found.iter().map(|p| p.at).collect::<Vec<_>>(), positions);
            assert!(found.iter().map(|p| &p.record).eq(&records));
            assert_eq!(all(&log, positions[4]).len(), 2);
            assert_eq!(log.first_since(3).expect("readable"), positions[3]);
            assert_eq!(log.first_since(6).expect("readable"), log.readable_end());
        }
        assert!(std::fs::read_dir(folder.path()).expect("a folder").count() > 1);
    }

    #[test]
    fn what_a_crash_cut_off_is_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(folder.path()).expect("opens");
        let positions = append(&log, &[record(1, b"one"), record(2, b"two")]);
        let file = path(folder.path(), 0);
        let whole = std::fs::read(&file).expect("there");
        for length in positions[1]..whole.len() as u64 {
            std::fs::write(&file, &whole[..length as usize]).expect("written");
            let log = Log::open(folder.path()).expect("opens");
            assert_eq!(all(&log, 0).len(), 1, "{length}");
            assert_eq!(append(&log, &[record(3, b"three")]), [positions[1]]);
            assert_eq!(all(&log, 0)[1].record.data, b"three");
        }
    }

    #[test]
    fn a_position_within_a_record_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(folder.path()).expect("opens");
        append(&log, &[record(1, &[0; 100])]);
        let read = log.read(3, |_| ControlFlow::Continue(()));
        assert_eq!(read.expect_err("no record").kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn old_records_go_and_positions_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(folder.path()).expect("opens");
        append(&log, &[record(1, b"one")]);
        let end = log.readable_end();
        log.forget_before(1).expect("works");
        assert_eq!(all(&log, 0).len(), 1);
        log.forget_before(2).expect("works");
        assert_eq!(all(&log, 0), []);
        drop(log);
        let log = Log::open(folder.path()).expect("opens");
        assert_eq!(append(&log, &[record(3, b"three")]), [end]);
        assert_eq!(all(&log, 0)[0].record.data, b"three");
    }
}
