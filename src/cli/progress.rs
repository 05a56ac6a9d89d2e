//! The progress of a job on stderr: one line updated in place on a terminal, one line for each
//! finished stage when piped.
//!
//! ```text
//! [stage 3 ====>      12+8/40]  1.2 M rows/s  340 MiB
//! ```
//!
//! 12 tasks are done, 8 run, of 40. A statement that is done within `progress.delay` shows none of
//! it: [`ProgressLine::begin`] holds the lines back, [`ProgressLine::due`] lets them out.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gnist_common::bytes::ByteSize;
use gnist_common::protocol::{JobStats, ManagerToDriver, StageProgress, StageSummary};
use gnist_driver::JobObserver;

/// Lines held back of one statement: no more stages finish before it is due.
const HELD_LINES_MAX: usize = 1_000;

/// The form of the progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// No progress.
    Nothing,
    /// A line for each finished stage.
    Lines,
    /// A line updated in place.
    InPlace,
}

impl Shown {
    /// The form that stderr can show.
    pub(crate) fn on_stderr() -> Self {
        if io::stderr().is_terminal() { Self::InPlace } else { Self::Lines }
    }
}

/// The progress of a session's jobs.
pub(crate) struct ProgressLine {
    shown: Shown,
    state: Mutex<State>,
}

struct State {
    /// A line stands on the terminal.
    drawn: bool,
    /// Lines of a statement that may be over before anybody wants to know; none once it is not.
    held: Option<Vec<String>>,
    rate: Rate,
}

/// Rows per second since the job's first message.
struct Rate {
    since: Option<Instant>,
    /// Rows of finished stages.
    finished_rows: u64,
}

impl ProgressLine {
    pub(crate) fn new(shown: Shown) -> Self {
        let rate = Rate { since: None, finished_rows: 0 };
        Self { shown, state: Mutex::new(State { drawn: false, held: None, rate }) }
    }

    /// A statement begins: its progress is held back until it is [due](Self::due).
    pub(crate) fn begin(&self) {
        self.lock().held = Some(Vec::new());
    }

    /// The statement takes long: what was held back is shown, and what comes from now on.
    pub(crate) fn due(&self) {
        let mut state = self.lock();
        for line in state.held.take().unwrap_or_default() {
            self.say(&mut state, &line);
        }
    }

    /// Takes the line away, so that something else can be printed.
    pub(crate) fn clear(&self) {
        self.erase(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn erase(&self, state: &mut State) {
        if std::mem::take(&mut state.drawn) {
            write_stderr("\r\x1b[2K");
        }
    }

    fn say(&self, state: &mut State, line: &str) {
        if self.shown != Shown::Nothing {
            self.erase(state);
            write_stderr(&format!("{line}\n"));
        }
    }

    fn draw(&self, state: &mut State, stages: &[StageProgress]) {
        let since = *state.rate.since.get_or_insert_with(Instant::now);
        let Some(stage) = stages.iter().max_by_key(|stage| (stage.running, stage.stage.ordinal))
        else {
            return;
        };
        if self.shown != Shown::InPlace || state.held.is_some() {
            return;
        }
        let rows: u64 =
            state.rate.finished_rows + stages.iter().map(|stage| stage.rows).sum::<u64>();
        let line = bar(stage, rows, since.elapsed().as_secs_f64());
        write_stderr(&format!("\r\x1b[2K{line}"));
        state.drawn = true;
    }

    fn finish(&self, state: &mut State, summary: &StageSummary) {
        state.rate.finished_rows += summary.metrics.output_rows;
        if self.shown == Shown::Lines {
            let line = finished(summary);
            match &mut state.held {
                Some(held) if held.len() < HELD_LINES_MAX => held.push(line),
                Some(_) => {}
                None => self.say(state, &line),
            }
        }
    }
}

impl JobObserver for ProgressLine {
    fn event(&self, message: &ManagerToDriver) {
        let mut state = self.lock();
        match message {
            ManagerToDriver::Progress { stages, .. } => self.draw(&mut state, stages),
            ManagerToDriver::StageFinished(summary) => self.finish(&mut state, summary),
            ManagerToDriver::WorkerLost { worker, reason } => {
                self.say(&mut state, &format!("{worker} lost: {reason}"));
            }
            ManagerToDriver::JobEnded { stats, .. } => {
                state.rate = Rate { since: None, finished_rows: 0 };
                if stats.recomputed > 0 {
                    self.say(&mut state, &recomputed(stats));
                }
                self.erase(&mut state);
            }
            _ => {}
        }
    }
}

/// The cost of lost workers, in recomputed partitions.
pub(crate) fn recomputed(stats: &JobStats) -> String {
    format!("recomputed {} of {} partitions", stats.recomputed, stats.tasks)
}

fn write_stderr(text: &str) {
    // Nobody to tell when stderr is gone.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn bar(stage: &StageProgress, rows: u64, seconds: f64) -> String {
    const WIDTH: usize = 20;
    let counts = format!("{}+{}/{}", stage.done, stage.running, stage.tasks);
    let width = WIDTH.saturating_sub(counts.len()).max(3);
    let full = width * stage.done as usize / stage.tasks.max(1) as usize;
    let arrow = match full {
        0 => String::new(),
        full => format!("{}>", "=".repeat(full - 1)),
    };
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let rate = rows as f64 / seconds.max(0.001);
    format!(
        "[stage {} {arrow:<width$}{counts}]  {} rows/s  {}",
        stage.stage.ordinal,
        short_count(rate),
        ByteSize(stage.bytes),
    )
}

fn finished(summary: &StageSummary) -> String {
    let metrics = &summary.metrics;
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let longest = summary.run_us_min_median_max.2 as f64 / 1e6;
    let spilled = match metrics.spill_bytes {
        0 => String::new(),
        bytes => format!(", {} spilled", ByteSize(bytes)),
    };
    format!(
        "stage {} finished: {}, {}, {}{spilled}, longest task {longest:.2} s",
        summary.stage.ordinal,
        counted(summary.winners.len() as u64, "task"),
        counted(metrics.output_rows, "row"),
        ByteSize(metrics.output_bytes),
    )
}

/// A number of things: `1 row`, `3 rows`.
pub(super) fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A time for people: `0.4 ms`, `12 ms`, `1.2 s`, `2 min 5 s`.
pub(super) fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match time.as_millis() {
        0..10 => format!("{:.1} ms", seconds * 1e3),
        10..1_000 => format!("{:.0} ms", seconds * 1e3),
        1_000..60_000 => format!("{seconds:.1} s"),
        _ => format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60),
    }
}

fn short_count(number: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e9, " G"), (1e6, " M"), (1e3, " k")];
    match UNITS.iter().find(|(factor, _)| number >= *factor) {
        Some((factor, unit)) => format!("{:.1}{unit}", number / factor),
        None => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use gnist_common::ids::ApplicationId;
    use gnist_common::task::TaskMetrics;

    use super::*;

    fn summary() -> StageSummary {
        StageSummary {
            stage: ApplicationId(1).job(0).stage(0),
            bytes: Vec::new(),
            rows: Vec::new(),
            metrics: TaskMetrics::default(),
            operators: Vec::new(),
            winners: Vec::new(),
            run_us_min_median_max: (0, 0, 0),
        }
    }

    #[test]
    fn lines_are_held_back_until_they_are_due() {
        let progress = ProgressLine::new(Shown::Lines);
        let held = || progress.lock().held.as_ref().map(Vec::len);
        assert_eq!(held(), None);
        progress.begin();
        progress.event(&ManagerToDriver::StageFinished(summary()));
        assert_eq!(held(), Some(1));
        progress.due();
        assert_eq!(held(), None);
        progress.begin();
        assert_eq!(held(), Some(0));
    }

    #[test]
    fn times_are_short() {
        for (ms, text) in [(12, "12 ms"), (999, "999 ms"), (1_240, "1.2 s"), (125_000, "2 min 5 s")]
        {
            assert_eq!(elapsed(Duration::from_millis(ms)), text);
        }
        assert_eq!(elapsed(Duration::from_micros(420)), "0.4 ms");
    }

    #[test]
    fn the_bar_shows_done_running_and_all() {
        let stage = ApplicationId(1).job(0).stage(3);
        let (done, running, tasks) = (12, 8, 40);
        let stage = StageProgress { stage, done, running, tasks, rows: 0, bytes: 340 << 20 };
        let expected = "[stage 3 ==>          12+8/40]  1.2 M rows/s  340.0 MiB";
        assert_eq!(bar(&stage, 2_400_000, 2.0), expected);
        let none = StageProgress { done: 0, running: 0, tasks: 0, ..stage };
        assert!(bar(&none, 0, 0.0).starts_with("[stage 3 "));
    }
}
