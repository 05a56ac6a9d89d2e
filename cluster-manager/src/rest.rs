//! `/api/v1`: what the cluster does, as JSON over HTTP, read only.

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::ids::ApplicationId;
use gnist_proto::connect::Listener;
use serde::Serialize;

use crate::handle::ManagerHandle;

/// Serves `/api/v1` at a port until the manager stops.
///
/// # Errors
/// `Cluster` when the port fails.
pub async fn serve_rest(handle: ManagerHandle, listener: Listener) -> Result<(), Failure> {
    let address = listener.address;
    let stopped = {
        let handle = handle.clone();
        async move { handle.stopped().await }
    };
    let served = axum::serve(listener.into_inner(), router(handle));
    served.with_graceful_shutdown(stopped).await.map_err(|error| {
        Failure::new(ErrorKind::Cluster, format!("can't serve at `{address}`: {error}"))
    })
}

/// The routes.
fn router(handle: ManagerHandle) -> Router {
    let api = Router::new()
        .route("/manager", get(manager))
        .route("/workers", get(workers))
        .route("/applications", get(applications))
        .route("/applications/{id}", get(application))
        .route("/applications/{id}/jobs", get(jobs))
        .route("/applications/{id}/jobs/{job}/stages", get(stages))
        .route("/applications/{id}/jobs/{job}/stages/{stage}/tasks", get(tasks))
        .fallback(|| async { not_found("there is nothing at this path") });
    Router::new().nest("/api/v1", api).with_state(handle)
}

type Answer = Result<Response, Response>;

/// The bytes that the manager itself holds.
#[derive(Serialize)]
struct ManagerView {
    content_bytes: u64,
}

async fn manager(State(handle): State<ManagerHandle>) -> Answer {
    Ok(json(ManagerView { content_bytes: handle.content_bytes() }))
}

async fn workers(State(handle): State<ManagerHandle>) -> Answer {
    Ok(json(handle.state().await.map_err(failed)?.workers))
}

async fn applications(State(handle): State<ManagerHandle>) -> Answer {
    Ok(json(handle.state().await.map_err(failed)?.applications))
}

async fn application(State(handle): State<ManagerHandle>, Path(id): Path<String>) -> Answer {
    let id = application_id(&id)?;
    let state = handle.state().await.map_err(failed)?;
    let found = state.applications.into_iter().find(|application| application.id == id);
    found.map(json).ok_or_else(|| not_found(&format!("there is no application `{id}`")))
}

async fn jobs(State(handle): State<ManagerHandle>, Path(id): Path<String>) -> Answer {
    let id = application_id(&id)?;
    let found = handle.jobs(id).await.map_err(failed)?;
    found.map(json).ok_or_else(|| not_found(&format!("there is no application `{id}`")))
}

async fn stages(
    State(handle): State<ManagerHandle>,
    Path((id, job)): Path<(String, String)>,
) -> Answer {
    let job = application_id(&id)?.job(ordinal(&job)?);
    let found = handle.stages(job).await.map_err(failed)?;
    found.map(json).ok_or_else(|| not_found(&format!("there is no job `{job}`")))
}

async fn tasks(
    State(handle): State<ManagerHandle>,
    Path((id, job, stage)): Path<(String, String, String)>,
) -> Answer {
    let stage = application_id(&id)?.job(ordinal(&job)?).stage(ordinal(&stage)?);
    let found = handle.tasks(stage).await.map_err(failed)?;
    found.map(json).ok_or_else(|| not_found(&format!("there is no stage `{stage}`")))
}

#[expect(clippy::result_large_err, reason = "the error is the answer itself")]
fn application_id(text: &str) -> Result<ApplicationId, Response> {
    text.parse().map_err(|error: gnist_common::ids::ParseIdError| not_found(&error.to_string()))
}

#[expect(clippy::result_large_err, reason = "the error is the answer itself")]
fn ordinal(text: &str) -> Result<u32, Response> {
    text.parse().map_err(|_| not_found(&format!("`{text}` is not an ordinal such as `0`")))
}

fn json<T: Serialize>(value: T) -> Response {
    Json(value).into_response()
}

/// The JSON form of a refusal.
#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
}

fn not_found(error: &str) -> Response {
    (StatusCode::NOT_FOUND, Json(Refusal { error })).into_response()
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn failed(failure: Failure) -> Response {
    let error = failure.to_string();
    (StatusCode::SERVICE_UNAVAILABLE, Json(Refusal { error: &error })).into_response()
}
