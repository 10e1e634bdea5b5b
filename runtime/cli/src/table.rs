//! Plain text tables: columns padded to their widest cell, numbers to the right.

/// Renders rows under a header.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let numeric = |column: usize| {
        rows.iter()
            .filter_map(|r| r.get(column))
            .all(|c| c.is_empty() || c.starts_with(|x: char| x.is_ascii_digit() || x == '-'))
    };
    let right: Vec<bool> = (0..header.len()).map(numeric).collect();
    let line = |cells: Vec<&str>| {
        let mut out = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let pad = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            if column > 0 {
                out.push_str("  ");
            }
            if right[column] {
                out.push_str(&pad);
                out.push_str(cell);
            } else {
                out.push_str(cell);
                out.push_str(&pad);
            }
        }
        format!("{}\n", out.trim_end())
    };
    let mut out = line(header.to_vec());
    out.push_str(&line(widths.iter().map(|w| RULE.get(..3 * w).unwrap_or(RULE)).collect()));
    for row in rows {
        out.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    out
}

/// Enough of a horizontal rule for any column (three bytes a character).
const RULE: &str = "────────────────────────────────────────────────────────────────────────────────";

/// A number with the digits that matter.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_string(),
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}

/// Bytes in binary units.
pub fn bytes(value: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = value as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_stand_to_the_right() {
        let rows = vec![vec!["a".to_string(), "1".to_string()], vec!["bcd".to_string(), "100".to_string()]];
        let text = super::render(&["name", "ms"], &rows);
        assert_eq!(text, "name   ms\n────  ───\na       1\nbcd   100\n");
    }
}
