//! Simulated drivers: they submit their jobs bit by bit, fetch results, and bind values into the
//! stages that they submit later.

use gnist_common::ids::{ApplicationId, AttemptId, JobId, StageId, WorkerId};

use super::graphs::{Made, Plan};
use super::world::{Happening, Stream, World};
use crate::Event;

impl World {
    pub(super) fn plan_jobs(&mut self) {
        for application in 1..=self.random.between(1, 2) {
            let application = ApplicationId(application);
            self.at(0, Happening::Tell(Event::ApplicationOpened { application }));
            for ordinal in 0..self.random.small(1, 2) {
                self.plan_job(application.job(ordinal));
            }
        }
    }

    fn plan_job(&mut self, job: JobId) {
        let plan = Plan::random(&mut self.random, job);
        let mut at = self.random.between(1, 4_000);
        let last = plan.batches.len() - 1;
        let waits_for_values = plan.bound_values().next().is_some();
        for (number, stages) in plan.batches.iter().cloned().enumerate() {
            let sealed = number == last;
            if number == 0 || !waits_for_values {
                self.at(at, Happening::Tell(Event::StagesSubmitted { job, stages, sealed }));
            }
            at += self.random.between(1, 10_000);
        }
        if self.random.chance(50) {
            self.at(at, Happening::Tell(Event::JobCancelled { job }));
        }
        self.checks.plans.insert(job, plan);
    }

    /// The driver fetches a result. If its worker is dead, it will be told of another attempt.
    pub(super) fn fetch_result(&mut self, attempt: AttemptId, id: WorkerId) {
        let worker = &self.workers[&id];
        if worker.alive {
            let is_there = worker.blocks.contains_key(&attempt);
            let taken = Event::ResultTaken { attempt };
            let missing = Event::ResultMissing { attempt };
            let event = if is_there { taken } else { missing };
            // A driver far away: much can happen before its word arrives.
            if self.random.chance(200) {
                let arrival = self.now + self.random.between(1, 10_000);
                self.delay(Stream::FromDriver, arrival);
            }
            self.send(Stream::FromDriver, Happening::Tell(event));
            if is_there {
                self.bind(attempt);
            }
        }
    }

    /// The driver has an output: if it is the last value that its job waits for, the rest of the
    /// job follows. Of two runs of a task it binds what it had first.
    pub(super) fn bind(&mut self, attempt: AttemptId) {
        let job = attempt.task.stage.job;
        let plan = &self.checks.plans[&job];
        let is_new = !self.bound.contains_key(&attempt.task);
        if !is_new || plan.bound_values().all(|task| task != attempt.task) {
            return;
        }
        self.bound.insert(attempt.task, attempt);
        if plan.bound_values().all(|task| self.bound.contains_key(&task)) {
            let stages = plan.batches[1].clone();
            let event = Event::StagesSubmitted { job, stages, sealed: true };
            self.send(Stream::FromDriver, Happening::Tell(event));
        }
    }

    /// The values that a driver put into a stage.
    pub(super) fn bound_in(&self, stage: StageId) -> Vec<Made> {
        let plan = &self.checks.plans[&stage.job];
        let tasks = plan.bound_values().filter(|_| plan.is_submitted_later(stage));
        tasks.map(|task| self.made[&self.bound[&task]].clone()).collect()
    }
}
