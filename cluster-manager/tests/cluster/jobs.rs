//! Jobs from submission to end.

use std::time::{Duration, Instant};

use gnist_cluster_manager::ManagerConfig;
use gnist_cluster_manager::view::ApplicationState;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::protocol::{DriverToManager, ManagerToDriver, ResultLocation};
use gnist_common::task::AttemptEnd;

use crate::fakes::{
    BACKENDS, Backend, Cluster, Driver, done, eventually, impatient, obedient, registration,
    two_gathered_stages, two_stages,
};

/// Submits a job of two stages and returns what came of it.
async fn run(driver: &mut Driver, ordinal: u32, tasks: u32) -> Vec<ManagerToDriver> {
    let job = driver.application.job(ordinal);
    let stages = two_stages(job, tasks);
    driver.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
    driver.until_job_ends().await
}

#[tokio::test]
async fn two_stages_run_and_give_their_results() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, ManagerConfig::default()).await;
        let first = cluster.worker(registration(1, 2), obedient()).await;
        let second = cluster.worker(registration(2, 2), obedient()).await;
        let mut driver = cluster.driver().await;
        let heard = run(&mut driver, 0, 8).await;

        let mut results: Vec<_> = heard
            .iter()
            .filter_map(|message| match message {
                ManagerToDriver::ResultReady { location: ResultLocation::Inline(rows), .. } => {
                    Some(rows[0])
                }
                _ => None,
            })
            .collect();
        results.sort_unstable();
        assert_eq!(results, [0, 1, 2, 3, 4, 5, 6, 7], "{backend:?}");
        let finished =
            heard.iter().filter(|message| matches!(message, ManagerToDriver::StageFinished(_)));
        assert_eq!(finished.count(), 2, "{backend:?}");
        let Some(ManagerToDriver::JobEnded { outcome: Ok(()), stats, .. }) = heard.last() else {
            panic!("{heard:?}");
        };
        assert_eq!((stats.stages, stats.tasks, stats.attempts), (2, 16, 16));
        assert_eq!(first.seen().launched.len() + second.seen().launched.len(), 16);
        let job = driver.application.job(0);
        eventually("the job is dropped", async || {
            first.seen().dropped_jobs == [job] && second.seen().dropped_jobs == [job]
        })
        .await;
    }
}

#[tokio::test]
async fn output_tables_are_pulled_by_the_version_that_launches_name() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, ManagerConfig::default()).await;
        let link = cluster.worker_link().await;
        let content = std::sync::Arc::clone(&link.content);
        let held: crate::fakes::Policy = std::sync::Arc::new(|launch| {
            (launch.attempt.task.stage.ordinal == 0).then(|| done(launch))
        });
        let worker = cluster.worker(registration(1, 4), held).await;
        let driver = cluster.driver().await;
        let job = driver.application.job(0);
        let stages = two_stages(job, 2);
        driver.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
        eventually("the consumers run", async || worker.seen().launched.len() == 4).await;

        let table = content.outputs(job.stage(0), 0).await.expect("the stage is complete");
        assert_eq!(table.outputs.len(), 2);
        assert_eq!(table.outputs[1].bytes, [10, 10]);
        assert_eq!(table.workers, [(registration(1, 4).worker, "127.0.0.1:1".to_owned())]);
        let later = content.outputs(job.stage(0), table.version + 1).await;
        assert_eq!(later.expect_err("no such version").kind, ErrorKind::NotFound);

        driver.say(DriverToManager::CancelJob { job }).await;
        let mut driver = driver;
        let heard = driver.until_job_ends().await;
        let Some(ManagerToDriver::JobEnded { outcome: Err(failure), .. }) = heard.last() else {
            panic!("{heard:?}");
        };
        assert_eq!(failure.kind, ErrorKind::Cancelled);
        let gone = content.outputs(job.stage(0), 0).await;
        assert_eq!(gone.expect_err("the job has ended").kind, ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_users_error_fails_the_job_with_all_it_says() {
    let failure = Failure::new(ErrorKind::User, "division by zero").with_help("do not");
    let sent = failure.clone();
    let cluster = Cluster::start(Backend::Grpc, ManagerConfig::default()).await;
    let policy = std::sync::Arc::new(move |_: &_| Some(AttemptEnd::User(sent.clone())));
    let _worker = cluster.worker(registration(1, 1), policy).await;
    let mut driver = cluster.driver().await;
    let heard = run(&mut driver, 0, 1).await;
    let Some(ManagerToDriver::JobEnded { outcome: Err(heard), .. }) = heard.last() else {
        panic!("{heard:?}");
    };
    assert_eq!(
        (heard.kind, &heard.message, &heard.help),
        (failure.kind, &failure.message, &failure.help)
    );
}

#[tokio::test]
async fn ten_thousand_tasks_go_in_few_messages() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, ManagerConfig::default()).await;
        let worker = cluster.worker(registration(1, 64), obedient()).await;
        let mut driver = cluster.driver().await;
        let begin = Instant::now();
        let job = driver.application.job(0);
        let stages = two_gathered_stages(job, 5_000);
        driver.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
        let heard = driver.until_job_ends().await;
        let Some(ManagerToDriver::JobEnded { outcome: Ok(()), stats, .. }) = heard.last() else {
            panic!("{:?}", heard.last());
        };
        assert_eq!(stats.tasks, 10_000);
        let seen = worker.seen();
        assert_eq!(seen.launched.len(), 10_000);
        assert!(seen.batches < 5_000, "{} batches", seen.batches);
        let rate = 10_000.0 / begin.elapsed().as_secs_f64();
        println!("{backend:?}: {rate:.0} tasks/s in {} batches", seen.batches);
    }
}

#[tokio::test]
async fn an_empty_job_takes_no_time_on_a_warm_cluster() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, ManagerConfig::default()).await;
        let _worker = cluster.worker(registration(1, 4), obedient()).await;
        let mut driver = cluster.driver().await;
        let mut times = Vec::new();
        for ordinal in 0..50 {
            let begin = Instant::now();
            run(&mut driver, ordinal, 4).await;
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        println!("{backend:?}: median {:?}", times[times.len() / 2]);
        assert!(times[times.len() / 2] < Duration::from_millis(100), "{times:?}");
    }
}

#[tokio::test]
async fn progress_is_told_when_something_changed_and_not_too_often() {
    let cluster = Cluster::start(Backend::Channels, impatient()).await;
    let held: crate::fakes::Policy =
        std::sync::Arc::new(|launch| (launch.attempt.task.partition == 0).then(|| done(launch)));
    let _worker = cluster.worker(registration(1, 4), held).await;
    let mut driver = cluster.driver().await;
    let job = driver.application.job(0);
    let stages = two_stages(job, 3);
    let begin = Instant::now();
    driver.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
    let message = driver.link.from_manager.recv().await.expect("the conversation goes on");
    assert!(begin.elapsed() >= Duration::from_millis(190), "{:?}", begin.elapsed());
    let ManagerToDriver::Progress { stages, .. } = message else { panic!("{message:?}") };
    assert_eq!((stages[0].done, stages[0].running, stages[0].tasks), (1, 2, 3));
    let quiet = tokio::time::timeout(Duration::from_millis(500), driver.link.from_manager.recv());
    assert!(quiet.await.is_err(), "nothing has changed");
}

#[tokio::test]
async fn a_killed_application_ends_its_jobs_and_its_conversation() {
    let cluster = Cluster::start(Backend::Grpc, ManagerConfig::default()).await;
    let mut driver = cluster.driver().await;
    let job = driver.application.job(0);
    let stages = two_stages(job, 1);
    driver.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
    eventually("the job is known", async || {
        cluster.handle.stages(job).await.is_ok_and(|stages| stages.is_some())
    })
    .await;
    let kill = gnist_proto::client::kill_application;
    assert_eq!(kill(&cluster.addresses, driver.application).await, Ok(true));
    let heard = driver.until_job_ends().await;
    let Some(ManagerToDriver::JobEnded { outcome: Err(failure), .. }) = heard.last() else {
        panic!("{heard:?}");
    };
    assert_eq!(failure.kind, ErrorKind::Cancelled);
    assert_eq!(driver.link.from_manager.recv().await, None);
    assert_eq!(kill(&cluster.addresses, driver.application).await, Ok(false));
    let nobody = gnist_common::ids::ApplicationId(99);
    let failure = kill(&cluster.addresses, nobody).await.expect_err("there is none");
    assert_eq!(failure.kind, ErrorKind::NotFound);
    let state = gnist_proto::client::cluster_state(&cluster.addresses).await.expect("answers");
    assert_eq!(state.applications[0].state, ApplicationState::Killed);
    assert!(state.applications[0].ended_at.is_some());
}

#[tokio::test]
async fn everything_ends_with_the_manager() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, ManagerConfig::default()).await;
        let worker = cluster.worker(registration(1, 1), obedient()).await;
        let mut driver = cluster.driver().await;
        cluster.handle.stop().await;
        assert_eq!(driver.link.from_manager.recv().await, None);
        eventually("the worker is told", async || {
            worker.seen().is_disconnected && worker.seen().shutdown.is_some()
        })
        .await;
        assert!(cluster.handle.state().await.is_err());
    }
}
