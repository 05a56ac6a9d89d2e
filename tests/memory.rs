//! Processes stay within their budgets: TPC-H with workers of 512 MiB, by the kernel's high-water
//! mark.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::loss::tpch_data;
use crate::process::command;

const WORKER_BYTES: u64 = 512 << 20;
const DRIVER_BYTES: u64 = 1 << 30;

/// Bytes that a process may have beside its budget: code, threads, the manager's whole state.
const BESIDE_BYTES: u64 = 200 << 20;
const MANAGER_BYTES_MAX: u64 = 300 << 20;

/// Queries that have to be right; the others fail by name.
const RIGHT_MIN: usize = 18;

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("memory::tpch_with_workers_of_512_mib", || {
            let folder = tempfile::tempdir()?;
            let report = bench(&folder.path().join("tpch.json"))?;
            answers(&report)?;
            Ok(peaks(&report)?)
        }),
        Trial::test("memory::explain_analyze_holds_no_rows", explain_analyze_holds_no_rows),
    ]
}

/// 610 MiB of rows are counted and let go. The process then waits for whoever reads the rows of
/// the second statement, and can be looked at.
fn explain_analyze_holds_no_rows() -> Result<(), Failed> {
    let script = "explain analyze select value, value * 2 from range(0, 40000000); \
        select value as second from range(0, 1000000)";
    let arguments = ["sql", "--quiet", "--format", "json", "--master", "local[2]", "-e", script];
    let mut child = command(&arguments).spawn()?;
    // Its pipe stays open: it is full before the rows have ended.
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let began = lines.by_ref().map_while(Result::ok).any(|line| line == r#"{"second":0}"#);
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    child.kill()?;
    child.wait()?;
    drop(lines);
    if !began {
        return Err("the first statement failed".into());
    }
    let status = status?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak_kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    match peak_kib {
        Some(kib) if kib < BESIDE_BYTES / 1024 => Ok(()),
        other => Err(format!("{other:?} KiB at the peak").into()),
    }
}

fn bench(report: &Path) -> Result<Value, Failed> {
    let (data, report) = (tpch_data()?.display().to_string(), report.display().to_string());
    let ended = command(&[
        "bench",
        "tpch",
        "--scale",
        "1",
        "--runs",
        "1",
        "--master",
        "local-cluster[2,1,512MiB]",
        "--memory",
        "1GiB",
        "--data",
        &data,
        "--json",
        &report,
    ])
    .output()?;
    let text = std::fs::read_to_string(&report).map_err(|error| {
        format!("no report ({error}): {}", String::from_utf8_lossy(&ended.stderr))
    })?;
    Ok(serde_json::from_str(&text)?)
}

fn answers(report: &Value) -> Result<(), String> {
    let queries = report["queries"].as_array().ok_or("no queries")?;
    let right = queries.iter().filter(|query| query["right"] == true).count();
    let unnamed = queries.iter().find(|query| {
        query["right"] == false
            && !query["error"].as_str().is_some_and(|error| error.contains("peak"))
    });
    match unnamed {
        Some(query) => Err(format!("wrong, and not for want of memory: {query}")),
        None if right < RIGHT_MIN => Err(format!("{right} of {} are right", queries.len())),
        None => Ok(()),
    }
}

fn peaks(report: &Value) -> Result<(), String> {
    let processes = report["processes"].as_array().ok_or("no processes")?;
    for process in processes {
        let bytes_max = match process["role"].as_str() {
            Some("worker") => WORKER_BYTES / 5 * 6 + BESIDE_BYTES,
            Some("driver") => DRIVER_BYTES / 5 * 6 + BESIDE_BYTES,
            _ => MANAGER_BYTES_MAX,
        };
        if process["peak_rss_bytes"].as_u64().is_none_or(|bytes| bytes > bytes_max) {
            return Err(format!("more than {bytes_max} bytes: {process}"));
        }
    }
    if processes.len() == 4 { Ok(()) } else { Err(format!("{} processes", processes.len())) }
}
