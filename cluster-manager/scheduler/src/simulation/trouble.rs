//! Mishaps of the simulated workers: deaths, broken connections, rotten blocks, departures.

use gnist_common::ids::WorkerId;

use super::world::{Happening, Stream, World};
use crate::Event;

impl World {
    pub(super) fn plan_trouble(&mut self) {
        let kinds = [Happening::Kill, Happening::Break, Happening::Rot, Happening::Drain];
        for (kind, most) in kinds.into_iter().zip([4, 3, 4, 1]) {
            for _ in 0..self.random.between(0, most) {
                let at = self.random.between(500, 20_000);
                self.at(at, kind.clone());
            }
        }
        for _ in 0..self.random.between(1, 4) {
            let (at, slots) = (self.random.between(500, 30_000), self.random.small(1, 4));
            self.at(at, Happening::Join(slots));
        }
    }

    fn some_worker(&mut self) -> Option<WorkerId> {
        let alive = self.workers.iter().filter(|(_, worker)| worker.alive && worker.connected);
        let alive: Vec<_> = alive.map(|(id, _)| *id).collect();
        (!alive.is_empty()).then(|| *self.random.pick(&alive))
    }

    /// A worker dies. What it said before still arrives; then its silence, then its loss.
    pub(super) fn kill(&mut self) {
        let Some(id) = self.some_worker() else { return };
        self.counts.workers_lost += 1;
        self.workers.get_mut(&id).expect("just picked").alive = false;
        self.say(id, Event::WorkerSuspect { worker: id });
        let last = self.streams[&Stream::FromWorker(id)];
        let at = last + self.random.between(0, 3_000);
        let reason = "it was killed".to_owned();
        self.at(at, Happening::Tell(Event::WorkerLost { worker: id, reason }));
        if !self.workers.values().any(|worker| worker.alive) {
            let (at, slots) = (self.now + self.random.between(1, 20_000), self.random.small(1, 4));
            self.at(at, Happening::Join(slots));
        }
    }

    /// A connection breaks: everything on its way is lost, in both directions.
    pub(super) fn break_stream(&mut self) {
        let Some(id) = self.some_worker() else { return };
        let worker = self.workers.get_mut(&id).expect("just picked");
        worker.connection += 1;
        worker.connected = false;
        self.at(self.now + 1, Happening::Tell(Event::WorkerSuspect { worker: id }));
        let at = self.now + self.random.between(2, 4_000);
        self.at(at, Happening::Rejoin(id));
    }

    pub(super) fn rejoin(&mut self, id: WorkerId) {
        let worker = self.workers.get_mut(&id).expect("it was connected before");
        if worker.alive {
            worker.connected = true;
            self.register(id);
        }
    }

    /// A worker will take no more, and leaves after a while; another comes in its place.
    pub(super) fn drain(&mut self) {
        let Some(worker) = self.some_worker() else { return };
        self.tell(Event::WorkerDraining { worker });
        let at = self.now + self.random.between(1, 30_000);
        self.at(at, Happening::Leave(worker));
        self.at(at, Happening::Join(2));
    }

    /// A worker leaves in good order, after everything it said.
    pub(super) fn leave(&mut self, id: WorkerId) {
        self.workers.get_mut(&id).expect("it was drained").alive = false;
        let last = self.streams[&Stream::FromWorker(id)];
        let reason = "it left".to_owned();
        self.at(last, Happening::Tell(Event::WorkerLost { worker: id, reason }));
    }

    pub(super) fn rot(&mut self) {
        let Some(id) = self.some_worker() else { return };
        let worker = self.workers.get_mut(&id).expect("just picked");
        let blocks: Vec<_> = worker.blocks.keys().copied().collect();
        if !blocks.is_empty() {
            worker.blocks.remove(self.random.pick(&blocks));
        }
    }

    /// The shell looks after a worker that a consumer could not reach.
    pub(super) fn probe(&mut self, worker: WorkerId) {
        if !self.workers[&worker].alive {
            let reason = "connection refused".to_owned();
            let at = self.now + self.random.between(1, 500);
            self.at(at, Happening::Tell(Event::WorkerLost { worker, reason }));
        }
    }
}
