//! Performing what the scheduler decided.

use gnist_common::ids::WorkerId;
use gnist_common::protocol::ManagerToWorker;
use gnist_common::task::Launch;
use gnist_scheduler::Action;

use super::Shell;

impl Shell {
    /// Performs one action; messages to workers leave at the end of the round.
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Launch { worker, launch } => self.launch(worker, launch),
            Action::Cancel { worker, attempt } => {
                self.push(worker, ManagerToWorker::Cancel(vec![attempt]));
            }
            Action::DropAttempt { worker, attempt } => {
                self.push(worker, ManagerToWorker::DropAttempts(vec![attempt]));
            }
            Action::DropJob { worker, job } => self.push(worker, ManagerToWorker::DropJob(job)),
            Action::Probe { worker } => self.probe(worker),
            Action::StageDemoted { stage } => {
                tracing::error!(%stage, "a second run of a task made other rows than the first");
            }
            Action::StageFinished { .. }
            | Action::ResultReady { .. }
            | Action::WorkerLost { .. }
            | Action::JobEnded { .. } => self.perform_for_driver(action),
        }
    }

    fn launch(&mut self, worker: WorkerId, launch: Launch) {
        let attempt = launch.attempt;
        let job = attempt.task.stage.job;
        if let Some(application) = self.applications.get_mut(job.application) {
            application.history.launched(self.wall, worker, attempt);
        }
        self.touch(job);
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.push_launch(launch);
        }
    }

    fn push(&mut self, worker: WorkerId, message: ManagerToWorker) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.push(message);
        }
    }
}
