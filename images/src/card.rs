//! A card from beginning to end: [`Request`] in, image out.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::board::{Architecture, Board};
use crate::cache::{Cache, Key, default_folder};
use crate::layout::{BOOT, DATA, DISK_BYTES, Partition, SLOT_A, table};
use crate::output::{Output, copy_sparse};
use crate::packages::Apt;
use crate::root::{Base, squashfs};
use crate::tools::{run, tool};
use crate::{firmware, programs, tools};

const BOOT_FILE: &str = "boot.fat";
const DATA_FILE: &str = "data.ext4";
const DATA_LABEL: &str = "bramble-data";

/// What is to be built.
#[derive(Debug, Clone)]
pub struct Request {
    pub board: Board,
    /// None: the board's own.
    pub architecture: Option<Architecture>,
    /// The text of bramble.toml.
    pub settings: String,
    /// Where our programs for that architecture lie; None: where they are looked for.
    pub binaries: Option<PathBuf>,
    /// The image; packed if its name ends with .zst, .xz or .gz, else with holes where nothing is.
    pub output: PathBuf,
    /// Debian's mirror; None: that of this machine's apt.
    pub mirror: Option<String>,
    /// What builds keep for each other; None: the user's cache.
    pub cache: Option<PathBuf>,
}

/// Builds it. `say` hears of each step that may take time.
pub fn build(request: &Request, say: &dyn Fn(&str)) -> Result<()> {
    let output = Output::of(&request.output)?;
    tools::check(output.compressor())?;
    let architecture = request.board.architecture(request.architecture)?;
    let binaries = programs::find(request.binaries.as_deref(), architecture)?;
    let folder = request.cache.clone().map_or_else(default_folder, Ok)?;
    let cache = Cache::open(&folder)?;
    let source = architecture.source()?;
    let packages = Apt::new(&cache, architecture, &source, request.mirror.as_deref(), say)?.fetch()?;
    let base = Base::make(&cache, architecture, &packages, say)?;
    let root = squashfs(&cache, architecture, &base, &binaries, say)?;
    let (partitions, id) = partitions(&cache, request.board, &base, &root)?;
    say("writing the image");
    let draft = cache.draft()?;
    let fat = draft.path().join(BOOT_FILE);
    let mut copy = File::create(&fat).context("no room for the FAT partition")?;
    copy.set_len(BOOT.bytes).context("no room for the FAT partition")?;
    copy_sparse(&partitions.join(BOOT_FILE), &mut copy)?;
    drop(copy);
    firmware::write_settings(&fat, &request.settings)?;
    output.write(draft.path(), |image| {
        image.set_len(DISK_BYTES).context("no room for the image")?;
        image.write_all(&table(id)).context("no room for the image")?;
        part(image, BOOT, &fat)?;
        part(image, SLOT_A, &root)?;
        part(image, DATA, &partitions.join(DATA_FILE))
    })
}

/// The parts of the image that are the same for every card of a board: the FAT partition without settings, and an empty
/// data partition; and the disk's id.
fn partitions(cache: &Cache, board: Board, base: &Base, root: &Path) -> Result<(PathBuf, u32)> {
    let profile = board.profile()?;
    let name = root.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let key = Key::new().text(&name).text(&base.key).text(board.name()).finish();
    let id = u32::from_str_radix(&key[..8], 16).context("a key is hexadecimal")?;
    let folder = cache.entry(&format!("parts-{board}"), &key, |draft| {
        firmware::make(board, &profile, base, id, &draft.join(BOOT_FILE))?;
        data_partition(&key, &draft.join(DATA_FILE))
    })?;
    Ok((folder, id))
}

/// An empty file system that can grow to 1 TiB while it is mounted.
fn data_partition(key: &str, file: &Path) -> Result<()> {
    File::create(file).and_then(|file| file.set_len(DATA.bytes)).context("no room for the data partition")?;
    let id = format!("{}-{}-4000-8000-{}", &key[..8], &key[8..12], &key.repeat(2)[..12]);
    let grow = format!("root_owner=0:0,hash_seed={id},resize=268435455,lazy_itable_init=1,nodiscard");
    run(tool("mkfs.ext4")
        .args(["-q", "-F", "-b", "4096", "-I", "256", "-i", "32768", "-m", "1", "-J", "size=16", "-L", DATA_LABEL])
        .args(["-O", "64bit,metadata_csum", "-U", &id, "-E", &grow])
        .arg(file))
}

fn part(image: &mut File, partition: Partition, file: &Path) -> Result<()> {
    let bytes = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
    if bytes > partition.bytes {
        bail!("{} is larger than its partition: {} MiB of {}", file.display(), bytes >> 20, partition.bytes >> 20);
    }
    image.seek(SeekFrom::Start(partition.start_bytes)).context("cannot write the image")?;
    copy_sparse(file, image)
}
