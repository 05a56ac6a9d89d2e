//! The smallest program: a session on the master of `GNIST_MASTER`, or on all CPUs of this process.
//!
//! ```text
//! cargo run --release --example first_query
//! GNIST_MASTER='local-cluster[2,1,1GiB]' cargo run --release --example first_query
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it found")]

use futures::TryStreamExt;

fn main() -> std::process::ExitCode {
    gnist::run(|session| async move {
        let query = "select value % 3 as g, count(*) as n, sum(value) as total \
                     from generate_series(1, 1000000) group by 1 order by 1";
        let batches: Vec<_> = session.sql(query).await?.try_collect().await?;
        let table = datafusion::arrow::util::pretty::pretty_format_batches(&batches);
        println!(
            "{}",
            table.map_err(|error| gnist::Failure::new(
                gnist::ErrorKind::Internal,
                error.to_string()
            ))?
        );
        Ok(())
    })
}
