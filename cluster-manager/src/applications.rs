//! The applications: their drivers, how far they are, what their jobs did.

use std::collections::BTreeMap;
use std::time::Duration;

use gnist_common::ids::ApplicationId;
use gnist_common::protocol::ManagerToDriver;
use gnist_common::stores::StoreSettings;
use gnist_common::time::{Time, WallTime};
use gnist_proto::view::{ApplicationState, ApplicationView};

use crate::history::History;
use crate::input::{Carrier, DriverPeer, SessionId};

/// Ended applications that are remembered.
const ENDED_MAX: usize = 100;

/// One application.
pub(crate) struct Application {
    pub(crate) name: String,
    pub(crate) state: ApplicationState,
    pub(crate) submitted_at: WallTime,
    pub(crate) ended_at: Option<WallTime>,
    pub(crate) error: Option<String>,
    pub(crate) heard_at: Time,
    /// The conversation with its driver, while there is one.
    pub(crate) session: Option<SessionId>,
    peer: Option<DriverPeer>,
    /// The stores that it uses; none once it has ended.
    pub(crate) stores: StoreSettings,
    pub(crate) history: History,
}

impl Application {
    pub(crate) fn new(
        name: String,
        submitted_at: WallTime,
        stores: StoreSettings,
        session: SessionId,
        peer: DriverPeer,
        now: Time,
    ) -> Self {
        Self {
            name,
            state: ApplicationState::Running,
            submitted_at,
            ended_at: None,
            error: None,
            heard_at: now,
            session: Some(session),
            peer: Some(peer),
            stores,
            history: History::default(),
        }
    }

    /// True if its driver may still say something.
    pub(crate) fn is_running(&self) -> bool {
        self.state == ApplicationState::Running
    }

    /// Returns the carrier of its conversation, while there is one.
    pub(crate) fn carrier(&self) -> Option<Carrier> {
        self.peer.as_ref().map(|peer| peer.carrier)
    }

    /// Tells the link's content sink which application it puts for.
    pub(crate) fn announce(&self, id: ApplicationId) {
        if let Some(peer) = &self.peer {
            peer.opened.send_replace(Some(id));
        }
    }

    /// Says something to the driver; returns whether its conversation turned out to be broken.
    pub(crate) fn say(&self, message: ManagerToDriver) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.outbox.try_send(message).is_err())
    }

    /// Ends the conversation.
    pub(crate) fn hang_up(&mut self) {
        self.peer = None;
        self.session = None;
    }

    fn view(&self, id: ApplicationId) -> ApplicationView {
        ApplicationView {
            id,
            name: self.name.clone(),
            state: self.state,
            deploy_mode: "client".to_owned(),
            submitted_at: self.submitted_at,
            ended_at: self.ended_at,
            error: self.error.clone(),
        }
    }
}

/// All applications.
#[derive(Default)]
pub(crate) struct Applications {
    by_id: BTreeMap<ApplicationId, Application>,
    opened: u64,
}

impl Applications {
    /// Adds one under the next id.
    pub(crate) fn open(&mut self, application: Application) -> ApplicationId {
        let id = ApplicationId(self.opened);
        self.opened += 1;
        self.by_id.insert(id, application);
        let ended = |(id, application): (&ApplicationId, &Application)| {
            (!application.is_running()).then_some(*id)
        };
        let ended: Vec<_> = self.by_id.iter().filter_map(ended).collect();
        for old in &ended[..ended.len().saturating_sub(ENDED_MAX)] {
            self.by_id.remove(old);
        }
        id
    }

    pub(crate) fn get(&self, id: ApplicationId) -> Option<&Application> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ApplicationId) -> Option<&mut Application> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Application> {
        self.by_id.values_mut()
    }

    /// Returns the running applications whose driver was not heard for longer than the lease.
    pub(crate) fn silent_for(&self, now: Time, lease: Duration) -> Vec<ApplicationId> {
        let is_silent = |application: &Application| {
            application.is_running() && now.since(application.heard_at) > lease
        };
        let silent = self.by_id.iter().filter(|(_, application)| is_silent(application));
        silent.map(|(id, _)| *id).collect()
    }

    pub(crate) fn views(&self) -> Vec<ApplicationView> {
        self.by_id.iter().map(|(id, application)| application.view(*id)).collect()
    }
}
