//! Tables that fit the terminal, without borders.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::text;

/// Rows as aligned columns within `width`, each line indented. The last column takes what is left
/// and wraps; others are at most `limit` wide. All text is made safe.
pub fn plain(rows: &[Vec<String>], indent: usize, width: usize, limit: usize) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width.saturating_sub(indent)).unwrap_or(80));
    for row in rows {
        table.add_row(row.iter().map(|cell| text::line(cell).into_owned()));
    }
    let last = rows.iter().map(Vec::len).max().unwrap_or(1) - 1;
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if i == last { 0 } else { 2 }));
        if i != last {
            let widest =
                rows.iter().filter_map(|r| r.get(i)).map(|c| text::width(&text::line(c))).max().unwrap_or(0);
            let w = u16::try_from(widest.min(limit) + 2).unwrap_or(20);
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(w)));
        }
    }
    let pad = " ".repeat(indent);
    table.lines().map(|l| format!("{pad}{}\n", l.trim_end())).collect()
}
