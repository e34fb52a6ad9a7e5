//! `bramble-agent doctor`: what this machine has and lacks for being a node, with the very line to add.
//!
//! Nothing is changed and nothing of a running agent is disturbed. Essential is what no pod runs without.

pub mod kernel;
pub mod place;
mod users;

use std::io::IsTerminal;

use crate::config::Config;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// A node works without it, or it cannot be told.
    Doubtful,
    /// No node without it.
    Missing,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub what: String,
    pub verdict: Verdict,
    /// What was seen, and what helps.
    pub words: String,
}

impl Finding {
    pub fn good(what: impl Into<String>, words: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Good, words: words.into() }
    }

    pub fn doubtful(what: impl Into<String>, words: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Doubtful, words: words.into() }
    }

    pub fn missing(what: impl Into<String>, words: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Missing, words: words.into() }
    }
}

/// Checks and prints; false where something essential is missing.
pub fn run(config: &Config) -> bool {
    let mut findings = kernel::check();
    findings.push(users::check(&config.layout.root));
    findings.extend(place::check(config));
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    print!("{}", render(&findings, colours));
    findings.iter().all(|finding| finding.verdict != Verdict::Missing)
}

fn render(findings: &[Finding], colours: bool) -> String {
    let width = findings.iter().map(|finding| finding.what.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for Finding { what, verdict, words } in findings {
        let (sign, colour) = match verdict {
            Verdict::Good => ("ok     ", "32"),
            Verdict::Doubtful => ("look   ", "33"),
            Verdict::Missing => ("MISSING", "31"),
        };
        let sign = if colours { format!("\x1b[{colour}m{sign}\x1b[0m") } else { sign.to_owned() };
        let gap = " ".repeat(width - what.chars().count());
        out += &format!("{sign}  {what}{gap}  {words}\n");
    }
    let missing = findings.iter().filter(|finding| finding.verdict == Verdict::Missing).count();
    out += &match missing {
        0 => "\nThis machine can be a node.\n".to_owned(),
        1 => "\nThis machine cannot be a node yet: one essential thing is missing.\n".to_owned(),
        count => format!("\nThis machine cannot be a node yet: {count} essential things are missing.\n"),
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_stands_out_and_is_counted() {
        let findings = [Finding::good("veth", "there"), Finding::missing("memory cgroup", "add it")];
        let expected = "ok       veth           there\nMISSING  memory cgroup  add it\n\n\
                        This machine cannot be a node yet: one essential thing is missing.\n";
        assert_eq!(render(&findings, false), expected);
        assert!(render(&findings, true).contains("\x1b[31mMISSING"));
    }
}
