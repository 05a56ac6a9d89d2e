//! The closed table from the end of an attempt to what is done about it.

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::{BlockId, WorkerId};
use gnist_common::task::{AttemptEnd, TaskOutput};

/// The reaction to the end of an attempt that is its task's current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// The attempt wins its partition.
    Win(TaskOutput),
    /// Recompute these inputs, then run the task again. Not counted.
    RecomputeInputs(Vec<BlockId>),
    /// Probe the worker that did not answer, wait, run the task again. Not counted.
    ProbeAndRetry { unreachable: WorkerId, failure: Failure },
    /// Wait, then run the task on another worker. Counted, and against the worker too.
    RetryElsewhere(Failure),
    /// Run the task once more with nothing else on its worker. Counted.
    RetryAlone(Failure),
    /// Pause the worker and run the task elsewhere. Counted, and against the worker too.
    RetryOffDisk(Failure),
    /// Run the task once more on another worker. Counted, and against the worker too.
    RetryOnceElsewhere(Failure),
    /// Fail the job at once.
    FailJob(Failure),
    /// Run the task again at once: nobody asked for this end. Not counted.
    Requeue(Failure),
}

/// The policy for an end. Cancelled attempts that the scheduler itself stopped are no longer
/// current and never get here.
pub(crate) fn policy(end: AttemptEnd) -> Policy {
    match end {
        AttemptEnd::Done(output) => Policy::Win(output),
        AttemptEnd::BlocksMissing { blocks } => Policy::RecomputeInputs(blocks),
        AttemptEnd::FetchFailed { worker, failure } => {
            Policy::ProbeAndRetry { unreachable: worker, failure }
        }
        AttemptEnd::Transient(failure) => Policy::RetryElsewhere(failure),
        AttemptEnd::OutOfMemory(failure) => Policy::RetryAlone(failure),
        AttemptEnd::DiskFull(failure) => Policy::RetryOffDisk(failure),
        AttemptEnd::User(failure) => Policy::FailJob(failure),
        AttemptEnd::Panic(failure) => Policy::RetryOnceElsewhere(failure),
        AttemptEnd::Cancelled => Policy::Requeue(Failure::new(
            ErrorKind::Cancelled,
            "a task was cancelled again and again by its worker",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnist_common::ids::ApplicationId;

    #[test]
    fn every_end_has_its_policy() {
        let failure = Failure::new(ErrorKind::Transient, "why");
        let block = ApplicationId(1).job(0).stage(0).task(0).attempt(0).block(3);
        let output = TaskOutput { bytes: vec![7], rows: vec![1], ..TaskOutput::default() };
        let unreachable = WorkerId(9);
        let table = [
            (AttemptEnd::Done(output.clone()), Policy::Win(output)),
            (
                AttemptEnd::BlocksMissing { blocks: vec![block] },
                Policy::RecomputeInputs(vec![block]),
            ),
            (
                AttemptEnd::FetchFailed { worker: unreachable, failure: failure.clone() },
                Policy::ProbeAndRetry { unreachable, failure: failure.clone() },
            ),
            (AttemptEnd::Transient(failure.clone()), Policy::RetryElsewhere(failure.clone())),
            (AttemptEnd::OutOfMemory(failure.clone()), Policy::RetryAlone(failure.clone())),
            (AttemptEnd::DiskFull(failure.clone()), Policy::RetryOffDisk(failure.clone())),
            (AttemptEnd::User(failure.clone()), Policy::FailJob(failure.clone())),
            (AttemptEnd::Panic(failure.clone()), Policy::RetryOnceElsewhere(failure)),
        ];
        for (end, expected) in table {
            assert_eq!(policy(end), expected);
        }
        assert!(matches!(policy(AttemptEnd::Cancelled), Policy::Requeue(_)));
    }
}
