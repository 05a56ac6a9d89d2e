//! Output tables, cut into parts: with thousands of tasks one is larger than a message may be.

use gnist_common::ids::{StageId, WorkerId};
use gnist_common::task::{OutputLocation, OutputTable};
use prost::Message;

use super::{ConvertError, from_wire, try_from_wire};
use crate::connect::CHUNK_BYTES;
use crate::wire::control as wire;

/// Cuts a table into parts of about a chunk each; there is always a first one.
pub fn outputs_to_parts(table: &OutputTable) -> Vec<wire::OutputsPart> {
    let mut parts = vec![first_part(table)];
    let mut part_bytes = 0;
    for location in &table.outputs {
        let location = wire::OutputLocation::from(location.clone());
        let location_bytes = location.encoded_len();
        if part_bytes > 0 && part_bytes + location_bytes > CHUNK_BYTES {
            parts.push(wire::OutputsPart::default());
            part_bytes = 0;
        }
        part_bytes += location_bytes;
        if let Some(part) = parts.last_mut() {
            part.outputs.push(location);
        }
    }
    parts
}

/// The part that also says which version this is and where the workers are.
fn first_part(table: &OutputTable) -> wire::OutputsPart {
    let address = |(worker, address): &(WorkerId, String)| wire::WorkerAddress {
        worker: worker.0,
        address: address.clone(),
    };
    wire::OutputsPart {
        version: table.version,
        workers: table.workers.iter().map(address).collect(),
        outputs: Vec::new(),
    }
}

impl From<wire::WorkerAddress> for (WorkerId, String) {
    fn from(address: wire::WorkerAddress) -> Self {
        (WorkerId(address.worker), address.address)
    }
}

/// Puts the parts of a stage's table together again.
///
/// # Errors
/// When there is no part, or one of them is not understood.
pub fn outputs_from_parts(
    stage: StageId,
    parts: Vec<wire::OutputsPart>,
) -> Result<OutputTable, ConvertError> {
    let mut parts = parts.into_iter();
    let first = parts.next().ok_or(ConvertError::Missing { field: "OutputsPart.version" })?;
    let mut outputs: Vec<OutputLocation> = try_from_wire(first.outputs)?;
    for part in parts {
        outputs.append(&mut try_from_wire(part.outputs)?);
    }
    Ok(OutputTable { stage, version: first.version, outputs, workers: from_wire(first.workers) })
}
