//! The end of the command when somebody else asks for it: it comes quickly, with the code that says
//! why, and leaves none of the processes.

use std::process::Stdio;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::Signal;

use super::Test;
use crate::cluster::ENDLESS;
use crate::process::{PATIENCE, Running, command, expect_gone, kill, until};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("a_killed_driver_leaves_no_process", a_killed_driver_leaves_no_process),
    ("all_workers_killed_fails_at_once", all_workers_killed_fails_at_once),
    ("a_killed_manager_fails_the_job", a_killed_manager_fails_the_job),
    ("a_killed_worker_changes_no_answer", a_killed_worker_changes_no_answer),
    ("ctrl_c", ctrl_c),
    ("terminated", terminated),
    (
        "a_query_that_is_planned_for_long_is_interrupted",
        a_query_that_is_planned_for_long_is_interrupted,
    ),
    ("an_interrupted_query_leaves_no_spill_file", an_interrupted_query_leaves_no_spill_file),
    ("a_closed_stdout_is_no_error", a_closed_stdout_is_no_error),
    ("the_end_of_a_query_is_the_end_of_its_cluster", the_end_of_a_query_is_the_end_of_its_cluster),
];

const CLUSTER: &str = "local-cluster[2,1,256MiB]";

/// A query that runs for long, its first stage done; and the processes of its cluster.
fn endless() -> Result<(Running, Vec<u32>), String> {
    let query = Running::start(&["sql", "--master", CLUSTER, "--format", "csv", "-e", ENDLESS]);
    query.line("stage 0 finished")?;
    let children = query.children();
    if children.len() == 3 { Ok((query, children)) } else { Err(format!("{children:?}")) }
}

/// Returns those of these processes that are workers, by what they were told to be.
fn workers(children: &[u32]) -> Vec<u32> {
    let is_worker = |process: &&u32| {
        let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains("\"Worker\"")
    };
    children.iter().filter(is_worker).copied().collect()
}

fn a_killed_driver_leaves_no_process() -> Result<(), Failed> {
    let (query, children) = endless()?;
    query.signal(Signal::KILL);
    Ok(expect_gone(&children, Duration::from_secs(2))?)
}

fn all_workers_killed_fails_at_once() -> Result<(), Failed> {
    let (query, children) = endless()?;
    let killed = Instant::now();
    workers(&children).into_iter().for_each(kill);
    let ended = query.end()?;
    ended.expect(1, "count(*)\n", &["error: no worker is left"])?;
    if killed.elapsed() > Duration::from_secs(2) {
        return Err(format!("after {:?}: {}", killed.elapsed(), ended.stderr).into());
    }
    Ok(expect_gone(&children, Duration::from_secs(2))?)
}

fn a_killed_manager_fails_the_job() -> Result<(), Failed> {
    let (query, children) = endless()?;
    let killed = Instant::now();
    let workers = workers(&children);
    children.iter().filter(|child| !workers.contains(child)).for_each(|child| kill(*child));
    let ended = query.end()?;
    ended.expect(1, "count(*)\n", &["error: lost the cluster manager"])?;
    if killed.elapsed() > Duration::from_secs(12) {
        return Err(format!("after {:?}: {}", killed.elapsed(), ended.stderr).into());
    }
    Ok(expect_gone(&children, Duration::from_secs(2))?)
}

fn a_killed_worker_changes_no_answer() -> Result<(), Failed> {
    let query = "select a.value % 10 as g, count(*) as n from generate_series(1, 200000) a \
         join generate_series(1, 200000) b on a.value % 1000 = b.value % 1000 group by 1 order by 1";
    let master = "local-cluster[2,1,512MiB]";
    let job = Running::start(&["sql", "--master", master, "--format", "csv", "-e", query]);
    job.line("stage 0 finished")?;
    let killed = workers(&job.children())[0];
    kill(killed);
    let rows: String = (0..10).map(|group| format!("{group},4000000\n")).collect();
    Ok(job.end()?.expect(0, &format!("g,n\n{rows}"), &[" lost: "])?)
}

/// Planning does not stop in between, and looks at every pair of these columns, and at each of them again.
fn a_query_that_is_planned_for_long_is_interrupted() -> Result<(), Failed> {
    let columns = (1..600).map(|n| format!("value % {n} as c{n}")).collect::<Vec<_>>().join(", ");
    let keys = (1..600).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("q.sql");
    let rows = format!("select {columns} from generate_series(1, 9)");
    let query =
        format!("select row_number() over (partition by {keys}) from ({rows}) group by {keys}");
    std::fs::write(&file, format!("{query} order by {keys}"))?;
    let file = file.to_str().expect("UTF-8");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let query =
            Running::start(&["sql", "--master", "local[1]", "--format", "json", "-f", file]);
        // A second of CPU time is more than the start of the command takes, and much less than planning does.
        let plans = until(PATIENCE, || cpu_ticks(query.id()).filter(|ticks| *ticks > 100));
        plans.ok_or("the query is not planned")?;
        query.signal(signal);
        let ended = query.end()?;
        if ended.status.code() != Some(code) {
            return Err(format!("{:?}: {}", ended.status, ended.stderr).into());
        }
    }
    Ok(())
}

fn signalled(signal: Signal, code: i32) -> Result<(), String> {
    let (query, children) = endless()?;
    let sent = Instant::now();
    query.signal(signal);
    let ended = query.end()?;
    if ended.status.code() != Some(code) || sent.elapsed() > Duration::from_secs(2) {
        return Err(format!("{} after {:?}: {}", ended.status, sent.elapsed(), ended.stderr));
    }
    if ended.stderr.contains("error") {
        return Err(ended.stderr);
    }
    expect_gone(&children, Duration::from_secs(2))?;
    // In one process there is nobody to tell, and nothing to wait for.
    let query = Running::start(&["sql", "--master", "local[2]", "--format", "csv", "-e", ENDLESS]);
    let runs = until(PATIENCE, || cpu_ticks(query.id()).filter(|ticks| *ticks > 30));
    runs.ok_or("the query does not run")?;
    let sent = Instant::now();
    query.signal(signal);
    let ended = query.end()?;
    if ended.status.code() == Some(code) && sent.elapsed() < Duration::from_secs(2) {
        return Ok(());
    }
    Err(format!("local[2]: {} after {:?}: {}", ended.status, sent.elapsed(), ended.stderr))
}

/// Hundredths of a second of CPU time that a process has used.
fn cpu_ticks(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split_whitespace().nth(11)?.parse().ok()
}

fn ctrl_c() -> Result<(), Failed> {
    Ok(signalled(Signal::INT, 130)?)
}

fn terminated() -> Result<(), Failed> {
    Ok(signalled(Signal::TERM, 143)?)
}

fn an_interrupted_query_leaves_no_spill_file() -> Result<(), Failed> {
    let sort = "select value from generate_series(1, 100000000) order by value % 1000003";
    let temporary = tempfile::tempdir()?;
    let mut query = command(&["sql", "--master", "local[2]", "--memory", "32MiB", "-e", sort]);
    let query = Running::spawn(query.env("TMPDIR", temporary.path()));
    let folder = temporary.path().join("gnist");
    let spilled = || {
        let worker = std::fs::read_dir(&folder).ok()?.next()?.ok()?;
        std::fs::read_dir(worker.path().join("spill")).ok()?.next()
    };
    until(PATIENCE, spilled).ok_or("nothing is spilled")?.map(drop)?;
    query.signal(Signal::INT);
    query.end()?.expect(130, "", &[])?;
    let left: Vec<_> = std::fs::read_dir(&folder)?.collect();
    if left.is_empty() { Ok(()) } else { Err(format!("{left:?}").into()) }
}

fn a_closed_stdout_is_no_error() -> Result<(), Failed> {
    for master in ["local[2]", CLUSTER] {
        let query = "select value from generate_series(1, 1000000000)";
        let mut command =
            command(&["sql", "--quiet", "--master", master, "--format", "csv", "-e", query]);
        let (reader, writer) = std::io::pipe()?;
        let running = Running::spawn(command.stdout(Stdio::from(writer)));
        // The parent's copy of the other end is gone with the command that holds it.
        drop(command);
        let mut header = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(reader), &mut header)?;
        let closed = Instant::now();
        let ended = running.end()?;
        let is_quiet = ended.stderr.is_empty() && header == "value\n";
        if ended.status.code() != Some(0) || !is_quiet || closed.elapsed() > Duration::from_secs(2)
        {
            let (status, stderr) = (ended.status, ended.stderr);
            let text = format!("{master}: {status} after {:?}: {header}{stderr}", closed.elapsed());
            return Err(text.into());
        }
    }
    Ok(())
}

fn the_end_of_a_query_is_the_end_of_its_cluster() -> Result<(), Failed> {
    let temporary = tempfile::tempdir()?;
    let mut query = command(&[
        "sql",
        "--quiet",
        "--master",
        CLUSTER,
        "--format",
        "csv",
        "-e",
        "select sum(value) as n from generate_series(1, 10)",
    ]);
    let ended = Running::spawn(query.env("TMPDIR", temporary.path())).end()?;
    ended.expect(0, "n\n55\n", &[])?;
    let work = temporary.path().join("gnist");
    let left = || std::fs::read_dir(&work).map(Iterator::count).unwrap_or_default();
    let is_clean = until(Duration::from_secs(2), || (left() == 0).then_some(()));
    is_clean.ok_or_else(|| format!("{} entries left in the work folder", left()).into())
}
