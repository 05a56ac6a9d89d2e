//! The scheduler's limits, each with the default that a cluster runs with.

use std::time::Duration;

/// Limits and waits of the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Time that a job with work waits while no worker is registered, before it fails.
    pub no_worker_timeout: Duration,
    /// True if a lost worker can be replaced. If not (`local-cluster`), jobs fail at once when the
    /// last worker is lost.
    pub worker_can_return: bool,
    /// Counted failures of one task after which its job fails.
    pub max_attempts: u32,
    /// Wait before the first retry of a task; each further one waits twice as long.
    pub retry_backoff: Duration,
    /// Longest wait before a retry.
    pub retry_backoff_max: Duration,
    /// Ends of one task's attempts that were not its own fault (lost inputs, lost workers) after
    /// which its job fails all the same, so that nothing loops for ever.
    pub max_uncounted: u32,
    /// Time for which a worker whose disk was full takes no launches.
    pub disk_full_pause: Duration,
    /// Failures of different tasks within [`Self::set_aside_window`] that set a worker aside.
    pub set_aside_failures: usize,
    /// Period, back from now, in which the failures of [`Self::set_aside_failures`] are counted.
    pub set_aside_window: Duration,
    /// Time for which a worker that was set aside takes no launches.
    pub set_aside_pause: Duration,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            no_worker_timeout: Duration::from_secs(60),
            worker_can_return: true,
            max_attempts: 4,
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(10),
            max_uncounted: 16,
            disk_full_pause: Duration::from_secs(10),
            set_aside_failures: 3,
            set_aside_window: Duration::from_secs(60),
            set_aside_pause: Duration::from_secs(60),
        }
    }
}

impl SchedulerConfig {
    /// Wait before retry number `retry`, counted from 1.
    pub(crate) fn backoff(&self, retry: u32) -> Duration {
        let doublings = retry.saturating_sub(1).min(16);
        self.retry_backoff.saturating_mul(1 << doublings).min(self.retry_backoff_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_limit() {
        let config = SchedulerConfig::default();
        let waits_ms: Vec<_> = (1..=9).map(|retry| config.backoff(retry).as_millis()).collect();
        assert_eq!(waits_ms, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(config.backoff(u32::MAX), config.retry_backoff_max);
    }
}
