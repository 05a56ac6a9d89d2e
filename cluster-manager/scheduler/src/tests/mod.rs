//! The scheduler event by event. Each test counts what ran, not only that the job ended.

mod ahead;
mod early;
mod ends;
mod fairness;
mod growth;
mod harness;
mod loss;
mod membership;
mod results;
mod throughput;
