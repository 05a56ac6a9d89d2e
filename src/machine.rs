//! The resources of this machine, and names that are new on it.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};
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

/// Refuses a budget that is more than there is.
///
/// # Errors
/// `User`, naming what there is.
pub(crate) fn check_memory(memory: ByteSize) -> Result<(), Failure> {
    check_memory_of(
        memory,
        &[("RAM of this machine", total_memory()), ("cgroup limit", cgroup_limit())],
    )
}

fn check_memory_of(memory: ByteSize, limits: &[(&str, Option<u64>)]) -> Result<(), Failure> {
    let exceeded = limits.iter().find_map(|(name, bytes)| {
        let bytes = bytes.filter(|bytes| memory.0 > *bytes)?;
        Some((name, ByteSize(bytes)))
    });
    let Some((name, bytes)) = exceeded else { return Ok(()) };
    let message = format!("{memory} of memory are more than the {name}, {bytes}");
    Err(Failure::new(ErrorKind::User, message).with_help("give less memory"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_above_what_there_is_is_refused_by_name() {
        let limits = [("RAM of this machine", Some(8 << 30)), ("cgroup limit", Some(2 << 30))];
        assert_eq!(check_memory_of(ByteSize::gib(2), &limits), Ok(()));
        for (memory, expected) in [
            (3, "3.0 GiB of memory are more than the cgroup limit, 2.0 GiB"),
            (9, "9.0 GiB of memory are more than the RAM of this machine, 8.0 GiB"),
        ] {
            let refused = check_memory_of(ByteSize::gib(memory), &limits).expect_err("refused");
            assert_eq!(refused.message, expected);
        }
        assert_eq!(check_memory_of(ByteSize::gib(9), &[("RAM of this machine", None)]), Ok(()));
    }
}
