//! Long and deep statements: answered, or refused by name; no stack overflows, in the driver or in an
//! executor.

use gnist::{Failure, Session};
use libtest_mimic::{Failed, Trial};

use crate::backends::{BACKENDS, block_on, builder};
use crate::slt::rows_of;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for master in BACKENDS {
        let answered = move || block_on(is_answered(master));
        trials.push(Trial::test(format!("depth::what_is_long_is_answered on {master}"), answered));
    }
    trials
        .push(Trial::test("depth::what_is_too_deep_is_refused_by_name", || block_on(is_refused())));
    trials
}

/// `n` terms in a row.
fn chain(n: usize, op: &str, term: impl Fn(usize) -> String) -> String {
    (0..n).map(term).collect::<Vec<_>>().join(op)
}

fn nested(n: usize, open: &str, middle: &str, close: &str) -> String {
    format!("{}{middle}{}", open.repeat(n), close.repeat(n))
}

fn statements() -> [(String, &'static str); 15] {
    let of_t = |what: String| format!("select {what} from t where a = 1");
    let count = |condition: String| format!("select count(*) from t where {condition}");
    [
        (count(chain(20_000, " or ", |at| format!("a = {at}"))), "100"),
        (count(chain(2_000, " or ", |at| format!("a * 2 = {at} + b"))), "100"),
        (count(chain(900, " and ", |at| format!("a <> {}", at + 1_000))), "100"),
        (count(format!("a in ({})", chain(20_000, ", ", |at| at.to_string()))), "100"),
        (of_t(chain(400, " + ", |_| "a".to_owned())), "400"),
        (of_t(format!("length({})", chain(400, " || ", |_| "'x'".to_owned()))), "400"),
        (of_t(nested(200, "(", "a", ")")), "1"),
        (of_t(nested(60, "abs(", "a", ")")), "1"),
        (of_t(nested(60, "case when a > 1 then 0 else ", "a", " end")), "1"),
        // Before, the time of each grew with a power of its length, or its tasks waited for ever.
        (of_t(chain(490, " + ", |_| "a".to_owned())), "490"),
        (nested(15, "select (", "select 1", ")"), "1"),
        (nested(15, "select 1 where 1 in (", "select 1", ")"), "1"),
        (
            chain(300, " except ", |at| match at {
                0 => "select value from generate_series(1, 3)".to_owned(),
                _ => "select value from generate_series(2, 4)".to_owned(),
            }),
            "1",
        ),
        (nested(40, "select count(*) from (select * from (", "select * from t", ") q) r"), "1"),
        (
            format!(
                "select count(*) from ({})",
                chain(300, " union all ", |_| "select 1 as x".to_owned())
            ),
            "300",
        ),
    ]
}

async fn session(master: &str) -> Result<Session, Failure> {
    let session = builder(master).connect().await?;
    let table = "create table t as select value as a, value as b from generate_series(0, 99)";
    session.sql(table).await.map_err(Failure::from)?;
    Ok(session)
}

/// A task of tokio has the smallest stack that a session is called on.
async fn answer(session: Session, text: String) -> (Session, Result<String, Failure>) {
    let task = tokio::spawn(async move {
        let rows = async {
            let mut rows = session.sql(&text).await.map_err(Failure::from)?;
            let batches = rows.collect().await?;
            Ok(batches.iter().flat_map(rows_of).flatten().collect::<Vec<_>>().join(" "))
        };
        let rows = rows.await;
        (session, rows)
    });
    task.await.expect("it does not panic")
}

async fn is_answered(master: &str) -> Result<(), Failed> {
    let mut session = session(master).await?;
    for (text, expected) in statements() {
        let shown: String = text.chars().take(60).collect();
        let (back, rows) = answer(session, text).await;
        session = back;
        let rows = rows.map_err(|failure| format!("{shown}: {failure}"))?;
        if rows != expected {
            return Err(format!("{shown}: {rows}, not {expected}").into());
        }
    }
    session.close().await;
    Ok(())
}

/// CTEs, each of which reads the one before it twice.
fn doubled(n: usize) -> String {
    let ctes = chain(n, ", ", |at| match at {
        0 => "c0 as (select 1 as x)".to_owned(),
        _ => format!("c{at} as (select a.x from c{} a, c{} b)", at - 1, at - 1),
    });
    format!("with {ctes} select count(*) from c{}", n - 1)
}

async fn is_refused() -> Result<(), Failed> {
    let mut session = session("local[2]").await?;
    let condition = |terms: String| format!("select count(*) from t where {terms}");
    for text in [
        condition(chain(20_000, " and ", |at| format!("a <> {at}"))),
        condition(format!("not ({})", chain(20_000, " or ", |at| format!("a * 2 = {at}")))),
        format!("select {}", chain(25_000, " + ", |_| "1".to_owned())),
        format!("select {}", nested(25_000, "(", "1", ")")),
        format!("select {}", nested(12_000, "abs(", "1", ")")),
        format!("select {}", nested(2_000, "case when true then 1 else ", "1", " end")),
        format!("select {}", nested(12_000, "not ", "true", "")),
        nested(2_000, "select * from (", "select 1", ")"),
        nested(60, "select (", "select 1", ")"),
        nested(60, "select 1 where 1 in (", "select 1", ")"),
        nested(60, "select 1 where exists (", "select 1", ")"),
        nested(200, "select (", "select 1", ")"),
        doubled(25),
        nested(18, "with c as (", "select 1", ") select * from c"),
        format!("select a{}", ".a".repeat(5_000)),
        format!("{}select 1", "explain ".repeat(5_000)),
        format!("{}select 1", "prepare p as ".repeat(5_000)),
        format!("{}select 1", "describe ".repeat(5_000)),
        format!("select {}1", "interval ".repeat(5_000)),
        "while ".repeat(4_000),
    ] {
        let shown: String = text.chars().take(60).collect();
        let (back, rows) = answer(session, text).await;
        session = back;
        match rows {
            Err(failure) if failure.to_string().contains("the statement is too deep") => {}
            other => return Err(format!("{shown}: {other:?}").into()),
        }
    }
    let mut refused = None;
    for at in 0..25 {
        let text = match at {
            0 => "create view v0 as select 1 as x".to_owned(),
            _ => format!("create view v{at} as select a.x from v{} a, v{} b", at - 1, at - 1),
        };
        let (back, rows) = answer(session, text).await;
        session = back;
        if let Err(failure) = rows {
            refused = Some(failure.to_string());
            break;
        }
    }
    if !refused.as_ref().is_some_and(|text| text.contains("the statement is too deep")) {
        return Err(format!("doubled views: {refused:?}").into());
    }
    session.close().await;
    Ok(())
}
