//! `Debug` texts, read field by field.
//!
//! ```text
//! FilterExec { predicate: …, input: Input, metrics: ExecutionPlanMetricsSet { … } }
//!   FilterExec  predicate   3a…
//!   FilterExec  input       7f…
//!   FilterExec  metrics     the same whatever its fields, which say nothing: a gap
//! ```
//!
//! Derived texts nest by brackets; the entries of maps come in any order, so their hashes are added
//! up. A text of another form is hashed as it stands, so reading never fails: equal texts have equal
//! hashes whatever they hold.

mod reader;

use std::fmt::Debug;
use std::ops::Range;

use crate::debug_text::debug_text;
use reader::Reader;

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
    // Made anew from the keys and the order of the input, which are compared: whether groups may end early.
    ("AggregateExec", &["required_input_ordering", "input_order_mode"]),
    // Looked at while exchanges are planned.
    ("WindowAggExec", &["can_repartition"]),
    ("BoundedWindowAggExec", &["can_repartition"]),
    // Compared as the schema of the operator, or of the input that it stands for.
    ("EmptyExec", &["schema"]),
    // Follows from the bounds, and is made anew from them: whether rows may be given out early.
    ("WindowFrame", &["is_causal"]),
];

/// A filter that a running operator updates: of its state only the columns are planned.
const DYNAMIC_FILTER: &str = "DynamicFilterPhysicalExpr";

/// A field of an operator, and the hash of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'t> {
    pub(super) operator: &'t str,
    pub(super) name: &'t str,
    value: u64,
}

/// A text as it was read.
#[derive(Default)]
pub(super) struct Reading<'t> {
    /// The fields of all operators, in the order of the text.
    pub(super) fields: Vec<Field<'t>>,
    /// The places that say nothing of the answer, in order and apart.
    pub(super) gaps: Vec<Range<usize>>,
    /// The hash of what belongs to no operator's field.
    hash: u64,
}

/// Reads the text of a plan or a value.
pub(super) fn read(text: &str) -> Reading<'_> {
    Reader::new(text).read()
}

/// The hash of one value.
pub(super) fn of(value: &dyn Debug) -> u64 {
    of_text(&debug_text(value).0)
}

/// The hash of the value with this text.
pub(super) fn of_text(text: &str) -> u64 {
    read(text).hash
}

/// The first field that the text of an operator has and the text of a decoded one has not, or the
/// other way around.
pub(super) fn difference<'t>(original: &'t str, decoded: &'t str) -> Option<Field<'t>> {
    let (original, decoded) = (read(original).fields, read(decoded).fields);
    let different = original.iter().zip(&decoded).find(|(one, other)| one != other);
    let more = || original.get(decoded.len()).or_else(|| decoded.get(original.len()));
    different.map(|(field, _)| field).or_else(more).copied()
}

/// The text of one field of a value, which is not left out.
pub(crate) fn field_text<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut fields = Reader::of_fields(text).texts().into_iter();
    fields.find(|(field, _)| *field == name).map(|(_, value)| value)
}

/// The names of the fields that a `Debug` text shows of one value, for tests that list them.
#[cfg(test)]
pub(crate) fn field_names(value: &impl Debug) -> Vec<String> {
    let text = format!("{value:?}");
    let fields = Reader::of_fields(&text).texts();
    fields.into_iter().map(|(name, _)| name.to_owned()).collect()
}

/// The fields of a type that are left out.
fn left_out_of(name: &str) -> &'static [&'static str] {
    let left_out = FIELDS_LEFT_OUT.iter().find(|(of, _)| *of == name);
    left_out.map_or(&[], |(_, fields)| fields)
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
mod tests;
