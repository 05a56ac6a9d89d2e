//! Names that the message of an error quotes, found again in the text of the script: paths and
//! keys, which DataFusion gives no place.

use std::ops::ControlFlow;
use std::path::Path;

use datafusion::common::{Location, Span};
use datafusion::sql::sqlparser::ast::{ObjectNamePart, Statement, visit_relations};
use gnist_storage::is_path;

/// The place of the first name in backticks that stands in the text, from a line on; else of the
/// path in place of a table that the message is about.
pub(super) fn quoted_span(
    text: &str,
    from_line: u64,
    statement: Option<&Statement>,
    message: &str,
) -> Option<Span> {
    let quoted = message.split('`').skip(1).step_by(2).filter(|name| !name.is_empty());
    let found = quoted.into_iter().find_map(|name| find(text, from_line, name));
    found.or_else(|| find(text, from_line, &path_in(statement?, message)?))
}

/// The path in place of a table, of which the message quotes a file.
fn path_in(statement: &Statement, message: &str) -> Option<String> {
    let found = visit_relations(statement, |name| match name.0.last() {
        Some(ObjectNamePart::Identifier(part)) if is_path(&part.value) => {
            let folder = part.value.trim_start_matches("~/").split(['*', '?', '[']).next();
            if folder.is_some_and(|folder| message.contains(folder)) {
                return ControlFlow::Break(part.value.clone());
            }
            ControlFlow::Continue(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.break_value()
}

/// The first place of a name, with the quotes around it.
fn find(text: &str, from_line: u64, name: &str) -> Option<Span> {
    let lines = text.lines().zip(1_u64..).filter(|(_, number)| *number >= from_line);
    let mut found = lines.filter_map(|(line, number)| Some((line, number, line.find(name)?)));
    let (line, number, at) = found.next()?;
    let is_quote = |c: char| matches!(c, '\'' | '"');
    let before = line[..at].chars().count() as u64;
    let opening = u64::from(line[..at].ends_with(is_quote));
    let closing = u64::from(line[at + name.len()..].starts_with(is_quote));
    let start = before + 1 - opening;
    let end = before + 1 + name.chars().count() as u64 + closing;
    Some(Span {
        start: Location { line: number, column: start },
        end: Location { line: number, column: end },
    })
}

/// The quotes, or the slash, that a path lacks which was taken for a table: `from data.csv`.
pub(super) fn path_help(message: &str) -> Option<String> {
    let name = message.strip_prefix("table '")?.strip_suffix("' not found")?;
    if is_path(name) {
        return Some(format!("a path is quoted: `from '{name}'`"));
    }
    Path::new(name).is_dir().then(|| format!("a folder is read by a path: `from './{name}'`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, message: &str) -> Option<(u64, u64, u64)> {
        let span = quoted_span(text, 1, None, message)?;
        Some((span.start.line, span.start.column, span.end.column))
    }

    #[test]
    fn what_a_message_quotes_is_found_with_its_quotes() {
        let text = "select 1;\nselect * from 'ä.csv' t";
        assert_eq!(place(text, "no such file: `ä.csv`"), Some((2, 15, 22)));
        assert_eq!(place("set a.b = 1", "unknown setting `a.b`"), Some((1, 5, 8)));
        assert_eq!(place("set a.b = 1", "nothing `quoted` here"), None);
        assert_eq!(place("set a.b = 1", "nothing quoted"), None);
    }

    #[test]
    fn an_unquoted_path_lacks_its_quotes() {
        let help = path_help("table 'data.csv' not found");
        assert_eq!(help.as_deref(), Some("a path is quoted: `from 'data.csv'`"));
        assert_eq!(path_help("table 'data' not found"), None);
    }
}
