//! Duties of the shell that fall due with time: the scheduler's timers, leases, progress.

use std::time::Instant;

use gnist_common::ids::JobId;
use gnist_common::protocol::{ManagerToDriver, StageProgress};
use gnist_common::time::Time;
use gnist_proto::view::{ApplicationState, WorkerState};
use gnist_scheduler::Event;

use super::Shell;

/// The progress of a job, as its driver was told of it.
pub(super) struct Progress {
    /// Time from which on it may be told again.
    due: Time,
    /// True if something may have changed since.
    is_touched: bool,
    told: Vec<StageProgress>,
}

impl Shell {
    /// Returns the time at which the next round has to begin if no message comes before.
    pub(super) fn deadline(&self) -> Instant {
        let leases = self.leases_checked_at + self.config.heartbeat_interval;
        let progress = self.jobs.values().filter(|job| job.is_touched).map(|job| job.due);
        let all = progress.chain(self.scheduler.next_deadline()).chain([leases]);
        let first = all.min().unwrap_or(leases);
        self.origin + first.since(Time::default())
    }

    /// Performs the duties that are due.
    pub(super) fn fire_timers(&mut self) {
        if self.scheduler.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.feed(Event::Tick);
        }
        if self.now.since(self.leases_checked_at) >= self.config.heartbeat_interval {
            self.check_leases();
        }
        self.tell_progress();
    }

    /// Ends what was silent for a lease. When the shell itself stood still, nobody's silence is
    /// held against them: what they said may still be on its way.
    fn check_leases(&mut self) {
        let pause = self.now.since(self.leases_checked_at);
        self.leases_checked_at = self.now;
        if pause > self.config.heartbeat_interval + self.config.lease / 2 {
            tracing::warn!(?pause, "the cluster manager stood still: leases are extended");
            self.workers.values_mut().for_each(|worker| worker.heard_at = worker.heard_at + pause);
            let applications = self.applications.values_mut();
            applications.for_each(|one| one.heard_at = one.heard_at + pause);
        }
        let (now, lease) = (self.now, self.config.lease);
        let silent = self.workers.iter().filter(|(_, worker)| {
            worker.state != WorkerState::Lost && now.since(worker.heard_at) > lease
        });
        let silent: Vec<_> = silent.map(|(id, _)| id).collect();
        for worker in silent {
            self.lose_worker(worker, &format!("no heartbeat for {lease:?}"));
        }
        for application in self.applications.silent_for(now, lease) {
            let error = format!("no heartbeat of its driver for {lease:?}");
            self.close(application, ApplicationState::Failed, Some(error));
        }
    }

    /// Begins to watch a job.
    pub(super) fn expect(&mut self, job: JobId) {
        let due = self.now + self.config.progress_interval;
        let progress = Progress { due, is_touched: false, told: Vec::new() };
        self.jobs.entry(job).or_insert(progress);
    }

    /// Notes that a job may have got further.
    pub(super) fn touch(&mut self, job: JobId) {
        if let Some(progress) = self.jobs.get_mut(&job) {
            progress.is_touched = true;
        }
    }

    /// Tells drivers how far their jobs are, if that changed and it is time.
    fn tell_progress(&mut self) {
        let is_due = |job: &Progress| job.is_touched && job.due <= self.now;
        let due: Vec<_> =
            self.jobs.iter().filter(|(_, job)| is_due(job)).map(|(id, _)| *id).collect();
        for id in due {
            let mut stages = self.scheduler.progress(id);
            stages.retain(|stage| stage.done < stage.tasks);
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            job.is_touched = false;
            job.due = self.now + self.config.progress_interval;
            if job.told != stages {
                job.told.clone_from(&stages);
                self.say(id.application, ManagerToDriver::Progress { job: id, stages });
            }
        }
    }
}
