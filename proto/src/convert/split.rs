//! Messages that are cut so that each stays below the streams' bound.
//!
//! Only what consists of independent pieces is cut: launches of a batch and stages of a submission.
//! Everything else is small by construction, or rare and large (a summary of 10,000 tasks), which
//! the message limit of [`crate::connect`] leaves room for.

use gnist_common::protocol::{DriverToManager, MESSAGE_BYTES_MAX, ManagerToWorker};
use prost::Message;

use super::to_wire;
use crate::wire::control as wire;

/// Room for what surrounds the pieces of a message.
const ENVELOPE_BYTES: usize = 256;

/// Cuts pieces into runs that each encode to less than a message; a larger piece is alone.
fn runs<W: Message>(pieces: Vec<W>) -> Vec<Vec<W>> {
    let mut runs = vec![Vec::new()];
    let mut run_bytes = ENVELOPE_BYTES;
    for piece in pieces {
        let piece_bytes = piece.encoded_len() + 4;
        let full = run_bytes + piece_bytes > MESSAGE_BYTES_MAX;
        match runs.last_mut() {
            Some(run) if !full || run.is_empty() => run.push(piece),
            _ => {
                runs.push(vec![piece]);
                run_bytes = ENVELOPE_BYTES;
            }
        }
        run_bytes += piece_bytes;
    }
    runs
}

/// The wire's messages for one message to a worker, in order.
pub fn manager_to_worker_messages(message: ManagerToWorker) -> Vec<wire::ManagerToWorkerMessage> {
    use wire::manager_to_worker_message::Message;
    let ManagerToWorker::Launch(launches) = message else {
        return vec![message.into()];
    };
    let launch = |launches| wire::ManagerToWorkerMessage {
        message: Some(Message::Launch(wire::Launches { launches })),
    };
    runs(to_wire(launches)).into_iter().map(launch).collect()
}

/// The wire's messages for one message of a driver, in order; only the last one seals a job.
pub fn driver_messages(message: DriverToManager) -> Vec<wire::DriverMessage> {
    use wire::driver_message::Message;
    let DriverToManager::SubmitStages { job, stages, sealed } = message else {
        return vec![message.into()];
    };
    let runs = runs(to_wire(stages));
    let last = runs.len() - 1;
    let submit = |(index, stages)| wire::DriverMessage {
        message: Some(Message::SubmitStages(wire::SubmitStages {
            job: Some(job.into()),
            stages,
            sealed: sealed && index == last,
        })),
    };
    runs.into_iter().enumerate().map(submit).collect()
}
