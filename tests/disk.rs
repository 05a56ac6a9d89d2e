//! Workers whose folder is deleted, or can't be written any more, under queries that spill.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

use crate::process::Running;
use crate::standing::Cluster;

/// A query with more groups than the memory holds.
const QUERY: &str = "select count(*) as n, sum(c) as c, max(s) as s from \
     (select value % 900000 as k, count(*) as c, max(repeat(cast(value as varchar), 12)) as s \
     from generate_series(1, 1000000) group by 1)";

const MEMORY: &str = "64MiB";

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Result<(), String>| {
        Trial::test(format!("disk::{name}"), move || test().map_err(Failed::from))
    };
    vec![
        trial("what_a_disk_refuses_runs_on_another_worker", refused),
        trial("a_worker_whose_folder_was_deleted_makes_it_again", deleted),
    ]
}

fn refused() -> Result<(), String> {
    let (cluster, folders) = cluster(2)?;
    let broken = incarnation(&folders[0])?;
    fs::remove_dir_all(&broken).map_err(text)?;
    fs::write(&broken, "no folder").map_err(text)?;
    expect_answer(&cluster)?;
    let mut tasks = String::new();
    for stage in 0..2 {
        let path = format!("/api/v1/applications/app-0/jobs/0/stages/{stage}/tasks");
        tasks += &cluster.get(&path)?.1.to_string();
    }
    if tasks.contains("disk_full") { Ok(()) } else { Err(format!("no disk refused: {tasks}")) }
}

fn deleted() -> Result<(), String> {
    let (cluster, folders) = cluster(1)?;
    let folder = incarnation(&folders[0])?;
    fs::remove_dir_all(&folder).map_err(text)?;
    expect_answer(&cluster)?;
    if folder.join("spill").exists() { Ok(()) } else { Err("nothing spilled".to_owned()) }
}

/// A cluster of workers of little memory, and their work folders.
fn cluster(workers: usize) -> Result<(Cluster, Vec<PathBuf>), String> {
    let mut cluster = Cluster::start(0, &[])?;
    let folder = |number| cluster.folder.path().join(format!("work-{number}"));
    let folders: Vec<_> = (0..workers).map(folder).collect();
    for folder in &folders {
        cluster.add_worker_with(MEMORY, folder)?;
    }
    Ok((cluster, folders))
}

/// The folder of the worker in a work folder.
fn incarnation(work_dir: &Path) -> Result<PathBuf, String> {
    let entry = fs::read_dir(work_dir).map_err(text)?.next().ok_or("no folder of a worker")?;
    Ok(entry.map_err(text)?.path())
}

fn expect_answer(cluster: &Cluster) -> Result<(), String> {
    let arguments = ["sql", "--master", &cluster.master, "--conf", "shuffle.partitions=2"];
    let query = ["--quiet", "--format", "csv", "-e", QUERY];
    let ended = Running::start(&[&arguments[..], &query[..]].concat()).end()?;
    let expected = format!("n,c,s\n900000,1000000,{}\n", "9".repeat(72));
    ended.expect(0, &expected, &[])
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
