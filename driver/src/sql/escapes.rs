//! `LIKE ... ESCAPE c`, written with a backslash: DataFusion knows no other character.
//!
//! In a pattern that is computed, backslashes are doubled first, and then the character becomes one, but where it
//! stands twice: there it is itself.

use datafusion::sql::sqlparser::ast::{Expr, Value, ValueWithSpan};

use super::arrays::call;

/// Writes the pattern. A constant one that ends with the character stays, and is refused.
pub(super) fn written_out(expr: &mut Expr) {
    let (Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. }) = expr
    else {
        return;
    };
    let Some(ValueWithSpan { value: Value::SingleQuotedString(escape), .. }) = escape_char else {
        return;
    };
    let mut escapes = escape.chars();
    let (Some(escape), None) = (escapes.next(), escapes.next()) else { return };
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) =
        pattern.as_mut()
    else {
        if escape != '\\' {
            let computed = std::mem::replace(pattern.as_mut(), text(""));
            **pattern = computed_with_backslashes(computed, escape);
        }
        *escape_char = None;
        return;
    };
    if let Some(written) = with_backslashes(text, escape) {
        *text = written;
        *escape_char = None;
    }
}

/// The expression of a pattern that is computed.
fn computed_with_backslashes(pattern: Expr, escape: char) -> Expr {
    // Of private characters, which no text has.
    const ITSELF: &str = "\u{e000}escape\u{e000}";
    let is_wildcard = matches!(escape, '%' | '_');
    let escape = escape.to_string();
    let itself = if is_wildcard { format!(r"\{escape}") } else { escape.clone() };
    let steps = [(r"\", r"\\"), (&escape.repeat(2), ITSELF), (&escape, r"\"), (ITSELF, &itself)];
    steps
        .into_iter()
        .fold(pattern, |pattern, (from, to)| call("replace", vec![pattern, text(from), text(to)]))
}

fn text(text: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(text.to_owned()))
}

fn with_backslashes(pattern: &str, escape: char) -> Option<String> {
    let mut written = String::new();
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        let (char, is_plain) = if char == escape { (chars.next()?, true) } else { (char, false) };
        if char == '\\' || (is_plain && matches!(char, '%' | '_')) {
            written.push('\\');
        }
        written.push(char);
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_the_same_with_a_backslash() {
        for (pattern, escape, same) in [
            ("10!%", '!', Some(r"10\%")),
            ("a!_b_", '!', Some(r"a\_b_")),
            ("a!!b", '!', Some("a!b")),
            (r"a\b", '!', Some(r"a\\b")),
            (r"a\%", '\\', Some(r"a\%")),
            (r"a\\", '\\', Some(r"a\\")),
            ("a!", '!', None),
        ] {
            assert_eq!(with_backslashes(pattern, escape).as_deref(), same, "{pattern}");
        }
    }
}
