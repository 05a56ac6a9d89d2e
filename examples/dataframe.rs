//! DataFusion's DataFrames, run as Gnist's jobs: a file is written, read and aggregated.
//!
//! ```text
//! cargo run --release --example dataframe
//! GNIST_MASTER='local-cluster[2,1,1GiB]' cargo run --release --example dataframe
//! ```

use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::prelude::{col, lit};
use gnist::{ErrorKind, Failure};

fn main() -> std::process::ExitCode {
    gnist::run(|session| async move {
        let file = std::env::temp_dir().join(format!("gnist-example-{}.csv", std::process::id()));
        let lines: String =
            (0..1000).map(|n| format!("{},{}\n", ["a", "b", "c"][n % 3], n)).collect();
        std::fs::write(&file, format!("kind,amount\n{lines}"))
            .map_err(|error| Failure::new(ErrorKind::User, error.to_string()))?;

        let events = session.read_csv(&file.display().to_string()).await?;
        let kinds = events.aggregate(
            vec![col("kind")],
            vec![count(lit(1)).alias("n"), sum(col("amount")).alias("total")],
        )?;
        let shown = kinds.sort(vec![col("kind").sort(true, false)])?.show().await;
        std::fs::remove_file(&file)
            .map_err(|error| Failure::new(ErrorKind::User, error.to_string()))?;
        shown?;
        Ok(())
    })
}
