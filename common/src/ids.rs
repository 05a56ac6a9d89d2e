//! Identity: one newtype and one display form for everything that is named in messages, logs and
//! file names.
//!
//! ```text
//! app-7 . job-3 . stage-1 . part-12 # 2
//! application     job ordinal       partition of the stage's output of tasks
//!                        stage ordinal        attempt
//! ```
//!
//! Job and stage ids are ordinals within the application, so a restarted driver gives the same
//! ones. Attempt numbers are unique per task for the life of the job, across every generation of
//! its stage, so a zombie attempt never shares a name with its successor.

use std::fmt;
use std::str::FromStr;

/// An application: one driver and everything it submits. Assigned by the cluster manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplicationId(pub u64);

/// A job: one action of an application, with a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    /// The application the job belongs to.
    pub application: ApplicationId,
    /// Ordinal within the application, from 0.
    pub ordinal: u32,
}

/// A stage: tasks that run one program without an exchange between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId {
    /// The job the stage belongs to.
    pub job: JobId,
    /// Ordinal within the job, from 0.
    pub ordinal: u32,
}

/// A task: the work on one partition of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The stage the task belongs to.
    pub stage: StageId,
    /// The index of the task in its stage, from 0.
    pub partition: u32,
}

/// One try at a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The task tried.
    pub task: TaskId,
    /// The number of the attempt among those at its task, from 0; never reused.
    pub attempt: u32,
}

/// One incarnation of a worker process. A restarted worker is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u64);

/// A block of a stage's output: what one attempt made for one output partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// The attempt that made it.
    pub attempt: AttemptId,
    /// The output (reduce) partition it holds.
    pub partition: u32,
}

/// The number of times that a stage was rolled back; attempts of an older generation are stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl fmt::Display for ApplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "app-{}", self.0)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.job-{}", self.application, self.ordinal)
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.stage-{}", self.job, self.ordinal)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.part-{}", self.stage, self.partition)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.attempt)
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.out-{}", self.attempt, self.partition)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker-{:016x}", self.0)
    }
}

/// Text that is not an id's display form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseIdError {
    /// The text that was given.
    pub text: String,
    /// The form that was expected.
    pub expected: &'static str,
}

impl FromStr for ApplicationId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.strip_prefix("app-").and_then(|n| n.parse().ok());
        parsed.map(Self).ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            expected: "an application id such as `app-7`",
        })
    }
}

impl ApplicationId {
    /// The job of this application with this ordinal.
    pub fn job(self, ordinal: u32) -> JobId {
        JobId { application: self, ordinal }
    }
}

impl JobId {
    /// The stage of this job with this ordinal.
    pub fn stage(self, ordinal: u32) -> StageId {
        StageId { job: self, ordinal }
    }
}

impl StageId {
    /// The task of this stage for this partition.
    pub fn task(self, partition: u32) -> TaskId {
        TaskId { stage: self, partition }
    }
}

impl TaskId {
    /// The attempt at this task with this number.
    pub fn attempt(self, attempt: u32) -> AttemptId {
        AttemptId { task: self, attempt }
    }
}

impl AttemptId {
    /// The block this attempt makes for an output partition.
    pub fn block(self, partition: u32) -> BlockId {
        BlockId { attempt: self, partition }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_one_display_form() {
        let attempt = ApplicationId(7).job(3).stage(1).task(12).attempt(2);
        assert_eq!(attempt.to_string(), "app-7.job-3.stage-1.part-12#2");
        assert_eq!(attempt.block(4).to_string(), "app-7.job-3.stage-1.part-12#2.out-4");
        assert_eq!(WorkerId(0xab).to_string(), "worker-00000000000000ab");
    }

    #[test]
    fn application_ids_parse_back_and_reject_other_text() {
        assert_eq!("app-7".parse(), Ok(ApplicationId(7)));
        let error = "job-7".parse::<ApplicationId>().expect_err("not an application");
        assert_eq!(error.to_string(), "`job-7` is not an application id such as `app-7`");
    }
}
