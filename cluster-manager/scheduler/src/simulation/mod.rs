//! The real scheduler in a simulated cluster: random graphs, a virtual clock, messages that are
//! late, overtake each other between conversations and are lost with their connection, workers
//! that die, fall silent, run full and come, tasks that end in every way there is.
//!
//! Everything follows from a seed. Checkers that know nothing of the scheduler's insides watch
//! what is said; see `checks.rs` for what they hold it to. A failing seed is printed, and
//! `GNIST_SIM_SEED=17 cargo test -p gnist-scheduler simulation` replays it exactly,
//! with `GNIST_SIM_TRACE=1` it prints every event and action, and
//! `GNIST_SIM_SEEDS=20000` runs that many.
//!
//! The idea is that of FoundationDB's simulation (Zhou et al., SIGMOD 2021, section 4).

mod checks;
mod cluster;
mod drivers;
mod early;
mod graphs;
mod random;
mod trouble;
mod world;

use world::{Counts, World};

const SEEDS: u64 = 400;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{name}={text}` is not a number")))
}

/// Names the seed when a check fails.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with GNIST_SIM_SEED={}", self.0);
        }
    }
}

fn run(seed: u64) -> Counts {
    let _replay = Replay(seed);
    World::new(seed).run()
}

#[test]
fn random_clusters_keep_every_promise() {
    if let Some(seed) = from_environment("GNIST_SIM_SEED") {
        run(seed);
        return;
    }
    let mut total = Counts::default();
    for seed in 0..from_environment("GNIST_SIM_SEEDS").unwrap_or(SEEDS) {
        total.add(&run(seed));
    }
    // A simulation in which nothing goes wrong, or nothing goes right, checks nothing.
    assert!(total.jobs_done * 4 > total.jobs * 3, "{total:?}");
    assert!(total.jobs_done < total.jobs, "{total:?}");
    assert!(total.workers_lost > 100 && total.recomputed > 500, "{total:?}");
    assert!(total.rolled_back > 50 && total.stale_ends > 100, "{total:?}");
    assert!(total.early_launches > 500 && total.gave_way > 100, "{total:?}");
    assert!(total.contradicted > 2 && total.demoted > 2, "{total:?}");
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
