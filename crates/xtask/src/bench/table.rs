//! The one table.

use std::io::Write as _;

use anyhow::Result;

/// Rows of what was measured, in Markdown.
pub(super) struct Table {
    machine: String,
    rows: Vec<[String; 4]>,
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
        self.add(what, figure, goal, "");
    }

    /// Adds a figure with its goal and whether it is met.
    pub(super) fn goal(&mut self, what: &str, figure: String, goal: &str, is_met: bool) {
        self.add(what, figure, goal, if is_met { "yes" } else { "NO" });
    }

    fn add(&mut self, what: &str, figure: String, goal: &str, met: &str) {
        crate::tree::say(&format!("  {what}: {figure} {goal} {met}"));
        let row = [what.to_owned(), figure, goal.to_owned(), met.to_owned()];
        self.rows.push(row);
    }

    /// Writes it to standard output.
    pub(super) fn print(&self) -> Result<()> {
        std::io::stdout().lock().write_all(self.text().as_bytes())?;
        Ok(())
    }

    fn text(&self) -> String {
        let head = [self.machine.as_str(), "measured", "goal", "met"].map(str::to_owned);
        let all = || std::iter::once(&head).chain(&self.rows);
        let width = |column: usize| {
            all()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or_default()
        };
        let [w, x, y, z] = [width(0), width(1), width(2), width(3)];
        let line = |row: &[String; 4]| {
            let [a, b, c, d] = row;
            format!("| {a:<w$} | {b:>x$} | {c:>y$} | {d:<z$} |\n")
        };
        let dashes = |width: usize| "-".repeat(width + 1);
        let rule = format!(
            "|{}-|{}:|{}:|{}-|\n",
            dashes(w),
            dashes(x),
            dashes(y),
            dashes(z)
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
        table.goal("a", "1 ms".to_owned(), "<= 2 ms", true);
        let expected = "\n| two cores | measured |    goal | met |\n|-----------|---------:|--------:|-----|\n| a         |     1 ms | <= 2 ms | yes |\n";
        assert_eq!(table.text(), expected);
    }
}
