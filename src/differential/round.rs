//! A round: tables, then statements over them on all engines.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use datafusion::prelude::SessionContext;
use gnist_common::error::Failure;
use gnist_differential::tree::Statement;
use gnist_differential::{
    ALL_ROWS, Dice, Generator, Outcome, TOO_MANY_ROWS, TableSet, answer, features, script, sql,
    table_set,
};
use gnist_operators::failure::failure_of;

use super::check::{Verdict, Wanted, judge, wanted};
use super::configurations::{ALWAYS, Configuration};
use super::engine::{self, Gnist, Reply};
use super::reduce::{Case, Reducer};
use super::report::{Difference, Report};
use super::tables::{Registered, prepare};
use super::{Options, known};

/// Seconds between two lines of progress.
const PROGRESS_SECONDS: f64 = 10.0;
/// The share of the time that reductions may take, once they had a minute.
const REDUCTION_SHARE_MAX: f64 = 0.3;

/// Sessions that rounds share.
#[derive(Default)]
pub(super) struct Lanes {
    sessions: BTreeMap<&'static str, Gnist>,
    reducing_seconds: f64,
    shown_at: f64,
}

impl Lanes {
    async fn take(&mut self, configuration: &'static Configuration) -> Result<Gnist, Failure> {
        match self.sessions.remove(configuration.name) {
            Some(session) => Ok(session),
            None => Gnist::connect(configuration).await,
        }
    }

    /// Ends every session.
    pub(super) async fn close(self) {
        for session in self.sessions.into_values() {
            session.close().await;
        }
    }
}

/// One round.
pub(super) struct Round<'a> {
    pub(super) number: u64,
    pub(super) seed: u64,
    pub(super) configuration: &'static Configuration,
    pub(super) folder: &'a Path,
    pub(super) options: &'a Options,
    pub(super) begins: Instant,
    pub(super) ends: Option<Instant>,
}

/// The engines that a statement runs on.
struct Engines {
    plain: SessionContext,
    always: Gnist,
    turn: Gnist,
}

impl Round<'_> {
    pub(super) async fn run(
        &self,
        lanes: &mut Lanes,
        report: &mut Report,
        statements: usize,
    ) -> Result<(), Failure> {
        let mut dice = Dice::new(self.seed);
        let tables = table_set(&mut dice, &self.options.without);
        let registered = prepare(&tables, self.folder).await.map_err(|error| failure_of(&error))?;
        let mut engines = self.open(lanes, &registered, &tables).await?;
        let mut generator = Generator::new(&mut dice, &tables);
        for at in 0..statements {
            if self.ends.is_some_and(|ends| Instant::now() >= ends) || self.options.is_done(report)
            {
                break;
            }
            let statement = generator.statement();
            let used = features(&statement.query, &tables);
            if used.iter().any(|feature| self.options.without.contains(feature)) {
                continue;
            }
            for feature in used {
                *report.features.entry(feature).or_default() += 1;
            }
            Box::pin(self.compare(&statement, at, &tables, &mut engines, lanes, report)).await?;
            self.progress(lanes, report);
        }
        report.rounds += 1;
        for session in [engines.always, engines.turn] {
            lanes.sessions.insert(session.configuration.name, session);
        }
        Ok(())
    }

    async fn open(
        &self,
        lanes: &mut Lanes,
        registered: &[Registered],
        tables: &TableSet,
    ) -> Result<Engines, Failure> {
        let plain = engine::plain(registered, &tables.zone()).await;
        let plain = plain.map_err(|error| failure_of(&error))?;
        let mut always = lanes.take(&ALWAYS).await?;
        let mut turn = lanes.take(self.configuration).await?;
        for session in [&mut always, &mut turn] {
            session.register(registered, &tables.zone()).await?;
        }
        Ok(Engines { plain, always, turn })
    }

    async fn compare(
        &self,
        statement: &Statement,
        at: usize,
        tables: &TableSet,
        engines: &mut Engines,
        lanes: &mut Lanes,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let text = sql(&statement.query, tables);
        let outcome = answer(statement, tables);
        if matches!(outcome, Outcome::NotCovered(TOO_MANY_ROWS)) {
            *report.oracle.entry(format!("not run: {TOO_MANY_ROWS}")).or_default() += 1;
            return Ok(());
        }
        let (plain, always, turn) = tokio::join!(
            engine::plain_answer(&engines.plain, &text),
            engines.always.answer(&text),
            engines.turn.answer(&text),
        );
        report.statements += 1;
        let wanted = wanted(&outcome, &plain);
        count(&outcome, &wanted, report);
        self.plain_against_oracle(&plain, &outcome, statement, tables, report);
        let verdicts = [judge(&always, &wanted, statement), judge(&turn, &wanted, statement)];
        let verdicts = masters_agree(verdicts, [&always, &turn], statement);
        for (verdict, reply, is_turn) in
            verdicts.into_iter().zip([always, turn]).zip([false, true]).map(|((a, b), c)| (a, b, c))
        {
            let engine = if is_turn { &mut engines.turn } else { &mut engines.always };
            report.count(engine.configuration.name, name_of(&verdict));
            match verdict {
                Verdict::Refused(message) => {
                    let message: String = message.chars().take(90).collect();
                    let example = || format!("round {}: {text}", self.number);
                    report.refusal_examples.entry(message.clone()).or_insert_with(example);
                    *report.refusals.entry(message).or_default() += 1;
                }
                Verdict::Wrong(what) => {
                    let case = Case { statement: statement.clone(), tables: tables.clone() };
                    let found = self.difference(at, case, what, &reply, engine, lanes);
                    let found = Box::pin(found).await?;
                    report.add(found);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn plain_against_oracle(
        &self,
        plain: &Reply,
        outcome: &Outcome,
        statement: &Statement,
        tables: &TableSet,
        report: &mut Report,
    ) {
        if matches!(outcome, Outcome::NotCovered(_) | Outcome::Undetermined(_)) {
            return;
        }
        let verdict = judge(plain, &wanted(outcome, &Reply::Hangs), statement);
        let kind = match &verdict {
            Verdict::Wrong(_) => known::kind_of(&features(&statement.query, tables), outcome),
            other => name_of(other),
        };
        *report.plain.entry(kind.to_owned()).or_default() += 1;
        if let Verdict::Wrong(what) = verdict {
            let round = self.number;
            let example = || format!("round {round}: {}\n{what}", sql(&statement.query, tables));
            report.plain_examples.entry(kind.to_owned()).or_insert_with(example);
        }
    }

    /// Describes a difference, reduced if there is time and an answer. An engine that hung is
    /// replaced.
    async fn difference(
        &self,
        at: usize,
        case: Case,
        what: String,
        reply: &Reply,
        engine: &mut Gnist,
        lanes: &mut Lanes,
    ) -> Result<Difference, Failure> {
        let text = sql(&case.statement.query, &case.tables);
        let start = Instant::now();
        let seconds = self.seconds();
        eprintln!(
            "[{seconds:.0} s] round {}, {}: {text}\n  {what}",
            self.number, engine.configuration.name
        );
        let mut found = Difference {
            configuration: engine.configuration.name.to_owned(),
            round: self.number,
            statement: at,
            sql: text,
            what,
            features: features(&case.statement.query, &case.tables).into_iter().collect(),
            test: None,
            count: 1,
        };
        if matches!(reply, Reply::Hangs) || !self.may_reduce(lanes) {
            let outcome = answer(&case.statement, &case.tables);
            found.test = Some(script(&case.statement, &case.tables, &outcome));
        } else {
            let folder = self.folder.join("reduced");
            let of_rows = matches!(reply, Reply::Rows(_));
            let mut reducer = Reducer { engine, folder: &folder, of_rows };
            let small = Box::pin(reducer.reduce(case.clone())).await?;
            found.features = features(&small.statement.query, &small.tables).into_iter().collect();
            let outcome = answer(&small.statement, &small.tables);
            let test = script(&small.statement, &small.tables, &outcome);
            eprintln!("reduced:\n{test}");
            found.test = Some(test);
        }
        if matches!(reply, Reply::Hangs) {
            self.replace(engine, &case.tables).await?;
        } else {
            self.register(engine, &case.tables).await?;
        }
        lanes.reducing_seconds += start.elapsed().as_secs_f64();
        Ok(found)
    }

    /// Opens a session in the place of one that has no answer.
    async fn replace(&self, engine: &mut Gnist, tables: &TableSet) -> Result<(), Failure> {
        let session = Gnist::connect(engine.configuration).await?;
        std::mem::replace(engine, session).close().await;
        self.register(engine, tables).await
    }

    async fn register(&self, engine: &mut Gnist, tables: &TableSet) -> Result<(), Failure> {
        let registered = prepare(tables, self.folder).await.map_err(|error| failure_of(&error))?;
        engine.register(&registered, &tables.zone()).await
    }

    fn may_reduce(&self, lanes: &Lanes) -> bool {
        let allowed = lanes.shown_at.mul_add(REDUCTION_SHARE_MAX, 60.0);
        self.options.reduce && lanes.reducing_seconds < allowed
    }

    /// Seconds since the run began.
    fn seconds(&self) -> f64 {
        self.begins.elapsed().as_secs_f64()
    }

    fn progress(&self, lanes: &mut Lanes, report: &Report) {
        let seconds = self.seconds();
        if seconds - lanes.shown_at < PROGRESS_SECONDS {
            return;
        }
        lanes.shown_at = seconds;
        eprintln!(
            "[{seconds:.0} s] round {}: {} statements, {} differences",
            self.number, report.statements, report.different
        );
    }
}

fn count(outcome: &Outcome, wanted: &Wanted, report: &mut Report) {
    let name = match outcome {
        Outcome::Rows(_) => "rows".to_owned(),
        Outcome::Fails(fault) => format!("fails: {fault:?}"),
        Outcome::NotCovered(reason) => format!("not covered: {reason}"),
        Outcome::Undetermined(reason) => format!("undetermined: {reason}"),
    };
    *report.oracle.entry(name).or_default() += 1;
    report.with_rows += u64::from(has_rows(wanted));
}

fn has_rows(wanted: &Wanted) -> bool {
    match wanted {
        Wanted::Rows(rows) | Wanted::RowsOrRefusal(rows) => !rows.is_empty(),
        Wanted::Error(_) | Wanted::Unknown => false,
    }
}

/// Judges the masters by each other where the answer is not known, or where one of them refuses:
/// they must agree.
fn masters_agree(
    verdicts: [Verdict; 2],
    replies: [&Reply; 2],
    statement: &Statement,
) -> [Verdict; 2] {
    let [always, turn] = verdicts;
    let turn = match (&always, &turn, replies) {
        // A limit that was to let all rows through and did not lets through any.
        (Verdict::Unknown, Verdict::Unknown, [Reply::Rows(want), _])
            if want.len() as u64 >= ALL_ROWS =>
        {
            turn
        }
        (Verdict::Unknown, Verdict::Unknown, [Reply::Rows(want), reply]) => {
            match judge(reply, &Wanted::Rows(want.clone()), statement) {
                Verdict::Right => turn,
                Verdict::Wrong(what) => Verdict::Wrong(format!("masters differ: {what}")),
                other => other,
            }
        }
        (Verdict::Right, Verdict::Refused(message), _) if !message.contains("memory") => {
            Verdict::Wrong(format!("refused, though `local[2]` answers: {message}"))
        }
        _ => turn,
    };
    [always, turn]
}

fn name_of(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Right => "right",
        Verdict::FailedAsWanted => "failed as wanted",
        Verdict::Refused(_) => "refused",
        Verdict::Wrong(_) => "wrong",
        Verdict::Unknown => "unknown",
    }
}
