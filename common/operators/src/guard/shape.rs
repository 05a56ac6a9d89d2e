//! `Debug` texts, read field by field into hashes.
//!
//! ```text
//! FilterExec { predicate: …, input: EmptyExec { … }, metrics: … }
//!   EmptyExec   partitions  7f…
//!   FilterExec  predicate   3a…
//!   FilterExec  input       (the name of the operator alone: its fields are its own)
//! ```
//!
//! Derived texts nest by brackets; the entries of maps come in any order, so their hashes are added
//! up. A text of another form is hashed as it stands, so reading never fails: equal texts have equal
//! hashes whatever they hold.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hasher};

use crate::debug_text::debug_text;

/// Types that say nothing of the answer, or that are compared elsewhere.
const LEFT_OUT: &[&str] = &[
    // Measured as the plan runs.
    "ExecutionPlanMetricsSet",
    // Compared as the operator's schema, partitioning and order.
    "PlanProperties",
];

/// Fields that say nothing of the answer, by their type.
const FIELDS_LEFT_OUT: &[(&str, &[&str])] = &[
    // Counted by the process.
    ("Inner", &["expression_id", "generation"]),
    // Which value of the job fills the hole; on the wire that counts from the job's first.
    ("ScalarSubqueryExpr", &["index", "results"]),
    // Made from the body.
    ("CaseExpr", &["eval_method"]),
    // The schema that arguments were planned over, whose names are for errors; a text for EXPLAIN.
    ("AggregateFunctionExpr", &["schema", "human_display"]),
    // Looked at while exchanges are planned.
    ("WindowAggExec", &["can_repartition"]),
    ("BoundedWindowAggExec", &["can_repartition"]),
    // Compared as the schema of the operator, or of the input that it stands for.
    ("EmptyExec", &["schema"]),
    // Follows from the bounds, and is made anew from them: whether rows may be given out early.
    ("WindowFrame", &["is_causal"]),
    // The columns are those of its schema, which is compared.
    ("WorkTableExec", &["projection"]),
];

/// A filter that a running operator updates: of its state only the columns are planned.
const DYNAMIC_FILTER: &str = "DynamicFilterPhysicalExpr";

/// A field of an operator, and the hash of its value.
#[derive(Clone, Debug)]
pub(super) struct Field<S> {
    pub(super) operator: S,
    pub(super) name: S,
    value: u64,
}

impl Field<&str> {
    pub(super) fn to_owned(&self) -> Field<String> {
        let Self { operator, name, value } = *self;
        Field { operator: operator.to_owned(), name: name.to_owned(), value }
    }
}

impl PartialEq<Field<&str>> for Field<String> {
    fn eq(&self, other: &Field<&str>) -> bool {
        self.value == other.value && self.operator == other.operator && self.name == other.name
    }
}

/// The hash of one value.
pub(super) fn of(value: &impl Debug) -> u64 {
    let text = debug_text(value);
    let mut hash = DefaultHasher::new();
    Reader { text: &text, at: 0, visit: &mut |_| () }.value(&mut hash);
    hash.finish()
}

/// Visits the fields of all operators in the `Debug` text of a plan.
pub(super) fn read<'t>(text: &'t str, mut visit: impl FnMut(Field<&'t str>)) {
    let mut whole = DefaultHasher::new();
    Reader { text, at: 0, visit: &mut visit }.value(&mut whole);
}

/// The names of the fields that a `Debug` text shows of one value, for tests that list them.
#[cfg(test)]
pub(crate) fn field_names(value: &impl Debug) -> Vec<String> {
    let text = format!("{value:?}");
    let at = text.find('{').map_or(text.len(), |open| open + 1);
    let mut names = Vec::new();
    Reader { text: &text, at, visit: &mut |_| () }.fields(|_, name, _| names.push(name.to_owned()));
    names
}

struct Reader<'t, 'v> {
    text: &'t str,
    at: usize,
    visit: &'v mut dyn FnMut(Field<&'t str>),
}

impl<'t> Reader<'t, '_> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Reads up to a comma or a closing bracket that belongs to what is around the value.
    fn value(&mut self, hash: &mut DefaultHasher) {
        let mut hashed = self.at;
        let mut depth = 0_u32;
        while let Some(byte) = self.byte() {
            match byte {
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

    /// From an opening quote to its closing one.
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
            return self.fields(|_, _, _| ());
        }
        if name == DYNAMIC_FILTER {
            return self.dynamic_filter(hash);
        }
        let left_out = FIELDS_LEFT_OUT.iter().find(|(of, _)| *of == name);
        let left_out = left_out.map_or(&[] as &[&str], |(_, fields)| fields);
        let is_operator = is_operator(name);
        self.fields(|reader, field, value| {
            if left_out.contains(&field) {
                return;
            }
            if is_operator {
                (reader.visit)(Field { operator: name, name: field, value });
            } else {
                hash.write_u64(value);
            }
        });
    }

    /// The columns are those it was moved to, if it was moved.
    fn dynamic_filter(&mut self, hash: &mut DefaultHasher) {
        let (mut columns, mut from) = ("", self.at);
        self.fields(|reader, field, _| {
            let text = reader.text.get(from..reader.at).unwrap_or_default();
            let value = text.split_once(": ").map_or(text, |(_, value)| value);
            match (field, value.strip_prefix("Some(")) {
                ("children", _) => columns = value,
                ("remapped_children", Some(moved)) => {
                    columns = moved.strip_suffix(')').unwrap_or(moved);
                }
                _ => {}
            }
            from = reader.at;
        });
        Reader { text: columns, at: 0, visit: &mut |_| () }.value(hash);
    }

    fn fields(&mut self, mut each: impl FnMut(&mut Self, &'t str, u64)) {
        while self.enter() {
            let name = self.field_name();
            let mut hash = DefaultHasher::new();
            self.value(&mut hash);
            each(self, name, hash.finish());
        }
    }

    /// Entries in any order.
    fn entries(&mut self, hash: &mut DefaultHasher) {
        let (mut sum, mut count) = (0_u64, 0_u64);
        while self.enter() {
            let mut entry = DefaultHasher::new();
            self.value(&mut entry);
            sum = sum.wrapping_add(entry.finish());
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

fn is_special(name: &str) -> bool {
    is_operator(name)
        || name == DYNAMIC_FILTER
        || LEFT_OUT.contains(&name)
        || FIELDS_LEFT_OUT.iter().any(|(of, _)| *of == name)
}

fn is_operator(name: &str) -> bool {
    name.ends_with("Exec")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn fields(text: &str) -> Vec<String> {
        let mut fields = Vec::new();
        read(text, |field| fields.push(format!("{}.{}", field.operator, field.name)));
        fields
    }

    #[test]
    fn an_operator_has_its_fields_and_its_input_has_its_own() {
        let text = "AExec { one: [B { c: 1 }], input: BExec { two: \"} ,\" }, three: None }";
        assert_eq!(fields(text), ["AExec.one", "BExec.two", "AExec.input", "AExec.three"]);
    }

    #[test]
    fn values_differ_where_their_texts_do() {
        assert_ne!(of(&vec![1, 2]), of(&vec![2, 1]));
        assert_ne!(of(&Some("a")), of(&Some("b")));
        assert_ne!(of(&("a, b", "c")), of(&("a", "b, c")));
        assert_eq!(of(&Some(1.5)), of(&Some(1.5)));
    }

    #[test]
    fn maps_are_equal_whatever_the_order_of_their_entries() {
        let entries = |range: std::ops::Range<u32>| range.map(|n| (n, n * n));
        let one: HashMap<_, _> = entries(0..100).collect();
        let other: HashMap<_, _> = entries(0..100).rev().collect();
        assert_eq!(of(&one), of(&other));
        let less: HashMap<_, _> = entries(0..99).collect();
        assert_ne!(of(&one), of(&less));
    }

    #[test]
    fn a_dynamic_filter_is_its_columns() {
        let filter = |children: &str, moved: &str| {
            let text = format!(
                "AExec {{ f: {DYNAMIC_FILTER} {{ children: {children}, remapped_children: {moved}, \
                 inner: RwLock {{ data: Inner {{ id: 7 }} }} }} }}"
            );
            let mut value = None;
            read(&text, |field| value = Some(field.value));
            value.unwrap()
        };
        assert_eq!(filter("[Column { a }]", "None"), filter("[]", "Some([Column { a }])"));
        assert_ne!(filter("[Column { a }]", "None"), filter("[Column { b }]", "None"));
    }

    #[test]
    fn text_of_another_form_is_hashed_as_it_stands() {
        for text in [
            "AExec { a: \"b\\",
            "{",
            "}}",
            "AExec { a: ",
            "\"",
            "AExec { ( }",
            "[AExec {}, (}",
            "é{ü: 1}",
        ] {
            assert_eq!(fields(text), fields(text), "{text}");
        }
    }
}
