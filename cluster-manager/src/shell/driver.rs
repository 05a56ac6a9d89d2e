//! The drivers' side of the shell: applications and jobs, from their opening to their end.

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::{ContentHash, ProgramKind, Stage};
use gnist_common::ids::{ApplicationId, JobId};
use gnist_common::protocol::{DriverToManager, JobStats, ManagerToDriver};
use gnist_common::stores::StoreSettings;
use gnist_proto::view::ApplicationState;
use gnist_scheduler::{Action, Event};

use super::{Peer, Shell};
use crate::applications::Application;
use crate::input::{Carrier, SessionId};

impl Shell {
    /// A driver says something.
    pub(super) fn driver_said(&mut self, session: SessionId, message: DriverToManager) {
        match self.peers.get(&session) {
            Some(Peer::Driver(application)) => self.application_said(*application, message),
            Some(Peer::NewDriver(_)) => self.new_driver_said(session, message),
            // Stale: the conversation was ended from here.
            Some(Peer::NewWorker(_) | Peer::Worker(_)) | None => {}
        }
    }

    /// The first message of a conversation.
    fn new_driver_said(&mut self, session: SessionId, message: DriverToManager) {
        let Some(Peer::NewDriver(peer)) = self.peers.remove(&session) else { return };
        match message {
            DriverToManager::OpenApplication { name, submitted_at, stores } => {
                let application =
                    Application::new(name, submitted_at, stores, session, peer, self.now);
                self.open(session, application);
            }
            _ => tracing::warn!("driver refused: it opens an application before anything else"),
        }
    }

    fn open(&mut self, session: SessionId, application: Application) {
        let id = self.applications.open(application);
        tracing::info!(application = %id, "application opened");
        self.peers.insert(session, Peer::Driver(id));
        self.content.open(id);
        let (slots, workers) = self.workers.alive();
        let heartbeat_interval_ms = self.config.heartbeat_interval_ms();
        self.feed(Event::ApplicationOpened { application: id });
        if let Some(application) = self.applications.get(id) {
            application.announce(id);
        }
        let opened = ManagerToDriver::ApplicationOpened {
            application: id,
            heartbeat_interval_ms,
            slots,
            workers,
        };
        self.say(id, opened);
    }

    fn application_said(&mut self, id: ApplicationId, message: DriverToManager) {
        let Some(application) = self.applications.get_mut(id) else { return };
        application.heard_at = self.now;
        match message {
            DriverToManager::SubmitStages { job, stages, sealed } => {
                self.submit(id, job, stages, sealed);
            }
            DriverToManager::CancelJob { job } if job.application == id => {
                self.feed(Event::JobCancelled { job });
            }
            DriverToManager::ResultTaken { attempt }
                if attempt.task.stage.job.application == id =>
            {
                self.feed(Event::ResultTaken { attempt });
            }
            DriverToManager::ResultMissing { attempt }
                if attempt.task.stage.job.application == id =>
            {
                self.feed(Event::ResultMissing { attempt });
            }
            DriverToManager::CancelJob { .. }
            | DriverToManager::ResultTaken { .. }
            | DriverToManager::ResultMissing { .. } => {
                tracing::warn!(application = %id, "driver named a job of another application");
            }
            DriverToManager::Heartbeat => {}
            DriverToManager::CloseApplication { error } => {
                let failed = error.is_some();
                let state =
                    if failed { ApplicationState::Failed } else { ApplicationState::Finished };
                self.close(id, state, error);
            }
            DriverToManager::OpenApplication { .. } => {
                let error = "its driver opened a second application in one conversation";
                self.close(id, ApplicationState::Failed, Some(error.to_owned()));
            }
        }
    }

    fn submit(&mut self, id: ApplicationId, job: JobId, stages: Vec<Stage>, sealed: bool) {
        if let Err(failure) = self.check_stages(id, job, &stages) {
            return self.refuse_job(id, job, failure);
        }
        let Some(application) = self.applications.get_mut(id) else { return };
        if application.history.has_ended(job) {
            return; // Stale: the job failed or was cancelled while the message was on its way.
        }
        application.history.submitted(self.wall, job, &stages);
        self.expect(job);
        self.feed(Event::StagesSubmitted { job, stages, sealed });
    }

    /// Checks what only the shell can: whose job it is, and that the content was put before. The
    /// graph itself is checked by the scheduler.
    fn check_stages(&self, id: ApplicationId, job: JobId, stages: &[Stage]) -> Result<(), Failure> {
        let internal = |message| Err(Failure::new(ErrorKind::Internal, message));
        if job.application != id {
            return internal(format!("`{job}` is no job of `{id}`"));
        }
        for stage in stages {
            // A program without bytes is handed over inside the driver's own process.
            let travels =
                stage.program.kind != ProgramKind::Empty && stage.program.length_bytes > 0;
            let program = travels.then_some(stage.program.hash);
            let missing = |hash: &ContentHash| !self.content.is_kept(id, *hash);
            if let Some(hash) = program.into_iter().chain(stage.bindings).find(missing) {
                let stage = stage.id;
                return internal(format!("`{stage}` names content `{hash}`, which was not put"));
            }
        }
        Ok(())
    }

    /// Ends a job for a reason of the shell's own.
    fn refuse_job(&mut self, id: ApplicationId, job: JobId, failure: Failure) {
        if self.jobs.contains_key(&job) && job.application == id {
            self.refused.insert(job, failure);
            return self.feed(Event::JobCancelled { job });
        }
        let (outcome, stats) = (Err(failure), JobStats::default());
        self.say(id, ManagerToDriver::JobEnded { job, outcome, stats });
    }

    /// Says something to an application's driver.
    pub(super) fn say(&mut self, id: ApplicationId, message: ManagerToDriver) {
        if self.applications.get(id).is_some_and(|application| application.say(message)) {
            self.broken_drivers.push(id);
        }
    }

    /// A driver's conversation ended without a word. Inside one process that ends its application;
    /// over a connection its lease decides.
    pub(super) fn driver_broke(&mut self, id: ApplicationId, session: SessionId, why: &str) {
        let Some(application) = self.applications.get_mut(id) else { return };
        if application.session != Some(session) {
            return; // Stale: it was ended from here.
        }
        let carrier = application.carrier();
        application.hang_up();
        tracing::info!(application = %id, why, "driver's conversation broke");
        if carrier == Some(Carrier::Channels) {
            self.close(id, ApplicationState::Failed, Some(why.to_owned()));
        }
    }

    /// Ends an application and everything of it.
    pub(super) fn close(
        &mut self,
        id: ApplicationId,
        state: ApplicationState,
        error: Option<String>,
    ) {
        let Some(application) = self.applications.get_mut(id) else { return };
        if !application.is_running() {
            return;
        }
        tracing::info!(application = %id, state = state.name(), "application ended");
        application.state = state;
        application.ended_at = Some(self.wall);
        application.error = error;
        self.feed(Event::ApplicationClosed { application: id });
        self.content.close(id);
        self.jobs.retain(|job, _| job.application != id);
        self.refused.retain(|job, _| job.application != id);
        if let Some(application) = self.applications.get_mut(id) {
            if let Some(session) = application.session {
                self.peers.remove(&session);
            }
            application.hang_up();
            application.stores = StoreSettings::default();
        }
    }

    /// Ends an application that somebody asks to kill; its driver hears why its jobs end. Returns
    /// true if it ran, nothing if there is no such application.
    pub(super) fn kill(&mut self, id: ApplicationId) -> Option<bool> {
        let is_running = self.applications.get(id)?.is_running();
        let jobs: Vec<JobId> =
            self.jobs.keys().filter(|job| job.application == id).copied().collect();
        for job in jobs {
            let killed = Failure::new(ErrorKind::Cancelled, format!("`{id}` was killed"));
            self.refused.entry(job).or_insert(killed);
        }
        self.close(id, ApplicationState::Killed, None);
        Some(is_running)
    }

    /// The scheduler ended a job.
    pub(super) fn end_job(&mut self, job: JobId, outcome: Result<(), Failure>, stats: JobStats) {
        let outcome = match self.refused.remove(&job) {
            Some(failure) => Err(failure),
            None => outcome,
        };
        self.jobs.remove(&job);
        self.tables.drop_job(job);
        if let Some(application) = self.applications.get_mut(job.application) {
            application.history.job_ended(self.wall, job, &outcome, stats);
        }
        self.say(job.application, ManagerToDriver::JobEnded { job, outcome, stats });
    }

    /// Performs an action that concerns a driver.
    pub(super) fn perform_for_driver(&mut self, action: Action) {
        match action {
            Action::StageFinished { summary } => {
                let id = summary.stage.job.application;
                if let Some(application) = self.applications.get_mut(id) {
                    application.history.stage_finished(&summary);
                }
                self.say(id, ManagerToDriver::StageFinished(summary));
            }
            Action::ResultReady { attempt, location, rows } => {
                let id = attempt.task.stage.job.application;
                self.say(id, ManagerToDriver::ResultReady { attempt, location, rows });
            }
            Action::WorkerLost { application, worker, reason } => {
                self.say(application, ManagerToDriver::WorkerLost { worker, reason });
            }
            Action::JobEnded { job, outcome, stats } => self.end_job(job, outcome, stats),
            Action::Launch { .. }
            | Action::Cancel { .. }
            | Action::DropAttempt { .. }
            | Action::DropJob { .. }
            | Action::StageDemoted { .. }
            | Action::Probe { .. } => {}
        }
    }
}
