//! The files of `boards/`, in the program itself: an installed `bramble` needs no folder beside it.

/// Name below `boards/`, text.
type File = (&'static str, &'static str);

macro_rules! files {
    ($($name:literal)*) => { &[$(($name, include_str!(concat!("../boards/", $name)))),*] };
}

const FILES: &[File] = files![
    "arm64.toml" "armhf.toml" "init" "links" "modules" "modules-early" "packages" "prune" "wifi-firmware" "without"
    "pi/board.toml" "pi/cmdline.txt" "pi/config.txt"
    "pi2/board.toml" "pi2/cmdline.txt" "pi2/config.txt"
    "virt/board.toml" "virt/cmdline.txt"
];

/// Files of the root itself, with their paths in it: `boards/root`, the card's own units and those of systemd/.
pub const ROOT: &[File] = include!(concat!(env!("OUT_DIR"), "/root.rs"));

/// A file's text. A name that is not there is a mistake of this crate, which its tests find.
pub fn text(name: &str) -> &'static str {
    FILES.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text)
}

/// A list's lines without remarks.
pub fn lines(name: &str) -> Vec<&'static str> {
    text(name).lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// All of it, for what is kept by its inputs.
pub fn all() -> impl Iterator<Item = &'static File> {
    FILES.iter().chain(ROOT)
}
