//! The history of each application's jobs, for `/api/v1`: bounded, and never asked by the
//! scheduler.

use std::collections::BTreeMap;

use gnist_common::error::Failure;
use gnist_common::graph::Stage;
use gnist_common::ids::{AttemptId, JobId, StageId, WorkerId};
use gnist_common::protocol::{JobStats, StageSummary};
use gnist_common::task::{AttemptEnd, TaskMetrics};
use gnist_common::time::WallTime;

use crate::view::{AttemptState, JobState, JobView, Quantiles, StageState, StageView, TaskView};

/// Ended jobs that are remembered, per application.
const JOBS_MAX: usize = 100;

/// Attempts that are remembered one by one, per application; beyond it the oldest jobs keep their
/// stages' counts only.
const ATTEMPTS_MAX: usize = 100_000;

/// The jobs of one application.
#[derive(Default)]
pub(crate) struct History {
    jobs: BTreeMap<JobId, JobRecord>,
    attempts: usize,
}

struct JobRecord {
    submitted_at: WallTime,
    ended: Option<(WallTime, Option<String>, JobStats)>,
    stages: BTreeMap<u32, StageRecord>,
    attempts: u32,
}

struct StageRecord {
    id: StageId,
    label: String,
    tasks: u32,
    is_complete: bool,
    /// Attempts launched, but for those that were cancelled.
    launched: u32,
    succeeded: u32,
    failed: u32,
    metrics: TaskMetrics,
    run_us: Option<Quantiles>,
    attempts: BTreeMap<(u32, u32), AttemptRecord>,
}

struct AttemptRecord {
    worker: WorkerId,
    launched_at: WallTime,
    ended_at: Option<WallTime>,
    state: AttemptState,
    metrics: Option<TaskMetrics>,
    error: Option<Box<str>>,
}

impl History {
    /// Notes stages of a new or a running job.
    pub(crate) fn submitted(&mut self, now: WallTime, job: JobId, stages: &[Stage]) {
        let record = self.jobs.entry(job).or_insert_with(|| JobRecord {
            submitted_at: now,
            ended: None,
            stages: BTreeMap::new(),
            attempts: 0,
        });
        for stage in stages {
            record.stages.insert(stage.id.ordinal, StageRecord::new(stage));
        }
    }

    /// True if a job is remembered to have ended.
    pub(crate) fn has_ended(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| job.ended.is_some())
    }

    /// Notes a launch.
    pub(crate) fn launched(&mut self, now: WallTime, worker: WorkerId, attempt: AttemptId) {
        let Some(job) = self.jobs.get_mut(&attempt.task.stage.job) else { return };
        job.attempts += 1;
        let Some(stage) = job.stages.get_mut(&attempt.task.stage.ordinal) else { return };
        stage.launched += 1;
        if self.attempts >= ATTEMPTS_MAX {
            return;
        }
        self.attempts += 1;
        let record = AttemptRecord {
            worker,
            launched_at: now,
            ended_at: None,
            state: AttemptState::Running,
            metrics: None,
            error: None,
        };
        stage.attempts.insert((attempt.task.partition, attempt.attempt), record);
    }

    /// Notes the end of an attempt.
    pub(crate) fn ended(&mut self, now: WallTime, attempt: AttemptId, end: &AttemptEnd) {
        let (state, metrics, failure) = describe(end);
        let Some(stage) = self.stage_mut(attempt.task.stage) else { return };
        match metrics {
            Some(metrics) => {
                stage.succeeded += 1;
                stage.metrics.merge(&metrics);
            }
            // It was told to stop, and not for anything it did.
            None if state == AttemptState::Cancelled => {
                stage.launched = stage.launched.saturating_sub(1);
            }
            None => stage.failed += 1,
        }
        let Some(record) = stage.attempts.get_mut(&(attempt.task.partition, attempt.attempt))
        else {
            return;
        };
        record.ended_at = Some(now);
        record.state = state;
        record.metrics = metrics;
        record.error = failure.map(|failure| failure.message.as_str().into());
    }

    /// Notes that what ran on a worker ended with it.
    pub(crate) fn worker_lost(&mut self, now: WallTime, worker: WorkerId) {
        let running = self.jobs.values_mut().filter(|job| job.ended.is_none());
        for stage in running.flat_map(|job| job.stages.values_mut()) {
            let attempts = stage.attempts.values_mut();
            for attempt in attempts.filter(|attempt| attempt.is_running_on(worker)) {
                attempt.state = AttemptState::WorkerLost;
                attempt.ended_at = Some(now);
                stage.failed += 1;
            }
        }
    }

    /// Notes that a stage is complete.
    pub(crate) fn stage_finished(&mut self, summary: &StageSummary) {
        if let Some(stage) = self.stage_mut(summary.stage) {
            stage.is_complete = true;
        }
    }

    /// Notes the end of a job, and forgets what is beyond the bounds.
    pub(crate) fn job_ended(
        &mut self,
        now: WallTime,
        job: JobId,
        outcome: &Result<(), Failure>,
        stats: JobStats,
    ) {
        let Some(record) = self.jobs.get_mut(&job) else { return };
        let error = outcome.as_ref().err().map(Failure::to_string);
        record.ended = Some((now, error, stats));
        self.forget();
    }

    /// Keeps both bounds, oldest jobs first.
    fn forget(&mut self) {
        let ended = |jobs: &BTreeMap<JobId, JobRecord>| -> Vec<JobId> {
            jobs.iter().filter(|(_, job)| job.ended.is_some()).map(|(id, _)| *id).collect()
        };
        let jobs = ended(&self.jobs);
        for job in &jobs[..jobs.len().saturating_sub(JOBS_MAX)] {
            if let Some(record) = self.jobs.remove(job) {
                self.attempts -=
                    record.stages.values().map(|stage| stage.attempts.len()).sum::<usize>();
            }
        }
        for job in ended(&self.jobs) {
            if self.attempts <= ATTEMPTS_MAX / 2 {
                return;
            }
            let stages =
                self.jobs.get_mut(&job).into_iter().flat_map(|job| job.stages.values_mut());
            self.attempts -= stages.map(StageRecord::forget_attempts).sum::<usize>();
        }
    }

    /// Every job that is remembered, in order.
    pub(crate) fn jobs(&self) -> Vec<JobView> {
        self.jobs.iter().map(|(id, job)| job.view(*id)).collect()
    }

    /// The stages of a job.
    pub(crate) fn stages(&self, job: JobId) -> Option<Vec<StageView>> {
        Some(self.jobs.get(&job)?.stages.values().map(StageRecord::view).collect())
    }

    /// The attempts at a stage's tasks, in task order.
    pub(crate) fn tasks(&self, stage: StageId) -> Option<Vec<TaskView>> {
        let record = self.jobs.get(&stage.job)?.stages.get(&stage.ordinal)?;
        let view = |(&(partition, attempt), record): (&(u32, u32), &AttemptRecord)| {
            record.view(stage.task(partition).attempt(attempt))
        };
        Some(record.attempts.iter().map(view).collect())
    }

    fn stage_mut(&mut self, stage: StageId) -> Option<&mut StageRecord> {
        self.jobs.get_mut(&stage.job)?.stages.get_mut(&stage.ordinal)
    }
}

impl JobRecord {
    fn view(&self, id: JobId) -> JobView {
        let stats = self.ended.as_ref().map(|(_, _, stats)| *stats);
        let error = self.ended.as_ref().and_then(|(_, error, _)| error.clone());
        let state = match (&self.ended, &error) {
            (None, _) => JobState::Running,
            (Some(_), None) => JobState::Finished,
            (Some(_), Some(_)) => JobState::Failed,
        };
        JobView {
            id,
            job: id.ordinal,
            state,
            submitted_at: self.submitted_at,
            ended_at: self.ended.as_ref().map(|(at, _, _)| *at),
            error,
            stages: u32::try_from(self.stages.len()).unwrap_or(u32::MAX),
            tasks: self.stages.values().map(|stage| stage.tasks).sum(),
            attempts: self.attempts,
            recomputed: stats.map(|stats| stats.recomputed),
            workers_lost: stats.map(|stats| stats.workers_lost),
        }
    }
}

impl StageRecord {
    fn new(stage: &Stage) -> Self {
        Self {
            id: stage.id,
            label: stage.label.clone(),
            tasks: stage.tasks,
            is_complete: false,
            launched: 0,
            succeeded: 0,
            failed: 0,
            metrics: TaskMetrics::default(),
            run_us: None,
            attempts: BTreeMap::new(),
        }
    }

    /// Run times of the attempts that succeeded.
    fn run_us(&self) -> Option<Quantiles> {
        let metrics = self.attempts.values().filter_map(|attempt| attempt.metrics);
        self.run_us.or_else(|| Quantiles::of(metrics.map(|metrics| metrics.run_us).collect()))
    }

    /// Keeps the counts only; returns how many attempts were forgotten.
    fn forget_attempts(&mut self) -> usize {
        self.run_us = self.run_us();
        std::mem::take(&mut self.attempts).len()
    }

    fn view(&self) -> StageView {
        let state = match (self.is_complete, self.launched) {
            (true, _) => StageState::Finished,
            (false, 0) => StageState::Waiting,
            (false, _) => StageState::Running,
        };
        StageView {
            id: self.id,
            stage: self.id.ordinal,
            label: self.label.clone(),
            state,
            tasks: self.tasks,
            running: self.launched.saturating_sub(self.succeeded + self.failed),
            succeeded: self.succeeded,
            failed: self.failed,
            output_rows: self.metrics.output_rows,
            output_bytes: self.metrics.output_bytes,
            input_rows: self.metrics.input_rows,
            input_bytes: self.metrics.input_bytes,
            fetched_bytes: self.metrics.fetched_bytes,
            spill_bytes: self.metrics.spill_bytes,
            peak_memory_bytes: self.metrics.peak_memory_bytes,
            run_us: self.run_us(),
        }
    }
}

impl AttemptRecord {
    fn is_running_on(&self, worker: WorkerId) -> bool {
        self.worker == worker && self.ended_at.is_none()
    }

    fn view(&self, id: AttemptId) -> TaskView {
        TaskView {
            id,
            partition: id.task.partition,
            attempt: id.attempt,
            worker: self.worker,
            state: self.state,
            launched_at: self.launched_at,
            ended_at: self.ended_at,
            run_us: self.metrics.map(|metrics| metrics.run_us),
            output_rows: self.metrics.map(|metrics| metrics.output_rows),
            output_bytes: self.metrics.map(|metrics| metrics.output_bytes),
            error: self.error.as_deref().map(str::to_owned),
        }
    }
}

/// Returns the parts of an attempt's end that people see: state, counts and failure.
fn describe(end: &AttemptEnd) -> (AttemptState, Option<TaskMetrics>, Option<&Failure>) {
    match end {
        AttemptEnd::Done(output) => (AttemptState::Done, Some(output.metrics), None),
        AttemptEnd::BlocksMissing { .. } => (AttemptState::BlocksMissing, None, None),
        AttemptEnd::FetchFailed { failure, .. } => (AttemptState::FetchFailed, None, Some(failure)),
        AttemptEnd::Transient(failure) => (AttemptState::Transient, None, Some(failure)),
        AttemptEnd::OutOfMemory(failure) => (AttemptState::OutOfMemory, None, Some(failure)),
        AttemptEnd::DiskFull(failure) => (AttemptState::DiskFull, None, Some(failure)),
        AttemptEnd::User(failure) => (AttemptState::User, None, Some(failure)),
        AttemptEnd::Panic(failure) => (AttemptState::Panic, None, Some(failure)),
        AttemptEnd::Cancelled => (AttemptState::Cancelled, None, None),
    }
}
