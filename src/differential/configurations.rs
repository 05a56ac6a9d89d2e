//! The masters that take turns, each with what makes it different.

use gnist_common::bytes::ByteSize;
use gnist_common::error::{ErrorKind, Failure};
use gnist_common::master::MasterUrl;

use crate::session::{Session, SessionBuilder};

/// A way to run statements.
#[derive(Debug)]
pub struct Configuration {
    /// The name in reports and on the command line.
    pub name: &'static str,
    master: &'static str,
    pub(super) batch_rows: Option<usize>,
    shuffles_joins: bool,
    samples_sorts: bool,
    partitions: Option<u32>,
}

const PLAIN: Configuration = Configuration {
    name: "",
    master: "",
    batch_rows: None,
    shuffles_joins: false,
    samples_sorts: false,
    partitions: None,
};

/// The configuration that every statement runs on.
pub(super) const ALWAYS: Configuration =
    Configuration { name: "local[2]", master: "local[2]", ..PLAIN };

/// The configurations that take turns.
pub const CONFIGURATIONS: &[Configuration] = &[
    Configuration { name: "cluster-2", master: "local-cluster[2,1,1GiB]", ..PLAIN },
    Configuration { name: "local-1", master: "local[1]", ..PLAIN },
    Configuration {
        name: "cluster-3-sorts",
        master: "local-cluster[3,1,1GiB]",
        samples_sorts: true,
        partitions: Some(5),
        ..PLAIN
    },
    Configuration {
        name: "cluster-2-shuffles",
        master: "local-cluster[2,1,1GiB]",
        shuffles_joins: true,
        partitions: Some(3),
        ..PLAIN
    },
    Configuration {
        name: "cluster-2-batches",
        master: "local-cluster[2,2,1GiB]",
        batch_rows: Some(3),
        ..PLAIN
    },
    Configuration { name: "cluster-2-starved", master: "local-cluster[2,1,32MiB]", ..PLAIN },
];

/// The configurations of these names.
pub(super) fn named(names: &[String]) -> Result<Vec<&'static Configuration>, Failure> {
    let find = |name: &String| {
        CONFIGURATIONS.iter().find(|found| found.name == name).ok_or_else(|| {
            let known: Vec<&str> = CONFIGURATIONS.iter().map(|found| found.name).collect();
            Failure::new(ErrorKind::User, format!("there is no configuration `{name}`"))
                .with_help(format!("one of {}", known.join(", ")))
        })
    };
    let found: Result<Vec<_>, _> = names.iter().map(find).collect();
    match found? {
        none if none.is_empty() => {
            Err(Failure::new(ErrorKind::User, "no configuration to compare with"))
        }
        found => Ok(found),
    }
}

impl Configuration {
    /// Opens a session.
    pub(super) async fn connect(&self) -> Result<Session, Failure> {
        let master: MasterUrl = self.master.parse().map_err(|_| {
            Failure::new(ErrorKind::Internal, format!("`{}` is no master", self.master))
        })?;
        let session = self.built(Session::builder(master).name("differential")).connect().await?;
        if self.shuffles_joins {
            for setting in ["", "_rows"] {
                let set = "set datafusion.optimizer.hash_join_single_partition_threshold";
                session
                    .sql(&format!("{set}{setting} = 0"))
                    .await
                    .map_err(|error| error.failure())?;
            }
        }
        Ok(session)
    }

    fn built(&self, mut builder: SessionBuilder) -> SessionBuilder {
        builder = builder.shuffle_partitions(self.partitions);
        if let Some(rows) = self.batch_rows {
            builder = builder.batch_rows(rows);
        }
        if self.shuffles_joins {
            builder = builder.broadcast_threshold(ByteSize(0));
        }
        if self.samples_sorts {
            builder = builder.sort_threshold(ByteSize(0));
        }
        builder
    }
}
