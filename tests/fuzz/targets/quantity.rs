//! Quantities: what is read is written so that it reads the same.
#![no_main]

use control_api::Quantity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(quantity) = Quantity::parse(text) else { return };
    let (_, milli, _) = (quantity.units(), quantity.milli(), quantity.round_up_to_milli());
    let again = Quantity::parse(&quantity.to_string()).expect("a printed quantity can be read");
    assert_eq!(again.milli(), milli, "{text} is printed as {quantity}");
    let _ = quantity.checked_add(&again);
    let _ = quantity.checked_sub(&again);
});
