//! A file's bytes: as its readers see them, as the last sync left them, and what happened in between.

use crate::luck::Luck;

/// What a disk writes whole, unless the power goes in its very midst.
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Resize { length: usize },
}

#[derive(Debug, Clone, Default)]
pub struct Content {
    synced: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<Change>,
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).expect("a test's disk is small")
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: written } => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(written);
            }
            Self::Resize { length } => bytes.resize(*length, 0),
        }
    }

    /// The bytes that it touches in a file which was `length` long.
    fn range(&self, length: usize) -> std::ops::Range<usize> {
        match self {
            Self::Write { offset, bytes } => *offset..offset + bytes.len(),
            // What is cut off reads as zeros when the file grows again.
            Self::Resize { length: new } => *new..length.max(*new),
        }
    }
}

impl Content {
    pub fn bytes(&self) -> &[u8] {
        &self.current
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.change(Change::Write { offset: at(offset), bytes: bytes.to_vec() });
    }

    pub fn resize(&mut self, length: u64) {
        self.change(Change::Resize { length: at(length) });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    pub fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.synced);
        }
    }

    /// Of each sector some version since the last sync, and any of the lengths.
    pub fn after_power_cut(&self, luck: &mut Luck) -> Self {
        let (mut left, mut length) = (self.synced.clone(), self.synced.len());
        let mut lengths = vec![length];
        for change in &self.pending {
            length = match change {
                Change::Write { offset, bytes } => length.max(offset + bytes.len()),
                Change::Resize { length } => *length,
            };
            lengths.push(length);
        }
        left.resize(lengths.iter().copied().max().unwrap_or(0), 0);
        let kept = Versions::draw(left.len(), self.pending.len(), luck);
        let mut length = self.synced.len();
        for (number, change) in self.pending.iter().enumerate() {
            let range = change.range(length);
            length = lengths[number + 1];
            let mut start = range.start;
            while start < range.end {
                let end = range.end.min((start / SECTOR_BYTES + 1) * SECTOR_BYTES);
                let torn = kept.reaches(start / SECTOR_BYTES, number, end - start, luck);
                for byte in start..start + torn {
                    left[byte] = match change {
                        Change::Write { offset, bytes } => bytes[byte - offset],
                        Change::Resize { .. } => 0,
                    };
                }
                start = end;
            }
        }
        left.truncate(*luck.pick(&lengths));
        Self { synced: left.clone(), current: left, pending: Vec::new() }
    }
}

/// For each sector, how many of the changes reached the disk.
struct Versions(Vec<usize>);

impl Versions {
    fn draw(bytes: usize, changes: usize, luck: &mut Luck) -> Self {
        if changes == 0 {
            return Self(Vec::new());
        }
        // All of it, none of it, or each sector for itself: the first two would hardly ever come by chance.
        let all = match luck.below(4) {
            0 => Some(changes),
            1 => Some(0),
            2 => Some(luck.index(changes + 1)),
            _ => None,
        };
        let sectors = bytes.div_ceil(SECTOR_BYTES);
        Self((0..sectors).map(|_| all.unwrap_or_else(|| luck.index(changes + 1))).collect())
    }

    /// How many bytes of a change's part of a sector are there.
    fn reaches(&self, sector: usize, change: usize, length: usize, luck: &mut Luck) -> usize {
        match self.0[sector] {
            kept if change < kept => length,
            kept if change == kept && luck.one_in(8) => luck.index(length + 1),
            _ => 0,
        }
    }
}
