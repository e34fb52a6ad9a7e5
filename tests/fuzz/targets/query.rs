//! Query strings, the options in them, and continue tokens.
#![no_main]

use control_apiserver::decode::{delete_options, write_options};
use control_apiserver::list::fuzz_window;
use control_apiserver::query::Query;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let query = Query::parse(text);
    fuzz_window(&query);
    if let Ok(mut options) = write_options(&query) {
        let _ = delete_options("", query.text("body").as_bytes(), &query, &mut options);
    }
});
