//! Programs and bindings, large ones too.

use bytes::Bytes;
use gnist_common::error::ErrorKind;
use gnist_common::graph::ContentHash;
use gnist_common::protocol::DriverToManager;
use gnist_proto::view::WorkerState;

use crate::fakes::{BACKENDS, Backend, Cluster, eventually, impatient, obedient, registration};

#[tokio::test]
async fn content_is_there_until_its_application_closes() {
    for backend in BACKENDS {
        let cluster = Cluster::start(backend, impatient()).await;
        let worker = cluster.worker_link().await;
        let driver = cluster.driver().await;
        for (name, length) in [(1, 0), (2, 5), (3, 1 << 20), (4, (3 << 20) + 7)] {
            let (hash, content) = (ContentHash([name; 32]), Bytes::from(vec![name; length]));
            driver.link.content.put_content(hash, content.clone()).await.expect("there is room");
            driver.link.content.put_content(hash, content.clone()).await.expect("it is there");
            assert_eq!(worker.content.content(hash).await, Ok(content), "{length} bytes");
        }
        let unknown = worker.content.content(ContentHash([9; 32])).await;
        assert_eq!(unknown.expect_err("never put").kind, ErrorKind::NotFound);
        driver.say(DriverToManager::CloseApplication { error: None }).await;
        eventually("it is forgotten", async || {
            worker.content.content(ContentHash([2; 32])).await.is_err()
        })
        .await;
    }
}

#[tokio::test]
async fn content_is_kept_in_memory_of_its_own_size() {
    let cluster = Cluster::start(Backend::Grpc, impatient()).await;
    let worker = cluster.worker_link().await;
    let inside = cluster.handle.connect_worker();
    let driver = cluster.driver().await;
    let mut copies = Vec::new();
    for (name, length) in [(1, 900_000), (2, 1 << 20), (3, (3 << 20) + 7)] {
        let hash = ContentHash([name; 32]);
        let content = Bytes::from(vec![name; length]);
        driver.link.content.put_content(hash, content).await.expect("there is room");
        copies.push(worker.content.content(hash).await.expect("it was put"));
        copies.push(inside.content.content(hash).await.expect("it was put"));
    }
    driver.say(DriverToManager::CloseApplication { error: None }).await;
    eventually("it is forgotten", async || {
        inside.content.content(ContentHash([1; 32])).await.is_err()
    })
    .await;
    for copy in copies {
        let copy = copy.try_into_mut().expect("nobody else has it");
        assert_eq!(copy.capacity(), copy.len());
    }
}

#[tokio::test]
async fn what_another_application_put_need_not_be_sent_again() {
    let cluster = Cluster::start(Backend::Grpc, impatient()).await;
    let worker = cluster.worker_link().await;
    let (first, second) = (cluster.driver().await, cluster.driver().await);
    let (hash, content) = (ContentHash([1; 32]), Bytes::from(vec![1; 100_000]));
    first.link.content.put_content(hash, content.clone()).await.expect("there is room");
    // Other bytes under the same name show that they were never sent.
    let other = Bytes::from(vec![2; 100_000]);
    second.link.content.put_content(hash, other).await.expect("it is there");
    first.say(DriverToManager::CloseApplication { error: None }).await;
    eventually("the first is closed", async || {
        let state = cluster.handle.state().await.expect("the manager runs");
        state.applications[0].ended_at.is_some()
    })
    .await;
    assert_eq!(worker.content.content(hash).await, Ok(content));
}

#[tokio::test]
async fn a_hundred_mebibytes_pass_while_heartbeats_go_on() {
    let cluster = Cluster::start(Backend::Grpc, impatient()).await;
    let worker = cluster.worker(registration(1, 1), obedient()).await;
    let puller = cluster.worker_link().await;
    let driver = cluster.driver().await;
    let (to_manager, sink) = (driver.link.to_manager.clone(), driver.link.content);
    let beating = tokio::spawn(async move {
        let mut interval = tokio::time::interval(std::time::Duration::from_millis(100));
        while to_manager.send(DriverToManager::Heartbeat).await.is_ok() {
            interval.tick().await;
        }
    });
    let content = Bytes::from(vec![7; 100 << 20]);
    let hash = ContentHash([7; 32]);
    sink.put_content(hash, content.clone()).await.expect("there is room");
    assert_eq!(puller.content.content(hash).await.expect("it was put").len(), content.len());
    let state = cluster.handle.state().await.expect("the manager runs");
    assert_eq!(state.workers[0].state, WorkerState::Alive);
    assert_eq!(state.applications[0].ended_at, None);
    assert_eq!(worker.seen().shutdown, None);
    beating.abort();
}
