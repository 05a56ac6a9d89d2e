//! Panics of tasks: the message of each, and its place in the code.
//!
//! The payload that `catch_unwind` gives has no location, and a panic may surface on another
//! thread than the one it happened on. So a hook notes every panic of a CPU thread, without
//! printing it: the failure that reaches the user says the same. Panics elsewhere go to the hook
//! that was there before.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, Once, PoisonError};

use gnist_common::error::{ErrorKind, Failure};
use gnist_operators::failure::{panic_message, too_wide};

/// The name of every thread that runs operators.
pub(crate) const CPU_THREADS: &str = "gnist-cpu";

/// Panics that are remembered until somebody reports them.
const NOTES_MAX: usize = 64;

struct Note {
    message: String,
    location: String,
}

static NOTES: Mutex<VecDeque<Note>> = Mutex::new(VecDeque::new());

/// Begins to note panics of CPU threads. Once per process is enough.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let other = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_task = std::thread::current().name().is_some_and(|name| name == CPU_THREADS);
            if is_task { note(info) } else { other(info) }
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    let message = panic_message(info.payload());
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::debug!(message, location, "a task panicked");
    let mut notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    if notes.len() == NOTES_MAX {
        notes.pop_front();
    }
    notes.push_back(Note { message, location });
}

/// The failure of an attempt that panicked with this payload.
pub(crate) fn failure_of_payload(payload: &(dyn Any + Send)) -> Failure {
    let message = panic_message(payload);
    let location = location_of(|note| note.message == message);
    failure(&message, location)
}

/// The failure of an attempt, a part of which panicked on its own; `text` contains the message.
pub(crate) fn failure_of_text(text: &str) -> Failure {
    let notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    let found = notes.iter().rev().find(|note| text.contains(&note.message));
    match found {
        Some(note) => failure(&note.message, Some(note.location.clone())),
        None => failure(text, None),
    }
}

fn location_of(is_it: impl Fn(&Note) -> bool) -> Option<String> {
    let notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    notes.iter().rev().find(|note| is_it(note)).map(|note| note.location.clone())
}

fn failure(message: &str, location: Option<String>) -> Failure {
    if message.contains("offset overflow") {
        return too_wide();
    }
    let place = location.map(|location| format!(", at {location}")).unwrap_or_default();
    Failure::new(ErrorKind::Panic, format!("a task panicked: {message}{place}"))
}
