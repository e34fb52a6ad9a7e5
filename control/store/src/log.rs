//! The command log: two recycled segments, one taking records while the other's are folded into the checkpoint.
//!
//! A segment is filled with zeros ahead of its head and synced once, so that later syncs touch only data pages; after
//! its commands are checkpointed it is used again from the start under a new epoch.

use std::io;

use crate::disk::LogFile;
use crate::record::{HEADER_BYTES, PREFIX_BYTES, encode, header, read_header, scan};

/// Zeros laid ahead of the head at a time.
const FILL_BYTES: u64 = 1 << 20;

struct Segment {
    file: Box<dyn LogFile>,
    epoch: u64,
    /// Where the next record goes; 0 when the segment holds nothing that is needed.
    head: u64,
    /// The file is zero-filled (or an old lap) up to here.
    filled: u64,
    unsynced: bool,
}

/// A record as it is replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    pub sequence: u64,
    pub payload: Vec<u8>,
}

/// The two segments and the position in them.
pub struct Log {
    segments: [Segment; 2],
    active: usize,
    next_sequence: u64,
    epoch: u64,
}

impl Log {
    /// Reads both segments; the records after `applied`, in order and without a hole. Nothing is written yet.
    pub fn open(mut files: [Box<dyn LogFile>; 2], applied: u64) -> io::Result<(Self, Vec<Replayed>)> {
        let contents = [files[0].read_all()?, files[1].read_all()?];
        let mut epochs = [read_header(&contents[0]), read_header(&contents[1])];
        let order = if epochs[0] <= epochs[1] { [0, 1] } else { [1, 0] };
        let mut replayed: Vec<Replayed> = Vec::new();
        let mut next = applied + 1;
        for index in order {
            for (sequence, payload) in scan(&contents[index]) {
                if sequence == next {
                    replayed.push(Replayed { sequence, payload: payload.to_vec() });
                    next += 1;
                }
            }
        }
        let epoch = epochs.iter_mut().filter_map(|epoch| epoch.take()).max().unwrap_or(0);
        let [first, second] = files;
        let segment =
            |file, contents: &[u8]| Segment { file, epoch: 0, head: 0, filled: contents.len() as u64, unsynced: false };
        let segments = [segment(first, &contents[0]), segment(second, &contents[1])];
        Ok((Self { segments, active: 0, next_sequence: next, epoch }, replayed))
    }

    /// Forgets what was replayed, once it is checkpointed: both segments are free again.
    pub fn restart(&mut self) {
        self.segments.iter_mut().for_each(|segment| segment.head = 0);
    }

    /// Sees that payloads have their place in the file. Where it fails nothing was written, and nothing is lost by it.
    pub fn make_room(&mut self, payloads: &[Vec<u8>]) -> io::Result<()> {
        let records: usize = payloads.iter().map(|payload| payload.len() + PREFIX_BYTES).sum();
        self.segments[self.active].fill((HEADER_BYTES + records) as u64)
    }

    /// Appends payloads; they survive a crash of the process at once, of the power after [`Log::sync`].
    pub fn append<'a>(&mut self, payloads: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let segment = &mut self.segments[self.active];
        if segment.head == 0 {
            self.epoch += 1;
            segment.epoch = self.epoch;
            bytes = header(segment.epoch);
        }
        for payload in payloads {
            encode(&mut bytes, segment.epoch, self.next_sequence, payload);
            self.next_sequence += 1;
        }
        segment.fill(bytes.len() as u64)?;
        segment.file.write_at(&bytes, segment.head)?;
        segment.head += bytes.len() as u64;
        segment.unsynced = true;
        Ok(())
    }

    /// Everything appended is on the disk when this returns.
    pub fn sync(&mut self) -> io::Result<()> {
        let segment = &mut self.segments[self.active];
        if segment.unsynced {
            segment.file.sync()?;
            segment.unsynced = false;
        }
        Ok(())
    }

    /// Whether the other segment is free to take over.
    pub fn can_switch(&self) -> bool {
        self.segments[1 - self.active].head == 0
    }

    /// Turns to the other segment and gives the last sequence of the one left behind. The old one is synced first:
    /// a durable record in the new one must never survive a lost one in the old.
    pub fn switch(&mut self) -> io::Result<u64> {
        self.sync()?;
        self.active = 1 - self.active;
        Ok(self.next_sequence - 1)
    }

    /// The segment left behind was checkpointed.
    pub fn free_other(&mut self) {
        self.segments[1 - self.active].head = 0;
    }

    /// Bytes in the active segment.
    pub fn active_bytes(&self) -> u64 {
        self.segments[self.active].head
    }

    /// The sequence of the newest record.
    pub fn last_sequence(&self) -> u64 {
        self.next_sequence - 1
    }
}

impl Segment {
    /// Lays zeros where the next `length` bytes will go, and syncs the file's new size once.
    fn fill(&mut self, length: u64) -> io::Result<()> {
        let needed = self.head.max(HEADER_BYTES as u64) + length;
        if needed <= self.filled {
            return Ok(());
        }
        let target = needed.div_ceil(FILL_BYTES) * FILL_BYTES;
        let count = usize::try_from(target - self.filled).map_err(io::Error::other)?;
        self.file.write_at(&vec![0; count], self.filled)?;
        self.file.sync()?;
        self.filled = target;
        Ok(())
    }
}
