//! A stage at run time: its tasks, their states, and what its winners hold where.
//!
//! Every change of a task's state is a method here, so that the counts, the queue and the sums by
//! worker always agree with the tasks; `StageRun::check` recounts them in tests.

use std::collections::{BTreeMap, BTreeSet};

use gnist_common::graph::Stage;
use gnist_common::ids::{AttemptId, Generation, TaskId, WorkerId};
use gnist_common::protocol::StageSummary;
use gnist_common::task::{OperatorMetrics, OutputLocation, TaskMetrics, TaskOutput};
use gnist_common::time::Time;

use crate::sizes::Sizes;
use crate::task::{Holding, Place, Recomputed, Task, TaskState, Winner};

/// Tasks of a stage that have ended when it is known how long they take.
const SHORT_TASKS_SEEN: u32 = 4;

/// A task is short below this, in microseconds.
const SHORT_TASK_US: u64 = 1_000;

/// A stage and its tasks.
#[derive(Debug)]
pub(crate) struct StageRun {
    pub(crate) stage: Stage,
    /// Grows with every roll-back.
    pub(crate) generation: Generation,
    /// Version of the output table: grows whenever a winner's output is lost.
    pub(crate) version: u32,
    /// The stage was complete at least once in this generation, and its driver was told.
    pub(crate) reported: bool,
    /// Some attempt was launched.
    pub(crate) started: bool,
    /// Some task won in this generation.
    has_won: bool,
    /// The results of the stage are held back until nothing of the job is left to run; derived from
    /// the graph when it grows.
    pub(crate) holds_results: bool,
    /// A second run of a task has to make the same rows; derived from the graph when it grows.
    pub(crate) is_exact: bool,
    /// Some output of this generation was announced to the driver.
    was_announced: bool,
    tasks: Vec<Task>,
    queue: BTreeSet<u32>,
    running: u32,
    done: u32,
    lost: u32,
    delivered: u32,
    holdings: BTreeMap<WorkerId, Holding>,
    rows: Vec<u64>,
    /// Number and time of the attempts that won, whatever became of them.
    won: u32,
    won_us: u64,
}

impl StageRun {
    /// A stage with every task queued.
    pub(crate) fn new(stage: Stage) -> Self {
        let partitions = stage.output.partitions() as usize;
        Self {
            generation: Generation::default(),
            version: 0,
            reported: false,
            started: false,
            has_won: false,
            holds_results: false,
            is_exact: false,
            was_announced: false,
            tasks: (0..stage.tasks).map(|_| Task::default()).collect(),
            queue: (0..stage.tasks).collect(),
            running: 0,
            done: 0,
            lost: 0,
            delivered: 0,
            holdings: BTreeMap::new(),
            rows: vec![0; partitions],
            won: 0,
            won_us: 0,
            stage,
        }
    }

    pub(crate) fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    pub(crate) fn task(&self, partition: u32) -> &Task {
        &self.tasks[partition as usize]
    }

    /// The counters of a task; its state changes by the transitions below only.
    pub(crate) fn task_mut(&mut self, partition: u32) -> &mut Task {
        &mut self.tasks[partition as usize]
    }

    pub(crate) fn task_id(&self, partition: u32) -> TaskId {
        self.stage.id.task(partition)
    }

    pub(crate) fn queue(&self) -> &BTreeSet<u32> {
        &self.queue
    }

    pub(crate) fn holdings(&self) -> &BTreeMap<WorkerId, Holding> {
        &self.holdings
    }

    pub(crate) fn running(&self) -> u32 {
        self.running
    }

    pub(crate) fn done(&self) -> u32 {
        self.done
    }

    pub(crate) fn lost(&self) -> u32 {
        self.lost
    }

    /// Tasks that are wanted and not done.
    pub(crate) fn unfinished(&self) -> u32 {
        self.stage.tasks - self.done - self.lost
    }

    /// Every task has a winner that can be read.
    pub(crate) fn is_complete(&self) -> bool {
        self.done == self.stage.tasks
    }

    /// Every task runs or is done: none waits for a slot, or will soon.
    pub(crate) fn nothing_waits(&self) -> bool {
        self.running + self.done == self.stage.tasks
    }

    /// The tasks take less time than telling a worker to run one does.
    pub(crate) fn is_short(&self) -> bool {
        let is_known = self.won >= SHORT_TASKS_SEEN && self.won_us > 0;
        is_known && self.won_us / u64::from(self.won) < SHORT_TASK_US
    }

    /// True if the output goes to the driver.
    pub(crate) fn is_for_driver(&self) -> bool {
        self.stage.output.is_for_driver()
    }

    /// True if nothing is left to deliver, as in every stage whose output other stages read.
    pub(crate) fn is_delivered(&self) -> bool {
        !self.is_for_driver() || self.delivered == self.stage.tasks
    }

    /// The driver may have some of it: it was told where that is, whatever became of it since.
    pub(crate) fn was_announced(&self) -> bool {
        self.was_announced
    }

    /// Some task has used what the inputs held. A winner that was lost since counts: what later
    /// stages made of it may still be there.
    pub(crate) fn used_inputs(&self) -> bool {
        self.has_won || self.running > 0
    }

    /// Queued -> Running. Returns the attempt, and whether the task counts as recomputed by it.
    pub(crate) fn start(
        &mut self,
        partition: u32,
        worker: WorkerId,
        slots: u32,
    ) -> (AttemptId, bool) {
        assert!(self.queue.remove(&partition), "only queued tasks start");
        self.running += 1;
        self.started = true;
        let id = self.task_id(partition);
        let task = self.task_mut(partition);
        let attempt = task.next_attempt;
        task.next_attempt += 1;
        task.state = TaskState::Running { attempt, worker, slots };
        let runs_again = task.recomputed == Recomputed::Due;
        if runs_again {
            task.recomputed = Recomputed::Counted;
        }
        (id.attempt(attempt), runs_again)
    }

    /// A running task goes on without slots. Returns those it had.
    pub(crate) fn vacate(&mut self, partition: u32) -> u32 {
        match &mut self.task_mut(partition).state {
            TaskState::Running { slots, .. } => std::mem::take(slots),
            _ => panic!("only running tasks hold slots"),
        }
    }

    /// Running -> Queued.
    pub(crate) fn requeue(&mut self, partition: u32) {
        self.leave_running(partition);
        self.task_mut(partition).state = TaskState::Queued;
        self.queue.insert(partition);
    }

    /// Running -> Backoff.
    pub(crate) fn back_off(&mut self, partition: u32, until: Time) {
        self.leave_running(partition);
        self.task_mut(partition).state = TaskState::Backoff { until };
    }

    /// Backoff -> Queued, if the wait is over. Anything else is a stale timer.
    pub(crate) fn wake(&mut self, partition: u32, now: Time) -> bool {
        let is_over =
            matches!(self.task(partition).state, TaskState::Backoff { until } if until <= now);
        if is_over {
            self.task_mut(partition).state = TaskState::Queued;
            self.queue.insert(partition);
        }
        is_over
    }

    /// Running -> Done. False if the task made other rows than its last winner, and may not.
    pub(crate) fn win(&mut self, partition: u32, output: TaskOutput) -> bool {
        let (attempt, worker) = self.leave_running(partition);
        let partitions = self.rows.len();
        let place = match output.inline {
            Some(bytes) if self.is_for_driver() => Place::Here(bytes),
            _ => Place::Worker,
        };
        let winner = Winner {
            attempt,
            worker,
            bytes: Sizes::encode(&output.bytes, partitions),
            rows: Sizes::encode(&output.rows, partitions),
            metrics: output.metrics,
            operators: output.operators.into(),
            place,
        };
        self.won = self.won.saturating_add(1);
        self.won_us = self.won_us.saturating_add(winner.metrics.run_us);
        self.hold(&winner);
        self.has_won = true;
        self.done += 1;
        let is_exact = self.is_exact;
        let task = self.task_mut(partition);
        let before = task.rows_before.take();
        let is_same = before.is_none_or(|rows| !is_exact || rows == winner.rows);
        task.state = TaskState::Done(Box::new(winner));
        is_same
    }

    /// Done -> Lost. Returns the loser.
    pub(crate) fn lose(&mut self, partition: u32) -> Winner {
        let winner = self.take_winner(partition);
        self.lost += 1;
        self.version += 1;
        winner
    }

    /// Lost -> Queued, for every lost task.
    pub(crate) fn want_lost(&mut self) {
        for partition in 0..self.stage.tasks {
            if self.lost == 0 {
                break;
            }
            if matches!(self.task(partition).state, TaskState::Lost) {
                self.lost -= 1;
                self.task_mut(partition).state = TaskState::Queued;
                self.queue.insert(partition);
            }
        }
        assert_eq!(self.lost, 0, "every lost task is counted");
    }

    /// Queued -> Lost, for every queued task: each was done before, and nothing needs it any more.
    pub(crate) fn unwant_queued(&mut self) {
        assert!(self.reported, "tasks that were never done are always wanted");
        for partition in std::mem::take(&mut self.queue) {
            self.task_mut(partition).state = TaskState::Lost;
            self.lost += 1;
        }
    }

    /// Starts the stage over as a new generation: every task but those that wait for a retry is
    /// queued. Returns the winners whose blocks are to be dropped; running attempts must have
    /// been requeued before.
    pub(crate) fn roll_back(&mut self) -> Vec<(TaskId, Winner)> {
        assert_eq!(self.running, 0, "running attempts are cancelled before a roll-back");
        assert!(!self.was_announced, "what the driver may have is not made again");
        let done = |partition: &u32| matches!(self.task(*partition).state, TaskState::Done(_));
        let partitions: Vec<u32> = (0..self.stage.tasks).filter(done).collect();
        let losers = partitions.into_iter().map(|p| (self.task_id(p), self.lose(p))).collect();
        self.want_lost();
        self.generation.0 += 1;
        self.version += 1;
        (self.reported, self.has_won) = (false, false);
        // What it reads is made anew: other rows are to be expected.
        self.tasks.iter_mut().for_each(|task| task.rows_before = None);
        losers
    }

    /// The winner of a task, if it has one.
    pub(crate) fn winner(&self, partition: u32) -> Option<&Winner> {
        match &self.tasks.get(partition as usize)?.state {
            TaskState::Done(winner) => Some(winner),
            _ => None,
        }
    }

    /// Moves the output of a winner to another place, and returns where it was.
    pub(crate) fn set_place(&mut self, partition: u32, place: Place) -> Place {
        let is_delivered = place == Place::Delivered;
        let TaskState::Done(winner) = &mut self.task_mut(partition).state else {
            panic!("only winners have a place");
        };
        let before = std::mem::replace(&mut winner.place, place);
        assert_ne!(before, Place::Delivered, "a delivered result stays delivered");
        self.was_announced = true;
        self.delivered += u32::from(is_delivered);
        before
    }

    /// Tasks whose output would go with a worker.
    pub(crate) fn at_risk_on(&self, worker: WorkerId) -> Vec<u32> {
        if !self.holdings.contains_key(&worker) {
            return Vec::new();
        }
        let on_worker = |partition: &u32| {
            self.winner(*partition)
                .is_some_and(|winner| winner.worker == worker && winner.is_at_risk())
        };
        (0..self.stage.tasks).filter(on_worker).collect()
    }

    /// Returns the places of the outputs, in task order.
    ///
    /// # Panics
    /// If the stage is not complete.
    pub(crate) fn locations(&self) -> Vec<OutputLocation> {
        let location = |partition| {
            let winner = self.winner(partition).expect("a complete stage has only winners");
            OutputLocation {
                attempt: self.task_id(partition).attempt(winner.attempt),
                worker: winner.worker,
                bytes: winner.bytes.iter().collect(),
            }
        };
        (0..self.stage.tasks).map(location).collect()
    }

    /// Returns the counts of the stage over its winners. O(tasks log tasks).
    ///
    /// # Panics
    /// If the stage is not complete.
    pub(crate) fn summary(&self) -> StageSummary {
        assert!(self.is_complete(), "only complete stages are summed up");
        let mut metrics = TaskMetrics::default();
        let mut operators = Vec::new();
        let mut winners = Vec::with_capacity(self.tasks.len());
        let mut run_us = Vec::with_capacity(self.tasks.len());
        for partition in 0..self.stage.tasks {
            let winner = self.winner(partition).expect("a complete stage has only winners");
            metrics.merge(&winner.metrics);
            OperatorMetrics::merge(&mut operators, &winner.operators);
            winners.push(self.task_id(partition).attempt(winner.attempt));
            run_us.push(winner.metrics.run_us);
        }
        run_us.sort_unstable();
        let (first, last) = (run_us[0], run_us[run_us.len() - 1]);
        StageSummary {
            stage: self.stage.id,
            bytes: self.bytes(),
            rows: self.rows.clone(),
            metrics,
            operators,
            winners,
            run_us_min_median_max: (first, run_us[run_us.len() / 2], last),
        }
    }

    /// Bytes per output partition, over all winners.
    pub(crate) fn bytes(&self) -> Vec<u64> {
        let mut sums = vec![0; self.rows.len()];
        for holding in self.holdings.values() {
            sums.iter_mut().zip(&holding.bytes).for_each(|(sum, bytes)| *sum += bytes);
        }
        sums
    }

    /// Rows per output partition, over all winners.
    pub(crate) fn rows(&self) -> &[u64] {
        &self.rows
    }

    fn leave_running(&mut self, partition: u32) -> (u32, WorkerId) {
        let TaskState::Running { attempt, worker, .. } = self.task(partition).state else {
            panic!("task {partition} of {} is not running", self.stage.id);
        };
        self.running -= 1;
        (attempt, worker)
    }

    fn hold(&mut self, winner: &Winner) {
        let partitions = self.rows.len();
        let holding = self.holdings.entry(winner.worker).or_default();
        holding.bytes.resize(partitions, 0);
        holding.tasks += 1;
        holding.bytes.iter_mut().zip(winner.bytes.iter()).for_each(|(sum, b)| *sum += b);
        self.rows.iter_mut().zip(winner.rows.iter()).for_each(|(sum, rows)| *sum += rows);
    }

    fn take_winner(&mut self, partition: u32) -> Winner {
        let task = self.task_mut(partition);
        let TaskState::Done(winner) = std::mem::replace(&mut task.state, TaskState::Lost) else {
            panic!("only winners can be taken");
        };
        task.recomputed.set_due();
        task.rows_before = Some(winner.rows.clone());
        self.done -= 1;
        self.delivered -= u32::from(winner.place == Place::Delivered);
        let holding = self.holdings.get_mut(&winner.worker).expect("winners are held somewhere");
        holding.tasks -= 1;
        holding.bytes.iter_mut().zip(winner.bytes.iter()).for_each(|(sum, b)| *sum -= b);
        if holding.tasks == 0 {
            self.holdings.remove(&winner.worker);
        }
        self.rows.iter_mut().zip(winner.rows.iter()).for_each(|(sum, rows)| *sum -= rows);
        *winner
    }

    /// Recounts everything that is kept beside the tasks.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let count = |is: fn(&TaskState) -> bool| {
            u32::try_from(self.tasks.iter().filter(|task| is(&task.state)).count()).expect("few")
        };
        assert_eq!(self.running, count(|s| matches!(s, TaskState::Running { .. })));
        assert_eq!(self.done, count(|s| matches!(s, TaskState::Done(_))));
        assert_eq!(self.lost, count(|s| matches!(s, TaskState::Lost)));
        let delivered =
            |s: &TaskState| matches!(s, TaskState::Done(w) if w.place == Place::Delivered);
        assert_eq!(self.delivered, count(delivered));
        let queued = |p: &u32| matches!(self.task(*p).state, TaskState::Queued);
        assert!(self.queue.iter().copied().eq((0..self.stage.tasks).filter(queued)));
        let held: u32 = self.holdings.values().map(|holding| holding.tasks).sum();
        assert_eq!(held, self.done);
        let bytes: u64 =
            (0..self.stage.tasks).filter_map(|p| self.winner(p)).map(|w| w.bytes.sum()).sum();
        assert_eq!(bytes, self.bytes().iter().sum::<u64>());
    }
}
