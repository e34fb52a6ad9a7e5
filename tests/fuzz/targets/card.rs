//! `bramble.toml`, as whatever lies on a card.
#![no_main]

use control_card::{holds_token, parse, render, wipe};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let read = parse(file);
    if let Ok(settings) = &read {
        assert_eq!(parse(render(settings).as_bytes()).as_ref(), Ok(settings));
    }
    let passes = wipe(file, "joined cluster c0ffee on 2026-11-25");
    for pass in &passes {
        assert_eq!(pass.len(), file.len());
    }
    assert!(!passes.last().is_some_and(|last| holds_token(last)));
});
