//! The one table.

use std::io::Write as _;

use anyhow::Result;

/// Rows of what was measured, in Markdown.
pub(super) struct Table {
    machine: String,
    rows: Vec<[String; 3]>,
}

impl Table {
    pub(super) fn new(machine: &str) -> Self {
        Self {
            machine: machine.to_owned(),
            rows: Vec::new(),
        }
    }

    /// Adds a figure with what it should be; `""` when nothing is promised.
    pub(super) fn row(&mut self, what: &str, figure: String, goal: &str) {
        crate::tree::say(&format!("  {what}: {figure}"));
        self.rows.push([what.to_owned(), figure, goal.to_owned()]);
    }

    /// Writes it to standard output.
    pub(super) fn print(&self) -> Result<()> {
        std::io::stdout().lock().write_all(self.text().as_bytes())?;
        Ok(())
    }

    fn text(&self) -> String {
        let head = [
            self.machine.clone(),
            "measured".to_owned(),
            "goal".to_owned(),
        ];
        let all = || std::iter::once(&head).chain(&self.rows);
        let width = |column: usize| {
            all()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths = [width(0), width(1), width(2)];
        let line = |row: &[String; 3]| {
            let [a, b, c] = row;
            let [x, y, z] = widths;
            format!("| {a:<x$} | {b:>y$} | {c:>z$} |\n")
        };
        let rule = format!(
            "|{}|{}:|{}:|\n",
            "-".repeat(widths[0] + 2),
            "-".repeat(widths[1] + 1),
            "-".repeat(widths[2] + 1)
        );
        let rows: String = self.rows.iter().map(line).collect();
        format!("\n{}{rule}{rows}", line(&head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new("two cores");
        table.row("a", "1 ms".to_owned(), "<= 2 ms");
        let expected = "\n| two cores | measured |    goal |\n|-----------|---------:|--------:|\n| a         |     1 ms | <= 2 ms |\n";
        assert_eq!(table.text(), expected);
    }
}
