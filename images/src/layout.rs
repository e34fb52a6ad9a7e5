//! The card's partitions: a table of one sector, and where each begins.
//!
//! ```text
//! 0      4 MiB          260 MiB     516 MiB     772 MiB          1 GiB, later the whole card
//! | MBR  | 1 FAT32      | 2 slot A  | 3 slot B  | 4 ext4         |
//! ```
//! 1 GiB in all, since QEMU's SD cards want a power of two.

use anyhow::{Result, bail};

pub const SECTOR_BYTES: u64 = 512;
const MIB: u64 = 1 << 20;
pub const DISK_BYTES: u64 = 1024 * MIB;

/// Where the id of a disk lies in its first sector.
const ID_AT: usize = 440;
const TABLE_AT: usize = 446;
const ENTRY_BYTES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    pub kind: u8,
    pub start_bytes: u64,
    pub bytes: u64,
}

const fn partition(kind: u8, start_mib: u64, mib: u64) -> Partition {
    Partition { kind, start_bytes: start_mib * MIB, bytes: mib * MIB }
}

/// FAT32 for firmware, kernel and settings.
pub const BOOT: Partition = partition(0x0c, 4, 256);
pub const SLOT_A: Partition = partition(0x83, 260, 256);
/// Room for the root of an upgrade.
pub const SLOT_B: Partition = partition(0x83, 516, 256);
pub const DATA: Partition = partition(0x83, 772, 252);

/// The first sector of a new card.
pub fn table(id: u32) -> [u8; SECTOR_BYTES as usize] {
    let mut sector = [0; SECTOR_BYTES as usize];
    sector[ID_AT..ID_AT + 4].copy_from_slice(&id.to_le_bytes());
    for (number, partition) in [BOOT, SLOT_A, SLOT_B, DATA].iter().enumerate() {
        let entry = &mut sector[TABLE_AT + number * ENTRY_BYTES..][..ENTRY_BYTES];
        // Cylinders and heads are from another century: this is how one says that they do not count.
        entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
        entry[4] = partition.kind;
        entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
        entry[8..12].copy_from_slice(&((partition.start_bytes / SECTOR_BYTES) as u32).to_le_bytes());
        entry[12..16].copy_from_slice(&((partition.bytes / SECTOR_BYTES) as u32).to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// The partitions of some disk's first sector, which may hold anything.
pub fn read(sector: &[u8; SECTOR_BYTES as usize]) -> Result<[Partition; 4]> {
    if sector[510..] != [0x55, 0xaa] {
        bail!("there is no partition table");
    }
    let entry = |number: usize| {
        let entry = &sector[TABLE_AT + number * ENTRY_BYTES..][..ENTRY_BYTES];
        let word = |at: usize| u64::from(u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]));
        Partition { kind: entry[4], start_bytes: word(8) * SECTOR_BYTES, bytes: word(12) * SECTOR_BYTES }
    };
    Ok([0, 1, 2, 3].map(entry))
}

#[cfg(test)]
mod tests {
    use super::{BOOT, DATA, DISK_BYTES, SLOT_A, SLOT_B, read, table};

    #[test]
    fn partitions_lie_one_behind_the_other_to_the_end_of_the_disk() {
        let partitions = read(&table(0x1234_5678)).expect("our own table");
        assert_eq!(partitions, [BOOT, SLOT_A, SLOT_B, DATA]);
        let ends = partitions.windows(2).all(|pair| pair[0].start_bytes + pair[0].bytes == pair[1].start_bytes);
        assert!(ends && DATA.start_bytes + DATA.bytes == DISK_BYTES);
        assert_eq!(table(0x1234_5678)[440..444], [0x78, 0x56, 0x34, 0x12]);
    }

    #[test]
    fn a_disk_without_a_table_is_refused() {
        assert!(read(&[0; 512]).is_err());
    }
}
