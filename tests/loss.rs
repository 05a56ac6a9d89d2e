//! Workers that die by SIGKILL in the middle of a job: the fault really happened, the answer is
//! right, and only what was lost ran again.

use std::sync::{Arc, Mutex};

use futures::TryStreamExt;
use gnist::{JobObserver, Process, Session};
use gnist_common::protocol::ManagerToDriver;
use libtest_mimic::{Failed, Trial};

use crate::backends::{block_on, builder};
use crate::slt::rows_of;

pub fn trials() -> Vec<Trial> {
    vec![Trial::test("loss::a_killed_worker_costs_its_own_partitions_only", || {
        block_on(killed_worker()).map_err(Failed::from)
    })]
}

/// Kills one worker when the first stage of a job has finished.
#[derive(Default)]
struct Killer {
    victim: Mutex<Option<u32>>,
}

impl JobObserver for Killer {
    fn event(&self, message: &ManagerToDriver) {
        if let ManagerToDriver::StageFinished(_) = message
            && let Some(process) = self.victim.lock().expect("not poisoned").take()
        {
            kill(process);
        }
    }
}

/// SIGKILL.
pub fn kill(process: u32) {
    let process = i32::try_from(process).expect("a process id");
    let process = rustix::process::Pid::from_raw(process).expect("not zero");
    rustix::process::kill_process(process, rustix::process::Signal::KILL).expect("it was alive");
}

/// The processes of a session's workers.
pub fn workers(session: &Session) -> Vec<Process> {
    let processes = session.processes().iter();
    processes.filter(|process| process.role == "worker").cloned().collect()
}

const QUERY: &str = "select a.value % 10 as g, count(*), sum(b.value) \
     from generate_series(1, 2000000) a join generate_series(1, 2000000) b on a.value = b.value \
     group by 1 order by 1";

async fn killed_worker() -> Result<(), String> {
    let want = answer(&builder("local[2]").connect().await.map_err(text)?).await?.0;
    let killer = Arc::new(Killer::default());
    let session = builder("local-cluster[3,1,1GiB]").observer(Some(Arc::clone(&killer) as _));
    let session = session.connect().await.map_err(text)?;
    *killer.victim.lock().expect("not poisoned") = Some(workers(&session)[1].id);
    let (got, stats) = answer(&session).await?;
    if got != want {
        return Err(format!("the answer differs: {got:?}, not {want:?}"));
    }
    if killer.victim.lock().expect("not poisoned").is_some() || stats.workers_lost != 1 {
        return Err("no worker was lost".to_owned());
    }
    Ok(())
}

async fn answer(
    session: &Session,
) -> Result<(Vec<Vec<String>>, gnist_common::protocol::JobStats), String> {
    let mut result = session.sql(QUERY).await.map_err(text)?;
    let mut rows = Vec::new();
    while let Some(batch) = result.try_next().await.map_err(text)? {
        rows.extend(rows_of(&batch));
    }
    let report = result.report().ok_or("no report")?;
    Ok((rows, report.stats))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
