//! A plan is the same after its encoding, or it is refused: in every build, for every plan.
//!
//! DataFusion's encoding drops what it does not know, silently, and our own may come to. So the
//! driver decodes what it encoded, as an executor will, and compares the two plans operator by
//! operator. A difference is an error that names the operator and the field.
//!
//! **What is compared**, so that nothing can be forgotten:
//! 1. The `Debug` text of each operator over stand-ins for its inputs ([`alone`]), field by field
//!    ([`shape`]). Almost every operator, expression and function derives `Debug`, so its private
//!    fields are there too, and a field that comes with a new version of DataFusion is compared
//!    without a line of ours. What changes from run to run is left out by the name of its type, each
//!    with its reason. Of a text longer than 4 MiB only the beginning is compared.
//! 2. Names, schemas, partitionings and orders ([`flow`]) of all operators.
//! 3. Leaves that scan, field by field ([`scan`]): what they scan is not part of the program, and a
//!    text of thousands of files would cost more than all the rest. So are the fields of hash joins
//!    that their hand-written text leaves out. A test fails when a type that scans gets another field.
//! 4. Functions travel by name; that executors mean the same is seen as they are encoded
//!    ([`crate::wire::functions`]).
//!
//! Rejected: comparing bytes of a second encoding, which loses the same again; a comparer for each
//! operator over its public methods, which can forget a field and can't see a private one; equality
//! of expressions, which looks at settings that executors have of their own.
//!
//! The decoded side is kept by program, as texts ([`text`]). The original is looked at every time: a
//! plan that lost something has the bytes of one that never had it. It writes no text: it is compared
//! with the kept one while it is written.

mod alone;
mod decoded;
mod flow;
mod kept;
mod scan;
pub(crate) mod shape;
mod text;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;

use crate::canonical;
use crate::placement::Placement;
use crate::program::{Encoded, Instance, decode_whole, on_stack_for};
use crate::source::{Scanned, Sources};
use decoded::{Decoded, walk};
use kept::{Kept, Key, Known};

/// Compares plans with what their programs decode to.
#[derive(Default)]
pub struct Guard {
    kept: Mutex<Kept>,
}

impl Guard {
    /// Sees that `encoded` is all of `plan` and `placement` for an executor that decodes it in
    /// `context`.
    ///
    /// # Errors
    /// `NotImplemented` naming the operator and the field that the program lost.
    pub fn check(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        placement: &Placement,
        encoded: &Encoded,
        context: &Arc<TaskContext>,
    ) -> Result<()> {
        // An order of files depends on which they are.
        let is_ordered = walk(plan).into_iter().any(scan::has_order);
        let key = Key::new(encoded, context);
        let known = if is_ordered { None } else { self.kept().get(&key) };
        let depth = known.as_ref().map_or_else(|| canonical::depth(&encoded.bytes), |it| it.depth);
        on_stack_for(depth, || {
            let decoded = match known {
                Some(known) => known.decoded,
                None => {
                    let sources = Shapes { scanned: &encoded.scanned, with_files: is_ordered };
                    let decoded = Arc::new(decode(encoded, &sources, context)?);
                    if !is_ordered {
                        let known = Known { decoded: Arc::clone(&decoded), depth };
                        self.kept().put(key, context, known);
                    }
                    decoded
                }
            };
            decoded.difference(plan, placement).map_or(Ok(()), |lost| Err(lost.into()))
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decode(encoded: &Encoded, sources: &Shapes<'_>, context: &Arc<TaskContext>) -> Result<Decoded> {
    let Instance { plan, placement } = decode_whole(&encoded.bytes, sources, context)?;
    Ok(Decoded::new(&plan, &placement))
}

/// Sources of the partitions that are scanned, without rows, and without files unless the plan
/// depends on them.
#[derive(Debug)]
struct Shapes<'a> {
    scanned: &'a Vec<Scanned>,
    with_files: bool,
}

impl Sources for Shapes<'_> {
    fn partitions(&self, leaf: u32) -> Result<u32> {
        self.scanned.partitions(leaf)
    }

    fn files(&self, leaf: u32, partition: u32) -> Result<Bytes> {
        if self.with_files { self.scanned.files(leaf, partition) } else { Ok(Bytes::new()) }
    }

    fn rows(&self, _: u32, _: u32) -> Result<Vec<RecordBatch>> {
        Ok(Vec::new())
    }
}

/// A field that a program loses of a plan.
#[derive(Debug, PartialEq, Eq)]
struct Lost {
    operator: String,
    field: String,
}

impl From<Lost> for DataFusionError {
    fn from(lost: Lost) -> Self {
        let Lost { operator, field } = lost;
        DataFusionError::NotImplemented(format!(
            "this query does not run on a cluster: `{field}` of `{operator}` would be lost on the \
             way to the executors; use the master `local[*]`"
        ))
    }
}

fn lost(operator: &str, field: &str) -> Lost {
    let operator = operator.strip_suffix("Exec").unwrap_or(operator);
    Lost { operator: operator.to_owned(), field: field.to_owned() }
}

#[cfg(test)]
mod fields;
#[cfg(test)]
mod tests;
