//! Three figures of the same thing.

use crate::samples::Samples;
use crate::table::{Row, Table, Unit};

const NAMES: [&str; 3] = ["agent-runtime", "crun", "runc"];

/// Ours, crun's, runc's.
#[derive(Default)]
pub struct Sides([Samples; 3]);

impl Sides {
    pub fn add(&mut self, samples: [std::time::Duration; 3]) {
        for (side, sample) in self.0.iter_mut().zip(samples) {
            side.add(sample);
        }
    }

    /// A row for each side.
    pub fn show(&mut self, what: &str, percent: usize, table: &mut Table) {
        let values = self.0.each_mut().map(|samples| samples.percentile_ms(percent));
        show_ms(&format!("{what}, p{percent}"), values, table);
    }
}

/// A row for each side, and what ours and runc's are of crun's.
pub fn show_ms(what: &str, values: [f64; 3], table: &mut Table) {
    for (name, value) in NAMES.iter().zip(values) {
        table.push(Row::new(format!("{what}: {name}"), value, Unit::Milliseconds));
    }
    for at in [0, 2] {
        table.push(Row::new(format!("{what}: {} to crun", NAMES[at]), values[at] / values[1], Unit::Ratio));
    }
}
