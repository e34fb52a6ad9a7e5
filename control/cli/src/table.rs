//! Columns for people to read; colours on a terminal only.

use std::io::IsTerminal;

/// What a word is to be taken as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Bad,
    Doubtful,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Bad => Some("31"),
            Self::Doubtful => Some("33"),
        }
    }
}

/// Whether stdout shows colours.
pub fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// `text` in its tone.
pub fn paint(text: &str, tone: Tone, colours: bool) -> String {
    match tone.code().filter(|_| colours) {
        Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
        None => text.to_owned(),
    }
}

/// One cell.
pub type Cell = (String, Tone);

/// A cell without a tone.
pub fn plain(text: impl Into<String>) -> Cell {
    (text.into(), Tone::Plain)
}

/// Rows under their headings, as wide as they need to be.
pub fn render(headings: &[&str], rows: &[Vec<Cell>], colours: bool) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: Vec<(String, Tone)>| {
        let last = cells.len().saturating_sub(1);
        let padded = cells.iter().enumerate().map(|(column, (text, tone))| {
            let gap = if column == last { 0 } else { widths[column] + 3 - text.chars().count() };
            format!("{}{}", paint(text, *tone, colours), " ".repeat(gap))
        });
        padded.collect::<String>()
    };
    let mut lines = vec![line(headings.iter().map(|heading| plain(*heading)).collect())];
    lines.extend(rows.iter().map(|row| line(row.clone())));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_colours_are_asked_for() {
        let rows = vec![vec![plain("pi-long-name"), ("Ready".to_owned(), Tone::Good)], vec![plain("a"), plain("b")]];
        assert_eq!(
            render(&["NAME", "STATUS"], &rows, false),
            "NAME           STATUS\npi-long-name   Ready\na              b\n"
        );
        assert!(render(&["NAME", "STATUS"], &rows, true).contains("\x1b[32mReady\x1b[0m"));
    }
}
