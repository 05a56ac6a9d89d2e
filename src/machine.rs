//! What this machine offers, and names that are new on it.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use gnist_common::bytes::ByteSize;
use gnist_common::ids::WorkerId;
use gnist_common::time::WallTime;

/// Share of the smaller of RAM and cgroup limit that an engine takes unless told otherwise.
const MEMORY_PERCENT: u64 = 60;

/// Assumed where the machine does not say.
const UNKNOWN_MEMORY: ByteSize = ByteSize::gib(4);

/// The CPUs that affinity and cgroup allow.
pub(crate) fn available_slots() -> u32 {
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(available).unwrap_or(u32::MAX)
}

/// 60 % of the smaller of RAM and cgroup limit.
pub(crate) fn default_memory() -> ByteSize {
    let limits = [total_memory(), cgroup_limit()];
    let smallest = limits.into_iter().flatten().min();
    smallest.map_or(UNKNOWN_MEMORY, |bytes| ByteSize(bytes / 100 * MEMORY_PERCENT))
}

fn total_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes << 10)
}

fn cgroup_limit() -> Option<u64> {
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    files.iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
}

/// A worker id that no other incarnation has: 64 random bits from the standard library's hasher
/// keys, mixed with the process id and the clock.
pub(crate) fn fresh_worker_id() -> WorkerId {
    WorkerId(RandomState::new().hash_one((std::process::id(), now().0)))
}

/// The wall clock.
pub(crate) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
