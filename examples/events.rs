//! Nested JSON events become a table of Parquet files in a folder for each country, all of them or none.
//!
//! ```text
//! cargo run --release --example events
//! GNIST_MASTER='local-cluster[2,1,1GiB]' cargo run --release --example events
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it wrote")]

use std::path::Path;

use gnist::{ErrorKind, Failure, WriteFrame as _};

fn main() -> std::process::ExitCode {
    gnist::run(|session| async move {
        let folder = std::env::temp_dir().join(format!("gnist-events-{}", std::process::id()));
        write_events(&folder.join("events")).map_err(failed)?;
        let (events, out) = (folder.join("events"), folder.join("by-country"));

        let query = format!(
            "select user_id, device['os'] as os, amount, country from '{}/' where type <> 'heartbeat'",
            events.display()
        );
        let rows = session.context().sql(&query).await?;
        let rows =
            rows.write().partition_by(["country"]).parquet(&out.display().to_string()).await?;
        println!("{rows} events were written");

        let query = format!(
            "select country, os, count(*) as events, sum(amount) as amount from '{}/' \
             group by country, os order by country, os",
            out.display()
        );
        session.context().sql(&query).await?.show().await?;
        std::fs::remove_dir_all(&folder).map_err(failed)?;
        Ok(())
    })
}

/// Files of JSON lines, as an application may have logged them.
fn write_events(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for file in 0..4 {
        let line = |n: usize| {
            let country = ["NO", "SE", "DK"][n % 3];
            let (os, kind) = (["ios", "android"][n % 2], ["click", "heartbeat", "buy"][n / 3 % 3]);
            format!(
                "{{\"user_id\":{n},\"type\":\"{kind}\",\"country\":\"{country}\",\
                 \"device\":{{\"os\":\"{os}\",\"version\":\"17\"}},\"amount\":{}.5}}\n",
                n % 7
            )
        };
        let lines: String = (0..1000).map(|n| line(file * 1000 + n)).collect();
        std::fs::write(folder.join(format!("{file}.json")), lines)?;
    }
    Ok(())
}

fn failed(error: std::io::Error) -> Failure {
    Failure::new(ErrorKind::User, error.to_string())
}
