//! One memory budget per worker: execution, blocks and fetched bytes share it.
//!
//! ```text
//! operators ──AttemptPool──▶ BudgetPool ─┐
//! map output being written ──Grant───────┼──▶ MemoryBudget ──under pressure──▶ Evict (block store)
//! stored blocks, fetches, broadcasts ────┘
//! ```
//!
//! Invariant: the budget's lock is never held while blocks are evicted, and nothing that is called
//! under it calls out.

mod budget;
mod pool;

pub use budget::{Class, Evict, Grant, MemoryBudget, Refused};
pub use pool::{AttemptPool, Refusal};

#[cfg(test)]
mod tests;
