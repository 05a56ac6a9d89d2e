//! Refusals: peers that may not take part, and the reason that each is told.

use gnist_cluster_manager::{ManagerConfig, serve_rest};
use gnist_common::error::ErrorKind;
use gnist_common::graph::{ContentHash, ProgramKind};
use gnist_common::protocol::{
    DriverToManager, ManagerToDriver, ManagerToWorker, Registration, WorkerToManager,
};
use gnist_proto::client::{VERSION_HEADER, cluster_state, connect_driver, connect_worker};
use gnist_proto::connect::{connect, control_client, listen};
use gnist_proto::convert::failure_from_status;
use gnist_proto::wire::control as wire;
use tonic::Request;

use crate::fakes::{BACKENDS, Backend, Cluster, obedient, registration, two_stages};

/// Returns the reason that a refused worker is told.
async fn refusal(cluster: &Cluster, registration: Registration) -> String {
    let mut link = cluster.worker_link().await;
    let register = WorkerToManager::Register(registration);
    link.to_manager.send(register).await.expect("the manager listens");
    let Some(ManagerToWorker::Shutdown { reason }) = link.from_manager.recv().await else {
        panic!("it was accepted");
    };
    assert_eq!(link.from_manager.recv().await, None);
    reason
}

#[tokio::test]
async fn a_worker_without_slots_or_with_a_taken_id_is_refused() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, ManagerConfig::default()).await;
        let reason = refusal(&cluster, registration(1, 0)).await;
        assert!(reason.contains("has no slots"), "{reason}");
        let worker = cluster.worker(registration(1, 1), obedient()).await;
        let mut other = registration(1, 1);
        other.process_id += 1;
        let reason = refusal(&cluster, other).await;
        assert!(reason.contains("is registered already, at `127.0.0.1:1`"), "{reason}");
        assert_eq!(worker.seen().shutdown, None);
    }
}

#[tokio::test]
async fn the_port_of_the_user_interface_is_said_to_be_no_cluster_manager() {
    let cluster = Cluster::start(Backend::Grpc, ManagerConfig::default()).await;
    let ui = listen("127.0.0.1:0").await.expect("a free port");
    let addresses = [ui.address.to_string()];
    tokio::spawn(serve_rest(cluster.handle.clone(), ui));
    let expected = format!("`gnist://{}` is not a Gnist cluster manager", addresses[0]);
    let worker = connect_worker(&addresses).await.err().expect("refused");
    let driver = connect_driver(&addresses).await.err().expect("refused");
    let command = cluster_state(&addresses).await.expect_err("refused");
    assert_eq!(
        [worker, driver, command].map(|failure| failure.message),
        [(); 3].map(|()| expected.clone())
    );
}

#[tokio::test]
async fn a_lost_worker_does_not_come_back_as_the_same() {
    let cluster = Cluster::start(Backend::Grpc, ManagerConfig::default()).await;
    let worker = cluster.worker(registration(1, 1), obedient()).await;
    crate::fakes::eventually("it registers", async || {
        cluster.handle.state().await.is_ok_and(|state| !state.workers.is_empty())
    })
    .await;
    cluster.handle.worker_process_gone(101, "it was killed").await;
    crate::fakes::eventually("it is told", async || {
        let reason = worker.seen().shutdown;
        reason.is_some_and(|reason| reason.contains("was declared lost: it was killed"))
    })
    .await;
    let reason = refusal(&cluster, registration(1, 1)).await;
    assert!(reason.contains("was declared lost (it was killed)"), "{reason}");
}

#[tokio::test]
async fn a_worker_of_another_version_is_told_both_versions() {
    let cluster = Cluster::start(Backend::Grpc, ManagerConfig::default()).await;
    let channel = connect(&cluster.addresses[0]).await.expect("the manager is there");
    let mut register = wire::Register::from(registration(1, 1));
    register.protocol_version = 1;
    let message = Some(wire::worker_message::Message::Register(register));
    let said = futures::stream::iter([wire::WorkerMessage { message }]);
    let answer = control_client(channel).worker(said).await.expect("the stream opens");
    let first = answer.into_inner().message().await.expect("a message");
    let Some(wire::manager_to_worker_message::Message::Shutdown(shutdown)) =
        first.and_then(|first| first.message)
    else {
        panic!("it was accepted");
    };
    assert_eq!(shutdown.reason, "the worker speaks protocol 1, this cluster manager speaks 4");
    assert!(cluster.handle.state().await.expect("it runs").workers.is_empty());
}

#[tokio::test]
async fn a_driver_of_another_version_is_refused_with_a_failure() {
    let cluster = Cluster::start(Backend::Grpc, ManagerConfig::default()).await;
    let channel = connect(&cluster.addresses[0]).await.expect("the manager is there");
    let open = wire::OpenApplication { protocol_version: 1, ..Default::default() };
    let message = Some(wire::driver_message::Message::OpenApplication(open));
    let opening = futures::stream::iter([wire::DriverMessage { message }]);
    let answer = control_client(channel.clone()).driver(opening.clone()).await;
    let mut said = answer.expect("the stream opens").into_inner();
    let by_message = said.message().await.expect_err("refused by its first message");
    let mut request = Request::new(opening);
    request.metadata_mut().insert(VERSION_HEADER, 1.into());
    let by_header = control_client(channel).driver(request).await.expect_err("refused at once");
    for status in [by_message, by_header] {
        let failure = failure_from_status(&status);
        assert_eq!(failure.kind, ErrorKind::Cluster);
        let expected = "the driver speaks protocol 1, this cluster manager speaks 4";
        assert_eq!(failure.message, expected);
    }
}

#[tokio::test]
async fn stages_whose_programs_were_not_put_are_refused() {
    let cluster = Cluster::start(Backend::Grpc, ManagerConfig::default()).await;
    let mut driver = cluster.driver().await;
    let job = driver.application.job(0);
    let mut stages = two_stages(job, 1);
    stages[1].program.kind = ProgramKind::Plan;
    stages[1].program.hash = ContentHash([9; 32]);
    stages[1].program.length_bytes = 1;
    driver.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
    let heard = driver.until_job_ends().await;
    let Some(ManagerToDriver::JobEnded { outcome: Err(failure), .. }) = heard.last() else {
        panic!("{heard:?}");
    };
    assert_eq!(failure.kind, ErrorKind::Internal);
    assert!(failure.message.contains("which was not put"), "{failure}");
}
