//! Read-only views for people: plain values, computed when asked for.

use gnist_common::ids::{AttemptId, Generation, JobId, StageId, WorkerId};
use gnist_common::protocol::JobStats;
use gnist_common::task::TaskMetrics;

use crate::job::Job;
use crate::scheduler::Scheduler;
use crate::stage::StageRun;
use crate::task::{Task, TaskState};
use crate::worker::{Pause, Worker};

/// The state of the scheduler but for the tasks, which [`Scheduler::tasks`] lists stage by stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Jobs that have not ended, by id.
    pub jobs: Vec<JobView>,
    /// Workers that are not lost, by id.
    pub workers: Vec<WorkerView>,
}

/// A job that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// The id of the job.
    pub job: JobId,
    /// No more stages will follow.
    pub sealed: bool,
    /// The counts of the work done for it so far.
    pub stats: JobStats,
    /// Stages, in the order of their submission.
    pub stages: Vec<StageView>,
}

/// The state of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageStatus {
    /// A stage that it reads is not complete.
    Waiting,
    /// Tasks of the stage run, or wait for slots.
    Active,
    /// Every task has a winner that can be read.
    Complete,
    /// The stage was complete; some outputs are gone, and nothing needs them now.
    Lost,
}

impl StageStatus {
    /// The stable name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Complete => "complete",
            Self::Lost => "lost",
        }
    }
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageView {
    /// The id of the stage.
    pub stage: StageId,
    /// A description, for people.
    pub label: String,
    /// The stages it reads, in the order of its inputs.
    pub inputs: Vec<StageId>,
    /// The state that it is in.
    pub status: StageStatus,
    /// Number of times that it was rolled back.
    pub generation: Generation,
    /// Tasks in all.
    pub tasks: u32,
    /// Tasks with a winner.
    pub done: u32,
    /// Tasks running.
    pub running: u32,
    /// Tasks whose output is gone and not needed.
    pub lost: u32,
    /// Counts over the winners.
    pub metrics: TaskMetrics,
    /// Run times of the winners, if there are any.
    pub run_times: Option<RunTimes>,
}

/// Quantiles of the run times of winning attempts, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunTimes {
    /// Shortest.
    pub min_us: u64,
    /// A quarter was faster.
    pub lower_quartile_us: u64,
    /// Half of the attempts were faster.
    pub median_us: u64,
    /// Three quarters were faster.
    pub upper_quartile_us: u64,
    /// Longest.
    pub max_us: u64,
}

/// The state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskStatus {
    /// The task waits for inputs or a slot.
    Queued,
    /// The task waits before a retry.
    Backoff,
    /// An attempt runs.
    Running,
    /// The task has a winner.
    Done,
    /// The output of the winner is gone and not needed.
    Lost,
}

impl TaskStatus {
    /// The stable name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Backoff => "backoff",
            Self::Running => "running",
            Self::Done => "done",
            Self::Lost => "lost",
        }
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    /// The index of the task in its stage.
    pub partition: u32,
    /// The state that it is in.
    pub status: TaskStatus,
    /// Attempts launched.
    pub attempts: u32,
    /// Attempts that failed and were counted.
    pub failures: u32,
    /// The running or winning attempt, and its worker.
    pub current: Option<(AttemptId, WorkerId)>,
    /// Counts of the winner.
    pub metrics: Option<TaskMetrics>,
}

/// The readiness of a worker to take launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerStatus {
    /// The worker takes launches.
    Usable,
    /// The stream of the worker is broken.
    Suspect,
    /// The worker will leave.
    Draining,
    /// The disk of the worker was full a moment ago.
    DiskFull,
    /// Tasks kept failing on it.
    SetAside,
}

impl WorkerStatus {
    /// The stable name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Suspect => "suspect",
            Self::Draining => "draining",
            Self::DiskFull => "disk_full",
            Self::SetAside => "set_aside",
        }
    }
}

/// A worker that is not lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// The id of the worker.
    pub worker: WorkerId,
    /// `HOST:PORT` of its data plane.
    pub address: String,
    /// The readiness to take launches.
    pub status: WorkerStatus,
    /// Slots in all.
    pub slots: u32,
    /// Slots held by attempts.
    pub used: u32,
    /// The attempts that hold them.
    pub running: Vec<AttemptId>,
}

impl Scheduler {
    /// Returns the whole state but for the tasks. O(tasks).
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            jobs: self.jobs.values().map(job_view).collect(),
            workers: self.workers.iter().map(|(id, worker)| worker_view(id, worker)).collect(),
        }
    }

    /// The tasks of a stage, in order. Empty if the stage is not known.
    pub fn tasks(&self, stage: StageId) -> Vec<TaskView> {
        let Some(run) = self.stage(stage) else { return Vec::new() };
        (0..).zip(run.tasks()).map(|(partition, task)| task_view(run, partition, task)).collect()
    }
}

fn job_view(job: &Job) -> JobView {
    JobView {
        job: job.id,
        sealed: job.sealed,
        stats: job.stats(),
        stages: job.stages().iter().map(|run| stage_view(job, run)).collect(),
    }
}

fn stage_view(job: &Job, run: &StageRun) -> StageView {
    let mut metrics = TaskMetrics::default();
    let mut run_us = Vec::new();
    for winner in (0..run.stage.tasks).filter_map(|partition| run.winner(partition)) {
        metrics.merge(&winner.metrics);
        run_us.push(winner.metrics.run_us);
    }
    StageView {
        stage: run.stage.id,
        label: run.stage.label.clone(),
        inputs: run.stage.inputs.iter().map(|input| input.stage).collect(),
        status: stage_status(job, run),
        generation: run.generation,
        tasks: run.stage.tasks,
        done: run.done(),
        running: run.running(),
        lost: run.lost(),
        metrics,
        run_times: run_times(run_us),
    }
}

fn stage_status(job: &Job, run: &StageRun) -> StageStatus {
    if run.is_complete() {
        StageStatus::Complete
    } else if run.unfinished() == 0 {
        StageStatus::Lost
    } else if run.running() > 0 || job.is_runnable(run.stage.id) {
        StageStatus::Active
    } else {
        StageStatus::Waiting
    }
}

fn run_times(mut run_us: Vec<u64>) -> Option<RunTimes> {
    run_us.sort_unstable();
    let quarter =
        |quarters: usize| run_us.get(run_us.len().checked_sub(1)? * quarters / 4).copied();
    Some(RunTimes {
        min_us: quarter(0)?,
        lower_quartile_us: quarter(1)?,
        median_us: quarter(2)?,
        upper_quartile_us: quarter(3)?,
        max_us: quarter(4)?,
    })
}

fn task_view(run: &StageRun, partition: u32, task: &Task) -> TaskView {
    let name = |attempt| run.task_id(partition).attempt(attempt);
    let (status, current, metrics) = match &task.state {
        TaskState::Queued => (TaskStatus::Queued, None, None),
        TaskState::Backoff { .. } => (TaskStatus::Backoff, None, None),
        TaskState::Running { attempt, worker, .. } => {
            (TaskStatus::Running, Some((name(*attempt), *worker)), None)
        }
        TaskState::Done(winner) => {
            let current = (name(winner.attempt), winner.worker);
            (TaskStatus::Done, Some(current), Some(winner.metrics))
        }
        TaskState::Lost => (TaskStatus::Lost, None, None),
    };
    let (attempts, failures) = (task.next_attempt, task.failures);
    TaskView { partition, status, attempts, failures, current, metrics }
}

fn worker_view(id: WorkerId, worker: &Worker) -> WorkerView {
    WorkerView {
        worker: id,
        address: worker.address.clone(),
        status: worker_status(worker),
        slots: worker.slots,
        used: worker.used(),
        running: worker.running().collect(),
    }
}

fn worker_status(worker: &Worker) -> WorkerStatus {
    match (worker.heard, worker.draining, worker.pause) {
        (false, ..) => WorkerStatus::Suspect,
        (true, true, _) => WorkerStatus::Draining,
        (true, false, Some(Pause::DiskFull { .. })) => WorkerStatus::DiskFull,
        (true, false, Some(Pause::SetAside { .. })) => WorkerStatus::SetAside,
        (true, false, None) => WorkerStatus::Usable,
    }
}
