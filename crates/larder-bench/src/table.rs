//! Table: figures in Markdown, which reads well as it is.

/// A cell of what was not measured.
pub(crate) const NOTHING: &str = "–";

/// In Markdown, and aligned for those who read it as it is. Columns without a figure are left out.
pub(crate) fn table(columns: &[String], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let is_empty = |column: usize| rows.iter().all(|row| row[column] == NOTHING);
    let shown: Vec<_> = (0..columns.len()).filter(|column| !is_empty(*column)).collect();
    let pick = |row: &[String]| shown.iter().map(|column| row[*column].clone()).collect::<Vec<_>>();
    let (columns, rows) = (pick(columns), rows.iter().map(|row| pick(row)).collect::<Vec<_>>());
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&columns[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default().max(3)
    };
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let body = rows.iter().map(|row| line(row));
    [line(&columns), line(&rule)].into_iter().chain(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_empty_ones_are_left_out() {
        let columns = ["".to_owned(), "b".to_owned()];
        let columns = [&columns[..], &["c".to_owned()]].concat();
        let rows = vec![["µµµµ", "1", NOTHING].map(str::to_owned).to_vec()];
        assert_eq!(table(&columns, rows), "|      | b   |\n| ---- | --- |\n| µµµµ | 1   |\n");
    }
}
