//! `local[N]`: driver and executor share a process, so plans and rows are handed over, not encoded.
//!
//! The query is one stage of one task that drives all partitions of DataFusion's own plan, through
//! the same graph, scheduler and task runner as on a cluster.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::physical_plan::ExecutionPlan;
use gnist_common::error::Failure;
use gnist_common::graph::{ContentHash, ProgramKind, ProgramRef, Stage, StageOutput};
use gnist_common::ids::StageId;
use gnist_common::protocol::{DriverToManager, ManagerToDriver};
use gnist_operators::placement::Placement;
use tokio::sync::mpsc;

use crate::connection::{Connection, manager_gone};
use crate::content::content_hash;
use crate::inbox::JobInbox;
use crate::job::abandoned;
use crate::planner::{Draws, repeatability_of};
use crate::result::JobReport;

/// The services of a process that is both driver and executor, for its driver.
pub trait InProcess: Send + Sync {
    /// Makes a plan known to the executor under a name, with the settings the user changed, and
    /// whether every operator is measured; it runs at most once.
    fn publish(
        &self,
        program: ContentHash,
        plan: Arc<dyn ExecutionPlan>,
        settings: Vec<(String, String)>,
        is_measured: bool,
    );

    /// Opens the channel that the executor pushes the rows of a result stage into. Bounded: the
    /// executor waits for a slow reader.
    fn open_result(&self, stage: StageId) -> mpsc::Receiver<RecordBatch>;

    /// Forgets both, the job having ended.
    fn forget(&self, program: ContentHash, stage: StageId);
}

/// Runs a plan as one task of `slots` slots.
pub(crate) async fn run(
    connection: Arc<Connection>,
    mut inbox: JobInbox,
    in_process: Arc<dyn InProcess>,
    (plan, settings, is_measured): (Arc<dyn ExecutionPlan>, Vec<(String, String)>, bool),
    rows: &mpsc::Sender<Result<RecordBatch, Failure>>,
) -> Result<JobReport, Failure> {
    let id = inbox.job.stage(0);
    let hash = content_hash(id.to_string().as_bytes());
    let stage = Stage {
        id,
        label: plan.name().to_owned(),
        program: ProgramRef { hash, kind: ProgramKind::Plan, length_bytes: 0 },
        bindings: None,
        tasks: 1,
        slots_per_task: connection.slots(),
        inputs: Vec::new(),
        output: StageOutput::Result,
        repeatability: repeatability_of(&plan, &Placement::Single, &[], Draws::ByThread).0,
    };
    in_process.publish(hash, plan, settings, is_measured);
    let batches = in_process.open_result(id);
    let _published = Published { in_process, program: hash, stage: id };
    connection.submit(&mut inbox, vec![stage], true).await?;
    deliver(&connection, &mut inbox, batches, rows).await
}

/// The traces of a job in the executor, forgotten however the job is left.
struct Published {
    in_process: Arc<dyn InProcess>,
    program: ContentHash,
    stage: StageId,
}

impl Drop for Published {
    fn drop(&mut self) {
        self.in_process.forget(self.program, self.stage);
    }
}

async fn deliver(
    connection: &Connection,
    inbox: &mut JobInbox,
    mut batches: mpsc::Receiver<RecordBatch>,
    rows: &mpsc::Sender<Result<RecordBatch, Failure>>,
) -> Result<JobReport, Failure> {
    let mut stages = Vec::new();
    let mut open = true;
    loop {
        let message = tokio::select! {
            biased;
            batch = batches.recv(), if open => {
                match batch {
                    // A closed receiver is noticed below.
                    Some(batch) => drop(rows.send(Ok(batch)).await),
                    None => open = false,
                }
                if rows.is_closed() {
                    return Err(abandoned());
                }
                continue;
            }
            message = inbox.next() => message.ok_or_else(manager_gone)?,
            () = rows.closed() => {
                return Err(abandoned());
            }
        };
        match message {
            ManagerToDriver::StageFinished(summary) => stages.push(summary),
            ManagerToDriver::JobEnded { outcome, stats, .. } => {
                outcome?;
                while let Some(batch) = batches.recv().await {
                    // A closed receiver wants no more rows; the job has ended anyway.
                    let _ = rows.send(Ok(batch)).await;
                }
                return Ok(JobReport { stats, stages, drafts: Vec::new() });
            }
            // The rows are here already.
            ManagerToDriver::ResultReady { attempt, .. } => {
                connection.say(DriverToManager::ResultTaken { attempt }).await?;
            }
            ManagerToDriver::Progress { .. }
            | ManagerToDriver::WorkerLost { .. }
            | ManagerToDriver::ApplicationOpened { .. } => {}
        }
    }
}
