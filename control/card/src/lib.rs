//! `bramble.toml`: the one text file in which a person sets up a card, on whatever computer is at hand.
//!
//! The builder of cards writes it ([`render`]), the agent reads it at boot ([`parse`]), and wipes the token out of it
//! once that has done its work ([`wipe`]). What is wrong is said for somebody who has never seen TOML, with the line.
//!
//! In reading order: [`Settings`], `parse` with `syntax` (what a broken line may have meant) and `check` (what a value
//! may be), [`render`], [`wipe`].
//!
//! Absent on purpose: files, the clock, the network; and the meaning of `[agent]` and `[server]`, whose programs check
//! their own settings.

mod check;
mod parse;
mod problem;
mod render;
mod settings;
mod syntax;
mod wipe;

pub use parse::parse;
pub use problem::{Problem, Problems};
pub use render::render;
pub use settings::{FILE_BYTES_MAX, Network, Role, Secret, Settings, Wifi};
pub use wipe::{holds_token, wipe};
