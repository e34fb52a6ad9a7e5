//! Flashable SD cards: a board's profile, Debian's packages and Bramble's two programs become one image.
//!
//! `control/cli` calls [`card::build`]; tests boot what [`boot_files`] takes out of an image. Everything is done without
//! privileges and without loop mounts, so that a card can be built wherever Debian's tools are.
//!
//! In reading order: [`board`] (what is built for which board; its data lies in `boards/`), [`mirror`] and [`packages`]
//! (Debian's packages by a private apt), [`tree`] (the root's files), [`modules`] and [`initramfs`], [`root`] (both kept in
//! the [`cache`]), [`layout`] (the partitions), [`firmware`] (the FAT partition), [`card`] (the image), [`output`]. [`flash`] writes an image to a
//! card.
//!
//! What the image promises to `bramble-agent card`: /boot/firmware is the FAT partition, mounted read-only;
//! /var/lib/bramble is the data partition, or no mount point where that is broken; /etc is writable and forgotten;
//! /etc/machine-id and, from `card/hostname`, /etc/hostname are there before the first unit. It takes up
//! /run/bramble/wpa_supplicant.conf (wifi starts), /run/bramble/authorized_keys (ssh starts) and
//! /run/systemd/network/*.network (before those of the image).
//!
//! Absent on purpose: maintainer scripts (nothing foreign runs while a card is built), package management on the card, and
//! the meaning of bramble.toml, which is `control/card`'s.

pub mod board;
pub mod boot_files;
pub mod cache;
pub mod card;
mod data;
mod firmware;
pub mod flash;
mod initramfs;
mod layout;
mod mirror;
mod modules;
mod output;
mod packages;
mod patterns;
mod programs;
mod root;
mod tools;
mod tree;

pub use boot_files::{BootFiles, boot_files};
pub use card::{Request, build};
