//! The manager with fake workers and drivers, inside one process and over gRPC.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod content;
mod early;
mod fakes;
mod jobs;
mod loss;
mod refusal;
mod rest;
