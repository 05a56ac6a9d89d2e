//! Workers and drivers that fall silent, leave, or come back.

use std::sync::Arc;
use std::time::Duration;

use gnist_cluster_manager::ManagerConfig;
use gnist_cluster_manager::view::{ApplicationState, WorkerState};
use gnist_common::error::ErrorKind;
use gnist_common::ids::WorkerId;
use gnist_common::protocol::{DriverToManager, JobStats, ManagerToDriver, WorkerToManager};
use tokio::net::TcpListener;

use crate::fakes::{
    BACKENDS, Backend, Cluster, Driver, Policy, Worker, done, eventually, impatient, obedient,
    registration, two_stages,
};

/// Lets partition 0 of every stage end at once, and holds the others.
fn first_only() -> Policy {
    Arc::new(|launch| (launch.attempt.task.partition == 0).then(|| done(launch)))
}

async fn worker_state(cluster: &Cluster, id: u64) -> Option<WorkerState> {
    let state = cluster.handle.state().await.expect("the manager runs");
    let worker = state.workers.into_iter().find(|worker| worker.id == WorkerId(id));
    worker.map(|worker| worker.state)
}

/// A job whose first stage is half done by a worker that holds the other half, while a second
/// worker is idle.
async fn half_done(cluster: &Cluster, id: u64) -> (Worker, Worker, Driver) {
    let first = cluster.worker(registration(id, 2), first_only()).await;
    let driver = cluster.driver().await;
    let job = driver.application.job(0);
    let stages = two_stages(job, 2);
    driver.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
    eventually("the first stage is half done", async || {
        let seen = first.seen();
        seen.launched.len() >= 2 && seen.done.len() == 1
    })
    .await;
    let second = cluster.worker(registration(id + 1, 2), obedient()).await;
    let second_id = id + 1;
    eventually("the second worker is there", async || {
        worker_state(cluster, second_id).await == Some(WorkerState::Alive)
    })
    .await;
    (first, second, driver)
}

/// Returns the counts of a job that succeeded, and the reason why a worker was lost on the way.
async fn end_after_loss(driver: &mut Driver) -> (JobStats, String) {
    let heard = driver.until_job_ends().await;
    let lost = heard.iter().find_map(|message| match message {
        ManagerToDriver::WorkerLost { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    match heard.last() {
        Some(ManagerToDriver::JobEnded { outcome: Ok(()), stats, .. }) => {
            (*stats, lost.expect("the driver is told"))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_broken_stream_of_a_process_that_is_gone_loses_its_worker_at_once() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, ManagerConfig::default()).await;
        let (first, second, mut driver) = half_done(&cluster, 1).await;
        first.kill().await;
        let (stats, reason) = end_after_loss(&mut driver).await;
        let expected = match backend {
            Backend::Channels => "its link was dropped",
            Backend::Grpc => "its process is gone",
        };
        assert_eq!(reason, expected);
        assert_eq!((stats.workers_lost, stats.recomputed), (1, 2), "{backend:?}");
        assert_eq!(second.seen().done.len(), 4, "{backend:?}");
        assert_eq!(worker_state(&cluster, 1).await, Some(WorkerState::Lost));
    }
}

#[tokio::test]
async fn a_worker_that_comes_back_with_its_blocks_loses_nothing() {
    let cluster = Cluster::start(Backend::Grpc, ManagerConfig::default()).await;
    let data_plane = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut register = registration(1, 2);
    register.address = data_plane.local_addr().expect("it is bound").to_string();
    let first = cluster.worker(register.clone(), first_only()).await;
    let mut driver = cluster.driver().await;
    let job = driver.application.job(0);
    let stages = two_stages(job, 2);
    driver.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
    eventually("the first stage is half done", async || first.seen().done.len() == 1).await;
    let stages = async || cluster.handle.stages(job).await.ok().flatten();
    eventually("the manager knows", async || {
        stages().await.is_some_and(|stages| stages[0].succeeded == 1)
    })
    .await;
    let seen = first.seen();
    first.kill().await;
    eventually("the worker is suspect", async || {
        worker_state(&cluster, 1).await == Some(WorkerState::Suspect)
    })
    .await;

    register.held = seen.done.clone();
    let back = cluster.worker(register, obedient()).await;
    let heard = driver.until_job_ends().await;
    let Some(ManagerToDriver::JobEnded { outcome: Ok(()), stats, .. }) = heard.last() else {
        panic!("{heard:?}");
    };
    assert_eq!(stats.workers_lost, 0);
    assert_eq!(back.seen().done.len(), 3, "the held task, and the second stage");
    assert_eq!(worker_state(&cluster, 1).await, Some(WorkerState::Alive));
}

#[tokio::test]
async fn a_worker_that_leaves_is_lost_at_once() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, ManagerConfig::default()).await;
        let mut link = cluster.worker_link().await;
        let register = WorkerToManager::Register(registration(1, 1));
        link.to_manager.send(register).await.expect("the manager listens");
        link.from_manager.recv().await.expect("it is registered");
        link.to_manager.send(WorkerToManager::Deregister).await.expect("the manager listens");
        while link.from_manager.recv().await.is_some() {}
        let state = cluster.handle.state().await.expect("the manager runs");
        assert_eq!(state.workers[0].state, WorkerState::Lost);
        assert_eq!(state.workers[0].reason.as_deref(), Some("it left"));
    }
}

#[tokio::test]
async fn a_process_that_was_seen_to_exit_is_lost_at_once() {
    let cluster = Cluster::start(Backend::Grpc, ManagerConfig::default()).await;
    let (_first, second, mut driver) = half_done(&cluster, 1).await;
    cluster.handle.worker_process_gone(101, "killed by signal 9").await;
    let (stats, reason) = end_after_loss(&mut driver).await;
    assert_eq!((reason.as_str(), stats.workers_lost), ("killed by signal 9", 1));
    assert_eq!(second.seen().done.len(), 4);
}

#[tokio::test]
async fn a_silent_worker_is_lost_when_its_lease_is_over() {
    let cluster = Cluster::start(Backend::Grpc, impatient()).await;
    let link = cluster.worker_link().await;
    let register = WorkerToManager::Register(registration(1, 1));
    link.to_manager.send(register).await.expect("the manager listens");
    eventually("the lease is over", async || {
        worker_state(&cluster, 1).await == Some(WorkerState::Lost)
    })
    .await;
    let state = cluster.handle.state().await.expect("the manager runs");
    assert_eq!(state.workers[0].reason.as_deref(), Some("no heartbeat for 1s"));
}

/// The other workers would wait for blocks of a lost worker whose connections stand, were they not
/// told.
#[tokio::test]
async fn a_loss_is_told_to_the_other_workers() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, impatient()).await;
        let other = cluster.worker(registration(2, 1), obedient()).await;
        let silent = cluster.worker_link().await;
        let register = WorkerToManager::Register(registration(1, 1));
        silent.to_manager.send(register).await.expect("the manager listens");
        eventually("the loss is told", async || other.seen().lost == [WorkerId(1)]).await;
    }
}

#[tokio::test]
async fn an_application_fails_when_its_driver_is_gone() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, impatient()).await;
        let driver = cluster.driver().await;
        let closed = cluster.driver().await;
        closed.say(DriverToManager::CloseApplication { error: None }).await;
        drop(driver);
        let states = async || {
            let state = cluster.handle.state().await.expect("the manager runs");
            state.applications.iter().map(|application| application.state).collect::<Vec<_>>()
        };
        eventually("both have ended", async || {
            states().await == [ApplicationState::Failed, ApplicationState::Finished]
        })
        .await;
        let state = cluster.handle.state().await.expect("the manager runs");
        assert!(state.applications[0].error.is_some(), "{backend:?}");
    }
}

#[tokio::test]
async fn a_job_fails_when_no_worker_comes() {
    let config =
        ManagerConfig { no_worker_timeout: Duration::from_millis(200), ..ManagerConfig::default() };
    let cluster = Cluster::start(Backend::Grpc, config).await;
    let mut driver = cluster.driver().await;
    let job = driver.application.job(0);
    let stages = two_stages(job, 1);
    driver.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
    let heard = driver.until_job_ends().await;
    let Some(ManagerToDriver::JobEnded { outcome: Err(failure), .. }) = heard.last() else {
        panic!("{heard:?}");
    };
    assert_eq!(failure.kind, ErrorKind::Cluster);
}

#[tokio::test]
async fn a_burst_of_heartbeats_does_not_take_back_launches_on_their_way() {
    let cluster = Cluster::start(Backend::Channels, ManagerConfig::default()).await;
    let mut link = cluster.worker_link().await;
    let register = WorkerToManager::Register(registration(1, 1));
    link.to_manager.send(register).await.expect("the manager listens");
    link.from_manager.recv().await.expect("it is registered");
    let driver = cluster.driver().await;
    let job = driver.application.job(0);
    let stages = two_stages(job, 1);
    driver.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
    link.from_manager.recv().await.expect("it is launched");
    for _ in 0..10 {
        let heartbeat = WorkerToManager::Heartbeat { running: vec![], memory_used_bytes: 0 };
        link.to_manager.send(heartbeat).await.expect("the manager listens");
    }
    let quiet = tokio::time::timeout(Duration::from_millis(100), link.from_manager.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn a_driver_that_takes_no_messages_does_not_stop_the_others() {
    let cluster = Cluster::start(Backend::Channels, ManagerConfig::default()).await;
    let _worker = cluster.worker(registration(1, 1), obedient()).await;
    let (deaf, mut other) = (cluster.driver().await, cluster.driver().await);
    // Each of these is answered at once, with a failure: no such application.
    let foreign = gnist_common::ids::ApplicationId(99).job(0);
    for _ in 0..70_000 {
        let submit = DriverToManager::SubmitStages { job: foreign, stages: vec![], sealed: true };
        if deaf.link.to_manager.send(submit).await.is_err() {
            break;
        }
    }
    let job = other.application.job(0);
    let stages = two_stages(job, 1);
    other.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
    let heard = other.until_job_ends().await;
    assert!(matches!(heard.last(), Some(ManagerToDriver::JobEnded { outcome: Ok(()), .. })));
    eventually("the deaf one has failed", async || {
        let state = cluster.handle.state().await.expect("the manager runs");
        state.applications[0].error.as_deref() == Some("its driver takes no messages")
    })
    .await;
}
