//! Messages without dumps of values of Rust.
//!
//! DataFusion puts the syntax tree or the plan that it can't handle into some of its messages, as
//! `InSubquery(InSubquery { expr: Column(..) .. })`. Users know neither. A dump becomes the name of
//! the outermost value, in words: `in subquery`. Quoted parts are the user's own and stay.

/// DataFusion's words for itself, and the user's for the same.
const PLAIN: [(&str, &str); 8] = [
    ("Unsupported ast node in sqltorel", "Unsupported expression"),
    ("Unsupported ast node", "Unsupported table"),
    (" in create_relation", ""),
    (
        "There is only support Literal types for field at idx: 0 in Window Function",
        "the first argument of this window function must be a constant",
    ),
    (
        "There is only support Literal types for field at idx: 1 in Window Function",
        "the second argument of this window function must be a constant",
    ),
    (
        "There is only support Literal types for field at idx: 2 in Window Function",
        "the third argument of this window function must be a constant",
    ),
    ("[return_type] SUM not supported for Null", "`sum` takes numbers: write `cast(null as int)`"),
    ("AvgAccumulator for (Null --> Float64)", "`avg` takes numbers: write `cast(null as int)`"),
];

/// The message with every dump replaced.
pub(crate) fn without_dumps(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let (mut rest, mut before) = (message, ' ');
    while let Some(first) = rest.chars().next() {
        let (length, dump) = match first {
            '\'' | '"' | '`' if !before.is_alphanumeric() => (quoted(rest, first), None),
            _ if is_in_word(first) => match dump(rest) {
                Some((name, length)) => (length, Some(name)),
                None => (word(rest).len(), None),
            },
            _ => (first.len_utf8(), None),
        };
        let (part, after) = rest.split_at(length);
        match dump {
            Some(name) => out.push_str(&in_words(name)),
            None => out.push_str(part),
        }
        before = part.chars().next_back().unwrap_or(' ');
        rest = after;
    }
    PLAIN.iter().fold(out, |out, (theirs, plain)| out.replace(theirs, plain))
}

/// The length of a text in quotes, or of the quote alone if none closes it.
fn quoted(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(1, |end| end + 2)
}

fn is_in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word(text: &str) -> &str {
    &text[..text.find(|c| !is_in_word(c)).unwrap_or(text.len())]
}

/// The name and the length of the dump that a text begins with.
fn dump(text: &str) -> Option<(&str, usize)> {
    let name = word(text);
    if !is_type(name) {
        return None;
    }
    let after = &text[name.len()..];
    if let Some(fields) = after.strip_prefix(" { ") {
        let has_field = fields[word(fields).len()..].starts_with(": ");
        return has_field.then(|| (name, name.len() + 1 + enclosed(&after[1..])));
    }
    let inside = after.strip_prefix('(')?;
    let inside = inside.strip_prefix('[').unwrap_or(inside);
    let inner = word(inside);
    let opens = [" { ", "("].iter().any(|open| inside[inner.len()..].starts_with(open));
    if !is_type(inner) || !opens {
        return None;
    }
    let shown = if name == "Some" { inner } else { name };
    Some((shown, name.len() + enclosed(after)))
}

/// Returns true for the name of a type of Rust, and not for a keyword or a function of SQL.
fn is_type(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.contains(|c: char| c.is_lowercase())
}

/// The length of the bracket that a text begins with; all of the text if nothing closes it.
fn enclosed(text: &str) -> usize {
    let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if in_text => is_escaped = true,
            '"' => in_text = !in_text,
            '(' | '[' | '{' if !in_text => depth += 1,
            ')' | ']' | '}' if !in_text => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// `InSubquery` as `in subquery`.
fn in_words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    for c in name.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
        before = c;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_named_in_words() {
        for (message, plain) in [
            (
                "Physical plan does not support logical expression InSubquery(InSubquery { expr: \
                 Column(Column { relation: Some(Bare { table: \"t)\" }), name: \"a\" }), negated: false })",
                "Physical plan does not support logical expression in subquery",
            ),
            (
                "Unsupported ast node Pivot { table: Table { name: ObjectName([]) } } in create_relation",
                "Unsupported table pivot",
            ),
            (
                "There is only support Literal types for field at idx: 1 in Window Function",
                "the second argument of this window function must be a constant",
            ),
            (
                "Unsupported LIMIT expression: Some(ScalarSubquery(<subquery>))",
                "Unsupported LIMIT expression: scalar subquery",
            ),
            (
                "Argument #2 must be an INTEGER, got Column(Column { name: \"id\" })!",
                "Argument #2 must be an INTEGER, got column!",
            ),
            ("compound identifier: [Ident { value: \"a\" }, x]", "compound identifier: [ident, x]"),
            (
                "Unsupported JOIN operator AsOf { match_condition: BinaryOp {",
                "Unsupported JOIN operator as of",
            ),
            (
                "got CompoundIdentifier([Ident { value: \"\\\"\" }]) here",
                "got compound identifier here",
            ),
        ] {
            assert_eq!(without_dumps(message), plain);
        }
    }

    #[test]
    fn values_types_and_quoted_text_stay() {
        for message in [
            "can't cast Timestamp(ns) to Dictionary(Int32, Utf8)",
            "Cannot cast string 'Some(Point { x: 1 })' to value of Int64 type",
            "no column `Foo { a: 1 }`",
            "SUM(COUNT(x)) and sum(Int64(1)) over Utf8(\"x\")",
            "a { b: 1 } Ünïcode { not a field }",
            "it's 5 o'clock",
        ] {
            assert_eq!(without_dumps(message), message);
        }
    }
}
