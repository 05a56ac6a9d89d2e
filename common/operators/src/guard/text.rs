//! `Debug` texts that are kept, and compared with values as those are written.
//!
//! A value that has the kept text is seen without making a text of it: what it writes is compared
//! piece by piece. Gaps, which say nothing of the answer ([`super::shape`]), are passed over.
//!
//! ```text
//! kept     SortExec { fetch: Some(3), cache: PlanProperties {|}, filter: None }
//! written  SortExec { fetch: Some(3), cache: PlanProperties { … }, filter: None }
//! ```
//!
//! A value that writes anything else may still be the same, as maps are written in any order. It is
//! read field by field, as is the kept text.

use std::fmt::{self, Debug, Write};

use super::shape;
use crate::debug_text::{TEXT_BYTES_MAX, debug_text};

/// Bytes of a value's text that are compared at most, gaps among them: more than are kept.
const COMPARED_BYTES_MAX: usize = 4 * TEXT_BYTES_MAX;

/// The text of a value.
pub(super) struct Text {
    /// The text without the contents of its gaps.
    text: String,
    /// Places of the gaps in the text, ascending.
    gaps: Vec<usize>,
    /// True if the value writes more than is kept.
    is_cut: bool,
}

impl Text {
    pub(super) fn of(value: &dyn Debug) -> Self {
        let (whole, is_cut) = debug_text(value);
        let (mut text, mut gaps, mut from) = (String::new(), Vec::new(), 0);
        for gap in shape::read(&whole).gaps {
            text.push_str(&whole[from..gap.start]);
            gaps.push(text.len());
            from = gap.end;
        }
        text.push_str(&whole[from..]);
        text.shrink_to_fit();
        Self { text, gaps, is_cut }
    }

    /// True if the value is the same as the one this is the text of.
    pub(super) fn is_of(&self, value: &dyn Debug) -> bool {
        self.is_written_by(value) || shape::of(value) == shape::of_text(&self.text)
    }

    /// The first field, with its operator, that an operator differs in from this one.
    pub(super) fn different_field(&self, operator: &dyn Debug) -> Option<(String, String)> {
        if self.is_written_by(operator) {
            return None;
        }
        let (text, _) = debug_text(operator);
        let field = shape::difference(&text, &self.text)?;
        Some((field.operator.to_owned(), field.name.to_owned()))
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + size_of_val(self.gaps.as_slice())
    }

    /// True if the value writes the kept text. A cut text is compared up to where either of the two is cut: that is not
    /// one place, since what stands in gaps may be longer in one of them.
    fn is_written_by(&self, value: &dyn Debug) -> bool {
        let (room, is_different) = (COMPARED_BYTES_MAX, false);
        let mut comparing = Comparing { kept: self, at: 0, gaps: 0, gap: None, room, is_different };
        let is_written = write!(comparing, "{value:?}").is_ok();
        let is_whole = comparing.at == self.text.len() && comparing.gaps == self.gaps.len();
        match is_written {
            true => is_whole && (self.is_cut || comparing.gap.is_none()),
            false => self.is_cut && !comparing.is_different,
        }
    }
}

/// Takes what is written as long as it is the kept text.
struct Comparing<'t> {
    kept: &'t Text,
    at: usize,
    /// Number of gaps up to here.
    gaps: usize,
    /// The gap that is being written.
    gap: Option<Gap>,
    /// Bytes that may still be written.
    room: usize,
    /// True once something else was written than the kept text.
    is_different: bool,
}

impl Write for Comparing<'_> {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let mut more = more.as_bytes();
        self.room = self.room.checked_sub(more.len()).ok_or(fmt::Error)?;
        while !more.is_empty() {
            more = match &mut self.gap {
                None => self.compared(more)?,
                Some(gap) => match gap.passed(more) {
                    None => return Ok(()),
                    Some(rest) => {
                        self.gap = None;
                        rest
                    }
                },
            };
        }
        Ok(())
    }
}

impl Comparing<'_> {
    /// The rest of what is written, from where the next gap begins; an error if anything before it differs.
    fn compared<'m>(&mut self, more: &'m [u8]) -> Result<&'m [u8], fmt::Error> {
        let text = self.kept.text.as_bytes();
        let gap = self.kept.gaps.get(self.gaps).copied();
        let until = gap.unwrap_or(text.len());
        let (these, rest) = more.split_at(more.len().min(until - self.at));
        let end = self.at + these.len();
        let is_longer = gap.is_none() && !rest.is_empty();
        self.is_different |= text[self.at..end] != *these || is_longer && !self.kept.is_cut;
        if self.is_different || is_longer {
            return Err(fmt::Error);
        }
        self.at = end;
        if gap == Some(end) {
            self.gap = Some(Gap::before(text.get(end).copied()));
            self.gaps += 1;
        }
        Ok(rest)
    }
}

/// A place in what is written that says nothing.
struct Gap {
    /// True if a comma ends it, not a closing bracket.
    ends_at_comma: bool,
    /// Brackets that are open.
    depth: u32,
    quoted: Quoted,
}

enum Quoted {
    Not,
    Yes,
    /// Within quotes, after a backslash.
    Escaped,
}

impl Gap {
    fn before(next: Option<u8>) -> Self {
        Self { ends_at_comma: next == Some(b','), depth: 0, quoted: Quoted::Not }
    }

    /// The rest of what is written, from where the gap ends; nothing as long as it goes on.
    fn passed<'m>(&mut self, more: &'m [u8]) -> Option<&'m [u8]> {
        for (at, byte) in more.iter().enumerate() {
            match (&self.quoted, byte) {
                (Quoted::Escaped, _) | (Quoted::Not, b'"') => self.quoted = Quoted::Yes,
                (Quoted::Yes, b'"') => self.quoted = Quoted::Not,
                (Quoted::Yes, b'\\') => self.quoted = Quoted::Escaped,
                (Quoted::Not, b'[' | b'(' | b'{') => self.depth += 1,
                (Quoted::Not, b']' | b')' | b'}') if self.depth > 0 => self.depth -= 1,
                (Quoted::Not, b']' | b')' | b'}') => return Some(&more[at..]),
                (Quoted::Not, b',') if self.depth == 0 && self.ends_at_comma => {
                    return Some(&more[at..]);
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Writes a text in pieces of one length.
    struct Pieces(&'static str, usize);

    impl Debug for Pieces {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let pieces = self.0.as_bytes().chunks(self.1);
            pieces
                .map(|piece| std::str::from_utf8(piece).unwrap())
                .try_for_each(|it| f.write_str(it))
        }
    }

    const KEPT: &str = "AExec { one: \"a\", cache: PlanProperties { b: [1] }, two: Inner { \
                        expression_id: 1, generation: 7, expr: x }, three: {1, 2} }";

    fn is_same(other: &'static str) -> bool {
        let text = Text::of(&Pieces(KEPT, 1000));
        let lengths = [1, 2, 3, 7, 1000];
        let all = lengths.map(|length| text.is_of(&Pieces(other, length)));
        let fast = lengths.map(|length| text.is_written_by(&Pieces(other, length)));
        assert!(all.iter().all(|same| *same == all[0]) && fast.iter().all(|it| *it == fast[0]));
        let same = text.different_field(&Pieces(other, 9)).is_none();
        assert!(same || !fast[0], "{other}");
        same
    }

    #[test]
    fn what_is_written_into_a_gap_says_nothing() {
        assert!(is_same(KEPT));
        for gap in ["", " c: \"}\\\"}\" ", " {(,)} , ", " b: [1, 2], c: 3 "] {
            let text = KEPT.replace(" b: [1] ", gap).replace("generation: 7", "generation: (8, 9)");
            let text: &'static str = text.leak();
            assert!(is_same(text), "{gap}");
            assert!(Text::of(&Pieces(KEPT, 1000)).is_written_by(&Pieces(text, 4)), "{gap}");
        }
    }

    #[test]
    fn a_change_anywhere_else_is_seen() {
        for (from, to) in [
            ("\"a\"", "\"b\""),
            ("expr: x", "expr: y"),
            ("expr: x", "expr: x, more: 1"),
            (", three: {1, 2}", ""),
            ("{1, 2}", "{1, 3}"),
            ("{1, 2}", "{1, 2}, four: 4"),
            ("one", "other"),
        ] {
            assert!(!is_same(KEPT.replace(from, to).leak()), "{to}");
        }
    }

    #[test]
    fn entries_may_come_in_any_order() {
        assert!(is_same(KEPT.replace("{1, 2}", "{2, 1}").leak()));
    }

    #[test]
    fn a_text_is_whole() {
        let text = Text::of(&"ab");
        assert!(text.is_of(&"ab"));
        for other in ["a", "abc", "", "\"ab\""] {
            assert!(!text.is_of(&other), "{other}");
        }
    }

    #[test]
    fn of_a_long_text_the_beginning_is_compared() {
        let long = |last: &str| "é".repeat(TEXT_BYTES_MAX / 2) + last;
        let text = Text::of(&long("a"));
        assert!(text.is_of(&long("b")));
        assert!(!text.is_of(&BTreeMap::from([(1, 2)])));
        assert!(!text.is_of(&format!("x{}", long("a"))));
    }
}
