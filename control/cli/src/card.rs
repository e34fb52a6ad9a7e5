//! `bramble card`: flashable SD cards.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use control_card::{FILE_BYTES_MAX, Secret, Settings, Wifi};

use crate::arguments::{Card, CardBuild};

/// The wifi password's variable: an argument would be seen by everybody on this machine.
const WIFI_PASSWORD: &str = "BRAMBLE_WIFI_PASSWORD";

/// Runs one verb.
pub fn run(verb: &Card) -> Result<()> {
    match verb {
        Card::Build(options) => build(options),
        Card::Flash(options) => images::flash::flash(&images::flash::Flash {
            image: options.image.clone(),
            to: options.to.clone(),
            yes: options.yes,
            into_file: options.into_file,
        }),
    }
}

fn build(options: &CardBuild) -> Result<()> {
    let request = images::Request {
        board: options.board,
        architecture: options.arch,
        settings: settings(options)?,
        binaries: options.binaries.clone(),
        output: options.output.clone(),
        mirror: options.mirror.clone(),
        cache: None,
    };
    let start = Instant::now();
    images::build(&request, &|step| eprintln!("{:>5.1} s  {step}", start.elapsed().as_secs_f64()))?;
    let bytes = fs::metadata(&options.output).map_or(0, |file| std::os::unix::fs::MetadataExt::blocks(&file) * 512);
    println!("{} is ready: {} MiB, board {}", options.output.display(), bytes >> 20, options.board);
    Ok(())
}

/// The text of bramble.toml, which has passed the checks that the card itself will make.
fn settings(options: &CardBuild) -> Result<String> {
    let text = match &options.settings {
        Some(file) => read(file)?,
        None => control_card::render(&from_options(options)?),
    };
    match control_card::parse(text.as_bytes()) {
        Ok(_) => Ok(text),
        Err(problems) => bail!("these settings would be refused by the card:\n{problems}"),
    }
}

fn from_options(options: &CardBuild) -> Result<Settings> {
    let keys = options.ssh_key.iter().map(|file| read(file)).collect::<Result<Vec<String>>>()?;
    let is_key = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let authorized_keys = keys.iter().flat_map(|text| text.lines().map(str::trim).filter(is_key)).map(str::to_owned);
    Ok(Settings {
        role: options.role,
        hostname: options.hostname.clone(),
        join: options.join.clone().map(Secret),
        wifi: wifi(options)?,
        authorized_keys: authorized_keys.collect(),
        ..Settings::default()
    })
}

fn wifi(options: &CardBuild) -> Result<Option<Wifi>> {
    let Some(ssid) = options.wifi.clone() else { return Ok(None) };
    let password = match (&options.wifi_password_file, std::env::var(WIFI_PASSWORD)) {
        (Some(file), _) => read(file)?.trim_end_matches(['\r', '\n']).to_owned(),
        (None, Ok(password)) => password,
        (None, Err(_)) if std::io::stdin().is_terminal() => ask(&ssid)?,
        (None, Err(_)) => {
            bail!("--wifi needs its password in {WIFI_PASSWORD} or a --wifi-password-file; empty for none")
        }
    };
    let password = Some(password).filter(|password| !password.is_empty()).map(Secret);
    Ok(Some(Wifi { ssid, password, country: options.wifi_country.clone() }))
}

/// Asks on the terminal, which shows nothing of the answer.
fn ask(ssid: &str) -> Result<String> {
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    eprint!("Password of the wifi {ssid}: ");
    std::io::stderr().flush().ok();
    let terminal = std::io::stdin();
    let shown = tcgetattr(&terminal).context("cannot ask for the password")?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&terminal, SetArg::TCSANOW, &hidden).context("cannot ask for the password")?;
    let mut answer = String::new();
    let read = terminal.read_line(&mut answer);
    tcsetattr(&terminal, SetArg::TCSANOW, &shown).context("cannot ask for the password")?;
    eprintln!();
    read.context("cannot ask for the password")?;
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}

fn read(file: &Path) -> Result<String> {
    let what = || format!("cannot read {}", file.display());
    let size = fs::metadata(file).with_context(what)?.len();
    if size > FILE_BYTES_MAX as u64 {
        bail!("{} is larger than {} KiB", file.display(), FILE_BYTES_MAX >> 10);
    }
    fs::read_to_string(file).with_context(what)
}

/// As `--role` takes it.
pub fn role(name: &str) -> Result<control_card::Role, String> {
    let names = control_card::Role::NAMES.join(", ");
    control_card::Role::of(name).ok_or_else(|| format!("a role is one of {names}"))
}

/// A token from a file or as it is: a line `@FILE` keeps it out of the list of processes.
pub fn token(text: &str) -> Result<String, String> {
    match text.strip_prefix('@') {
        None => Ok(text.to_owned()),
        Some(file) => {
            read(&PathBuf::from(file)).map(|text| text.trim().to_owned()).map_err(|error| format!("{error:#}"))
        }
    }
}
