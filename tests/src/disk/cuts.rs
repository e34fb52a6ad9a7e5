//! Power cuts under a program that keeps its data in a folder: the real one, on a real folder.
//!
//! Life after life a test runs itself once more under strace, in a process that works on the folder at random and says
//! by marks what it is about to change and what is done. What it did is done again on a simulated [`Disk`], whose power
//! goes between any two operations. What is left is laid out in a folder, on which the real code must open and find
//! all that was promised. The next life begins with one of those folders.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Disk;
use super::trace::{Step, trace};
use crate::luck::{Luck, seed, setting};

const FOLDER: &str = "BRAMBLE_LIFE";
const CUTS: u64 = 1000;
const CUTS_A_LIFE: u64 = 50;

/// What is found, by key.
pub type Contents = BTreeMap<String, String>;

/// What is promised of a change once it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// It is there after a power cut.
    Durable,
    /// It may be there, or what was there before; what was not promised either may be gone.
    Lazy,
}

/// The life of a process that is to be cut.
pub struct Life {
    pub folder: PathBuf,
    pub luck: Luck,
    marks: fs::File,
}

impl Life {
    /// None in the process that judges.
    pub fn of_this_process() -> Option<Self> {
        let place = PathBuf::from(std::env::var_os(FOLDER)?);
        let marks = fs::OpenOptions::new().append(true).open(place.join("marks")).expect("a file of marks");
        Some(Self { folder: place.join("data"), luck: Luck::new(setting("BRAMBLE_LUCK", 0)), marks })
    }

    fn mark(&mut self, line: String) {
        self.marks.write_all(line.as_bytes()).expect("a mark");
    }

    /// `key` is about to be this, or to be gone.
    pub fn begin(&mut self, promise: Promise, key: &str, value: Option<&str>) {
        let value = value.unwrap_or("-");
        self.mark(format!("{promise:?} {key} {value}\n"));
    }

    /// Every change that was begun is done.
    pub fn done(&mut self) {
        self.mark("done\n".to_owned());
    }
}

/// One key's values since the last promise, the promised one first.
#[derive(Debug, Clone, Default)]
struct Key {
    values: Vec<Option<String>>,
    /// The change that is not done yet is the last of them.
    begun: Option<Promise>,
    /// Something lazy came after the promise.
    lazy: bool,
}

impl Key {
    fn allows(&self, found: Option<&String>) -> bool {
        self.values.iter().any(|value| value.as_ref() == found) || (found.is_none() && self.lazy)
    }
}

/// What the folder may hold.
#[derive(Debug, Default)]
struct Model(BTreeMap<String, Key>);

impl Model {
    fn found(contents: Contents) -> Self {
        let key = |value| Key { values: vec![Some(value)], ..Key::default() };
        Self(contents.into_iter().map(|(name, value)| (name, key(value))).collect())
    }

    fn hear(&mut self, mark: &str) {
        let words: Vec<&str> = mark.split(' ').collect();
        match words.as_slice() {
            ["done"] => self.0.values_mut().for_each(|key| {
                if key.begun.take() == Some(Promise::Durable) {
                    (key.values, key.lazy) = (key.values.pop().into_iter().collect(), false);
                }
            }),
            [promise, name, value] => {
                let key =
                    self.0.entry((*name).to_owned()).or_insert_with(|| Key { values: vec![None], ..Key::default() });
                let promise = if *promise == "Durable" { Promise::Durable } else { Promise::Lazy };
                key.values.push((*value != "-").then(|| (*value).to_owned()));
                key.lazy |= promise == Promise::Lazy;
                key.begun = Some(promise);
            }
            _ => panic!("no mark: {mark}"),
        }
    }

    fn judge(&self, found: &Contents) {
        for (name, key) in &self.0 {
            let value = found.get(name);
            assert!(key.allows(value), "{name} is {value:?}, which is not allowed by {key:?}");
        }
        for name in found.keys() {
            assert!(self.0.contains_key(name), "{name} was never written");
        }
    }
}

/// A folder in memory: nothing of it needs to outlast this process.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("bramble-cuts-").tempdir_in(parent).expect("a folder")
}

/// Runs lives of the test of this name, and cuts them `BRAMBLE_DISK_CUTS` times. `open` is the real code, which opens
/// the folder and tells what is in it.
pub fn cut(test: &str, open: impl Fn(&Path) -> Contents) {
    let (cuts, seed) = (setting("BRAMBLE_DISK_CUTS", CUTS), seed());
    let mut luck = Luck::new(seed);
    let (mut disk, mut model, mut done) = (Disk::default(), Model::default(), 0);
    while done < cuts {
        // A new folder now and then, so that first starts are cut too.
        if luck.one_in(5) {
            (disk, model) = (Disk::default(), Model::default());
        }
        let steps = live(test, &disk, luck.draw());
        let mut left = Disk::default();
        let every = (steps.len() as u64 / CUTS_A_LIFE).max(1);
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Mark(mark) => model.hear(mark),
                Step::Change(change) => change.apply(&disk).unwrap_or_else(|error| panic!("{change:?}: {error}")),
            }
            if !luck.one_in(every) && number + 1 < steps.len() {
                continue;
            }
            done += 1;
            left = disk.after_power_cut(&mut luck);
            let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let found = look(&left, &open);
                model.judge(&found);
                found
            }));
            let found = lived.unwrap_or_else(|panic| {
                eprintln!("at cut {done} of BRAMBLE_SEED={seed}, in the life that did\n{}", tell(&steps[..=number]));
                std::panic::resume_unwind(panic)
            });
            // Lives are cut anywhere, so the next one may begin anywhere.
            if luck.one_in(CUTS_A_LIFE / 2) || number + 1 == steps.len() {
                model = Model::found(found);
                break;
            }
        }
        disk = left;
    }
}

fn look(disk: &Disk, open: &impl Fn(&Path) -> Contents) -> Contents {
    let place = scratch();
    disk.lay_out(place.path()).expect("a folder in memory");
    open(place.path())
}

fn live(test: &str, disk: &Disk, luck: u64) -> Vec<Step> {
    let place = scratch();
    let (data, marks) = (place.path().join("data"), place.path().join("marks"));
    fs::create_dir(&data).expect("a folder");
    fs::write(&marks, "").expect("a file");
    disk.lay_out(&data).expect("a folder in memory");
    let mut command = Command::new(std::env::current_exe().expect("a test has an executable"));
    command.args(["--exact", test, "--nocapture"]).env(FOLDER, place.path()).env("BRAMBLE_LUCK", luck.to_string());
    let steps = trace(&command, &data, &marks);
    assert!(!steps.is_empty(), "{test} did nothing: is it the test's name?");
    steps
}

/// The last steps, for a person.
fn tell(steps: &[Step]) -> String {
    let last = steps.iter().rev().take(60).rev();
    last.map(|step| format!("{:.160}\n", format!("{step:?}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is replaced, with or without the syncs that it takes.
    fn write(life: &mut Life, value: &str, sync: bool) {
        let (fresh, path) = (life.folder.join("new"), life.folder.join("file"));
        life.begin(Promise::Durable, "file", Some(value));
        let mut file = fs::File::create(&fresh).unwrap();
        file.write_all(value.as_bytes()).unwrap();
        if sync {
            file.sync_all().unwrap();
        }
        fs::rename(fresh, path).unwrap();
        fs::File::open(&life.folder).unwrap().sync_all().unwrap();
        life.done();
    }

    fn find(folder: &Path) -> Contents {
        let text = fs::read_to_string(folder.join("file")).ok();
        text.map(|text| ("file".to_owned(), text)).into_iter().collect()
    }

    fn judged(test: &str, sync: bool) -> bool {
        if let Some(mut life) = Life::of_this_process() {
            (0..9).for_each(|number| write(&mut life, &format!("{number}-{}", "x".repeat(700)), sync));
            return true;
        }
        std::panic::catch_unwind(|| cut(test, find)).is_ok()
    }

    #[test]
    fn a_file_that_is_synced_before_its_rename_is_whole_after_any_cut() {
        assert!(judged("disk::cuts::tests::a_file_that_is_synced_before_its_rename_is_whole_after_any_cut", true));
    }

    #[test]
    fn a_file_that_is_not_synced_before_its_rename_is_found_out() {
        let well = judged("disk::cuts::tests::a_file_that_is_not_synced_before_its_rename_is_found_out", false);
        assert!(well == Life::of_this_process().is_some());
    }
}
