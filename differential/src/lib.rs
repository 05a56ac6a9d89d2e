//! Random SQL over random tables, and a naive oracle that answers it.
//!
//! ```text
//! dice ──▶ tables ──▶ table set ──┬──▶ print ──▶ SQL text ──▶ engines ──┐
//!    └──▶ generate ──▶ tree ──────┤                                     ├──▶ compare
//!                                 └──▶ oracle ──▶ rows or an error ─────┘
//!                                      reduce: a smaller tree and table set that differ still
//! ```
//!
//! The oracle evaluates the generator's own tree, row by row, never SQL text, and shares no code
//! with any engine: it finds faults that every engine on the same kernels has. This crate is pure.
//! Who runs the statements, and on what, is the business of `gnist bench differential` and of the
//! tests.

mod calendar;
pub mod compare;
mod dice;
mod features;
mod files;
mod generate;
mod oracle;
mod print;
mod reduce;
mod script;
mod table;
mod tables;
#[cfg(test)]
mod tests;
pub mod tree;
mod types;
mod value;

pub use dice::Dice;
pub use features::{features, table_features};
pub use files::{Rendered, render};
pub use generate::{ALL_ROWS, Generator};
pub use oracle::{Fault, Outcome, Settings, TOO_MANY_ROWS, answer};
pub use print::sql;
pub use reduce::{plainer_tables, smaller_statements, smaller_tables};
pub use script::{script, tables_of};
pub use table::{Column, Compression, Storage, Table, TableSet};
pub use tables::table_set;
pub use types::{Kind, Type};
pub use value::{Row, Value, compare_rows};
