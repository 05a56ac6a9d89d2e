//! The one integration-test binary: every linked binary is large, so there is one.
//!
//! It has no harness of the compiler's own, because it is also its own cluster manager and workers:
//! a `local-cluster` is made of processes of the program that asks for it.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, unreachable_pub)]

mod answers;
mod architecture;
mod backends;
mod blocks;
mod cluster;
mod command;
mod content;
mod depth;
mod disk;
mod explain;
mod functions;
mod generated;
mod loss;
mod memory;
mod nested;
mod numbers;
mod process;
mod recomputed;
mod s3;
mod slt;
mod sorted;
mod standing;
mod starved;
mod stopped;
mod traps;
mod wire;
mod written;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(exit) = gnist::dispatch() {
        return exit;
    }
    let mut arguments = Arguments::from_args();
    s3::say_if_skipped();
    // Two cores: what runs side by side only makes timeouts.
    arguments.test_threads.get_or_insert(1);
    let mut trials: Vec<Trial> = Vec::new();
    trials.extend(nested::trials());
    trials.extend(sorted::trials());
    trials.extend(architecture::trials());
    trials.extend(slt::trials());
    trials.extend(generated::trials());
    trials.extend(traps::trials());
    trials.extend(wire::trials());
    trials.extend(explain::trials());
    trials.extend(starved::trials());
    trials.extend(blocks::trials());
    trials.extend(loss::trials());
    trials.extend(stopped::trials());
    trials.extend(disk::trials());
    trials.extend(recomputed::trials());
    trials.extend(memory::trials());
    trials.extend(functions::trials());
    trials.extend(depth::trials());
    trials.extend(numbers::trials());
    trials.extend(command::trials());
    trials.extend(content::trials());
    trials.extend(cluster::trials());
    trials.extend(written::trials());
    trials.extend(s3::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}
