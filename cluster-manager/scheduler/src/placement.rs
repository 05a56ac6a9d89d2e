//! Placement: a task goes to the worker that holds most of its input, else to the one with most
//! free slots, else to the one with the lowest id.
//!
//! A share of the input that any worker would hold by chance pulls nothing: with an even shuffle
//! the sizes differ by noise, and following the noise would heap all tasks on one worker. So a
//! task follows its bytes only to a worker that holds more than half of them, and half as much
//! again as an even share, and only if there are enough to be worth it. The single task of a
//! gather, which has nobody to spread with, follows the largest share.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use gnist_common::graph::InputMode;
use gnist_common::ids::{StageId, TaskId, WorkerId};

use crate::job::Job;
use crate::worker::{Worker, Workers};

/// Least input, in bytes, that a task follows to a worker. Fetching less takes about a millisecond,
/// and an idle worker is worth more.
const LOCAL_BYTES_MIN: u64 = 1 << 20;

/// The demands of a task on a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) width: Width,
    /// The worker where it failed last: taken only if no other worker could ever take it.
    pub(crate) avoid: Option<WorkerId>,
    /// The worker that holds much of its input.
    pub(crate) preferred: Option<WorkerId>,
}

/// The share of a worker that a task needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// This number of slots.
    Slots(u32),
    /// All of them, and nothing else on the worker.
    Alone,
    /// None: a short task that waits on the worker for one to come free.
    Ahead,
}

impl Width {
    /// Slots to hold on this worker.
    pub(crate) fn slots_on(self, worker: &Worker) -> u32 {
        match self {
            Self::Slots(slots) => slots.min(worker.slots),
            Self::Alone => worker.slots,
            Self::Ahead => 0,
        }
    }

    /// The worker is large enough once it is empty. `widest` is the size of the largest one: a
    /// task that is wider than every worker makes do with that.
    fn could_fit(self, worker: &Worker, widest: u32) -> bool {
        match self {
            Self::Slots(slots) => worker.slots >= slots.min(widest),
            Self::Alone | Self::Ahead => true,
        }
    }

    /// The worker has room now.
    pub(crate) fn fits(self, worker: &Worker) -> bool {
        if self == Self::Ahead {
            return worker.is_usable() && !worker.is_reserved() && worker.room_ahead() > 0;
        }
        let is_alone_enough = self != Self::Alone || worker.is_idle();
        is_alone_enough && worker.free() >= self.slots_on(worker)
    }

    /// True if the task may have to wait for several slots of one worker to come free.
    pub(crate) fn is_wide(self) -> bool {
        !matches!(self, Self::Slots(1) | Self::Ahead)
    }
}

/// The worker to launch on now, if there is one.
pub(crate) fn place(workers: &Workers, request: &Request) -> Option<WorkerId> {
    let eligible = Eligible::new(workers, request);
    let fits = |(id, worker): &(WorkerId, &Worker)| {
        eligible.includes(*id, worker) && request.width.fits(worker)
    };
    let preferred = request.preferred.and_then(|id| Some((id, workers.get(id)?)));
    let open = |(_, worker): &(WorkerId, &Worker)| worker.is_usable() && !worker.is_reserved();
    let local = preferred.filter(|found| open(found) && fits(found));
    local.or_else(|| workers.free().find(fits)).map(|(id, _)| id)
}

/// The worker to launch a short task on ahead of its turn, if one has room for that: the one that
/// holds its input, else the one with most room.
pub(crate) fn place_ahead(workers: &Workers, preferred: Option<WorkerId>) -> Option<WorkerId> {
    let fits = |worker: &Worker| Width::Ahead.fits(worker);
    let local = preferred.filter(|id| workers.get(*id).is_some_and(fits));
    let with_room = workers.iter().filter(|(_, worker)| fits(worker));
    local.or_else(|| {
        with_room.min_by_key(|(id, worker)| (Reverse(worker.room_ahead()), *id)).map(|(id, _)| id)
    })
}

/// The worker to keep free for a wide request, if any may be.
pub(crate) fn to_reserve(workers: &Workers, request: &Request) -> Option<WorkerId> {
    let candidates = candidates(workers, request, None);
    candidates.min_by_key(|(id, worker)| (Reverse(worker.free()), *id)).map(|(id, _)| id)
}

/// The workers that a request may go to once they have room: those that are kept free for nobody,
/// and the one kept free for `task`.
pub(crate) fn candidates<'a>(
    workers: &'a Workers,
    request: &Request,
    task: Option<TaskId>,
) -> impl Iterator<Item = (WorkerId, &'a Worker)> {
    let eligible = Eligible::new(workers, request);
    let is_open =
        move |id: WorkerId| workers.reserved().get(&id).copied().is_none_or(|by| Some(by) == task);
    let open = workers.usable().filter(move |(id, _)| is_open(*id));
    open.filter(move |(id, worker)| eligible.includes(*id, worker))
}

/// The workers that could ever take a request.
struct Eligible {
    width: Width,
    widest: u32,
    avoid: Option<WorkerId>,
}

impl Eligible {
    fn new(workers: &Workers, request: &Request) -> Self {
        let width = request.width;
        if !width.is_wide() && request.avoid.is_none() {
            return Self { width, widest: 1, avoid: None };
        }
        let widest = workers.usable().map(|(_, worker)| worker.slots).max().unwrap_or(1);
        let mut eligible = Self { width, widest, avoid: None };
        let is_other = |(id, worker): (WorkerId, &Worker)| {
            Some(id) != request.avoid && eligible.includes(id, worker)
        };
        if workers.usable().any(is_other) {
            eligible.avoid = request.avoid;
        }
        eligible
    }

    fn includes(&self, id: WorkerId, worker: &Worker) -> bool {
        self.avoid != Some(id) && self.width.could_fit(worker, self.widest)
    }
}

/// The worker that holds enough of a task's input to go there. O(inputs x workers that hold any).
pub(crate) fn preferred(
    job: &Job,
    stage: StageId,
    partition: u32,
    workers: &Workers,
) -> Option<WorkerId> {
    let run = job.stage(stage)?;
    if run.stage.inputs.is_empty() {
        return None;
    }
    let is_single = run.stage.tasks == 1;
    let mut local = BTreeMap::<WorkerId, u64>::new();
    for (input, producer) in run.stage.inputs.iter().zip(job.inputs(stage)) {
        if input.mode == InputMode::Task {
            if let Some(winner) = producer.winner(partition) {
                *local.entry(winner.worker).or_default() += winner.bytes.sum();
            }
            continue;
        }
        for (worker, holding) in producer.holdings() {
            let bytes = match input.mode {
                InputMode::Partition => holding.bytes.get(partition as usize).copied().unwrap_or(0),
                InputMode::All if is_single => holding.bytes.iter().sum(),
                // Every worker fetches it anyway.
                InputMode::All | InputMode::Task => 0,
            };
            *local.entry(*worker).or_default() += bytes;
        }
    }
    let total: u64 = local.values().sum();
    let (worker, most) = local.into_iter().max_by_key(|(id, bytes)| (*bytes, Reverse(*id)))?;
    let is_worth_it = total >= LOCAL_BYTES_MIN && is_more_than_chance(most, total, workers);
    (most > 0 && (is_single || is_worth_it)).then_some(worker)
}

fn is_more_than_chance(most: u64, total: u64, workers: &Workers) -> bool {
    let sharers = workers.len() as u128;
    let (most, total) = (u128::from(most), u128::from(total));
    most * 2 > total && most * sharers * 2 > total * 3
}
