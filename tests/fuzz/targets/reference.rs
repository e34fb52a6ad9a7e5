//! Image references: what is read is printed so that it reads the same.
#![no_main]

use agent_oci::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        let printed = reference.to_string();
        let again: Reference =
            printed.parse().unwrap_or_else(|error| panic!("{text} is printed as {printed}: {error}"));
        assert_eq!(again.to_string(), printed);
        assert!(!reference.repository.split('/').any(|part| part == ".."), "{printed} climbs");
    }
});
