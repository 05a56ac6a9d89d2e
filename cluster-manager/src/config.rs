//! Settings of a cluster manager, decided by the process that embeds it.

use std::time::Duration;

use gnist_scheduler::SchedulerConfig;

/// Settings of a cluster manager; the defaults are those of a standing cluster.
#[derive(Clone, Debug)]
pub struct ManagerConfig {
    /// Time between two heartbeats of a worker or driver. 1 s.
    pub heartbeat_interval: Duration,
    /// Silence after which a worker is lost and an application has failed. 10 s.
    pub lease: Duration,
    /// Time that a job waits while no worker is there at all. 60 s.
    pub no_worker_timeout: Duration,
    /// True if a worker may still come. False for a `local-cluster`, where a job fails at once when
    /// the last one is gone.
    pub worker_can_return: bool,
    /// Least time between two progress messages about one job. 200 ms.
    pub progress_interval: Duration,
    /// Limit of the bytes of programs and bindings held at once. 4 GiB.
    pub content_bytes_max: u64,
    /// The rest of what the scheduler decides by.
    pub scheduler: SchedulerConfig,
}

impl Default for ManagerConfig {
    fn default() -> Self {
        let scheduler = SchedulerConfig::default();
        Self {
            heartbeat_interval: Duration::from_secs(1),
            lease: Duration::from_secs(10),
            no_worker_timeout: Duration::from_secs(60),
            worker_can_return: true,
            progress_interval: Duration::from_millis(200),
            content_bytes_max: 4 << 30,
            scheduler,
        }
    }
}

impl ManagerConfig {
    /// The scheduler's settings, with what is decided here.
    pub(crate) fn scheduler(&self) -> SchedulerConfig {
        SchedulerConfig {
            no_worker_timeout: self.no_worker_timeout,
            worker_can_return: self.worker_can_return,
            ..self.scheduler.clone()
        }
    }

    /// The heartbeat interval as messages carry it.
    pub(crate) fn heartbeat_interval_ms(&self) -> u64 {
        u64::try_from(self.heartbeat_interval.as_millis()).unwrap_or(u64::MAX)
    }
}
