//! The text of a table's cell, and its width on a terminal.
//!
//! A line feed begins another line of the cell. Every other control character is escaped: a value
//! must not move the cursor or colour the terminal of who looks at it.

use std::fmt::{Display, Write as _};
use std::io;

use unicode_width::UnicodeWidthStr as _;

/// Appends a value to a cell.
///
/// # Errors
///
/// The value can't be shown.
pub(super) fn push_cell(cell: &mut String, value: &impl Display) -> io::Result<()> {
    let start = cell.len();
    write!(cell, "{value}").map_err(|_| io::Error::other("a value can't be shown"))?;
    if cell[start..].contains(is_escaped) {
        let text = cell.split_off(start);
        for c in text.chars() {
            if is_escaped(c) { cell.extend(c.escape_default()) } else { cell.push(c) }
        }
    }
    Ok(())
}

fn is_escaped(c: char) -> bool {
    c.is_control() && c != '\n'
}

/// The columns of a terminal that a line takes: wide characters take two.
pub(super) fn width(line: &str) -> usize {
    if line.is_ascii() { line.len() } else { line.width() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_lines_kept() {
        let mut cell = String::from("\u{1b}");
        push_cell(&mut cell, &"a\tb\r\nc\u{1b}[31md\u{9b}").expect("shown");
        assert_eq!(cell, "\u{1b}a\\tb\\r\nc\\u{1b}[31md\\u{9b}");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        for (line, columns) in [("abc", 3), ("日本", 4), ("é", 1), ("e\u{301}", 1), ("🦀", 2)]
        {
            assert_eq!(width(line), columns, "{line}");
        }
    }
}
