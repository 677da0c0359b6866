//! Columns as wide as what stands in them, with nothing behind the last.

/// A table with a head.
pub struct Table {
    rows: Vec<Vec<String>>,
}

/// Between two columns.
const GAP: &str = "  ";

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&h| h.to_owned()).collect()] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The whole, without a final newline.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> =
            (0..columns).map(|i| self.rows.iter().filter_map(|row| row.get(i)).map(|cell| width(cell)).max().unwrap_or(0)).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, most)| format!("{cell}{}", " ".repeat(most - width(cell))));
            cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Characters that are seen: colours are not.
fn width(cell: &str) -> usize {
    let mut seen = 0;
    let mut hidden = false;
    for c in cell.chars() {
        match (c, hidden) {
            ('\x1b', _) => hidden = true,
            ('m', true) => hidden = false,
            (_, true) => {}
            (_, false) => seen += 1,
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_whatever_their_colours() {
        let mut table = Table::new(&["A", "STATE", "B"]);
        table.row(vec!["one".into(), "\x1b[31mstuck\x1b[0m".into(), "x".into()]);
        table.row(vec!["three".into(), "running".into(), String::new()]);
        assert_eq!(table.text(), "A      STATE    B\none    \x1b[31mstuck\x1b[0m    x\nthree  running");
    }
}
