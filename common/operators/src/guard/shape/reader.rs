//! The reader of a text: nesting, names, and what is left out.

use std::hash::{DefaultHasher, Hasher};
use std::mem;

use super::{DYNAMIC_FILTER, Field, LEFT_OUT, Reading, is_operator, is_special, left_out_of};

/// Reads from a place in a text.
pub(super) struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// True within what is left out.
    is_in_gap: bool,
    reading: Reading<'t>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, is_in_gap: false, reading: Reading::default() }
    }

    /// A reader within the brackets of a value that has fields.
    pub(super) fn of_fields(text: &'t str) -> Self {
        let at = text.find('{').map_or(text.len(), |open| open + 1);
        Self { at, ..Self::new(text) }
    }

    pub(super) fn read(mut self) -> Reading<'t> {
        self.reading.hash = self.hash_of_value();
        self.reading
    }

    /// Names and texts of the fields from here on.
    pub(super) fn texts(mut self) -> Vec<(&'t str, &'t str)> {
        let mut texts = Vec::new();
        self.fields(&[], |reader, name, from, _| {
            texts.push((name, reader.text.get(from..reader.at).unwrap_or_default()));
        });
        texts
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn hash_of_value(&mut self) -> u64 {
        let mut hash = DefaultHasher::new();
        self.value(&mut hash);
        hash.finish()
    }

    /// Reads up to a comma or a closing bracket that belongs to what is around the value.
    fn value(&mut self, hash: &mut DefaultHasher) {
        let mut hashed = self.at;
        let mut depth = 0_u32;
        while let Some(byte) = self.byte() {
            match byte {
                b'"' if self.is_after_scalar() => self.skip_plain_text(),
                b'"' => self.skip_text(),
                b'[' | b'(' => depth += 1,
                b']' | b')' | b'}' if depth == 0 => break,
                b']' | b')' | b'}' => depth -= 1,
                b',' if depth == 0 => break,
                b'{' => {
                    let name = self.name_before();
                    if name.is_empty() || is_special(name) {
                        self.hash_from(hashed, hash);
                        self.special(name, hash);
                        hashed = self.at;
                        continue;
                    }
                    depth += 1;
                }
                _ => {}
            }
            self.at += 1;
        }
        self.hash_from(hashed, hash);
    }

    fn hash_from(&self, from: usize, hash: &mut DefaultHasher) {
        hash.write(
            self.text.as_bytes().get(from..self.at.min(self.text.len())).unwrap_or_default(),
        );
    }

    /// Returns true if a text begins here that DataFusion writes as it is: `Utf8("5" high")`.
    fn is_after_scalar(&self) -> bool {
        let before = &self.text[..self.at];
        ["Utf8(", "Utf8View("].iter().any(|name| before.ends_with(name))
    }

    /// Passes over a text as it is, to the quote that its bracket and what comes behind a value follow. One with all
    /// that in it ends too early: then equal plans may look different, and different ones never equal.
    fn skip_plain_text(&mut self) {
        self.at += 1;
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_end = |(at, _): &(usize, &str)| {
            let behind = rest.as_bytes().get(at + 2);
            behind.is_none_or(|byte| matches!(byte, b',' | b')' | b']' | b'}' | b' '))
        };
        let end = rest.match_indices("\")").find(is_end);
        self.at += end.map_or(rest.len(), |(at, _)| at);
    }

    /// Passes over a text, from its opening quote to its closing one.
    fn skip_text(&mut self) {
        self.at += 1;
        while let Some(byte) = self.byte() {
            match byte {
                b'"' => return,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    /// The name of the type whose fields begin here; empty for a map or set.
    fn name_before(&self) -> &'t str {
        let Some(before) = self.text[..self.at].strip_suffix(' ') else { return "" };
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let start = before.trim_end_matches(is_part).len();
        &before[start..]
    }

    /// The fields between brackets, the opening one being here.
    fn special(&mut self, name: &'t str, hash: &mut DefaultHasher) {
        self.at += 1;
        if name.is_empty() {
            return self.entries(hash);
        }
        if LEFT_OUT.contains(&name) {
            self.gap(Self::rest);
            self.at += usize::from(self.byte().is_some());
            return;
        }
        if name == DYNAMIC_FILTER {
            return self.dynamic_filter(hash);
        }
        let is_operator = is_operator(name);
        self.fields(left_out_of(name), |reader, field, _, value| {
            if is_operator {
                reader.reading.fields.push(Field { operator: name, name: field, value });
            } else {
                hash.write_u64(value);
            }
        });
    }

    /// Reads what says nothing.
    fn gap(&mut self, read: impl FnOnce(&mut Self)) {
        let (from, outer) = (self.at, mem::replace(&mut self.is_in_gap, true));
        read(self);
        self.is_in_gap = outer;
        if !outer {
            let end = self.text.len();
            self.reading.gaps.push(from.min(end)..self.at.min(end));
        }
    }

    /// Passes over values, up to the closing bracket.
    fn rest(&mut self) {
        self.hash_of_value();
        while self.byte() == Some(b',') {
            self.at += 1;
            self.hash_of_value();
        }
    }

    /// The columns are those it was moved to, if it was moved.
    fn dynamic_filter(&mut self, hash: &mut DefaultHasher) {
        let mut columns = "";
        self.fields(&[], |reader, field, from, _| {
            let value = reader.text.get(from..reader.at).unwrap_or_default();
            match (field, value.strip_prefix("Some(")) {
                ("children", _) => columns = value,
                ("remapped_children", Some(moved)) => {
                    columns = moved.strip_suffix(')').unwrap_or(moved);
                }
                _ => {}
            }
        });
        Reader::new(columns).value(hash);
    }

    /// Reads fields up to the closing bracket; `each` gets the name of one, where its value began,
    /// and its hash.
    fn fields(&mut self, left_out: &[&str], mut each: impl FnMut(&mut Self, &'t str, usize, u64)) {
        while self.enter() {
            let name = self.field_name();
            let from = self.at;
            if left_out.contains(&name) {
                self.gap(|reader| {
                    reader.hash_of_value();
                });
            } else {
                let value = self.hash_of_value();
                each(self, name, from, value);
            }
        }
    }

    /// Entries in any order.
    fn entries(&mut self, hash: &mut DefaultHasher) {
        let (mut sum, mut count) = (0_u64, 0_u64);
        while self.enter() {
            sum = sum.wrapping_add(self.hash_of_value());
            count += 1;
        }
        hash.write_u64(sum);
        hash.write_u64(count);
    }

    /// Moves to the next of several values; past the closing bracket if there is none.
    fn enter(&mut self) -> bool {
        while let Some(byte) = self.byte() {
            match byte {
                b',' | b' ' => self.at += 1,
                b'}' | b']' | b')' => {
                    self.at += 1;
                    return false;
                }
                _ => return true,
            }
        }
        false
    }

    fn field_name(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = rest.len() - rest.trim_start_matches(is_part).len();
        if !rest[length..].starts_with(": ") {
            return "";
        }
        self.at += length + 2;
        &rest[..length]
    }
}
