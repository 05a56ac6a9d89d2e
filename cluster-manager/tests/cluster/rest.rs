//! `/api/v1` as a client sees it.

use gnist_cluster_manager::{ManagerConfig, serve_rest};
use gnist_common::protocol::DriverToManager;
use gnist_proto::connect::listen;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fakes::{Backend, Cluster, obedient, registration, two_stages};

/// Status and body of a GET.
async fn get(address: &str, path: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).await.expect("it is served");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    (status, serde_json::from_str(body).expect("JSON"))
}

#[tokio::test]
async fn the_cluster_is_shown_as_json() {
    let cluster = Cluster::start(Backend::Channels, ManagerConfig::default()).await;
    let listener = listen("127.0.0.1:0").await.expect("a free port");
    let address = listener.address.to_string();
    tokio::spawn(serve_rest(cluster.handle.clone(), listener));
    let _worker = cluster.worker(registration(10, 2), obedient()).await;
    let mut driver = cluster.driver().await;
    let job = driver.application.job(0);
    let stages = two_stages(job, 3);
    driver.say(DriverToManager::SubmitStages { job, stages, sealed: true }).await;
    driver.until_job_ends().await;

    let (status, workers) = get(&address, "/api/v1/workers").await;
    assert_eq!(status, 200);
    assert_eq!(workers[0]["id"], "worker-000000000000000a");
    assert_eq!(workers[0]["state"], "alive");
    assert_eq!(workers[0]["slots"], 2);
    assert_eq!(workers[0]["memory_bytes"], 1 << 30);

    let (_, application) = get(&address, "/api/v1/applications/app-0").await;
    let expected = json!({
        "id": "app-0", "name": "a test", "state": "running", "deploy_mode": "client",
        "submitted_at": "1970-01-01T00:00:00.005Z", "ended_at": null, "error": null,
    });
    assert_eq!(application, expected);
    let (_, applications) = get(&address, "/api/v1/applications").await;
    assert_eq!(applications, json!([expected]));

    let (_, jobs) = get(&address, "/api/v1/applications/app-0/jobs").await;
    assert_eq!((&jobs[0]["id"], &jobs[0]["state"]), (&json!("app-0.job-0"), &json!("finished")));
    let (_, stages) = get(&address, "/api/v1/applications/app-0/jobs/0/stages").await;
    assert_eq!((&stages[1]["state"], &stages[1]["succeeded"]), (&json!("finished"), &json!(3)));
    assert_eq!(stages[1]["run_us"]["median"], 7);
    let (_, tasks) = get(&address, "/api/v1/applications/app-0/jobs/0/stages/1/tasks").await;
    assert_eq!(tasks.as_array().map(Vec::len), Some(3));
    assert_eq!((&tasks[2]["partition"], &tasks[2]["state"]), (&json!(2), &json!("done")));
}

#[tokio::test]
async fn what_is_not_there_is_said_not_to_be() {
    let cluster = Cluster::start(Backend::Channels, ManagerConfig::default()).await;
    let listener = listen("127.0.0.1:0").await.expect("a free port");
    let address = listener.address.to_string();
    tokio::spawn(serve_rest(cluster.handle.clone(), listener));
    for (path, error) in [
        ("/api/v1/applications/app-7", "there is no application `app-7`"),
        ("/api/v1/applications/app-7/jobs/0/stages", "there is no job `app-7.job-0`"),
        ("/api/v1/applications/seven", "`seven` is not an application id such as `app-7`"),
        ("/api/v1/nothing", "there is nothing at this path"),
    ] {
        assert_eq!(get(&address, path).await, (404, json!({ "error": error })), "{path}");
    }
}
