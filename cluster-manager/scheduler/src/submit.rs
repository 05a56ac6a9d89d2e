//! Applications and jobs: opened, grown, cancelled, closed.

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::Stage;
use gnist_common::ids::{ApplicationId, JobId};
use gnist_common::time::Time;

use crate::event::Action;
use crate::job::Job;
use crate::scheduler::{NoWorker, Scheduler};
use crate::timers::Timer;

impl Scheduler {
    pub(crate) fn application_opened(&mut self, application: ApplicationId) {
        self.applications.entry(application).or_default();
    }

    pub(crate) fn application_closed(&mut self, application: ApplicationId) {
        let jobs = self.jobs.range(application.job(0)..=application.job(u32::MAX));
        let jobs: Vec<JobId> = jobs.map(|(id, _)| *id).collect();
        for job in jobs {
            self.job_cancelled(job);
        }
        self.applications.remove(&application);
    }

    pub(crate) fn stages_submitted(&mut self, id: JobId, stages: Vec<Stage>, sealed: bool) {
        let Some(application) = self.applications.get(&id.application) else {
            return; // Stale: its application was closed.
        };
        if application.ended.contains(id.ordinal) {
            return; // Stale: the job failed or was cancelled while the message was on its way.
        }
        let now = self.now;
        let job = self.jobs.entry(id).or_insert_with(|| Job::new(id, now));
        job.submitted_at = now;
        if let Err(error) = job.grow(stages, sealed) {
            let failure =
                Failure::new(ErrorKind::Internal, format!("the stage graph is broken: {error}"));
            self.end_job(id, Err(failure));
            return;
        }
        self.release(id, |run| !run.holds_results);
        self.recover(id);
        self.expect_worker(id);
    }

    pub(crate) fn job_cancelled(&mut self, job: JobId) {
        let failure = Failure::new(ErrorKind::Cancelled, format!("{job} was cancelled"));
        self.end_job(job, Err(failure));
    }

    /// Ends a job, whatever it still runs, and frees what it held. Does nothing if it has ended.
    pub(crate) fn end_job(&mut self, id: JobId, outcome: Result<(), Failure>) {
        if !self.jobs.contains_key(&id) {
            return;
        }
        self.cancel_running(id);
        let job = self.jobs.remove(&id).expect("looked at above");
        if let Some(application) = self.applications.get_mut(&id.application) {
            application.ready.retain(|(ordinal, _)| *ordinal != id.ordinal);
            application.ended.insert(id.ordinal);
        }
        self.actions.push(Action::JobEnded { job: id, outcome, stats: job.stats() });
        let drops = job.workers.into_iter().map(|worker| Action::DropJob { worker, job: id });
        self.actions.extend(drops);
    }

    /// Lets a job with work fail if no worker comes: at once if none can.
    pub(crate) fn expect_worker(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if self.no_worker == NoWorker::No || !job.has_work() {
            return;
        }
        if self.no_worker_can_come() {
            self.fail_without_worker(id);
        } else {
            self.timers.set(self.no_worker_deadline(job), Timer::NoWorker(id));
        }
    }

    /// The end of a job's patience, unless a worker came or patience has begun anew.
    pub(crate) fn fail_without_worker(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let is_over = self.no_worker_can_come() || self.no_worker_deadline(job) <= self.now;
        if self.no_worker == NoWorker::No || !job.has_work() || !is_over {
            return;
        }
        let limit_s = self.config.no_worker_timeout.as_secs();
        let failure = match &self.no_worker {
            NoWorker::Lost { worker, reason, .. } => {
                let message = format!("no worker is left: the last one was lost ({reason})");
                Failure::new(ErrorKind::Cluster, message).on_worker(*worker)
            }
            NoWorker::Never { .. } | NoWorker::No => Failure::new(
                ErrorKind::Cluster,
                format!("no worker has registered for {limit_s} s"),
            ),
        };
        let failure = failure.with_help("start workers, or look into their logs for why they left");
        self.end_job(id, Err(failure));
    }

    fn no_worker_can_come(&self) -> bool {
        !self.config.worker_can_return && matches!(self.no_worker, NoWorker::Lost { .. })
    }

    fn no_worker_deadline(&self, job: &Job) -> Time {
        let since = match self.no_worker {
            NoWorker::No => self.now,
            NoWorker::Never { since } | NoWorker::Lost { since, .. } => since,
        };
        since.max(job.submitted_at) + self.config.no_worker_timeout
    }
}
