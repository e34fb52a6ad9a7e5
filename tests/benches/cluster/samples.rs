//! Durations and their percentiles.

use std::time::Duration;

#[derive(Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    pub fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// In milliseconds; 0 where there is no sample.
    pub fn percentile_ms(&mut self, percent: usize) -> f64 {
        self.0.sort();
        let index = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(index).copied().unwrap_or_default().as_secs_f64() * 1000.0
    }
}
