//! The one failure type that crosses process boundaries: it says what went wrong, whose fault it
//! was, and what to do next.
//!
//! The kind decides the policy and the exit; the blame says where; the message is for people.
//! Nobody ever parses a message.

use std::fmt;

use crate::ids::{AttemptId, WorkerId};

/// The kind of a failure, which says what its receiver does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The user's program, query or data is wrong. Trying again gives the same: fail the job.
    User,
    /// Valid, and not built yet. Fail before anything runs.
    Unsupported,
    /// A path, table or column that is not there, or can't be read. Fail the job.
    NotFound,
    /// Storage or network trouble that may pass. Try again elsewhere, a bounded number of times.
    Transient,
    /// The memory budget refused an operator. Try once alone, then fail naming it.
    OutOfMemory,
    /// A worker's disk refuses: it is full, read-only or broken. Try elsewhere.
    DiskFull,
    /// Code panicked. Try once elsewhere, then fail with its message and location.
    Panic,
    /// The end was asked for. Release what was held.
    Cancelled,
    /// The driver was given something made of rows that are lost and can't be made again the same.
    /// Start the job over, if no row of it was shown.
    Contradicted,
    /// The cluster can't do it: no workers, the manager gone, another protocol version.
    Cluster,
    /// A broken promise of ours. Fail the job and report a bug.
    Internal,
}

impl ErrorKind {
    /// The stable name used in JSON and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Unsupported => "unsupported",
            Self::NotFound => "not_found",
            Self::Transient => "transient",
            Self::OutOfMemory => "out_of_memory",
            Self::DiskFull => "disk_full",
            Self::Panic => "panic",
            Self::Cancelled => "cancelled",
            Self::Contradicted => "contradicted",
            Self::Cluster => "cluster",
            Self::Internal => "internal",
        }
    }
}

/// The place where it went wrong, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blame {
    /// The attempt that failed.
    pub attempt: Option<AttemptId>,
    /// The worker it ran on.
    pub worker: Option<WorkerId>,
    /// The physical operator, such as `HashJoinExec`.
    pub operator: Option<String>,
    /// The most memory that the operator or the task held, in bytes.
    pub peak_bytes: Option<u64>,
    /// The input file being read.
    pub file: Option<String>,
}

/// A failure that can cross the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// The kind, which says what to do about it.
    pub kind: ErrorKind,
    /// The text for people: what was being done and the one root cause; lowercase, no final period.
    pub message: String,
    /// Advice on what the user may do about it, where there is any.
    pub help: Option<String>,
    /// The place where it went wrong.
    pub blame: Box<Blame>,
}

impl Failure {
    /// A failure without blame yet.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), help: None, blame: Box::default() }
    }

    /// The same failure with advice.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same failure, blamed on an attempt.
    #[must_use]
    pub fn at_attempt(mut self, attempt: AttemptId) -> Self {
        self.blame.attempt = Some(attempt);
        self
    }

    /// The same failure, blamed on a worker.
    #[must_use]
    pub fn on_worker(mut self, worker: WorkerId) -> Self {
        self.blame.worker = Some(worker);
        self
    }

    /// The same failure, blamed on an operator that held so many bytes at its peak.
    #[must_use]
    pub fn in_operator(mut self, operator: impl Into<String>, peak_bytes: Option<u64>) -> Self {
        self.blame.operator = Some(operator.into());
        self.blame.peak_bytes = peak_bytes;
        self
    }
}

impl fmt::Display for Failure {
    /// The message on the first line, then one `  --> where` line, then one `  = help:` line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let blame = &self.blame;
        let mut places = Vec::new();
        if let Some(attempt) = blame.attempt {
            places.push(attempt.to_string());
        }
        if let Some(worker) = blame.worker {
            places.push(format!("on {worker}"));
        }
        if let Some(operator) = &blame.operator {
            places.push(format!("in {operator}"));
        }
        if let Some(peak) = blame.peak_bytes {
            places.push(format!("peak {}", crate::bytes::ByteSize(peak)));
        }
        if let Some(file) = &blame.file {
            places.push(format!("reading `{file}`"));
        }
        if !places.is_empty() {
            write!(f, "\n  --> {}", places.join(", "))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  = help: {help}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ApplicationId;

    #[test]
    fn a_failure_reads_message_place_help() {
        let failure = Failure::new(ErrorKind::OutOfMemory, "the hash join does not fit")
            .at_attempt(ApplicationId(1).job(0).stage(2).task(3).attempt(0))
            .in_operator("HashJoinExec", Some(3 << 20))
            .with_help("raise `--memory`");
        let expected = "the hash join does not fit\n  \
             --> app-1.job-0.stage-2.part-3#0, in HashJoinExec, peak 3.0 MiB\n  = help: raise `--memory`";
        assert_eq!(failure.to_string(), expected);
    }
}
