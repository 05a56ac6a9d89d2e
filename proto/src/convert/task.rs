//! Launches, and the ways in which an attempt ends.

use gnist_common::ids::{Generation, WorkerId};
use gnist_common::task::{
    AttemptEnd, Launch, LaunchInput, OperatorMetrics, OutputLocation, TaskMetrics, TaskOutput,
};

use super::ids::{hash_from_wire, hash_to_wire};
use super::{ConvertError, from_wire, required, to_wire, try_from_wire};
use crate::wire::control as wire;

impl From<LaunchInput> for wire::LaunchInput {
    fn from(input: LaunchInput) -> Self {
        Self { input: Some(input.input.into()), version: input.version }
    }
}

impl TryFrom<wire::LaunchInput> for LaunchInput {
    type Error = ConvertError;

    fn try_from(input: wire::LaunchInput) -> Result<Self, ConvertError> {
        Ok(Self {
            input: required(input.input, "LaunchInput.input")?.try_into()?,
            version: input.version,
        })
    }
}

impl From<Launch> for wire::Launch {
    fn from(launch: Launch) -> Self {
        Self {
            attempt: Some(launch.attempt.into()),
            generation: launch.generation.0,
            program: Some(launch.program.into()),
            bindings: launch.bindings.map(hash_to_wire),
            slots: launch.slots,
            inputs: to_wire(launch.inputs),
            output: Some(launch.output.into()),
            tasks: launch.tasks,
        }
    }
}

impl TryFrom<wire::Launch> for Launch {
    type Error = ConvertError;

    fn try_from(launch: wire::Launch) -> Result<Self, ConvertError> {
        Ok(Self {
            attempt: required(launch.attempt, "Launch.attempt")?.into(),
            generation: Generation(launch.generation),
            program: required(launch.program, "Launch.program")?.try_into()?,
            bindings: launch.bindings.as_ref().map(hash_from_wire).transpose()?,
            slots: launch.slots,
            inputs: try_from_wire(launch.inputs)?,
            output: required(launch.output, "Launch.output")?.try_into()?,
            tasks: launch.tasks,
        })
    }
}

impl From<OutputLocation> for wire::OutputLocation {
    fn from(location: OutputLocation) -> Self {
        Self {
            attempt: Some(location.attempt.into()),
            worker: location.worker.0,
            bytes: location.bytes,
        }
    }
}

impl TryFrom<wire::OutputLocation> for OutputLocation {
    type Error = ConvertError;

    fn try_from(location: wire::OutputLocation) -> Result<Self, ConvertError> {
        Ok(Self {
            attempt: required(location.attempt, "OutputLocation.attempt")?.into(),
            worker: WorkerId(location.worker),
            bytes: location.bytes,
        })
    }
}

impl From<TaskMetrics> for wire::TaskMetrics {
    fn from(metrics: TaskMetrics) -> Self {
        Self {
            output_rows: metrics.output_rows,
            output_bytes: metrics.output_bytes,
            input_rows: metrics.input_rows,
            input_bytes: metrics.input_bytes,
            fetched_bytes: metrics.fetched_bytes,
            spill_bytes: metrics.spill_bytes,
            peak_memory_bytes: metrics.peak_memory_bytes,
            run_us: metrics.run_us,
        }
    }
}

impl From<wire::TaskMetrics> for TaskMetrics {
    fn from(metrics: wire::TaskMetrics) -> Self {
        Self {
            output_rows: metrics.output_rows,
            output_bytes: metrics.output_bytes,
            input_rows: metrics.input_rows,
            input_bytes: metrics.input_bytes,
            fetched_bytes: metrics.fetched_bytes,
            spill_bytes: metrics.spill_bytes,
            peak_memory_bytes: metrics.peak_memory_bytes,
            run_us: metrics.run_us,
        }
    }
}

impl From<OperatorMetrics> for wire::OperatorMetrics {
    fn from(metrics: OperatorMetrics) -> Self {
        let OperatorMetrics { position, output_rows, compute_us, peak_memory_bytes, spill_bytes } =
            metrics;
        Self { position, output_rows, compute_us, peak_memory_bytes, spill_bytes }
    }
}

impl From<wire::OperatorMetrics> for OperatorMetrics {
    fn from(metrics: wire::OperatorMetrics) -> Self {
        Self {
            position: metrics.position,
            output_rows: metrics.output_rows,
            compute_us: metrics.compute_us,
            peak_memory_bytes: metrics.peak_memory_bytes,
            spill_bytes: metrics.spill_bytes,
        }
    }
}

impl From<TaskOutput> for wire::TaskOutput {
    fn from(output: TaskOutput) -> Self {
        Self {
            bytes: output.bytes,
            rows: output.rows,
            inline: output.inline.map(Into::into),
            metrics: Some(output.metrics.into()),
            operators: to_wire(output.operators),
        }
    }
}

impl TryFrom<wire::TaskOutput> for TaskOutput {
    type Error = ConvertError;

    fn try_from(output: wire::TaskOutput) -> Result<Self, ConvertError> {
        Ok(Self {
            bytes: output.bytes,
            rows: output.rows,
            inline: output.inline.map(Into::into),
            metrics: required(output.metrics, "TaskOutput.metrics")?.into(),
            operators: from_wire(output.operators),
        })
    }
}

impl From<AttemptEnd> for wire::AttemptEnd {
    fn from(end: AttemptEnd) -> Self {
        use wire::attempt_end::End;
        let end = match end {
            AttemptEnd::Done(output) => End::Done(output.into()),
            AttemptEnd::BlocksMissing { blocks } => {
                End::BlocksMissing(wire::BlocksMissing { blocks: to_wire(blocks) })
            }
            AttemptEnd::FetchFailed { worker, failure } => {
                let failure = Some(failure.into());
                End::FetchFailed(wire::FetchFailed { worker: worker.0, failure })
            }
            AttemptEnd::Transient(failure) => End::Transient(failure.into()),
            AttemptEnd::OutOfMemory(failure) => End::OutOfMemory(failure.into()),
            AttemptEnd::DiskFull(failure) => End::DiskFull(failure.into()),
            AttemptEnd::User(failure) => End::User(failure.into()),
            AttemptEnd::Panic(failure) => End::Panic(failure.into()),
            AttemptEnd::Cancelled => End::Cancelled(wire::Empty {}),
        };
        Self { end: Some(end) }
    }
}

impl TryFrom<wire::AttemptEnd> for AttemptEnd {
    type Error = ConvertError;

    fn try_from(end: wire::AttemptEnd) -> Result<Self, ConvertError> {
        use wire::attempt_end::End;
        Ok(match required(end.end, "AttemptEnd.end")? {
            End::Done(output) => Self::Done(output.try_into()?),
            End::BlocksMissing(missing) => {
                Self::BlocksMissing { blocks: try_from_wire(missing.blocks)? }
            }
            End::FetchFailed(failed) => Self::FetchFailed {
                worker: WorkerId(failed.worker),
                failure: required(failed.failure, "FetchFailed.failure")?.try_into()?,
            },
            End::Transient(failure) => Self::Transient(failure.try_into()?),
            End::OutOfMemory(failure) => Self::OutOfMemory(failure.try_into()?),
            End::DiskFull(failure) => Self::DiskFull(failure.try_into()?),
            End::User(failure) => Self::User(failure.try_into()?),
            End::Panic(failure) => Self::Panic(failure.try_into()?),
            End::Cancelled(wire::Empty {}) => Self::Cancelled,
        })
    }
}
