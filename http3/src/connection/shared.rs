//! State of a connection that its exchanges and its driver share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use gannet::Side;
use tokio::sync::{Notify, watch};

use super::Config;
use super::given_up::GivenUp;
use crate::error::{Code, ConnectionError, StreamError, Violation};
use crate::proto::settings::Settings;

/// No GOAWAY yet; or: no limit. Above all stream IDs and sizes.
const NONE: u64 = u64::MAX;

/// What a share in the connection counts for.
const EXCHANGE: u64 = 1;
const HANDLE: u64 = 1 << 32;

/// Whether what a client sends is early data.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub(crate) enum Early {
    /// It is not, or no longer.
    Settled,
    /// It is, and may not be taken.
    Pending,
    /// It was not taken: all streams so far are gone.
    Rejected,
}

/// See the module.
pub(crate) struct Shared {
    pub(crate) quic: gannet::Connection,
    pub(crate) side: Side,
    pub(crate) config: Config,
    early: watch::Sender<Early>,
    /// The rule that the peer broke, if this end closed the connection for that.
    failure: OnceLock<Violation>,
    peer_max_field_section_size: AtomicU64,
    /// The first request that the peer will not process.
    peer_goaway: watch::Sender<u64>,
    /// What our control stream is to say; shrinks only.
    goaway: watch::Sender<u64>,
    /// Requests that the client gave up.
    given_up: GivenUp,
    /// Exchanges under way, and above them handles that can begin one: see [`EXCHANGE`] and [`HANDLE`].
    users: AtomicU64,
    /// Told when the last exchange or handle is gone.
    returned: Notify,
}

impl Shared {
    pub(crate) fn new(quic: gannet::Connection, side: Side, config: Config) -> Arc<Self> {
        let given_up = GivenUp::new(config.max_given_up_requests_per_second);
        Arc::new(Self {
            quic,
            side,
            config,
            early: watch::Sender::new(Early::Settled),
            failure: OnceLock::new(),
            peer_max_field_section_size: AtomicU64::new(NONE),
            peer_goaway: watch::Sender::new(NONE),
            goaway: watch::Sender::new(NONE),
            given_up,
            users: AtomicU64::new(0),
            returned: Notify::new(),
        })
    }

    /// Something became known of early data.
    pub(crate) fn set_early(&self, early: Early) {
        self.early.send_replace(early);
    }

    /// Nobody will find out any more what becomes of early data: the connection ends. Who waits for that learns of the end.
    pub(crate) fn give_up_early(&self) {
        self.early.send_if_modified(|early| {
            let pending = *early == Early::Pending;
            if pending {
                *early = Early::Settled;
            }
            pending
        });
    }

    /// Whether what is sent now is early data.
    pub(crate) fn is_early(&self) -> bool {
        *self.early.borrow() == Early::Pending
    }

    /// Resolves when what is sent is not early data.
    pub(crate) async fn early_settled(&self) {
        // The sender lives in `self`.
        let _ = self.early.subscribe().wait_for(|early| *early != Early::Pending).await;
    }

    /// Resolves if early data was not taken.
    pub(crate) async fn early_rejected(&self) {
        let _ = self.early.subscribe().wait_for(|early| *early == Early::Rejected).await;
    }

    /// Closes the connection for what the peer did.
    pub(crate) fn fail(&self, violation: Violation) -> ConnectionError {
        let first = *self.failure.get_or_init(|| violation);
        tracing::debug!(code = %first.code, first.reason, "closing the connection");
        self.quic.close(first.code.into(), first.reason.as_bytes());
        first.into()
    }

    /// Why the connection ended, given what the transport says about that.
    pub(crate) fn ended(&self, error: gannet::ConnectionError) -> ConnectionError {
        match (error, self.failure.get()) {
            (gannet::ConnectionError::LocallyClosed, Some(violation)) => (*violation).into(),
            (error, _) => error.into(),
        }
    }

    /// Why reading a request stream failed.
    pub(crate) fn read_failed(&self, error: gannet::ReadError) -> StreamError {
        match error {
            gannet::ReadError::Reset(code) => StreamError::Reset(code.into()),
            gannet::ReadError::Connection(error) => self.ended(error).into(),
            gannet::ReadError::ZeroRttRejected => StreamError::EarlyDataRejected,
            _ => StreamError::Closed,
        }
    }

    /// Why writing a request stream failed.
    pub(crate) fn write_failed(&self, error: gannet::WriteError) -> StreamError {
        match error {
            gannet::WriteError::Stopped(code) => StreamError::Stopped(code.into()),
            gannet::WriteError::Connection(error) => self.ended(error).into(),
            gannet::WriteError::ZeroRttRejected => StreamError::EarlyDataRejected,
            _ => StreamError::Closed,
        }
    }

    /// The peer's SETTINGS have arrived.
    pub(crate) fn peer_settings(&self, settings: &Settings) {
        let size = settings.max_field_section_size.unwrap_or(NONE);
        self.peer_max_field_section_size.store(size, Ordering::Relaxed);
    }

    /// Largest field section that the peer takes, as far as is known.
    pub(crate) fn peer_max_field_section_size(&self) -> u64 {
        self.peer_max_field_section_size.load(Ordering::Relaxed)
    }

    /// The peer will not process requests from this one on.
    pub(crate) fn peer_goes_away(&self, id: u64) {
        self.peer_goaway.send_replace(id);
    }

    /// Whether the peer takes no new requests.
    pub(crate) fn is_peer_going_away(&self) -> bool {
        *self.peer_goaway.borrow() != NONE
    }

    /// Resolves when the peer takes no new requests.
    pub(crate) async fn peer_going_away(&self) {
        // The sender lives in `self`.
        let _ = self.peer_goaway.subscribe().wait_for(|id| *id != NONE).await;
    }

    /// Resolves when the request on this stream will not be processed.
    pub(crate) async fn request_unprocessed(&self, stream: u64) {
        let _ = self.peer_goaway.subscribe().wait_for(|id| *id <= stream).await;
    }

    /// Lets our control stream say that no request (or push) from this one on is processed. Has no effect if it said so
    /// of an earlier one already.
    pub(crate) fn go_away(&self, id: u64) {
        self.goaway.send_if_modified(|current| {
            let less = id < *current;
            if less {
                *current = id;
            }
            less
        });
    }

    /// What our control stream has to say.
    pub(crate) fn goaways(&self) -> watch::Receiver<u64> {
        let mut goaways = self.goaway.subscribe();
        // Somebody may have asked before the driver ran.
        if *goaways.borrow() != NONE {
            goaways.mark_changed();
        }
        goaways
    }

    /// A message was sent to its end.
    pub(crate) fn message_sent(&self) {
        self.given_up.make_up();
    }

    /// The peer gave up an exchange.
    pub(crate) fn exchange_cancelled(&self) {
        if self.side.is_server() && !self.given_up.count() {
            self.fail(Violation::new(Code::H3_EXCESSIVE_LOAD, "too many requests were given up"));
        }
    }

    /// Whether no exchange is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.users.load(Ordering::SeqCst).is_multiple_of(HANDLE)
    }

    /// Resolves when no exchange is under way. For one waiter at a time.
    pub(crate) async fn idle(&self) {
        while !self.is_idle() {
            self.returned.notified().await;
        }
    }

    /// Resolves when no exchange is under way, and none can be begun: no handle is left, or the peer is going away. For
    /// one waiter at a time.
    pub(crate) async fn unused(&self) {
        loop {
            let users = self.users.load(Ordering::SeqCst);
            let going_away = self.is_peer_going_away();
            if users == 0 || going_away && users.is_multiple_of(HANDLE) {
                return;
            }
            tokio::select! {
                biased;
                () = self.returned.notified() => {}
                () = self.peer_going_away(), if !going_away => {}
            }
        }
    }
}

/// A share in a connection that keeps it in use.
pub(crate) struct Lease {
    shared: Arc<Shared>,
    weight: u64,
}

impl Lease {
    fn new(shared: &Arc<Shared>, weight: u64) -> Self {
        shared.users.fetch_add(weight, Ordering::SeqCst);
        Self { shared: Arc::clone(shared), weight }
    }

    /// For what can begin exchanges.
    pub(crate) fn handle(shared: &Arc<Shared>) -> Self {
        Self::new(shared, HANDLE)
    }

    /// For one half of an exchange.
    pub(crate) fn exchange(shared: &Arc<Shared>) -> Self {
        Self::new(shared, EXCHANGE)
    }

    /// For one half of an exchange that is begun with a handle.
    pub(crate) fn begin(&self) -> Self {
        Self::new(&self.shared, EXCHANGE)
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Self::new(&self.shared, self.weight)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let left = self.shared.users.fetch_sub(self.weight, Ordering::SeqCst) - self.weight;
        if left.is_multiple_of(HANDLE) {
            self.shared.returned.notify_one();
        }
    }
}

impl std::ops::Deref for Lease {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}
