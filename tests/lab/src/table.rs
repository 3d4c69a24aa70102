//! One look for the lab's tables: a line under the header, at most 80 columns.
//! They are read in a terminal and pasted into pull requests.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width};

/// Numbers stand at the right, in the columns that are named by `numbers`; only the
/// column `wraps` may be broken into lines.
pub fn table<const N: usize>(
    header: [&str; N],
    rows: Vec<[String; N]>,
    numbers: &[usize],
    wraps: usize,
) -> String {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new().header_separator(LineStyle::new('─', '─', '─', '─')))
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(80)
        .set_header(header);
    table.add_rows(rows);
    for column in (0..N).filter(|n| *n != wraps) {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    // Rather a line over the edge than words cut into letters.
    if let Some(column) = table.column_mut(wraps) {
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(16)));
    }
    for number in numbers {
        if let Some(column) = table.column_mut(*number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_that_wraps_is_never_so_narrow_that_words_are_cut() {
        let row =
            ["service-unreachable".repeat(2), "a-long-name-of-a-variant".into(), "@codebase-mcp".into()];
        let text = table(["cause", "variant", "found first"], vec![row], &[], 2);
        assert!(text.contains("@codebase-mcp"), "{text}");
    }
}
