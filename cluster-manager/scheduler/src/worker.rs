//! Workers: their slots, what holds them, and the index of the free ones.
//!
//! The scheduler owns slots: an attempt holds its own from its launch until its end is heard, or
//! until two heartbeats in a row leave it out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gnist_common::ids::{AttemptId, TaskId, WorkerId};
use gnist_common::time::Time;

use crate::config::SchedulerConfig;

/// Heartbeats in a row that leave an attempt out before it counts as gone. The first may have
/// been sent before the launch arrived.
const MISSES_MAX: u8 = 2;

/// Short tasks per slot that may be on a worker ahead of their turn.
const AHEAD_PER_SLOT: u32 = 7;

/// One worker incarnation that is not lost.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) address: String,
    pub(crate) slots: u32,
    /// The stream of the worker is up.
    pub(crate) heard: bool,
    pub(crate) draining: bool,
    pub(crate) pause: Option<Pause>,
    used: u32,
    /// Attempts that hold no slot.
    ahead: u32,
    running: BTreeMap<AttemptId, Occupied>,
    /// Kept free of other launches until this task fits.
    reserved: Option<TaskId>,
    /// Failures that count against it, oldest first.
    failures: VecDeque<(Time, TaskId)>,
    /// Free slots under which it is in the index.
    indexed: Option<u32>,
}

/// Reasons why a worker takes no launches for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// The disk of the worker was full.
    DiskFull { until: Time },
    /// Tasks kept failing on it.
    SetAside { until: Time },
}

impl Pause {
    pub(crate) fn until(self) -> Time {
        match self {
            Self::DiskFull { until } | Self::SetAside { until } => until,
        }
    }
}

/// The slots of one attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occupied {
    slots: u32,
    /// Heartbeats in a row that left it out.
    misses: u8,
    /// The attempt was told to stop.
    cancelled: bool,
}

impl Worker {
    /// True if the worker takes launches.
    pub(crate) fn is_usable(&self) -> bool {
        self.heard && !self.draining && self.pause.is_none()
    }

    pub(crate) fn free(&self) -> u32 {
        self.slots.saturating_sub(self.used)
    }

    /// Short tasks that it may still get ahead of their turn.
    pub(crate) fn room_ahead(&self) -> u32 {
        self.slots.saturating_mul(AHEAD_PER_SLOT).saturating_sub(self.ahead)
    }

    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    /// Slots of attempts that were told to stop.
    pub(crate) fn ending(&self) -> u32 {
        let cancelled = self.running.values().filter(|occupied| occupied.cancelled);
        cancelled.map(|occupied| occupied.slots).sum()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.reserved.is_some()
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = AttemptId> {
        self.running.keys().copied()
    }

    fn take_back(&mut self, occupied: Occupied) {
        self.used -= occupied.slots;
        self.ahead -= u32::from(occupied.slots == 0);
    }

    fn free_if_open(&self) -> Option<u32> {
        let is_open = self.is_usable() && self.reserved.is_none() && self.free() > 0;
        is_open.then(|| self.free())
    }
}

/// Differences between the scheduler's books and a worker's list of the attempts that it really
/// runs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reconciled {
    /// Attempts that hold no slot any more: they never arrived, or their end was lost.
    pub(crate) gone: Vec<AttemptId>,
    /// Attempts that run and should not.
    pub(crate) unwanted: Vec<AttemptId>,
}

/// All workers that are not lost.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    by_id: BTreeMap<WorkerId, Worker>,
    /// Usable, unreserved workers with a free slot, most free slots first.
    free: BTreeSet<(Reverse<u32>, WorkerId)>,
    reserved: BTreeMap<WorkerId, TaskId>,
}

impl Workers {
    pub(crate) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.by_id.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.by_id.iter().map(|(id, worker)| (*id, worker))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Some worker can take a launch.
    pub(crate) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Workers that can take a launch, most free slots first, then by id.
    pub(crate) fn free(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.free.iter().map(|(_, id)| (*id, &self.by_id[id]))
    }

    /// Workers that take launches, now or when their slots come free.
    pub(crate) fn usable(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.iter().filter(|(_, worker)| worker.is_usable())
    }

    pub(crate) fn reserved(&self) -> &BTreeMap<WorkerId, TaskId> {
        &self.reserved
    }

    /// Registers a worker, or hears one again.
    pub(crate) fn join(&mut self, id: WorkerId, slots: u32, address: String) {
        let worker = self.by_id.entry(id).or_insert_with(|| Worker {
            address: String::new(),
            slots,
            heard: true,
            draining: false,
            pause: None,
            used: 0,
            ahead: 0,
            running: BTreeMap::new(),
            reserved: None,
            failures: VecDeque::new(),
            indexed: None,
        });
        (worker.slots, worker.address) = (slots, address);
        (worker.heard, worker.draining) = (true, false);
        self.refresh(id);
    }

    /// Forgets a lost worker.
    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.by_id.remove(&id)?;
        if let Some(free) = worker.indexed {
            self.free.remove(&(Reverse(free), id));
        }
        self.reserved.remove(&id);
        self.lift_last_pause();
        Some(worker)
    }

    /// Changes whether a worker is heard. False if it is not known.
    pub(crate) fn set_heard(&mut self, id: WorkerId, heard: bool) -> bool {
        self.change(id, |worker| worker.heard = heard)
    }

    /// A worker takes no launches any more. False if it is not known.
    pub(crate) fn drain(&mut self, id: WorkerId) -> bool {
        self.change(id, |worker| worker.draining = true)
    }

    /// Gives slots to an attempt.
    pub(crate) fn occupy(&mut self, id: WorkerId, attempt: AttemptId, slots: u32) {
        let is_known = self.change(id, |worker| {
            assert!(slots <= worker.free(), "a launch never exceeds the free slots");
            worker.used += slots;
            worker.ahead += u32::from(slots == 0);
            let occupied = Occupied { slots, misses: 0, cancelled: false };
            let before = worker.running.insert(attempt, occupied);
            assert!(before.is_none(), "an attempt is launched once");
        });
        assert!(is_known, "launches go to known workers");
    }

    /// Takes the slots of an attempt back. False if it held none.
    pub(crate) fn release(&mut self, id: WorkerId, attempt: AttemptId) -> bool {
        let Some(worker) = self.by_id.get_mut(&id) else { return false };
        let Some(occupied) = worker.running.remove(&attempt) else { return false };
        worker.take_back(occupied);
        self.refresh(id);
        true
    }

    /// Takes the slots of an attempt back that runs on.
    pub(crate) fn vacate(&mut self, id: WorkerId, attempt: AttemptId) {
        let Some(worker) = self.by_id.get_mut(&id) else { return };
        let Some(occupied) = worker.running.get_mut(&attempt) else { return };
        let slots = std::mem::take(&mut occupied.slots);
        worker.used -= slots;
        worker.ahead += u32::from(slots > 0);
        self.refresh(id);
    }

    /// Notes that an attempt was told to stop; it keeps its slots until it does.
    pub(crate) fn mark_cancelled(&mut self, id: WorkerId, attempt: AttemptId) {
        let occupied = self.by_id.get_mut(&id).and_then(|worker| worker.running.get_mut(&attempt));
        occupied.expect("a running attempt holds slots on its worker").cancelled = true;
    }

    /// Compares the books with what a worker says it runs.
    pub(crate) fn reconcile(&mut self, id: WorkerId, running: &[AttemptId]) -> Reconciled {
        let Some(worker) = self.by_id.get_mut(&id) else { return Reconciled::default() };
        let reported: BTreeSet<_> = running.iter().copied().collect();
        let is_unwanted = |attempt: &AttemptId| {
            worker.running.get(attempt).is_none_or(|occupied| occupied.cancelled)
        };
        let unwanted = reported.iter().copied().filter(is_unwanted).collect();
        for (attempt, occupied) in &mut worker.running {
            let is_there = reported.contains(attempt);
            occupied.misses = if is_there { 0 } else { occupied.misses + 1 };
        }
        let gone: Vec<_> = worker.running.extract_if(.., |_, o| o.misses >= MISSES_MAX).collect();
        gone.iter().for_each(|(_, occupied)| worker.take_back(*occupied));
        self.refresh(id);
        Reconciled { gone: gone.into_iter().map(|(attempt, _)| attempt).collect(), unwanted }
    }

    /// Keeps a worker free for a task.
    pub(crate) fn reserve(&mut self, id: WorkerId, task: TaskId) {
        self.reserved.insert(id, task);
        self.change(id, |worker| worker.reserved = Some(task));
    }

    /// Opens a reserved worker to all tasks again.
    pub(crate) fn unreserve(&mut self, id: WorkerId) {
        self.reserved.remove(&id);
        self.change(id, |worker| worker.reserved = None);
    }

    /// Opens the worker that was reserved for a task, if there is one: the task runs now.
    pub(crate) fn unreserve_for(&mut self, task: TaskId) {
        let reserved = self.reserved.iter().find(|(_, other)| **other == task);
        if let Some(id) = reserved.map(|(id, _)| *id) {
            self.unreserve(id);
        }
    }

    /// Keeps launches away from a worker for a while.
    pub(crate) fn pause(&mut self, id: WorkerId, pause: Pause) {
        self.change(id, |worker| {
            let longest = worker.pause.filter(|before| before.until() > pause.until());
            worker.pause = Some(longest.unwrap_or(pause));
        });
    }

    /// Ends a pause that is over. Anything else is a stale timer.
    pub(crate) fn resume(&mut self, id: WorkerId, now: Time) {
        self.change(id, |worker| worker.pause = worker.pause.filter(|pause| pause.until() > now));
    }

    /// Counts a failure against a worker. Returns the end of the pause if it is set aside now:
    /// when enough different tasks failed lately, and it is not the only one left.
    pub(crate) fn note_failure(
        &mut self,
        id: WorkerId,
        task: TaskId,
        now: Time,
        config: &SchedulerConfig,
    ) -> Option<Time> {
        let is_only = !self.usable().any(|(other, _)| other != id);
        let worker = self.by_id.get_mut(&id)?;
        worker.failures.retain(|(at, of)| *of != task && now - *at <= config.set_aside_window);
        worker.failures.push_back((now, task));
        if worker.failures.len() < config.set_aside_failures || is_only {
            let surplus = worker.failures.len().saturating_sub(config.set_aside_failures);
            worker.failures.drain(..surplus);
            return None;
        }
        worker.failures.clear();
        let until = now + config.set_aside_pause;
        self.pause(id, Pause::SetAside { until });
        Some(until)
    }

    /// A worker set aside is better than none.
    fn lift_last_pause(&mut self) {
        if self.usable().next().is_some() {
            return;
        }
        let is_aside = |worker: &Worker| matches!(worker.pause, Some(Pause::SetAside { .. }));
        let aside: Vec<_> = self.iter().filter(|(_, w)| is_aside(w)).map(|(id, _)| id).collect();
        for id in aside {
            self.by_id.get_mut(&id).expect("just listed").pause = None;
            self.refresh(id);
        }
    }

    fn change(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) -> bool {
        let Some(worker) = self.by_id.get_mut(&id) else { return false };
        let was_usable = worker.is_usable();
        change(worker);
        let is_usable = worker.is_usable();
        self.refresh(id);
        if was_usable && !is_usable {
            self.lift_last_pause();
        }
        true
    }

    /// Puts a worker where it belongs in the index.
    fn refresh(&mut self, id: WorkerId) {
        let Some(worker) = self.by_id.get_mut(&id) else { return };
        let free = worker.free_if_open();
        let before = std::mem::replace(&mut worker.indexed, free);
        if before == free {
            return;
        }
        if let Some(before) = before {
            assert!(self.free.remove(&(Reverse(before), id)), "indexed as noted");
        }
        if let Some(free) = free {
            self.free.insert((Reverse(free), id));
        }
    }

    /// Recounts what is kept beside the workers.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        for (id, worker) in self.iter() {
            let used: u32 = worker.running.values().map(|occupied| occupied.slots).sum();
            assert_eq!(worker.used, used, "slots of {id}");
            assert!(used <= worker.slots, "slots of {id} exceeded");
            let ahead = worker.running.values().filter(|occupied| occupied.slots == 0).count();
            assert_eq!(worker.ahead as usize, ahead, "attempts without slots on {id}");
            assert_eq!(worker.indexed, worker.free_if_open());
            assert_eq!(worker.reserved, self.reserved.get(&id).copied());
        }
        let indexed = self.iter().filter(|(_, worker)| worker.indexed.is_some()).count();
        assert_eq!(self.free.len(), indexed);
    }
}

#[cfg(test)]
#[path = "worker/tests.rs"]
mod tests;
