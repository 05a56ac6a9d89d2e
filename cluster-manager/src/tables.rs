//! Output tables on their way to executors: made once per version, and waited for by attempts that
//! were launched before their inputs were there.

use std::collections::BTreeMap;
use std::sync::Arc;

use gnist_common::ids::{JobId, StageId};
use gnist_common::task::OutputTable;
use gnist_scheduler::{Scheduler, TableLookup};
use tokio::sync::oneshot;

/// The way back to the caller: the table, or nothing if there will be none at that version.
pub(crate) type Reply = oneshot::Sender<Option<Arc<OutputTable>>>;

/// Tables that were asked for, and those who wait for one.
#[derive(Default)]
pub(crate) struct Tables {
    /// The latest table of each stage, kept until its job ends.
    made: BTreeMap<StageId, Arc<OutputTable>>,
    /// Requests that wait, at most one per executor and stage. Those whose caller has lost interest
    /// leave with the next round.
    waiting: Vec<Pull>,
}

struct Pull {
    stage: StageId,
    version: u32,
    reply: Reply,
}

impl Tables {
    /// Answers with the table of a stage at this version or a later one, once the stage is complete.
    pub(crate) fn pull(
        &mut self,
        scheduler: &Scheduler,
        stage: StageId,
        version: u32,
        reply: Reply,
    ) {
        let waiting = self.answer(scheduler, Pull { stage, version, reply });
        self.waiting.extend(waiting);
    }

    /// Answers those whose stages are complete by now, or have lost what was waited for. To be
    /// called after every round.
    pub(crate) fn answer_waiting(&mut self, scheduler: &Scheduler) {
        for pull in std::mem::take(&mut self.waiting) {
            let waiting = self.answer(scheduler, pull);
            self.waiting.extend(waiting);
        }
    }

    /// Forgets the tables of a job.
    pub(crate) fn drop_job(&mut self, job: JobId) {
        self.made.retain(|stage, _| stage.job != job);
    }

    /// Answers a pull, or hands it back if it has to wait.
    fn answer(&mut self, scheduler: &Scheduler, pull: Pull) -> Option<Pull> {
        if pull.reply.is_closed() {
            return None;
        }
        let made = self.made.get(&pull.stage).filter(|table| table.version >= pull.version);
        let table = match made {
            Some(table) => Some(Arc::clone(table)),
            None => match scheduler.output_table(pull.stage, pull.version) {
                TableLookup::Complete(table) => Some(self.keep(table)),
                TableLookup::Gone => None,
                TableLookup::Pending => return Some(pull),
            },
        };
        // Whoever asked may have lost interest.
        let _ = pull.reply.send(table);
        None
    }

    fn keep(&mut self, table: OutputTable) -> Arc<OutputTable> {
        let (stage, table) = (table.stage, Arc::new(table));
        self.made.insert(stage, Arc::clone(&table));
        table
    }
}
