//! Debian's packages of another architecture: chosen, fetched and checked by this machine's apt in a folder of its own.
//!
//! The system's apt is left alone: no architecture is added to it, no source, no list.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::board::{Architecture, Source};
use crate::cache::{Cache, Key};
use crate::mirror::{self, Mirror};
use crate::tools::{run, said, tool};
use crate::{data, patterns};

/// How old lists of packages may be before they are fetched anew.
const LISTS_AGE_MAX: Duration = Duration::from_hours(24);

/// A private apt for one architecture.
pub struct Apt<'a> {
    folder: PathBuf,
    architecture: Architecture,
    source: &'a Source,
    mirror: Mirror,
    say: &'a dyn Fn(&str),
}

/// What a card is made of, fetched.
#[derive(Debug)]
pub struct Packages {
    /// Unpacked as the root.
    pub system: Vec<PathBuf>,
    /// The kernel, its modules and device trees.
    pub kernel: Vec<PathBuf>,
    pub firmware: Vec<PathBuf>,
}

impl Packages {
    pub fn key(&self, key: Key) -> Key {
        let all = self.system.iter().chain(&self.kernel).chain(&self.firmware);
        all.fold(key, |key, file| key.text(&file.file_name().unwrap_or_default().to_string_lossy()))
    }
}

/// A line of `apt-get --print-uris download`.
struct Wanted {
    file: String,
    bytes: u64,
}

impl<'a> Apt<'a> {
    pub fn new(
        cache: &Cache,
        architecture: Architecture,
        source: &'a Source,
        mirror: Option<&str>,
        say: &'a dyn Fn(&str),
    ) -> Result<Self> {
        let apt = Self {
            folder: cache.folder(&format!("apt-{architecture}"))?,
            architecture,
            source,
            mirror: Mirror::find(mirror)?,
            say,
        };
        apt.configure()?;
        Ok(apt)
    }

    /// Everything for a card, from lists that are at most a day old.
    pub fn fetch(&self) -> Result<Packages> {
        self.update()?;
        let mut asked = data::lines("packages");
        asked.push(&self.source.kernel);
        let chosen = self.choose(&asked)?;
        let firmware: Vec<String> = self.source.firmware.clone();
        let files = self.download(chosen.iter().map(String::as_str).chain(firmware.iter().map(String::as_str)))?;
        let is = |file: &Path, start: &dyn Fn(&str) -> bool| {
            file.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('_').next()).is_some_and(start)
        };
        let of =
            |start: &dyn Fn(&str) -> bool| files.iter().filter(|file| is(file, start)).cloned().collect::<Vec<_>>();
        let is_kernel = |name: &str| name.starts_with("linux-");
        let is_firmware = |name: &str| firmware.iter().any(|known| known == name);
        Ok(Packages {
            kernel: of(&is_kernel),
            firmware: of(&is_firmware),
            system: of(&|name| !is_kernel(name) && !is_firmware(name)),
        })
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = tool(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf"));
        command
    }

    fn configure(&self) -> Result<()> {
        let folder = self.folder.to_str().filter(|folder| !folder.contains(['"', '\\', '\n', ' ']));
        let folder = folder.with_context(|| format!("apt cannot use a folder named {}", self.folder.display()))?;
        for part in ["lists/partial", "cache/archives/partial", "files"] {
            fs::create_dir_all(self.folder.join(part)).with_context(|| format!("cannot write to {folder}"))?;
        }
        let architecture = self.architecture;
        let mut conf = mirror::acquire_settings()?;
        conf.push_str(&format!(
            "Acquire::Languages \"none\";\n\
             APT::Architecture \"{architecture}\";\nAPT::Architectures {{ \"{architecture}\"; }};\n\
             APT::Install-Recommends \"false\";\nAPT::Sandbox::User \"root\";\n\
             Dir::State \"{folder}\";\nDir::State::lists \"{folder}/lists\";\nDir::State::status \"{folder}/status\";\n\
             Dir::Cache \"{folder}/cache\";\nDir::Log \"{folder}\";\n\
             Dir::Etc::sourcelist \"{folder}/sources.list\";\nDir::Etc::preferences \"{folder}/preferences\";\n"
        ));
        for unused in ["main", "parts", "sourceparts", "preferencesparts", "trusted", "trustedparts"] {
            conf.push_str(&format!("Dir::Etc::{unused} \"/dev/null\";\n"));
        }
        let preferences: String = (self.source.backports.iter())
            .map(|pattern| {
                format!("Package: {pattern}\nPin: release n={}-backports\nPin-Priority: 900\n\n", self.source.suite)
            })
            .collect();
        for (name, text) in [("apt.conf", conf.as_str()), ("preferences", &preferences), ("status", "")] {
            fs::write(self.folder.join(name), text).with_context(|| format!("cannot write to {folder}"))?;
        }
        Ok(())
    }

    fn update(&self) -> Result<()> {
        let with_security = self.sources(true)?;
        let without = self.sources(false)?;
        let list = self.folder.join("sources.list");
        let held = fs::read_to_string(&list).unwrap_or_default();
        let stamp = self.folder.join("updated");
        let age = fs::metadata(&stamp).and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
        let is_known = held == with_security || held == without;
        if is_known && age.is_some_and(|age| age < LISTS_AGE_MAX) {
            return Ok(());
        }
        (self.say)("reading Debian's lists of packages");
        let update = || run(self.apt("apt-get").args(["-q", "--error-on=any", "update"]));
        fs::write(&list, &with_security)?;
        if let Err(error) = update() {
            fs::write(&list, &without)?;
            match update() {
                Ok(()) => (self.say)("security updates cannot be read: built without those of the last days"),
                Err(_) if is_known && age.is_some() => {
                    fs::write(&list, held)?;
                    (self.say)("Debian's mirror does not answer: built from the lists of the last time");
                    return Ok(());
                }
                Err(_) => return Err(error.context("Debian's lists of packages cannot be read")),
            }
        }
        fs::write(stamp, "").with_context(|| format!("cannot write to {}", self.folder.display()))
    }

    fn sources(&self, with_security: bool) -> Result<String> {
        let Mirror { main, security } = &self.mirror;
        let (suite, architecture) = (&self.source.suite, self.architecture);
        let mut sources =
            vec![(main, suite.clone()), (main, format!("{suite}-updates")), (main, format!("{suite}-backports"))];
        if with_security {
            sources.push((security, format!("{suite}-security")));
        }
        let keyring = mirror::keyring()?;
        let line = |(address, suite): (&String, String)| {
            let keyring = keyring.display();
            format!("deb [arch={architecture} signed-by={keyring}] {address} {suite} main non-free-firmware\n")
        };
        Ok(sources.into_iter().map(line).collect())
    }

    /// What was asked for and what it depends on, as `name=version`.
    fn choose(&self, asked: &[&str]) -> Result<Vec<String>> {
        let plan =
            said(self.apt("apt-get").args(["-s", "-q", "install"]).args(asked)).context("Debian lacks a package")?;
        let without = data::lines("without");
        let chosen: BTreeSet<String> = plan
            .lines()
            .filter_map(|line| line.strip_prefix("Inst "))
            .filter_map(|rest| {
                let (name, rest) = rest.split_once(' ')?;
                let version = rest.trim_start_matches('(').split(' ').next()?;
                (!patterns::takes(&without, name)).then(|| format!("{name}={version}"))
            })
            .collect();
        Ok(chosen.into_iter().collect())
    }

    fn download<'b>(&self, names: impl Iterator<Item = &'b str>) -> Result<Vec<PathBuf>> {
        let names: Vec<&str> = names.collect();
        let files = self.folder.join("files");
        let listed = said(self.apt("apt-get").args(["-q", "--print-uris", "download"]).args(&names))?;
        let wanted: Vec<Wanted> = listed.lines().filter_map(wanted).collect();
        if wanted.len() != names.len() {
            bail!("apt found {} of {} packages", wanted.len(), names.len());
        }
        let is_here =
            |wanted: &&Wanted| fs::metadata(files.join(&wanted.file)).is_ok_and(|file| file.len() == wanted.bytes);
        let missing: Vec<&Wanted> = wanted.iter().filter(|wanted| !is_here(wanted)).collect();
        if !missing.is_empty() {
            let bytes: u64 = missing.iter().map(|wanted| wanted.bytes).sum();
            (self.say)(&format!("fetching {} packages, {} MB", missing.len(), bytes / 1_000_000));
            let is_missing = |name: &&&str| {
                let start = format!("{}_", name.split('=').next().unwrap_or_default());
                missing.iter().any(|wanted| wanted.file.starts_with(&start))
            };
            let names: Vec<&str> = names.iter().filter(is_missing).copied().collect();
            // Into place only when apt has checked all of them.
            let draft = tempfile::tempdir_in(&self.folder).context("no folder for packages")?;
            run(self.apt("apt-get").args(["-q", "download"]).args(names).current_dir(draft.path()))
                .context("Debian's packages cannot be fetched")?;
            for file in fs::read_dir(draft.path()).context("no folder for packages")?.flatten() {
                fs::rename(file.path(), files.join(file.file_name())).context("no folder for packages")?;
            }
        }
        for old in fs::read_dir(&files).context("no folder for packages")?.flatten() {
            if !wanted.iter().any(|wanted| wanted.file.as_str() == old.file_name()) {
                drop(fs::remove_file(old.path()));
            }
        }
        Ok(wanted.into_iter().map(|wanted| files.join(wanted.file)).collect())
    }
}

/// `'http://.../x_1_arm64.deb' x_1_arm64.deb 1234 SHA256:...`
fn wanted(line: &str) -> Option<Wanted> {
    let mut words = line.split(' ');
    words.next().filter(|address| address.starts_with('\''))?;
    let file = words.next().filter(|file| file.ends_with(".deb") && !file.contains('/'))?;
    Some(Wanted { file: file.to_owned(), bytes: words.next()?.parse().ok()? })
}
