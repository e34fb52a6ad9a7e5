//! The one table at the end: what was measured beside its budget, and what peers need for the same.

use std::fmt::{self, Display, Formatter};

#[derive(Clone, Copy)]
pub enum Unit {
    Mebibytes,
    Megabytes,
    Percent,
    Milliseconds,
    Seconds,
    PerSecond,
    Ratio,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::Megabytes => format!("{value:.1} MB"),
            Self::Percent => format!("{value:.2} %"),
            Self::Milliseconds => format!("{value:.1} ms"),
            Self::Seconds => format!("{value:.2} s"),
            Self::PerSecond => format!("{value:.0} /s"),
            Self::Ratio => format!("{value:.3}"),
        }
    }
}

pub struct Row {
    what: String,
    value: f64,
    unit: Unit,
    budget: Option<(f64, bool)>,
    beside: String,
    peers: &'static str,
}

impl Row {
    pub fn new(what: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self { what: what.into(), value, unit, budget: None, beside: String::new(), peers: "" }
    }

    /// Its budget is met by this or less.
    pub fn at_most(mut self, budget: f64) -> Self {
        self.budget = Some((budget, self.value <= budget));
        self
    }

    /// Its budget is met by this or more.
    pub fn at_least(mut self, budget: f64) -> Self {
        self.budget = Some((budget, self.value >= budget));
        self
    }

    /// What the same run says of something comparable.
    pub fn beside(mut self, text: impl Into<String>) -> Self {
        self.beside = text.into();
        self
    }

    /// Upstream's and k3s's figures from the reference machine.
    pub fn peers(mut self, text: &'static str) -> Self {
        self.peers = text;
        self
    }

    fn cells(&self) -> [String; 6] {
        let (budget, met) = match self.budget {
            Some((budget, met)) => (self.unit.show(budget), if met { "yes" } else { "NO" }),
            None => (String::new(), ""),
        };
        let text = str::to_owned;
        [self.what.clone(), self.unit.show(self.value), budget, text(met), self.beside.clone(), text(self.peers)]
    }
}

#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    /// Adds a row and prints it at once: a bench takes minutes.
    pub fn push(&mut self, row: Row) {
        let [what, measured, budget, met, beside, _] = row.cells();
        eprintln!("  {what}: {measured} (budget {budget} {met}) {beside}");
        self.0.push(row);
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let head = ["what", "measured", "budget", "met", "in the same run", "upstream; k3s"].map(str::to_owned);
        let rows: Vec<[String; 6]> = std::iter::once(head).chain(self.0.iter().map(Row::cells)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..6).map(width).collect();
        for (number, row) in rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "| {} |", cells.join(" | "))?;
            if number == 0 {
                let line: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                writeln!(f, "|-{}-|", line.join("-|-"))?;
            }
        }
        Ok(())
    }
}
