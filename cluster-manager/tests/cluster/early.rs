//! Attempts that are launched before their inputs are there: what they pull waits, and they give
//! way.

use std::sync::Arc;
use std::time::Duration;

use gnist_cluster_manager::ManagerConfig;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::StageId;
use gnist_common::protocol::{DriverToManager, ManagerToDriver, ManagerToWorker, WorkerToManager};
use gnist_common::task::{Launch, OutputTable};
use gnist_proto::link::WorkerLink;
use tokio::task::JoinHandle;

use crate::fakes::{BACKENDS, Cluster, Driver, Policy, done, eventually, registration, two_stages};

/// A job whose only map task runs, with its consumer beside it, on a worker that does nothing.
async fn one_early(cluster: &Cluster) -> (WorkerLink, Vec<Launch>, Driver) {
    let mut link = cluster.worker_link().await;
    let register = WorkerToManager::Register(registration(1, 2));
    link.to_manager.send(register).await.expect("the manager listens");
    let driver = cluster.driver().await;
    let job = driver.application.job(0);
    let stages = two_stages(job, 1);
    driver.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
    let mut launched = Vec::new();
    while launched.len() < 2 {
        let message = link.from_manager.recv().await.expect("the conversation goes on");
        if let ManagerToWorker::Launch(launches) = message {
            launched.extend(launches);
        }
    }
    (link, launched, driver)
}

type Pull = JoinHandle<Result<Arc<OutputTable>, Failure>>;

fn pull(link: &WorkerLink, stage: StageId, version: u32) -> Pull {
    let content = Arc::clone(&link.content);
    tokio::spawn(async move { content.outputs(stage, version).await })
}

#[tokio::test]
async fn a_pull_waits_until_its_stage_is_complete() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, ManagerConfig::default()).await;
        let (link, launched, driver) = one_early(&cluster).await;
        let stage = driver.application.job(0).stage(0);
        let waiting = pull(&link, stage, launched[1].inputs[0].version);
        // Longer than one call waits.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert!(!waiting.is_finished(), "{backend:?}");
        let foreign = pull(&link, stage, 1).await.expect("no panic").expect_err("no such version");
        assert_eq!(foreign.kind, ErrorKind::NotFound, "others are answered meanwhile");

        let (attempt, end) = (launched[0].attempt, done(&launched[0]));
        let ended = WorkerToManager::AttemptEnded { attempt, end };
        link.to_manager.send(ended).await.expect("the manager listens");
        let table = waiting.await.expect("no panic").expect("the stage is complete");
        assert_eq!((table.stage, table.outputs[0].attempt), (stage, attempt));
    }
}

#[tokio::test]
async fn a_pull_ends_with_its_job() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, ManagerConfig::default()).await;
        let (link, _, driver) = one_early(&cluster).await;
        let job = driver.application.job(0);
        let waiting = pull(&link, job.stage(0), 0);
        driver.say(DriverToManager::CancelJob { job }).await;
        let gone = waiting.await.expect("no panic").expect_err("there will be no table");
        assert_eq!(gone.kind, ErrorKind::NotFound, "{backend:?}");
    }
}

#[tokio::test]
async fn an_early_attempt_gives_way_to_another_application() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, ManagerConfig::default()).await;
        let held: Policy =
            Arc::new(|launch| (launch.attempt.task.partition == 0).then(|| done(launch)));
        let worker = cluster.worker(registration(1, 2), held).await;
        let first = cluster.driver().await;
        let job = first.application.job(0);
        let stages = two_stages(job, 2);
        first.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
        let early = job.stage(1).task(0).attempt(0);
        eventually("it is early", async || worker.seen().running.contains(&early)).await;

        let mut second = cluster.driver().await;
        let job = second.application.job(0);
        let stages = two_stages(job, 1);
        second.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
        let heard = second.until_job_ends().await;
        let end = heard.last();
        assert!(matches!(end, Some(ManagerToDriver::JobEnded { outcome: Ok(()), .. })), "{end:?}");
        assert!(!worker.seen().done.contains(&early), "{backend:?}");
        let stages = cluster.handle.stages(early.task.stage.job).await.expect("the manager runs");
        assert_eq!(stages.expect("the job is known")[1].failed, 0, "it did nothing wrong");
    }
}
