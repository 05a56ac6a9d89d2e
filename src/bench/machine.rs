//! The machine a benchmark ran on, and the memory its processes took.

use std::fs;
use std::num::NonZeroUsize;

use gnist_common::bytes::ByteSize;

/// CPU, number of CPUs this process may use, and RAM, in one line.
pub(super) fn describe() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| kilobytes(&text));
    let memory = memory.map_or("unknown memory".to_owned(), |bytes| ByteSize(bytes).to_string());
    format!("{cpus} x {cpu}, {memory}")
}

/// Returns the most memory that a process has held resident so far, in bytes; none when it is gone.
pub(super) fn peak_rss_bytes(process: u32) -> Option<u64> {
    kilobytes(&field(&format!("/proc/{process}/status"), "VmHWM")?)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kilobytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_peak_and_no_process_has_none() {
        assert!(peak_rss_bytes(std::process::id()).is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(peak_rss_bytes(u32::MAX), None);
    }
}
