//! Content that many tasks ask for is pulled and decoded once, and counted while anyone has it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use datafusion::arrow::datatypes::Schema;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::SessionContext;
use futures::future::try_join_all;
use gnist_common::graph::ProgramKind;
use gnist_common::ids::{ApplicationId, StageId};
use gnist_common::stores::StoreSettings;
use gnist_common::task::OutputTable;
use gnist_operators::encoder::Encoder;
use gnist_operators::placement::Placement;
use gnist_operators::program::encode_program;

use super::*;

const PROGRAM: ContentHash = ContentHash([1; 32]);
const BINDINGS: ContentHash = ContentHash([2; 32]);

/// A manager that counts what is pulled from it.
struct Manager {
    content: HashMap<ContentHash, Bytes>,
    pulls: AtomicU32,
}

#[async_trait]
impl ContentSource for Manager {
    async fn content(&self, hash: ContentHash) -> Result<Bytes, Failure> {
        self.pulls.fetch_add(1, Ordering::Relaxed);
        // Whoever else asks does so meanwhile.
        tokio::task::yield_now().await;
        Ok(self.content[&hash].clone())
    }

    async fn outputs(&self, stage: StageId, _: u32) -> Result<Arc<OutputTable>, Failure> {
        Err(Failure::new(ErrorKind::NotFound, stage.to_string()))
    }

    async fn stores(&self, _: ApplicationId) -> Result<StoreSettings, Failure> {
        Ok(StoreSettings::default())
    }
}

fn program() -> Bytes {
    let plan: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
    let encoder = Encoder::new(SessionContext::new().task_ctx());
    encode_program(&plan, &Placement::Single, &encoder).unwrap().bytes
}

fn bindings() -> Bytes {
    Bindings { seed: 7, ..Bindings::default() }.encode().unwrap()
}

#[tokio::test]
async fn content_is_pulled_and_decoded_once_and_counted() {
    let content = HashMap::from([(PROGRAM, program()), (BINDINGS, bindings())]);
    let manager = Arc::new(Manager { content, pulls: AtomicU32::new(0) });
    let pulls = || manager.pulls.load(Ordering::Relaxed);
    let budget = MemoryBudget::new(64 << 20);
    let programs = Arc::new(PulledPrograms::new(Arc::clone(&manager) as _));
    Arc::clone(&programs).count_in(&budget);
    let length_bytes = program().len() as u64;
    let wanted = ProgramRef { hash: PROGRAM, kind: ProgramKind::Plan, length_bytes };
    for round in 0..2 {
        let got = try_join_all((0..16).map(|_| programs.program(wanted))).await.unwrap();
        assert!(got.iter().all(|one| Arc::ptr_eq(one, &got[0])));
        assert_eq!(pulls(), 2 * round + 1);
        assert_eq!(budget.used_bytes(), length_bytes * DECODED_PER_ENCODED);
        // What a task uses is not given up.
        assert_eq!(Evict::evict(&*programs, u64::MAX).unwrap(), 0);
        drop(got);
        let bound = |_| programs.bindings(wanted, Some(BINDINGS));
        let got = try_join_all((0..16).map(bound)).await.unwrap();
        assert!(got.iter().all(|one| Arc::ptr_eq(one, &got[0]) && one.seed == 7));
        assert_eq!(pulls(), 2 * round + 2);
        drop(got);
        assert!(Evict::evict(&*programs, u64::MAX).unwrap() > 0);
        assert_eq!(budget.used_bytes(), 0);
    }
}

#[tokio::test]
async fn content_of_another_kind_is_an_error() {
    let content = HashMap::from([(BINDINGS, bindings())]);
    let manager = Manager { content, pulls: AtomicU32::new(0) };
    let programs = PulledPrograms::new(Arc::new(manager));
    let wanted = ProgramRef { hash: BINDINGS, kind: ProgramKind::Plan, length_bytes: 1 };
    programs.bindings(wanted, Some(BINDINGS)).await.unwrap();
    let failure = programs.program(wanted).await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Internal);
}
