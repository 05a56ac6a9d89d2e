//! The command as processes: started with pipes, waited for with a limit, and killed at the end of
//! the test that started them, whatever became of it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest time that anything may take that is not measured.
pub const PATIENCE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(5);

/// The command under test, untouched by the environment of whoever runs the tests. Its progress is
/// shown at once: tests wait for the stages that it tells.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnist"));
    command.args(arguments).env_remove("GNIST_MASTER").env_remove("RUST_LOG");
    command.env("GNIST_CONF_PROGRESS_DELAY", "1ms");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A process that is killed when it is dropped.
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Arc<Lines>,
    started: Instant,
}

/// The lines that a process wrote so far.
#[derive(Default)]
struct Lines {
    said: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

/// The end of a process: its status, and all it wrote.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
    /// The time it took from its start.
    pub took: Duration,
}

impl Running {
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(&mut command(arguments))
    }

    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the command can be started");
        let stdout = child.stdout.take().map(|mut pipe| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = pipe.read_to_end(&mut bytes);
                bytes
            })
        });
        let stderr = Arc::new(Lines::default());
        if let Some(pipe) = child.stderr.take() {
            let lines = Arc::clone(&stderr);
            std::thread::spawn(move || lines.read(pipe));
        }
        Self { child, stdout, stderr, started: Instant::now() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line on stderr that contains this.
    pub fn line(&self, part: &str) -> Result<String, String> {
        self.stderr.wait_for(part)
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill_process(Pid::from_raw(id).expect("not zero"), signal).expect("it was not waited for");
    }

    /// Returns the ids of its children, at this moment.
    pub fn children(&self) -> Vec<u32> {
        let id = self.child.id();
        // A child is listed with the thread that started it.
        let threads = std::fs::read_dir(format!("/proc/{id}/task")).expect("it runs");
        let lists = threads.filter_map(|thread| {
            std::fs::read_to_string(thread.ok()?.path().join("children")).ok()
        });
        lists
            .flat_map(|list| {
                let ids = list.split_whitespace().map(|id| id.parse().expect("a process id"));
                ids.collect::<Vec<u32>>()
            })
            .collect()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Result<Ended, String> {
        let status = until(PATIENCE, || self.child.try_wait().expect("it is our child"));
        let status = status.ok_or_else(|| {
            format!("it did not end in {PATIENCE:?}; stderr: {}", self.stderr.text())
        })?;
        let took = self.started.elapsed();
        let stdout = self.stdout.take().map(|reader| reader.join().expect("it reads"));
        let stderr = self.stderr.at_end();
        Ok(Ended { status, stdout: stdout.unwrap_or_default(), stderr, took })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended needs neither.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lines {
    fn read(&self, pipe: impl Read) {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            self.said.lock().expect("not poisoned").0.push(line);
            self.more.notify_all();
        }
        self.said.lock().expect("not poisoned").1 = true;
        self.more.notify_all();
    }

    fn wait_for(&self, part: &str) -> Result<String, String> {
        let said = self.said.lock().expect("not poisoned");
        let is_missing = |said: &mut (Vec<String>, bool)| {
            !said.1 && !said.0.iter().any(|line| line.contains(part))
        };
        let (said, _) =
            self.more.wait_timeout_while(said, PATIENCE, is_missing).expect("not poisoned");
        let found = said.0.iter().find(|line| line.contains(part)).cloned();
        found.ok_or_else(|| format!("it never said `{part}`, but: {}", said.0.join("\n")))
    }

    /// All of it, once no more can come.
    fn at_end(&self) -> String {
        let said = self.said.lock().expect("not poisoned");
        // A grandchild may hold the pipe open; what it says is not waited for.
        let limit = Duration::from_secs(3);
        drop(self.more.wait_timeout_while(said, limit, |said| !said.1).expect("not poisoned"));
        self.text()
    }

    fn text(&self) -> String {
        self.said.lock().expect("not poisoned").0.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Ended {
    /// Checks the exit code, stdout, and parts of stderr.
    pub fn expect(&self, code: i32, stdout: &str, stderr: &[&str]) -> Result<(), String> {
        let missing = stderr.iter().find(|part| !self.stderr.contains(*part));
        match missing {
            None if self.status.code() == Some(code) && self.stdout == stdout.as_bytes() => Ok(()),
            Some(part) => Err(format!("stderr lacks `{part}`; {}", self.text())),
            None => Err(format!("expected code {code}, stdout `{stdout}`; {}", self.text())),
        }
    }

    /// Checks that it took less than this.
    pub fn within(&self, limit: Duration) -> Result<(), String> {
        if self.took <= limit {
            return Ok(());
        }
        Err(format!("it took {:?}, more than {limit:?}; {}", self.took, self.text()))
    }

    fn text(&self) -> String {
        let Self { status, stdout, stderr, took } = self;
        let (code, signal) = (status.code(), status.signal());
        let stdout = String::from_utf8_lossy(stdout);
        format!(
            "code {code:?}, signal {signal:?}, after {took:?}\nstdout: {stdout}\nstderr: {stderr}"
        )
    }
}

/// Asks until there is an answer.
pub fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        match ask() {
            Some(answer) => return Some(answer),
            None if Instant::now() > deadline => return None,
            None => std::thread::sleep(POLL),
        }
    }
}

/// Returns true if a process runs; one that is dead and not yet buried does not.
pub fn is_running(process: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X'))
}

/// SIGKILL for a process that is not a child of this one.
pub fn kill(process: u32) {
    let process = i32::try_from(process).expect("a process id");
    // It may have ended by itself.
    let _ = kill_process(Pid::from_raw(process).expect("not zero"), Signal::KILL);
}

/// Checks that none of these processes runs any more after this time.
pub fn expect_gone(processes: &[u32], limit: Duration) -> Result<(), String> {
    let is_gone = || processes.iter().all(|process| !is_running(*process)).then_some(());
    let gone = until(limit, is_gone);
    let left: Vec<u32> = processes.iter().copied().filter(|process| is_running(*process)).collect();
    left.iter().for_each(|process| kill(*process));
    gone.ok_or_else(|| format!("the processes {left:?} still run after {limit:?}"))
}
