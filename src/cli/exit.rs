//! The ways in which a command can end, as other programs see them.

use std::process::ExitCode;

/// The closed set of ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done, or the reader of stdout had enough.
    Success,
    /// A failure met on the way: a missing path, no such master, a wrong query.
    Failed,
    /// A fault that the command line and config alone show.
    Usage,
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Exit {
    /// The number the shell sees; 128 and the signal's number where there was one.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
