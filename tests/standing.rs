//! A standing cluster of real processes, and what its manager says of it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{PATIENCE, Running, until};

/// A cluster manager and workers, all gone when this is dropped.
pub struct Cluster {
    pub manager: Running,
    pub workers: Vec<Running>,
    pub master: String,
    ui: String,
    pub folder: TempDir,
}

impl Cluster {
    pub fn start(workers: usize, conf: &[&str]) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state").display().to_string();
        let mut arguments = vec!["cluster-manager", "--listen", "127.0.0.1:0", "--ui"];
        arguments.extend(["127.0.0.1:0", "--state-dir", &state]);
        conf.iter().for_each(|pair| arguments.extend(["--conf", pair]));
        let manager = Running::start(&arguments);
        let (listens, serves) = ("cluster manager at ", "state at http://");
        let master = manager.line(listens)?.replace(listens, "");
        let ui = manager.line(serves)?.replace(serves, "").replace("/api/v1", "");
        let mut cluster = Self { manager, workers: Vec::new(), master, ui, folder };
        for number in 0..workers {
            cluster.add_worker(&cluster.folder.path().join(format!("work-{number}")))?;
        }
        Ok(cluster)
    }

    /// Starts a worker of one slot and waits until it is registered.
    pub fn add_worker(&mut self, folder: &Path) -> Result<(), String> {
        self.add_worker_with("1GiB", folder)
    }

    /// The same, with this much memory.
    pub fn add_worker_with(&mut self, memory: &str, folder: &Path) -> Result<(), String> {
        let folder = folder.display().to_string();
        let mut arguments = vec!["worker", "--master", &self.master, "--slots", "1"];
        arguments.extend(["--memory", memory, "--work-dir", &folder]);
        let worker = Running::start(&arguments);
        worker.line("worker at ")?;
        self.workers.push(worker);
        Ok(())
    }

    pub fn sql(&self, query: &str) -> Running {
        Running::start(&["sql", "--master", &self.master, "--format", "csv", "-e", query])
    }

    /// Returns what `gnist workers` or `gnist apps` prints.
    pub fn list(&self, what: &str) -> Result<Value, String> {
        let asked = Running::start(&[what, "--master", &self.master, "--format", "json"]).end()?;
        serde_json::from_slice(&asked.stdout).map_err(|error| format!("{error}: {}", asked.stderr))
    }

    /// The body of an answer of the user interface, and its status.
    pub fn get(&self, path: &str) -> Result<(u16, Value), String> {
        let text = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect(&self.ui).map_err(text)?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.ui);
        stream.write_all(request.as_bytes()).map_err(text)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(text)?;
        let status = answer.split_whitespace().nth(1).and_then(|code| code.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
        let body = serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
        Ok((status.ok_or("no status")?, body))
    }

    /// Returns the number of workers in this state.
    pub fn count(&self, state: &str) -> Result<usize, String> {
        let (_, workers) = self.get("/api/v1/workers")?;
        Ok(array(&workers)?.iter().filter(|worker| worker["state"] == state).count())
    }

    /// Waits until so many tasks run, or more: tasks that read them may have started early.
    pub fn wait_for_running(&self, tasks: u64) -> Result<(), String> {
        let is_running = || {
            let (_, workers) = self.get("/api/v1/workers").ok()?;
            let running = array(&workers).ok()?.iter().filter_map(|one| one["running"].as_u64());
            (running.sum::<u64>() >= tasks).then_some(())
        };
        until(PATIENCE, is_running).ok_or_else(|| format!("{tasks} tasks do not run"))
    }

    /// Waits until the only application is in this state and no worker runs anything.
    pub fn expect_idle(&self, state: &str, limit: Duration) -> Result<(), String> {
        let idle = until(limit, || {
            let (_, applications) = self.get("/api/v1/applications").ok()?;
            let (_, workers) = self.get("/api/v1/workers").ok()?;
            let is_ended = array(&applications).ok()?.iter().all(|one| one["state"] == state);
            let is_idle = array(&workers).ok()?.iter().all(|worker| worker["running"] == 0);
            (is_ended && is_idle).then_some(())
        });
        idle.ok_or_else(|| {
            let [applications, workers] =
                ["applications", "workers"].map(|what| self.get(&format!("/api/v1/{what}")));
            format!("not `{state}` and idle within {limit:?}: {applications:?} {workers:?}")
        })
    }
}

pub fn array(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| format!("not a list: {value}"))
}

pub fn expect_keys(value: &Value, keys: &[&str]) -> Result<(), String> {
    let object = value.as_object().ok_or_else(|| format!("not an object: {value}"))?;
    let got: BTreeSet<&str> = object.keys().map(String::as_str).collect();
    let want: BTreeSet<&str> = keys.iter().copied().collect();
    if got == want { Ok(()) } else { Err(format!("it has {got:?}, not {want:?}")) }
}

pub fn check(fact: bool, otherwise: impl std::fmt::Display) -> Result<(), String> {
    if fact { Ok(()) } else { Err(otherwise.to_string()) }
}
