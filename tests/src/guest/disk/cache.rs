//! Sectors that were written and not flushed.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

const SECTOR_BYTES: usize = 512;
/// A disk's cache is not endless: what is over is written at once, as a disk may at any time.
const SECTORS_MAX: usize = (64 << 20) / SECTOR_BYTES;

/// The file, and over it what is not safe yet.
pub struct WriteCache {
    file: File,
    sectors: BTreeMap<u64, [u8; SECTOR_BYTES]>,
    seed: u64,
}

impl WriteCache {
    pub fn new(file: File, seed: u64) -> Self {
        Self { file, sectors: BTreeMap::new(), seed }
    }

    pub fn size_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    pub fn read(&self, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
        self.file.read_exact_at(into, offset)?;
        let first = offset / SECTOR_BYTES as u64;
        let count = into.len() / SECTOR_BYTES;
        for (sector, content) in self.sectors.range(first..first + count as u64) {
            let at = usize::try_from(sector - first).expect("it is within the buffer") * SECTOR_BYTES;
            into[at..at + SECTOR_BYTES].copy_from_slice(content);
        }
        Ok(())
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        if self.sectors.len() > SECTORS_MAX {
            self.flush();
        }
        let first = offset / SECTOR_BYTES as u64;
        for (index, chunk) in (0..).zip(bytes.as_chunks::<SECTOR_BYTES>().0) {
            self.sectors.insert(first + index, *chunk);
        }
    }

    /// All of it is safe now.
    pub fn flush(&mut self) {
        let sectors = std::mem::take(&mut self.sectors);
        self.keep(&sectors);
    }

    /// Of what was not flushed, a part is there afterwards: nothing, half, or nearly everything.
    pub fn lose_power(&mut self) {
        let mut sectors = std::mem::take(&mut self.sectors);
        let kept_of_16 = [0, 8, 15][usize::try_from(self.next() % 3).expect("a small number")];
        sectors.retain(|_, _| self.next() % 16 < kept_of_16);
        self.keep(&sectors);
    }

    fn keep(&self, sectors: &BTreeMap<u64, [u8; SECTOR_BYTES]>) {
        let mut run: (u64, Vec<u8>) = (0, Vec::new());
        for (sector, content) in sectors {
            if run.0 + (run.1.len() / SECTOR_BYTES) as u64 != *sector {
                self.put(&run);
                run = (*sector, Vec::new());
            }
            run.1.extend_from_slice(content);
        }
        self.put(&run);
    }

    fn put(&self, (sector, bytes): &(u64, Vec<u8>)) {
        self.file.write_all_at(bytes, sector * SECTOR_BYTES as u64).expect("the test's folder has room for the disk");
    }

    /// xorshift64*: good enough for coins, and the same again for the same seed.
    fn next(&mut self) -> u64 {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(seed: u64) -> WriteCache {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(64 << 10).expect("a sparse file");
        WriteCache::new(file, seed)
    }

    fn sectors(cache: &WriteCache) -> usize {
        let mut bytes = vec![0; 64 << 10];
        cache.read(0, &mut bytes).expect("the file is that large");
        bytes.chunks(SECTOR_BYTES).filter(|sector| sector[0] == 7).count()
    }

    #[test]
    fn what_was_flushed_survives_and_of_the_rest_any_part() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 1..40 {
            let mut cache = cache(seed);
            cache.write(512, &[7; 8 * SECTOR_BYTES]);
            cache.flush();
            cache.write(8 << 10, &[7; 16 * SECTOR_BYTES]);
            assert_eq!(sectors(&cache), 24, "all of it is read before the cut");
            cache.lose_power();
            let left = sectors(&cache);
            assert!((8..=24).contains(&left), "{left}");
            seen.insert(left);
        }
        assert!(seen.contains(&8) && seen.len() > 4, "{seen:?}");
    }
}
