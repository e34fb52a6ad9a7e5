use std::collections::BTreeSet;

use super::*;

fn cuts(disk: &Disk) -> Vec<Disk> {
    (0..200).map(|seed| disk.after_power_cut(&mut Luck::new(seed))).collect()
}

#[test]
fn what_is_synced_stays_and_nothing_else_is_sure() {
    let (disk, folder) = (Disk::default(), Path::new("a"));
    disk.make_folder(folder).unwrap();
    disk.sync_folder(Path::new("")).unwrap();
    let file = disk.open(Path::new("a/kept"), true).unwrap();
    file.write_at(&[1; 2000], 0).unwrap();
    file.sync().unwrap();
    let found = |disk: &Disk| disk.read(Path::new("a/kept")).ok();
    let before: BTreeSet<_> = cuts(&disk).iter().map(found).collect();
    assert_eq!(before, BTreeSet::from([None, Some(vec![1; 2000])]), "its name may be lost, its content not");
    disk.sync_folder(folder).unwrap();
    assert!(cuts(&disk).iter().all(|disk| found(disk) == Some(vec![1; 2000])));
    file.write_at(&[2; 1200], 100).unwrap();
    let after: BTreeSet<_> = cuts(&disk).iter().map(|disk| found(disk).unwrap()).collect();
    assert!(after.len() > 20, "sectors are kept one by one and torn");
    assert!(after.iter().all(|bytes| bytes[..100] == [1; 100] && bytes[1300..] == [1; 700]));
    let mixed = |bytes: &&Vec<u8>| bytes[512..1024].contains(&1) && bytes[512..1024].contains(&2);
    assert!(after.iter().any(|bytes| mixed(&bytes)), "a sector is torn now and then");
}

#[test]
fn a_rename_is_whole_or_not_there() {
    let disk = Disk::default();
    for (name, byte) in [("x", 1), ("x.new", 2)] {
        let file = disk.open(Path::new(name), true).unwrap();
        file.write_at(&[byte; 10], 0).unwrap();
        file.sync().unwrap();
    }
    disk.sync_folder(Path::new("")).unwrap();
    disk.rename(Path::new("x.new"), Path::new("x")).unwrap();
    let found: BTreeSet<_> = cuts(&disk)
        .iter()
        .map(|disk| (disk.read(Path::new("x")).unwrap()[0], disk.names(Path::new("")).unwrap().len()))
        .collect();
    assert_eq!(found, BTreeSet::from([(1, 2), (2, 1)]));
}

#[test]
fn the_power_goes_at_the_operation_asked_for_and_stays_off() {
    let disk = Disk::default();
    let file = disk.open(Path::new("x"), true).unwrap();
    file.write_at(b"one", 0).unwrap();
    disk.cut_after(1);
    file.sync().unwrap();
    file.write_at(b"two", 0).unwrap_err();
    assert!(disk.is_off());
    disk.sync_folder(Path::new("")).unwrap_err();
    file.len().unwrap_err();
}
