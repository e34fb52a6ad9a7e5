//! Query strings, the options in them, and continue tokens.
#![no_main]

use control_apiserver::decode::{delete_options, write_options};
use control_apiserver::list::Window;
use control_apiserver::query::Query;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let query = Query::parse(text);
    let _ = Window::parse(&query);
    if let Ok(mut options) = write_options(&query) {
        let _ = delete_options("", query.text("body").as_bytes(), &query, &mut options);
    }
});
