//! The masters that every SQL test runs on.

use std::future::Future;
use std::sync::LazyLock;

use gnist::{MasterUrl, Session, SessionBuilder};
use gnist_common::bytes::ByteSize;
use tokio::runtime::Runtime;

/// Every backend, by master URL.
pub const BACKENDS: [&str; 3] = ["local[2]", "local-cluster[2,1,1GiB]", "local-cluster[3,1,1GiB]"];

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("threads can be started"));

/// Runs a test on the runtime that all tests share.
pub fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

/// A builder of sessions on a backend.
pub fn builder(master: &str) -> SessionBuilder {
    let url: MasterUrl = master.parse().expect("a master URL");
    let builder = Session::builder(url).name("tests");
    // On one backend every sorted result counts as a large one.
    if master.starts_with("local-cluster[3,") {
        builder.sort_threshold(ByteSize(0))
    } else {
        builder
    }
}
