//! The messages of the manager about one job, until the job has heard them.
//!
//! One conversation carries the messages of many jobs, so nobody may wait for one of them: a job
//! that reads slowly finds its messages merged. The latest word about a stage, and the latest about
//! a task's result, replaces an earlier one; of several ends the first counts. That bounds an inbox
//! by the size of its job.
//!
//! Invariant: a job that was submitted and has not heard its end is cancelled when its inbox is
//! dropped, however it is left. Its slots, blocks and programs are free again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gnist_common::ids::{JobId, StageId, TaskId};
use gnist_common::protocol::{DriverToManager, ManagerToDriver};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

/// The subject of a message. Of two messages about the same subject the later one counts, but of
/// two ends the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Stage(StageId),
    Result(TaskId),
    End(JobId),
}

impl About {
    /// Returns the subject of a message; none for messages that no inbox keeps.
    fn of(message: &ManagerToDriver) -> Option<Self> {
        match message {
            ManagerToDriver::StageFinished(summary) => Some(Self::Stage(summary.stage)),
            ManagerToDriver::ResultReady { attempt, .. } => Some(Self::Result(attempt.task)),
            ManagerToDriver::JobEnded { job, .. } => Some(Self::End(*job)),
            ManagerToDriver::Progress { .. }
            | ManagerToDriver::WorkerLost { .. }
            | ManagerToDriver::ApplicationOpened { .. } => None,
        }
    }

    fn job(self) -> JobId {
        match self {
            Self::Stage(stage) => stage.job,
            Self::Result(task) => task.stage.job,
            Self::End(job) => job,
        }
    }
}

/// The messages of one job that were not heard yet, oldest first.
#[derive(Debug, Default)]
struct Unheard {
    by_age: BTreeMap<u64, (About, ManagerToDriver)>,
    ages: BTreeMap<About, u64>,
    next_age: u64,
    /// The manager is gone: no more will come.
    is_closed: bool,
}

impl Unheard {
    fn push(&mut self, about: About, message: ManagerToDriver) {
        // A job ends once: what comes after says less of why.
        if matches!(about, About::End(_)) && self.ages.contains_key(&about) {
            return;
        }
        let age = self.next_age;
        self.next_age += 1;
        if let Some(earlier) = self.ages.insert(about, age) {
            self.by_age.remove(&earlier);
        }
        self.by_age.insert(age, (about, message));
    }

    fn pop(&mut self) -> Option<ManagerToDriver> {
        let (_, (about, message)) = self.by_age.pop_first()?;
        self.ages.remove(&about);
        Some(message)
    }
}

#[derive(Debug, Default)]
struct Queue {
    unheard: Mutex<Unheard>,
    filled: Notify,
}

impl Queue {
    fn unheard(&self) -> MutexGuard<'_, Unheard> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inboxes of all jobs of a connection.
#[derive(Debug, Default)]
pub(crate) struct Inboxes(Mutex<BTreeMap<JobId, Arc<Queue>>>);

impl Inboxes {
    /// Opens the inbox of a job whose end is said over `to_manager` if it must be cancelled.
    pub(crate) fn open(
        self: &Arc<Self>,
        job: JobId,
        to_manager: mpsc::Sender<DriverToManager>,
    ) -> JobInbox {
        let queue = Arc::new(Queue::default());
        self.queues().insert(job, Arc::clone(&queue));
        JobInbox { job, queue, inboxes: Arc::clone(self), to_manager, runs: false }
    }

    /// Puts a message where its job finds it. Never waits; what no job here waits for is dropped.
    pub(crate) fn deliver(&self, message: ManagerToDriver) {
        let Some(about) = About::of(&message) else { return };
        let Some(queue) = self.queues().get(&about.job()).cloned() else { return };
        queue.unheard().push(about, message);
        queue.filled.notify_one();
    }

    /// Ends every inbox: the manager is gone.
    pub(crate) fn close(&self) {
        for queue in std::mem::take(&mut *self.queues()).into_values() {
            queue.unheard().is_closed = true;
            queue.filled.notify_one();
        }
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<JobId, Arc<Queue>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job's end of the conversation.
pub(crate) struct JobInbox {
    pub(crate) job: JobId,
    queue: Arc<Queue>,
    inboxes: Arc<Inboxes>,
    to_manager: mpsc::Sender<DriverToManager>,
    /// True if the job was submitted, and its end was not heard.
    runs: bool,
}

impl JobInbox {
    /// The next message; nothing when the manager is gone. Loses none when it is dropped early.
    pub(crate) async fn next(&mut self) -> Option<ManagerToDriver> {
        loop {
            let (message, is_closed) = {
                let mut unheard = self.queue.unheard();
                (unheard.pop(), unheard.is_closed)
            };
            if let Some(message) = message {
                self.runs &= !matches!(message, ManagerToDriver::JobEnded { .. });
                return Some(message);
            }
            if is_closed {
                return None;
            }
            self.queue.filled.notified().await;
        }
    }

    /// Notes that the job is being submitted: it has to end, or to be cancelled.
    pub(crate) fn submitted(&mut self) {
        self.runs = true;
    }
}

impl Drop for JobInbox {
    fn drop(&mut self) {
        self.inboxes.queues().remove(&self.job);
        if self.runs {
            cancel(&self.to_manager, self.job);
        }
    }
}

/// Cancels a job from where nobody can wait. A manager that is gone has cancelled it already.
fn cancel(to_manager: &mpsc::Sender<DriverToManager>, job: JobId) {
    let message = DriverToManager::CancelJob { job };
    if let Err(mpsc::error::TrySendError::Full(message)) = to_manager.try_send(message)
        && let Ok(runtime) = Handle::try_current()
    {
        let to_manager = to_manager.clone();
        runtime.spawn(async move { to_manager.send(message).await });
    }
}

#[cfg(test)]
mod tests {
    use gnist_common::ids::ApplicationId;
    use gnist_common::protocol::{JobStats, ResultLocation};

    use super::*;

    const JOB: JobId = JobId { application: ApplicationId(1), ordinal: 0 };

    fn inbox() -> (Arc<Inboxes>, JobInbox, mpsc::Receiver<DriverToManager>) {
        let (to_manager, said) = mpsc::channel(1);
        let inboxes = Arc::new(Inboxes::default());
        let inbox = inboxes.open(JOB, to_manager);
        (inboxes, inbox, said)
    }

    fn ready(task: u32, attempt: u32) -> ManagerToDriver {
        let attempt = JOB.stage(0).task(task).attempt(attempt);
        ManagerToDriver::ResultReady { attempt, location: ResultLocation::Inline(vec![]), rows: 0 }
    }

    fn end() -> ManagerToDriver {
        ManagerToDriver::JobEnded { job: JOB, outcome: Ok(()), stats: JobStats::default() }
    }

    #[tokio::test]
    async fn an_unread_inbox_grows_with_its_tasks_only_and_never_makes_the_router_wait() {
        let (inboxes, mut inbox, _said) = inbox();
        for attempt in 0..10_000 {
            inboxes.deliver(ready(attempt % 3, attempt));
        }
        inboxes.deliver(end());
        assert_eq!(inbox.queue.unheard().by_age.len(), 4);
        for attempt in 9_997..10_000 {
            assert_eq!(inbox.next().await, Some(ready(attempt % 3, attempt)));
        }
        assert_eq!(inbox.next().await, Some(end()));
        inboxes.close();
        assert_eq!(inbox.next().await, None);
    }

    /// A killed application says so before its jobs are cancelled.
    #[tokio::test]
    async fn the_first_end_of_a_job_counts() {
        let (inboxes, mut inbox, _said) = inbox();
        inboxes.deliver(end());
        let (outcome, stats) = (Err(crate::connection::manager_gone()), JobStats::default());
        inboxes.deliver(ManagerToDriver::JobEnded { job: JOB, outcome, stats });
        assert_eq!(inbox.next().await, Some(end()));
    }

    #[tokio::test]
    async fn a_job_that_is_left_before_its_end_is_cancelled() {
        let (_inboxes, mut inbox, mut said) = inbox();
        inbox.submitted();
        drop(inbox);
        assert_eq!(said.recv().await, Some(DriverToManager::CancelJob { job: JOB }));
        assert_eq!(said.recv().await, None);
    }

    #[tokio::test]
    async fn a_job_that_is_left_is_cancelled_also_when_the_channel_to_the_manager_is_full() {
        let (_inboxes, mut inbox, mut said) = inbox();
        inbox.submitted();
        inbox.to_manager.try_send(DriverToManager::Heartbeat).unwrap();
        drop(inbox);
        assert_eq!(said.recv().await, Some(DriverToManager::Heartbeat));
        assert_eq!(said.recv().await, Some(DriverToManager::CancelJob { job: JOB }));
    }

    #[tokio::test]
    async fn a_job_that_never_began_or_has_ended_is_not_cancelled() {
        let (_inboxes, inbox, mut said) = inbox();
        drop(inbox);
        assert_eq!(said.recv().await, None);
        let (inboxes, mut inbox, mut said) = self::inbox();
        inbox.submitted();
        inboxes.deliver(end());
        assert_eq!(inbox.next().await, Some(end()));
        drop(inbox);
        assert_eq!(said.recv().await, None);
    }
}
