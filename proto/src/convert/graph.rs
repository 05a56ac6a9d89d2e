//! Stages and their parts.

use gnist_common::graph::{
    InputMode, ProgramKind, ProgramRef, Repeatability, Stage, StageInput, StageOutput,
};

use super::ids::{hash_from_wire, hash_to_wire};
use super::{ConvertError, required, to_wire, try_from_wire};
use crate::wire::control as wire;

impl From<ProgramKind> for wire::ProgramKind {
    fn from(kind: ProgramKind) -> Self {
        match kind {
            ProgramKind::Plan => Self::Plan,
            ProgramKind::Typed => Self::Typed,
            ProgramKind::Empty => Self::Empty,
        }
    }
}

/// The program kind that a number on the wire stands for.
fn program_kind(value: i32) -> Result<ProgramKind, ConvertError> {
    match wire::ProgramKind::try_from(value) {
        Ok(wire::ProgramKind::Plan) => Ok(ProgramKind::Plan),
        Ok(wire::ProgramKind::Typed) => Ok(ProgramKind::Typed),
        Ok(wire::ProgramKind::Empty) => Ok(ProgramKind::Empty),
        Ok(wire::ProgramKind::Unspecified) | Err(_) => {
            Err(ConvertError::UnknownValue { enumeration: "ProgramKind", value })
        }
    }
}

impl From<ProgramRef> for wire::Program {
    fn from(program: ProgramRef) -> Self {
        Self {
            hash: hash_to_wire(program.hash),
            kind: wire::ProgramKind::from(program.kind).into(),
            length_bytes: program.length_bytes,
        }
    }
}

impl TryFrom<wire::Program> for ProgramRef {
    type Error = ConvertError;

    fn try_from(program: wire::Program) -> Result<Self, ConvertError> {
        Ok(Self {
            hash: hash_from_wire(&program.hash)?,
            kind: program_kind(program.kind)?,
            length_bytes: program.length_bytes,
        })
    }
}

impl From<InputMode> for wire::InputMode {
    fn from(mode: InputMode) -> Self {
        match mode {
            InputMode::Partition => Self::Partition,
            InputMode::All => Self::All,
            InputMode::Task => Self::Task,
        }
    }
}

/// The input mode that a number on the wire stands for.
fn input_mode(value: i32) -> Result<InputMode, ConvertError> {
    match wire::InputMode::try_from(value) {
        Ok(wire::InputMode::Partition) => Ok(InputMode::Partition),
        Ok(wire::InputMode::All) => Ok(InputMode::All),
        Ok(wire::InputMode::Task) => Ok(InputMode::Task),
        Ok(wire::InputMode::Unspecified) | Err(_) => {
            Err(ConvertError::UnknownValue { enumeration: "InputMode", value })
        }
    }
}

impl From<StageInput> for wire::StageInput {
    fn from(input: StageInput) -> Self {
        Self { stage: Some(input.stage.into()), mode: wire::InputMode::from(input.mode).into() }
    }
}

impl TryFrom<wire::StageInput> for StageInput {
    type Error = ConvertError;

    fn try_from(input: wire::StageInput) -> Result<Self, ConvertError> {
        Ok(Self {
            stage: required(input.stage, "StageInput.stage")?.into(),
            mode: input_mode(input.mode)?,
        })
    }
}

impl From<StageOutput> for wire::StageOutput {
    fn from(output: StageOutput) -> Self {
        use wire::stage_output::Output;
        let output = match output {
            StageOutput::Shuffle { partitions } => Output::Shuffle(wire::Shuffle { partitions }),
            StageOutput::Broadcast => Output::Broadcast(wire::Empty {}),
            StageOutput::Value => Output::Value(wire::Empty {}),
            StageOutput::Result => Output::Result(wire::Empty {}),
        };
        Self { output: Some(output) }
    }
}

impl TryFrom<wire::StageOutput> for StageOutput {
    type Error = ConvertError;

    fn try_from(output: wire::StageOutput) -> Result<Self, ConvertError> {
        use wire::stage_output::Output;
        Ok(match required(output.output, "StageOutput.output")? {
            Output::Shuffle(wire::Shuffle { partitions }) => Self::Shuffle { partitions },
            Output::Broadcast(wire::Empty {}) => Self::Broadcast,
            Output::Value(wire::Empty {}) => Self::Value,
            Output::Result(wire::Empty {}) => Self::Result,
        })
    }
}

impl From<Repeatability> for wire::Repeatability {
    fn from(repeatability: Repeatability) -> Self {
        match repeatability {
            Repeatability::Exact => Self::Exact,
            Repeatability::Equivalent => Self::Equivalent,
            Repeatability::Rounding => Self::Rounding,
            Repeatability::Indeterminate => Self::Indeterminate,
        }
    }
}

/// The repeatability that a number on the wire stands for.
fn repeatability(value: i32) -> Result<Repeatability, ConvertError> {
    match wire::Repeatability::try_from(value) {
        Ok(wire::Repeatability::Exact) => Ok(Repeatability::Exact),
        Ok(wire::Repeatability::Equivalent) => Ok(Repeatability::Equivalent),
        Ok(wire::Repeatability::Rounding) => Ok(Repeatability::Rounding),
        Ok(wire::Repeatability::Indeterminate) => Ok(Repeatability::Indeterminate),
        Ok(wire::Repeatability::Unspecified) | Err(_) => {
            Err(ConvertError::UnknownValue { enumeration: "Repeatability", value })
        }
    }
}

impl From<Stage> for wire::Stage {
    fn from(stage: Stage) -> Self {
        Self {
            id: Some(stage.id.into()),
            label: stage.label,
            program: Some(stage.program.into()),
            bindings: stage.bindings.map(hash_to_wire),
            tasks: stage.tasks,
            slots_per_task: stage.slots_per_task,
            inputs: to_wire(stage.inputs),
            output: Some(stage.output.into()),
            repeatability: wire::Repeatability::from(stage.repeatability).into(),
        }
    }
}

impl TryFrom<wire::Stage> for Stage {
    type Error = ConvertError;

    fn try_from(stage: wire::Stage) -> Result<Self, ConvertError> {
        Ok(Self {
            id: required(stage.id, "Stage.id")?.into(),
            label: stage.label,
            program: required(stage.program, "Stage.program")?.try_into()?,
            bindings: stage.bindings.as_ref().map(hash_from_wire).transpose()?,
            tasks: stage.tasks,
            slots_per_task: stage.slots_per_task,
            inputs: try_from_wire(stage.inputs)?,
            output: required(stage.output, "Stage.output")?.try_into()?,
            repeatability: repeatability(stage.repeatability)?,
        })
    }
}
