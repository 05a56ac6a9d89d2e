//! Every message survives the wire, and what is not understood is refused.

use gnist_common::error::{ErrorKind, Failure};
use gnist_common::graph::{
    ContentHash, InputMode, ProgramKind, ProgramRef, Repeatability, Stage, StageInput, StageOutput,
};
use gnist_common::ids::{ApplicationId, AttemptId, Generation, StageId, WorkerId};
use gnist_common::protocol::{
    DriverToManager, JobStats, MESSAGE_BYTES_MAX, ManagerToDriver, ManagerToWorker,
    PROTOCOL_VERSION, Registration, ResultLocation, StageProgress, StageSummary, WorkerToManager,
};
use gnist_common::stores::StoreSettings;
use gnist_common::task::{
    AttemptEnd, Launch, LaunchInput, OperatorMetrics, OutputLocation, OutputTable, TaskMetrics,
    TaskOutput,
};
use gnist_common::time::WallTime;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::wire::control as wire;

/// Sends a value through bytes and compares what arrives.
fn check<D, W>(value: D)
where
    D: Clone + PartialEq + std::fmt::Debug + TryFrom<W, Error: std::fmt::Debug>,
    W: Message + Default + From<D>,
{
    let bytes = W::from(value.clone()).encode_to_vec();
    let arrived = W::decode(bytes.as_slice()).expect("it was just encoded");
    assert_eq!(D::try_from(arrived).expect("nothing is missing"), value);
}

fn stage_id() -> StageId {
    ApplicationId(7).job(3).stage(1)
}

fn attempt() -> AttemptId {
    stage_id().task(12).attempt(2)
}

fn metrics() -> TaskMetrics {
    TaskMetrics {
        output_rows: 1,
        output_bytes: 2,
        input_rows: 3,
        input_bytes: 4,
        fetched_bytes: 5,
        spill_bytes: 6,
        peak_memory_bytes: 7,
        run_us: u64::MAX,
    }
}

fn failure(kind: ErrorKind) -> Failure {
    Failure::new(kind, "the hash join does not fit")
        .at_attempt(attempt())
        .on_worker(WorkerId(9))
        .in_operator("HashJoinExec", Some(1))
        .with_help("raise `--memory`")
}

fn program(kind: ProgramKind) -> ProgramRef {
    ProgramRef { hash: ContentHash([7; 32]), kind, length_bytes: 99 }
}

fn stage(output: StageOutput, repeatability: Repeatability) -> Stage {
    Stage {
        id: stage_id(),
        label: "scan `lineitem`".to_owned(),
        program: program(ProgramKind::Plan),
        bindings: Some(ContentHash([8; 32])),
        tasks: 4,
        slots_per_task: 2,
        inputs: vec![
            StageInput { stage: stage_id(), mode: InputMode::Partition },
            StageInput { stage: stage_id(), mode: InputMode::All },
            StageInput { stage: stage_id(), mode: InputMode::Task },
        ],
        output,
        repeatability,
    }
}

fn launch(kind: ProgramKind) -> Launch {
    let input = StageInput { stage: stage_id(), mode: InputMode::All };
    Launch {
        attempt: attempt(),
        generation: Generation(5),
        program: program(kind),
        bindings: None,
        slots: 1,
        inputs: vec![LaunchInput { input, version: 6 }],
        output: StageOutput::Shuffle { partitions: 200 },
        tasks: 40,
    }
}

const KINDS: [ErrorKind; 11] = [
    ErrorKind::User,
    ErrorKind::Unsupported,
    ErrorKind::NotFound,
    ErrorKind::Transient,
    ErrorKind::OutOfMemory,
    ErrorKind::DiskFull,
    ErrorKind::Panic,
    ErrorKind::Cancelled,
    ErrorKind::Contradicted,
    ErrorKind::Cluster,
    ErrorKind::Internal,
];

#[test]
fn failures_survive_as_messages_and_as_statuses() {
    for kind in KINDS {
        check::<Failure, wire::Failure>(failure(kind));
        let status = status_from_failure(failure(kind));
        assert_eq!(failure_from_status(&status), failure(kind));
    }
    let foreign = failure_from_status(&tonic::Status::unavailable("broken pipe"));
    assert_eq!(foreign.kind, ErrorKind::Cluster);
    assert_eq!(foreign.message, "the connection failed: broken pipe");
}

#[test]
fn stages_survive() {
    let outputs = [
        StageOutput::Shuffle { partitions: 9 },
        StageOutput::Broadcast,
        StageOutput::Value,
        StageOutput::Result,
    ];
    let repeatabilities = [
        Repeatability::Exact,
        Repeatability::Equivalent,
        Repeatability::Rounding,
        Repeatability::Indeterminate,
    ];
    for output in outputs {
        for repeatability in repeatabilities {
            check::<Stage, wire::Stage>(stage(output, repeatability));
        }
    }
}

fn operator() -> OperatorMetrics {
    OperatorMetrics {
        position: 1,
        output_rows: 2,
        compute_us: 3,
        peak_memory_bytes: 4,
        spill_bytes: 5,
    }
}

#[test]
fn messages_of_workers_survive() {
    let output = TaskOutput {
        bytes: vec![1, 0, 3],
        rows: vec![0, 0, 9],
        inline: Some(vec![1, 2, 3]),
        metrics: metrics(),
        operators: vec![operator()],
    };
    let ends = [
        AttemptEnd::Done(output),
        AttemptEnd::Done(TaskOutput::default()),
        AttemptEnd::BlocksMissing { blocks: vec![attempt().block(3)] },
        AttemptEnd::FetchFailed { worker: WorkerId(4), failure: failure(ErrorKind::Transient) },
        AttemptEnd::Transient(failure(ErrorKind::Transient)),
        AttemptEnd::OutOfMemory(failure(ErrorKind::OutOfMemory)),
        AttemptEnd::DiskFull(failure(ErrorKind::DiskFull)),
        AttemptEnd::User(failure(ErrorKind::User)),
        AttemptEnd::Panic(failure(ErrorKind::Panic)),
        AttemptEnd::Cancelled,
    ];
    for end in ends {
        let message = WorkerToManager::AttemptEnded { attempt: attempt(), end };
        check::<_, wire::WorkerMessage>(message);
    }
    let registration = Registration {
        worker: WorkerId(u64::MAX),
        address: "127.0.0.1:1".to_owned(),
        slots: 4,
        memory_bytes: 1 << 40,
        process_id: 77,
        running: vec![attempt()],
        held: vec![attempt(), stage_id().task(0).attempt(0)],
    };
    check::<_, wire::WorkerMessage>(WorkerToManager::Register(registration));
    let heartbeat = WorkerToManager::Heartbeat { running: vec![attempt()], memory_used_bytes: 5 };
    check::<_, wire::WorkerMessage>(heartbeat);
    check::<_, wire::WorkerMessage>(WorkerToManager::Deregister);
    check::<_, wire::WorkerMessage>(WorkerToManager::SlotsReleased { attempt: attempt() });
}

#[test]
fn messages_to_workers_survive() {
    let launches = [ProgramKind::Plan, ProgramKind::Typed, ProgramKind::Empty].map(launch).to_vec();
    for message in [
        ManagerToWorker::Registered { heartbeat_interval_ms: 1000 },
        ManagerToWorker::Launch(launches),
        ManagerToWorker::Cancel(vec![attempt()]),
        ManagerToWorker::DropAttempts(vec![attempt(), attempt()]),
        ManagerToWorker::DropJob(stage_id().job),
        ManagerToWorker::WorkerLost(WorkerId(3)),
        ManagerToWorker::Shutdown { reason: "it left".to_owned() },
    ] {
        check::<_, wire::ManagerToWorkerMessage>(message);
    }
}

#[test]
fn messages_of_drivers_survive() {
    let job = stage_id().job;
    let stages = vec![stage(StageOutput::Result, Repeatability::Exact)];
    let stores = StoreSettings::from_iter([("aws_region".to_owned(), "eu-north-1".to_owned())]);
    for message in [
        DriverToManager::OpenApplication {
            name: "q1".to_owned(),
            submitted_at: WallTime(5),
            stores,
        },
        DriverToManager::SubmitStages { job, stages, sealed: true },
        DriverToManager::CancelJob { job },
        DriverToManager::ResultTaken { attempt: attempt() },
        DriverToManager::ResultMissing { attempt: attempt() },
        DriverToManager::Heartbeat,
        DriverToManager::CloseApplication { error: None },
        DriverToManager::CloseApplication { error: Some("no such column".to_owned()) },
    ] {
        check::<_, wire::DriverMessage>(message);
    }
}

#[test]
fn messages_to_drivers_survive() {
    let (job, stage) = (stage_id().job, stage_id());
    let summary = StageSummary {
        stage,
        bytes: vec![1, 2],
        rows: vec![3, 4],
        metrics: metrics(),
        operators: vec![operator()],
        winners: vec![attempt()],
        run_us_min_median_max: (1, 2, 3),
    };
    let progress = StageProgress { stage, done: 1, running: 2, tasks: 3, rows: 4, bytes: 5 };
    let at_worker =
        ResultLocation::Worker { worker: WorkerId(1), address: "h:1".to_owned(), bytes: 8 };
    let ready = |location| ManagerToDriver::ResultReady { attempt: attempt(), location, rows: 5 };
    let stats = JobStats { stages: 1, tasks: 2, attempts: 3, recomputed: 4, workers_lost: 5 };
    let ended = |outcome| ManagerToDriver::JobEnded { job, outcome, stats };
    for message in [
        ManagerToDriver::ApplicationOpened {
            application: job.application,
            heartbeat_interval_ms: 1,
            slots: 2,
            workers: 3,
        },
        ManagerToDriver::StageFinished(summary),
        ready(ResultLocation::Inline(vec![1, 2])),
        ready(at_worker),
        ManagerToDriver::WorkerLost { worker: WorkerId(3), reason: "it left".to_owned() },
        ManagerToDriver::Progress { job, stages: vec![progress] },
        ended(Ok(())),
        ended(Err(failure(ErrorKind::User))),
    ] {
        check::<_, wire::ManagerToDriverMessage>(message);
    }
}

#[test]
fn what_is_missing_or_unknown_is_refused() {
    let empty = WorkerToManager::try_from(wire::WorkerMessage { message: None });
    assert_eq!(empty, Err(ConvertError::Missing { field: "WorkerMessage.message" }));
    let newer = wire::Failure { kind: 99, ..Default::default() };
    let error = Failure::try_from(newer).expect_err("no such kind");
    assert_eq!(error, ConvertError::UnknownValue { enumeration: "ErrorKind", value: 99 });
    let short = wire::Program { hash: vec![1, 2].into(), kind: 1, length_bytes: 0 };
    let error = ProgramRef::try_from(short).expect_err("no SHA-256");
    assert_eq!(error.to_string(), "a content hash of 2 bytes, where 32 were expected");
    let mut stage = wire::Stage::from(stage(StageOutput::Result, Repeatability::Exact));
    stage.repeatability = 0;
    assert!(Stage::try_from(stage).is_err());
}

/// The files as they are in this version. Whoever changes them raises `PROTOCOL_VERSION`, and
/// writes down what this test says.
#[test]
fn messages_change_with_the_version_alone() {
    let files = [include_str!("../../proto/control.proto"), include_str!("../../proto/data.proto")];
    let lines = files.iter().flat_map(|file| file.lines());
    let meant = lines.map(|line| line.split("//").next().unwrap_or_default().trim());
    // FNV-1a, 64 bits.
    let digest = meant.flat_map(str::bytes).fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    assert_eq!((PROTOCOL_VERSION, format!("{digest:016x}").as_str()), (4, "3e7671470b41d773"));
}

#[test]
fn another_version_is_refused_by_name() {
    let register = wire::Register { protocol_version: 1, ..Default::default() };
    let message = Some(wire::worker_message::Message::Register(register));
    let error = wire::WorkerMessage { message }.check_opening().expect_err("another version");
    let expected = "the worker speaks protocol 1, this cluster manager speaks 4";
    assert_eq!(error.to_string(), expected);
    let close = wire::DriverMessage::from(DriverToManager::CloseApplication { error: None });
    let error = close.check_opening().expect_err("not an opening");
    assert_eq!(error, ConvertError::Unopened { expected: "open_application" });
}

#[test]
fn batches_are_cut_below_the_bound_and_keep_their_order() {
    let launches: Vec<_> = (0..10_000)
        .map(|task| Launch {
            attempt: stage_id().task(task).attempt(0),
            ..launch(ProgramKind::Empty)
        })
        .collect();
    let messages = manager_to_worker_messages(ManagerToWorker::Launch(launches.clone()));
    assert!(messages.len() > 1);
    let mut arrived = Vec::new();
    for message in messages {
        assert!(message.encoded_len() <= MESSAGE_BYTES_MAX);
        match ManagerToWorker::try_from(message) {
            Ok(ManagerToWorker::Launch(mut launches)) => arrived.append(&mut launches),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(arrived, launches);
}

#[test]
fn only_the_last_part_of_a_submission_seals() {
    let stages = vec![stage(StageOutput::Result, Repeatability::Exact); 1000];
    let job = stage_id().job;
    let seals = |stages, sealed| -> Vec<bool> {
        let messages = driver_messages(DriverToManager::SubmitStages { job, stages, sealed });
        assert!(messages.iter().all(|message| message.encoded_len() <= MESSAGE_BYTES_MAX));
        let sealed = |message| match DriverToManager::try_from(message) {
            Ok(DriverToManager::SubmitStages { sealed, .. }) => sealed,
            other => panic!("{other:?}"),
        };
        messages.into_iter().map(sealed).collect()
    };
    let parts = seals(stages.clone(), true);
    assert!(parts.len() > 1);
    assert!(parts[parts.len() - 1] && !parts[..parts.len() - 1].contains(&true));
    assert!(!seals(stages, false).contains(&true));
    assert_eq!(seals(Vec::new(), true), [true]);
}

fn any_attempt() -> impl Strategy<Value = AttemptId> {
    let ids = (any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>());
    ids.prop_map(|(application, job, stage, task, attempt)| {
        ApplicationId(application).job(job).stage(stage).task(task).attempt(attempt)
    })
}

fn any_location() -> impl Strategy<Value = OutputLocation> {
    let parts = (any_attempt(), any::<u64>(), proptest::collection::vec(any::<u64>(), 0..50));
    parts.prop_map(|(attempt, worker, bytes)| OutputLocation {
        attempt,
        worker: WorkerId(worker),
        bytes,
    })
}

proptest! {
    #[test]
    fn any_id_survives(attempt in any_attempt(), partition: u32) {
        check::<_, wire::Attempt>(attempt);
        check::<_, wire::Block>(attempt.block(partition));
        let block = crate::wire::data::Block::from(attempt.block(partition));
        prop_assert_eq!(gnist_common::ids::BlockId::from(block), attempt.block(partition));
    }

    #[test]
    fn any_output_table_survives_in_parts(
        outputs in proptest::collection::vec(any_location(), 0..40),
        version: u32,
    ) {
        let workers = vec![(WorkerId(3), "127.0.0.1:5".to_owned())];
        let table = OutputTable { stage: stage_id(), version, outputs, workers };
        let parts = outputs_to_parts(&table);
        prop_assert_eq!(outputs_from_parts(stage_id(), parts), Ok(table));
    }
}

#[test]
fn a_large_output_table_is_cut() {
    let location =
        OutputLocation { attempt: attempt(), worker: WorkerId(1), bytes: vec![u64::MAX; 10_000] };
    let table =
        OutputTable { stage: stage_id(), version: 1, outputs: vec![location; 50], workers: vec![] };
    let parts = outputs_to_parts(&table);
    assert!(parts.iter().all(|part| part.encoded_len() <= crate::connect::CHUNK_BYTES + 1024));
    assert_eq!(outputs_from_parts(stage_id(), parts), Ok(table));
}
