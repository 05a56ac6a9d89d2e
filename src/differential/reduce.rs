//! A difference made small: the greedy loop over the candidates of `gnist-differential`.

use std::path::Path;
use std::time::{Duration, Instant};

use gnist_common::error::Failure;
use gnist_differential::tree::Statement;
use gnist_differential::{
    Outcome, TableSet, answer, plainer_tables, smaller_statements, smaller_tables, sql, tables_of,
};
use gnist_operators::failure::failure_of;

use super::check::{judge, wanted};
use super::engine::{Gnist, Reply};
use super::tables::prepare_some;

/// Time for one difference.
const REDUCTION_TIME_MAX: Duration = Duration::from_secs(45);

/// A statement and its tables.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) statement: Statement,
    pub(super) tables: TableSet,
}

/// Makes cases smaller as long as one engine's answer differs still.
pub(super) struct Reducer<'a> {
    pub(super) engine: &'a mut Gnist,
    pub(super) folder: &'a Path,
    /// True if the difference is one of rows; otherwise it is an error.
    pub(super) of_rows: bool,
}

impl Reducer<'_> {
    /// The smallest case found in time.
    pub(super) async fn reduce(&mut self, mut case: Case) -> Result<Case, Failure> {
        let ends = Instant::now() + REDUCTION_TIME_MAX;
        Box::pin(self.tables(&mut case, ends, plainer_tables)).await?;
        loop {
            // Fewer rows make everything after faster, but each try costs the tables anew.
            let half = Instant::now() + ends.saturating_duration_since(Instant::now()) / 2;
            let smaller = Box::pin(self.statement(&mut case, half)).await?
                | Box::pin(self.tables(&mut case, ends, smaller_tables)).await?;
            if !smaller || Instant::now() >= ends {
                return Ok(case);
            }
        }
    }

    async fn statement(&mut self, case: &mut Case, ends: Instant) -> Result<bool, Failure> {
        self.engine_tables(&case.statement, &case.tables).await?;
        let mut any = false;
        'again: while Instant::now() < ends {
            for statement in smaller_statements(&case.statement) {
                if Instant::now() >= ends {
                    break;
                }
                if Box::pin(self.differs(&statement, &case.tables)).await? {
                    case.statement = statement;
                    any = true;
                    continue 'again;
                }
            }
            break;
        }
        Ok(any)
    }

    async fn tables(
        &mut self,
        case: &mut Case,
        ends: Instant,
        candidates: fn(&TableSet, &Statement) -> Vec<TableSet>,
    ) -> Result<bool, Failure> {
        let mut any = false;
        'again: while Instant::now() < ends {
            for tables in candidates(&case.tables, &case.statement) {
                if Instant::now() >= ends {
                    break;
                }
                self.engine_tables(&case.statement, &tables).await?;
                if Box::pin(self.differs(&case.statement, &tables)).await? {
                    case.tables = tables;
                    any = true;
                    continue 'again;
                }
            }
            break;
        }
        Ok(any)
    }

    /// Registers the tables that the statement reads.
    async fn engine_tables(
        &mut self,
        statement: &Statement,
        tables: &TableSet,
    ) -> Result<(), Failure> {
        if self.folder.exists() {
            let cleared = std::fs::remove_dir_all(self.folder);
            cleared.map_err(|error| super::unwritable(self.folder, &error))?;
        }
        let read = tables_of(statement);
        let prepared = prepare_some(tables, &read, self.folder).await;
        let prepared = prepared.map_err(|error| failure_of(&error))?;
        self.engine.register(&prepared, &tables.zone()).await
    }

    /// True if the engine differs from the oracle.
    async fn differs(&self, statement: &Statement, tables: &TableSet) -> Result<bool, Failure> {
        let outcome = answer(statement, tables);
        if matches!(outcome, Outcome::NotCovered(_)) {
            return Ok(false);
        }
        let wanted = wanted(&outcome, &Reply::Hangs);
        let reply = self.engine.answer(&sql(&statement.query, tables)).await;
        let is_rows = matches!(reply, Reply::Rows(_));
        Ok(judge(&reply, &wanted, statement).is_wrong() && is_rows == self.of_rows)
    }
}
