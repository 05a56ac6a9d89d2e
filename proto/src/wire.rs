//! The generated types, as `build.rs` makes them from `proto/*.proto`.
//!
//! Invariant: code outside this crate uses them only where it meets a socket.

/// Conversations of workers and drivers with the cluster manager (`control.proto`).
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
pub mod control {
    tonic::include_proto!("gnist.control.v1");
}

impl std::fmt::Debug for control::Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut names: Vec<&String> = self.settings.keys().collect();
        names.sort_unstable();
        f.debug_tuple("Stores").field(&names).finish()
    }
}

/// Blocks between workers, and from workers to drivers (`data.proto`).
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
pub mod data {
    tonic::include_proto!("gnist.data.v1");
}
