//! The failure of a command, and its report: what, where, the root cause, what to do.
//!
//! ```text
//! error: column 'l_shipmod' not found
//!  --> query:1:8
//!   |
//! 1 | select l_shipmod from lineitem
//!   |        ^^^^^^^^^
//!   = help: did you mean `l_shipmode`?
//! ```

use std::fmt::Write as _;
use std::io;

use gnist_common::error::{ErrorKind, Failure};

use super::exit::Exit;
use super::sql_error::SqlError;

/// A command's failure.
#[derive(Debug)]
pub(crate) enum CliError {
    /// A fault that the command line and config alone show.
    Usage {
        /// The fault.
        message: String,
        /// The next step.
        help: Option<String>,
    },
    /// A failure of the engine.
    Failed(Box<Failure>),
    /// A statement that can't be understood or planned, with its place in the text.
    Sql(Box<SqlError>),
    /// The system refused.
    Io {
        /// The action that failed.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The reader of stdout is gone: nobody wants more.
    StdoutClosed,
    /// Ended by a signal, or after a report of its own.
    Stopped {
        /// The end.
        exit: Exit,
    },
}

impl CliError {
    /// The fault in a line; none for a command that was stopped.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::Usage { message, .. } => Some(message.clone()),
            Self::Failed(failure) => Some(failure.message.clone()),
            Self::Sql(error) => Some(error.message().to_owned()),
            Self::Io { doing, source } => Some(format!("{doing}: {source}")),
            Self::StdoutClosed | Self::Stopped { .. } => None,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: None }
    }

    pub(crate) fn failed(kind: ErrorKind, message: impl Into<String>) -> Self {
        Failure::new(kind, message).into()
    }

    /// The same usage error with advice.
    #[must_use]
    pub(crate) fn with_help(self, advice: impl Into<String>) -> Self {
        match self {
            Self::Usage { message, .. } => Self::Usage { message, help: Some(advice.into()) },
            other => other,
        }
    }

    /// A failed write of data: a closed pipe is no error.
    pub(crate) fn writing(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::StdoutClosed,
            _ => Self::Io { doing: "writing the result", source },
        }
    }

    /// The end of the process with this error.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::Failed(_) | Self::Sql(_) | Self::Io { .. } => Exit::Failed,
            Self::StdoutClosed => Exit::Success,
            Self::Stopped { exit } => *exit,
        }
    }

    /// The error as it is printed; empty when there is nothing to say.
    pub(crate) fn render(&self) -> String {
        match self {
            Self::Usage { message, help } => {
                let mut text = format!("error: {message}\n");
                push_help(&mut text, help.as_deref());
                text
            }
            Self::Failed(failure) => format!("error: {failure}\n"),
            Self::Sql(error) => error.render(),
            Self::Io { doing, source } => format!("error: {doing}: {source}\n"),
            Self::StdoutClosed | Self::Stopped { .. } => String::new(),
        }
    }

    /// Prints the error to stderr and says how to end.
    pub(crate) fn report(&self) -> Exit {
        eprint!("{}", self.render());
        self.exit()
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

pub(super) fn push_help(text: &mut String, help: Option<&str>) {
    if let Some(help) = help {
        writeln!(text, "  = help: {help}").expect("a string takes every write");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_exit_and_its_text() {
        let usage = CliError::usage("bad flag").with_help("try another");
        assert_eq!(usage.exit().code(), 2);
        assert_eq!(usage.render(), "error: bad flag\n  = help: try another\n");
        let failed = CliError::failed(ErrorKind::NotFound, "no such file");
        assert_eq!((failed.exit().code(), failed.render().as_str()), (1, "error: no such file\n"));
        let closed = CliError::writing(io::ErrorKind::BrokenPipe.into());
        assert_eq!((closed.exit().code(), closed.render().as_str()), (0, ""));
        assert_eq!(CliError::Stopped { exit: Exit::Interrupted }.exit().code(), 130);
    }
}
