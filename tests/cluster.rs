//! Standing clusters of real processes, and what becomes of jobs when parts of them die.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use rustix::process::Signal;
use serde_json::Value;

use crate::process::{PATIENCE, Running, until};
use crate::standing::{Cluster, array, check, expect_keys};

pub fn trials() -> Vec<Trial> {
    type Test = fn() -> Result<(), Failed>;
    let tests: [(&str, Test); 17] = [
        ("lists_have_the_contracts_json", lists_have_the_contracts_json),
        ("the_ui_serves_the_same_and_more", the_ui_serves_the_same_and_more),
        ("a_killed_worker_changes_no_answer", a_killed_worker_changes_no_answer),
        ("a_worker_told_to_stop_leaves_at_once", a_worker_told_to_stop_leaves_at_once),
        ("a_lost_manager_fails_the_job", a_lost_manager_fails_the_job),
        ("all_workers_lost_fails_the_job", all_workers_lost_fails_the_job),
        ("a_job_without_workers_fails_in_time", a_job_without_workers_fails_in_time),
        ("a_killed_driver_frees_the_cluster", a_killed_driver_frees_the_cluster),
        ("ctrl_c_cancels_the_job_on_the_cluster", ctrl_c_cancels_the_job_on_the_cluster),
        ("kill_ends_an_application", kill_ends_an_application),
        ("two_workers_share_a_folder_with_strangers", two_workers_share_a_folder_with_strangers),
        ("a_worker_needs_a_folder_it_can_write", a_worker_needs_a_folder_it_can_write),
        ("a_port_in_use_is_named", a_port_in_use_is_named),
        ("a_state_folder_has_one_manager", a_state_folder_has_one_manager),
        ("files_are_written_by_a_standing_cluster", files_are_written_by_a_standing_cluster),
        ("a_failed_query_is_a_failed_application", a_failed_query_is_a_failed_application),
        ("a_worker_may_start_before_its_manager", a_worker_may_start_before_its_manager),
    ];
    let trial = |(name, test)| Trial::test(format!("cluster::{name}"), test);
    tests.into_iter().map(trial).collect()
}

/// Many seconds of work for any number of slots, in several stages.
pub const ENDLESS: &str = "select count(*) from generate_series(1, 1000000) a \
     join generate_series(1, 1000000) b on a.value % 100 = b.value % 100 \
     where a.value * b.value % 7 = 3";

/// Some seconds of work: whoever is killed after the first stage is killed in the middle.
const SOME: &str = "select a.value % 10 as g, count(*), sum(a.value + b.value) \
     from generate_series(1, 300000) a join generate_series(1, 300000) b \
     on a.value % 1000 = b.value % 1000 group by 1 order by 1";

const APPLICATION: [&str; 7] =
    ["id", "name", "state", "deploy_mode", "submitted_at", "ended_at", "error"];

fn lists_have_the_contracts_json() -> Result<(), Failed> {
    let cluster = Cluster::start(2, &[])?;
    check(cluster.list("apps")? == Value::Array(Vec::new()), "an application that is not there")?;
    cluster.sql("select 1 as a").end()?.expect(0, "a\n1\n", &[])?;
    let workers = cluster.list("workers")?;
    check(array(&workers)?.len() == 2, format!("two workers are not {workers}"))?;
    for worker in array(&workers)? {
        expect_keys(worker, &["id", "address", "state", "slots", "memory_bytes"])?;
        let is_right = worker["state"] == "alive"
            && worker["slots"] == 1
            && worker["memory_bytes"] == 1_u64 << 30
            && worker["id"].as_str().is_some_and(|id| id.starts_with("worker-"))
            && worker["address"].as_str().is_some_and(|at| at.starts_with("127.0.0.1:"));
        check(is_right, worker)?;
    }
    let applications = cluster.list("apps")?;
    let application = &array(&applications)?[0];
    expect_keys(application, &APPLICATION)?;
    let time = |key: &str| application[key].as_str().filter(|time| time.ends_with('Z'));
    let is_right = application["state"] == "finished"
        && application["deploy_mode"] == "client"
        && application["error"].is_null()
        && time("submitted_at").is_some()
        && time("submitted_at") <= time("ended_at");
    check(is_right, application)?;
    let id = application["id"].as_str().expect("checked");
    let master = &cluster.master;
    let asked = Running::start(&["status", id, "--master", master, "--format", "json"]).end()?;
    let status: Value = serde_json::from_slice(&asked.stdout)?;
    check(status == *application, format!("`status` says {status}"))?;
    let unknown = Running::start(&["status", "app-99", "--master", master]).end()?;
    Ok(unknown.expect(1, "", &["error: the cluster knows no application `app-99`"])?)
}

fn the_ui_serves_the_same_and_more() -> Result<(), Failed> {
    let cluster = Cluster::start(2, &[])?;
    let query =
        "select value % 2 as k, sum(value) as n from generate_series(1, 4) group by 1 order by 1";
    cluster.sql(query).end()?.expect(0, "k,n\n0,6\n1,4\n", &[])?;
    let (status, served) = cluster.get("/api/v1/workers")?;
    check(status == 200, status)?;
    let listed = cluster.list("workers")?;
    for (served, listed) in array(&served)?.iter().zip(array(&listed)?) {
        let listed = listed.as_object().ok_or("not an object")?;
        check(listed.iter().all(|(key, value)| served[key] == *value), served)?;
    }
    let (_, served) = cluster.get("/api/v1/applications")?;
    check(served == cluster.list("apps")?, served)?;
    let (_, jobs) = cluster.get("/api/v1/applications/app-0/jobs")?;
    check(array(&jobs)?.len() == 1, &jobs)?;
    let (_, stages) = cluster.get("/api/v1/applications/app-0/jobs/0/stages")?;
    check(array(&stages)?.len() > 1, &stages)?;
    let (_, tasks) = cluster.get("/api/v1/applications/app-0/jobs/0/stages/0/tasks")?;
    check(!array(&tasks)?.is_empty(), &tasks)?;
    let (status, refusal) = cluster.get("/api/v1/nothing")?;
    check(status == 404 && refusal["error"].is_string(), format!("{status} {refusal}"))?;
    Ok(())
}

fn a_killed_worker_changes_no_answer() -> Result<(), Failed> {
    let want =
        Running::start(&["sql", "--master", "local[2]", "--format", "csv", "-e", SOME]).end()?;
    let cluster = Cluster::start(3, &[])?;
    let job = cluster.sql(SOME);
    job.line("stage 0 finished")?;
    cluster.workers[1].signal(Signal::KILL);
    let got = job.end()?;
    got.expect(0, &String::from_utf8(want.stdout)?, &[" lost: its process is gone"])?;
    check(cluster.count("lost")? == 1, "no worker was lost")?;
    Ok(())
}

fn a_worker_told_to_stop_leaves_at_once() -> Result<(), Failed> {
    let mut cluster = Cluster::start(2, &[])?;
    let worker = cluster.workers.remove(0);
    worker.signal(Signal::TERM);
    let ended = worker.end()?;
    check(ended.status.code() == Some(143), format!("{}: {}", ended.status, ended.stderr))?;
    let (_, workers) = cluster.get("/api/v1/workers")?;
    let left = &array(&workers)?[0];
    check(left["state"] == "lost" && left["reason"] == "it left", left)?;
    let folder = cluster.folder.path().join("work-0");
    let rest: Vec<_> = folder.read_dir()?.collect();
    check(rest.is_empty(), format!("it left {rest:?} behind"))?;
    cluster.sql("select 1 as a").end()?.expect(0, "a\n1\n", &[])?;
    Ok(())
}

fn a_lost_manager_fails_the_job() -> Result<(), Failed> {
    let conf = ["scheduler.lease=2s", "scheduler.heartbeat_interval=200ms"];
    let cluster = Cluster::start(2, &conf)?;
    let job = cluster.sql(ENDLESS);
    job.line("stage 0 finished")?;
    let killed = Instant::now();
    cluster.manager.signal(Signal::KILL);
    let ended = job.end()?;
    ended.expect(1, "count(*)\n", &["error: ", "cluster manager"])?;
    check(killed.elapsed() < Duration::from_secs(12), format!("{:?}", killed.elapsed()))?;
    Ok(())
}

fn all_workers_lost_fails_the_job() -> Result<(), Failed> {
    let cluster = Cluster::start(2, &["scheduler.no_worker_timeout=2s"])?;
    let job = cluster.sql(ENDLESS);
    job.line("stage 0 finished")?;
    let killed = Instant::now();
    cluster.workers.iter().for_each(|worker| worker.signal(Signal::KILL));
    let ended = job.end()?;
    ended.expect(1, "count(*)\n", &["error: no worker is left", "= help: start workers"])?;
    let took = killed.elapsed();
    check(took > Duration::from_secs(2) && took < Duration::from_secs(6), format!("{took:?}"))?;
    Ok(())
}

fn a_job_without_workers_fails_in_time() -> Result<(), Failed> {
    let cluster = Cluster::start(0, &["scheduler.no_worker_timeout=1s"])?;
    let ended = cluster.sql("select sum(value) as n from generate_series(1, 10)").end()?;
    ended.expect(1, "n\n", &["error: no worker", "= help: start workers"])?;
    ended.within(Duration::from_secs(5))?;
    Ok(())
}

fn a_killed_driver_frees_the_cluster() -> Result<(), Failed> {
    let cluster = Cluster::start(2, &["scheduler.lease=2s", "scheduler.heartbeat_interval=200ms"])?;
    let job = cluster.sql("select sum(value % 7) from generate_series(1, 1000000000000)");
    cluster.wait_for_running(1)?;
    job.signal(Signal::KILL);
    cluster.expect_idle("failed", Duration::from_secs(6))?;
    let applications = cluster.list("apps")?;
    check(array(&applications)?[0]["error"].is_string(), applications)?;
    check(cluster.count("alive")? == 2, "a worker went with it")?;
    Ok(())
}

fn ctrl_c_cancels_the_job_on_the_cluster() -> Result<(), Failed> {
    let cluster = Cluster::start(2, &["scheduler.heartbeat_interval=200ms"])?;
    let job = cluster.sql(ENDLESS);
    // Both scans are done: what runs now is the join.
    job.line("stage 0 finished")?;
    job.line("stage 1 finished")?;
    cluster.wait_for_running(2)?;
    let pressed = Instant::now();
    job.signal(Signal::INT);
    let ended = job.end()?;
    check(ended.status.code() == Some(130), format!("{}: {}", ended.status, ended.stderr))?;
    check(pressed.elapsed() < Duration::from_secs(2), format!("{:?}", pressed.elapsed()))?;
    check(!ended.stderr.contains("error"), ended.stderr)?;
    cluster.expect_idle("finished", Duration::from_secs(3))?;
    Ok(())
}

fn kill_ends_an_application() -> Result<(), Failed> {
    let cluster = Cluster::start(2, &["scheduler.heartbeat_interval=200ms"])?;
    let kill = |more: &[&str]| {
        Running::start(&[&["kill", "--master", &cluster.master], more].concat()).end()
    };
    let job = cluster.sql(ENDLESS);
    job.line("stage 0 finished")?;
    let asked = Instant::now();
    kill(&["app-0"])?.expect(0, "", &["killed `app-0`"])?;
    job.end()?.expect(1, "count(*)\n", &["error: `app-0` was killed"])?;
    cluster.expect_idle("killed", Duration::from_secs(3))?;
    check(asked.elapsed() < Duration::from_secs(6), format!("{:?}", asked.elapsed()))?;
    let status = ["status", "app-0", "--master", &cluster.master, "--format", "json"];
    let status: Value = serde_json::from_slice(&Running::start(&status).end()?.stdout)?;
    check(status["state"] == "killed" && status["ended_at"].is_string(), status)?;
    // Others go on, and who has ended can't be killed.
    cluster.sql("select 1 as a").end()?.expect(0, "a\n1\n", &[])?;
    kill(&["app-1"])?.expect(0, "", &["`app-1` had ended before"])?;
    let json = "{\"id\":\"app-1\",\"killed\":false}\n";
    kill(&["app-1", "--format", "json"])?.expect(0, json, &[])?;
    let parts = ["error: there is no application `app-9`", "= help: `gnist apps` lists"];
    kill(&["app-9"])?.expect(1, "", &parts)?;
    Ok(())
}

fn two_workers_share_a_folder_with_strangers() -> Result<(), Failed> {
    let mut cluster = Cluster::start(0, &[])?;
    let folder = cluster.folder.path().join("shared");
    std::fs::create_dir(&folder)?;
    let foreign = [folder.join("notes.txt"), folder.join("gnist-worker-mine")];
    std::fs::write(&foreign[0], "mine")?;
    std::fs::create_dir(&foreign[1])?;
    std::fs::write(foreign[1].join("data"), "mine too")?;
    for _ in 0..3 {
        cluster.add_worker(&folder)?;
    }
    // The first leaves no word; whoever comes next cleans up after it, and after nobody else.
    cluster.workers[0].signal(Signal::KILL);
    cluster.add_worker(&folder)?;
    let lost = until(PATIENCE, || cluster.count("lost").ok().filter(|lost| *lost == 1));
    check(lost.is_some(), "the killed worker was not lost")?;
    cluster.sql("select sum(value) as n from generate_series(1, 10)").end()?.expect(
        0,
        "n\n55\n",
        &[],
    )?;
    check(cluster.count("alive")? == 3, "a worker did not survive")?;
    check(std::fs::read_to_string(&foreign[0])? == "mine", "a foreign file changed")?;
    let data = std::fs::read_to_string(foreign[1].join("data"));
    check(data.is_ok_and(|data| data == "mine too"), "a foreign folder was deleted")?;
    let entries = std::fs::read_dir(&folder)?.count();
    check(entries == 5, format!("{entries} entries: two strange ones and three of workers"))?;
    Ok(())
}

fn a_worker_needs_a_folder_it_can_write() -> Result<(), Failed> {
    let cluster = Cluster::start(0, &[])?;
    let file = cluster.folder.path().join("file");
    std::fs::write(&file, "")?;
    let folder = file.join("work").display().to_string();
    let ended =
        Running::start(&["worker", "--master", &cluster.master, "--work-dir", &folder]).end()?;
    ended.expect(1, "", &["error: ", &folder])?;
    check(array(&cluster.list("workers")?)?.is_empty(), "it registered")?;
    Ok(())
}

fn a_port_in_use_is_named() -> Result<(), Failed> {
    let cluster = Cluster::start(0, &[])?;
    let taken = cluster.master.trim_start_matches("gnist://").to_owned();
    let free = "127.0.0.1:0";
    let state = cluster.folder.path().join("other-state").display().to_string();
    for arguments in [
        vec!["cluster-manager", "--listen", &taken, "--ui", free, "--state-dir", &state],
        vec!["cluster-manager", "--listen", free, "--ui", &taken, "--state-dir", &state],
        vec!["worker", "--master", &cluster.master, "--listen", &taken],
    ] {
        let ended = Running::start(&arguments).end()?;
        ended.expect(1, "", &["error: ", &taken, "in use"])?;
    }
    Ok(())
}

fn a_state_folder_has_one_manager() -> Result<(), Failed> {
    let cluster = Cluster::start(0, &[])?;
    let taken = cluster.folder.path().join("state").display().to_string();
    let unwritable = "/proc/gnist-state";
    for (folder, part) in [
        (taken.as_str(), "another cluster manager uses the state folder"),
        (unwritable, "can't write the state folder"),
    ] {
        let free = "127.0.0.1:0";
        let arguments = ["cluster-manager", "--listen", free, "--ui", free, "--state-dir", folder];
        let ended = Running::start(&arguments).end()?;
        ended.expect(1, "", &["error: ", part, folder, "--state-dir"])?;
    }
    Ok(())
}

fn files_are_written_by_a_standing_cluster() -> Result<(), Failed> {
    let cluster = Cluster::start(2, &[])?;
    let target = cluster.folder.path().join("out").display().to_string();
    let rows = "select i, i % 3 as k from generate_series(1, 1000) s(i)";
    let copy = |mode: &str| {
        format!("copy ({rows}) to '{target}' stored as parquet options (mode '{mode}')")
    };
    cluster.sql(&copy("error")).end()?.expect(0, "", &[])?;
    cluster.sql(&copy("append")).end()?.expect(0, "", &[])?;
    cluster.sql(&copy("error")).end()?.expect(1, "", &["there is data in `"])?;
    let read =
        format!("select k, count(*) as n, sum(i) as s from '{target}/' group by k order by k");
    let right = "k,n,s\n0,666,333666\n1,668,334334\n2,666,333000\n";
    cluster.sql(&read).end()?.expect(0, right, &[])?;
    Ok(())
}

fn a_failed_query_is_a_failed_application() -> Result<(), Failed> {
    let cluster = Cluster::start(1, &[])?;
    cluster.sql("select cast('x' as int) as a").end()?.expect(1, "", &["error: "])?;
    cluster.sql("select nothing").end()?.expect(1, "", &["error: "])?;
    cluster.sql("select 1 as a").end()?.expect(0, "a\n1\n", &[])?;
    let applications = cluster.list("apps")?;
    let states: Vec<&Value> = array(&applications)?.iter().map(|one| &one["state"]).collect();
    check(states == ["failed", "failed", "finished"], &applications)?;
    let errors = array(&applications)?.iter().map(|one| one["error"].is_string());
    check(errors.eq([true, true, false]), &applications)?;
    Ok(())
}

fn a_worker_may_start_before_its_manager() -> Result<(), Failed> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let (listen, master) = (format!("127.0.0.1:{port}"), format!("gnist://127.0.0.1:{port}"));
    let folder = tempfile::tempdir()?;
    let (work, state) = (folder.path().join("work"), folder.path().join("state"));
    let (work, state) = (work.display().to_string(), state.display().to_string());
    let worker = Running::start(&["worker", "--master", &master, "--work-dir", &work]);
    std::thread::sleep(Duration::from_millis(500));
    let _manager = Running::start(&[
        "cluster-manager",
        "--listen",
        &listen,
        "--ui",
        "127.0.0.1:0",
        "--state-dir",
        &state,
    ]);
    worker.line("worker at ")?;
    Ok(())
}
