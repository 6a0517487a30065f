//! One connection as its handles and its task share it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{self, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::accepted::Accepted;
use super::datagrams::{Incoming, Outgoing};
use super::open_credit::{OpenCredit, Opening};
use super::ready::ReadyList;
use super::send_pool::SendPool;
use super::stream::Stream;
use super::waiters::Waiters;
use crate::config::TransportConfig;
use crate::crypto::tls::{ExportError, HandshakeData};
use crate::driver::inbox::Inbox;
use crate::driver::lock;
use crate::driver::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, OnceLock};
use crate::error::{ConnectionError, KeyUpdateError, MigrateError};
use crate::net::SocketSource;
use crate::packet::{Dir, FourTuple, Side, StreamId, Version};
use crate::wire::VarInt;

/// What a connection's handles and its task share.
pub struct Connection {
    /// Which end this is.
    pub side: Side,
    /// Tells connections of one process apart.
    pub stable_id: u64,
    /// Datagrams for the task; its signal stands for all other news as well.
    pub inbox: Arc<Inbox>,
    /// Streams with news for the task.
    pub ready: ReadyList,
    /// Streams we may open, by direction.
    pub open: [OpenCredit; 2],
    /// Streams that the peer has opened, by direction.
    pub accepted: [Accepted<Arc<Stream>>; 2],
    /// Datagrams that wait to be sent.
    pub datagrams_out: Outgoing,
    /// Datagrams that wait to be read.
    pub datagrams_in: Incoming,
    /// Bytes of all streams accepted and not acknowledged.
    pub pool: SendPool,
    /// The same for one stream, at most.
    pub stream_send_budget: u64,
    /// What the peer may send on a stream at first.
    pub stream_window: u64,
    /// The peer takes RESET_STREAM_AT frames.
    resets_at: AtomicBool,
    /// What the peer may send on all.
    window: AtomicU64,
    /// Bytes read and not credited to the connection, of all streams.
    unreported: AtomicU64,
    closed: OnceLock<ConnectionError>,
    /// Mostly there are none.
    commands: Mutex<Option<Box<Commands>>>,
    /// There are commands; to be read without the lock.
    commanded: AtomicBool,
    progress: Mutex<Progress>,
    snapshot: Mutex<Snapshot>,
    handles: AtomicUsize,
    /// How many wait for the end to close then.
    draining: AtomicUsize,
    /// How many ever have.
    drains: AtomicU64,
}

/// What the application asks of the task, streams aside. Later wishes replace earlier ones.
#[derive(Debug, Default)]
pub struct Commands {
    /// Close, with this code and reason.
    pub close: Option<(VarInt, Bytes)>,
    /// Nobody holds a handle any more.
    pub abandoned: bool,
    /// How many streams the peer may have open, by direction.
    pub max_concurrent: [Option<u64>; 2],
    /// The receive window of the connection.
    pub receive_window: Option<u64>,
    /// Somebody waits for a stream beyond the peer's limit, by direction.
    pub open_blocked: [bool; 2],
    /// Tell when all finished streams are delivered: the number of the latest that asks.
    pub drain: Option<u64>,
    /// The system says that the peer cannot be reached.
    pub unreachable: Option<io::ErrorKind>,
    /// Another socket has taken the place of the endpoint's main one.
    pub rebound: bool,
    /// Move to another socket.
    pub migrate: Option<Migrate>,
    /// Key material to export.
    pub exports: Vec<Export>,
    /// Give the peer new connection IDs.
    pub rotate_ids: bool,
    /// Who wants a key update, and waits for the answer.
    pub key_updates: Vec<oneshot::Sender<Result<(), KeyUpdateError>>>,
    /// Panic, to see what that does to others.
    #[cfg(test)]
    pub panic: bool,
}

/// A wish to move to another socket. A later one takes its place; then nobody answers.
#[derive(Debug)]
pub struct Migrate {
    /// Where to.
    pub socket: SocketSource,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<(), MigrateError>>,
}

/// A request for key material.
#[derive(Debug)]
pub struct Export {
    /// How many bytes.
    pub len: usize,
    /// What for.
    pub label: Vec<u8>,
    /// In which context.
    pub context: Vec<u8>,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Vec<u8>, ExportError>>,
}

/// How far the handshake has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// What it has agreed on.
    pub handshake_data: Option<HandshakeData>,
    /// The peer's certificates.
    pub peer_identity: Option<Arc<Vec<rustls::pki_types::CertificateDer<'static>>>>,
    /// There may be early data: a client has what it takes to send it.
    pub may_be_early: bool,
    /// Whether the server takes early data.
    pub early_data: Option<bool>,
    /// Complete on this end.
    pub connected: bool,
    /// Known to be complete on the other.
    pub confirmed: bool,
    /// All finished streams were delivered, for all that asked up to this number; see [`Draining::number`].
    pub drained: u64,
    /// How often the path has changed.
    pub path_changes: u64,
    waiters: Waiters,
}

/// What handles can ask about without waiting for the task.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Socket and addresses in use.
    pub path: FourTuple,
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// The negotiated idle timeout.
    pub idle_timeout: Option<Duration>,
    /// The version in use.
    pub version: Version,
    /// Counters.
    pub stats: crate::proto::ConnectionStats,
}

impl Connection {
    /// A new connection, held by nobody.
    pub fn new(side: Side, inbox: Arc<Inbox>, config: &TransportConfig, path: FourTuple) -> Arc<Self> {
        static NEXT: atomic::AtomicU64 = atomic::AtomicU64::new(0);
        let snapshot = Snapshot {
            path,
            rtt: config.initial_rtt,
            idle_timeout: None,
            version: Version::V1,
            stats: <_>::default(),
        };
        Arc::new(Self {
            side,
            stable_id: NEXT.fetch_add(1, Ordering::Relaxed),
            inbox,
            ready: ReadyList::default(),
            open: Default::default(),
            accepted: Default::default(),
            datagrams_out: Outgoing::new(config),
            datagrams_in: Incoming::new(config),
            pool: SendPool::new(config.send_budget),
            stream_send_budget: config.stream_send_budget,
            stream_window: config.stream_receive_window,
            resets_at: AtomicBool::new(false),
            window: AtomicU64::new(config.receive_window),
            unreported: AtomicU64::new(0),
            closed: OnceLock::new(),
            commands: Mutex::default(),
            commanded: AtomicBool::new(false),
            progress: Mutex::default(),
            snapshot: Mutex::new(snapshot),
            handles: AtomicUsize::new(0),
            draining: AtomicUsize::new(0),
            drains: AtomicU64::new(0),
        })
    }

    /// Why the connection is over, if it is.
    pub fn closed(&self) -> Option<&ConnectionError> {
        self.closed.get()
    }

    /// Marks it as over; the first reason counts. Wakes all who wait for something of the connection itself; streams
    /// are for the task to sweep.
    pub fn mark_closed(&self, error: ConnectionError) {
        drop(self.closed.set(error));
        let woken = lock(&self.progress).waiters.take();
        woken.wake();
        self.open.iter().for_each(OpenCredit::close);
        self.datagrams_out.close();
        self.datagrams_in.close();
        self.pool.close();
    }

    /// Changes the commands and wakes the task. What `change` takes out it returns: under the lock nothing is dropped that
    /// wakes or closes.
    pub fn command<T>(&self, change: impl FnOnce(&mut Commands) -> T) -> T {
        let before = change(lock(&self.commands).get_or_insert_default());
        // A swap, as that of the task: loom does not see that a store cannot fall before one that did not read it.
        self.commanded.swap(true, Ordering::Release);
        self.inbox.signal.set();
        before
    }

    /// The application closes the connection. Handles know at once; the peer learns of it from the task.
    pub fn close(&self, code: VarInt, reason: Bytes) {
        if self.closed().is_none() {
            self.command(|commands| {
                commands.close.get_or_insert((code, reason));
            });
            self.mark_closed(ConnectionError::LocallyClosed);
        }
    }

    /// No stream can be opened as long as the guard lives.
    pub fn drain(&self) -> Draining<'_> {
        self.draining.fetch_add(1, Ordering::SeqCst);
        self.open.iter().for_each(OpenCredit::close);
        let number = self.drains.fetch_add(1, Ordering::Relaxed) + 1;
        Draining { connection: self, number }
    }

    /// Why no stream can be opened, if so. To be asked after a waker was registered.
    pub fn refuses_streams(&self) -> Option<ConnectionError> {
        let draining = || self.draining.load(Ordering::SeqCst) > 0;
        self.closed().cloned().or_else(|| draining().then_some(ConnectionError::LocallyClosed))
    }

    /// For the task: the commands, if there are any.
    pub fn take_new_commands(&self) -> Option<Commands> {
        self.commanded.swap(false, Ordering::AcqRel).then(|| self.take_commands())?
    }

    /// Takes the commands.
    pub fn take_commands(&self) -> Option<Commands> {
        let commands = lock(&self.commands).take();
        commands.map(|commands| *commands)
    }

    /// For the task: the handshake has come further.
    pub fn advance(&self, change: impl FnOnce(&mut Progress)) {
        let woken = {
            let mut progress = lock(&self.progress);
            change(&mut progress);
            progress.waiters.take()
        };
        woken.wake();
    }

    /// Looks at the progress.
    pub fn progress<T>(&self, look: impl FnOnce(&Progress) -> T) -> T {
        look(&lock(&self.progress))
    }

    /// Waits until `look` finds something, or the connection is over.
    pub fn poll_progress<T>(
        &self,
        ticket: &mut Option<u64>,
        cx: &Context<'_>,
        look: impl FnOnce(&Progress) -> Option<T>,
    ) -> Poll<Result<T, ConnectionError>> {
        let mut progress = lock(&self.progress);
        if let Some(found) = look(&progress) {
            return Poll::Ready(Ok(found));
        }
        progress.waiters.register(ticket, cx.waker());
        // Whoever closes sets the mark and then takes the waiters: one of the two is seen.
        match self.closed() {
            Some(error) => Poll::Ready(Err(error.clone())),
            None => Poll::Pending,
        }
    }

    /// Gives up waiting for progress.
    pub fn cancel_progress(&self, ticket: u64) {
        lock(&self.progress).waiters.remove(ticket);
    }

    /// The present state.
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.snapshot).clone()
    }

    /// For the task: the state has changed.
    pub fn set_snapshot(&self, snapshot: Snapshot) {
        *lock(&self.snapshot) = snapshot;
    }

    /// Makes the shared part of a stream that this end opens; `None` if the connection is over.
    pub fn open_stream(self: &Arc<Self>, dir: Dir, opening: Opening) -> Option<Arc<Stream>> {
        let Opening { epoch, index } = opening;
        let stream = Stream::opened(StreamId::new(self.side, dir, index), epoch, self.clone());
        self.ready.push_opened(stream.clone()).then_some(stream)
    }

    /// Counts bytes of any stream as read. Tells the task when a quarter of the window waits for credit, however little
    /// that is of each stream.
    pub fn count_read(&self, bytes: u64) {
        // Who comes after the task has lowered the window and collected sees the new one.
        let before = self.unreported.fetch_add(bytes, Ordering::AcqRel);
        let quarter = self.window.load(Ordering::Relaxed) / 4;
        if before < quarter.max(1) && before + bytes >= quarter {
            self.inbox.signal.set();
        }
    }

    /// For the task: the bytes that the connection has not been credited with.
    pub fn take_unreported(&self) -> u64 {
        match self.unreported.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.unreported.swap(0, Ordering::AcqRel),
        }
    }

    /// Whether the peer takes RESET_STREAM_AT frames.
    pub fn resets_at(&self) -> bool {
        self.resets_at.load(Ordering::Relaxed)
    }

    /// For the task: what the peer says about that. To be called before handles learn that they may use streams.
    pub fn set_resets_at(&self, supported: bool) {
        self.resets_at.store(supported, Ordering::Relaxed);
    }

    /// For the task: the window has changed. If it is smaller, the task has to collect what is unreported afterwards.
    pub fn set_window(&self, bytes: u64) {
        self.window.store(bytes, Ordering::Relaxed);
    }

    /// A handle was made.
    pub fn retain(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// A handle was dropped; with the last one the connection closes. Streams that nobody can accept any more go: they
    /// hold the connection as it holds them.
    pub fn release(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.accepted.iter().for_each(|queue| drop(queue.close()));
            self.command(|commands| commands.abandoned = true);
        }
    }

    /// True if somebody holds a handle.
    pub fn is_held(&self) -> bool {
        self.handles.load(Ordering::Acquire) > 0
    }
}

/// Somebody waits for the streams to end; see [`Connection::drain`].
#[derive(Debug)]
#[must_use = "dropping it lets streams be opened again"]
pub struct Draining<'a> {
    connection: &'a Connection,
    /// Which one this is: they count from 1, so that nobody takes the answer to an earlier one for theirs.
    pub number: u64,
}

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.connection.draining.fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("side", &self.side)
            .field("stable_id", &self.stable_id)
            .field("closed", &self.closed.get())
            .finish_non_exhaustive()
    }
}

/// An application's share of a connection.
#[derive(Debug)]
pub struct ConnectionRef(Arc<Connection>);

impl ConnectionRef {
    /// A new share.
    pub fn new(connection: Arc<Connection>) -> Self {
        connection.retain();
        Self(connection)
    }
}

impl std::ops::Deref for ConnectionRef {
    type Target = Arc<Connection>;

    fn deref(&self) -> &Arc<Connection> {
        &self.0
    }
}

impl Clone for ConnectionRef {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl Drop for ConnectionRef {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::config::TransportConfigBuilder;
    use crate::packet::SocketId;

    /// A connection that no task drives.
    pub fn connection() -> Arc<Connection> {
        connection_with(TransportConfig::builder())
    }

    /// The same with other settings.
    pub fn connection_with(config: TransportConfigBuilder) -> Arc<Connection> {
        let path = FourTuple { socket: SocketId(0), local_ip: None, remote: ([127, 0, 0, 1], 1).into() };
        let config = config.stream_send_budget(100_000).build().unwrap();
        Connection::new(Side::Client, Arc::new(Inbox::new(1 << 20)), &config, path)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::connection;
    use super::*;
    use crate::driver::testing::CountingWaker;

    #[test]
    fn the_last_handle_closes() {
        let shared = connection();
        let first = ConnectionRef::new(shared.clone());
        let second = first.clone();
        drop(first);
        assert!(shared.is_held() && shared.take_commands().is_none());
        drop(second);
        assert!(!shared.is_held() && shared.take_commands().unwrap().abandoned);
    }

    #[test]
    fn whoever_waits_learns_of_the_end() {
        let shared = connection();
        let (waker, count) = CountingWaker::pair();
        let cx = Context::from_waker(&waker);
        let mut ticket = None;
        let connected = |progress: &Progress| progress.connected.then_some(());
        assert!(shared.poll_progress(&mut ticket, &cx, connected).is_pending());
        shared.advance(|progress| progress.confirmed = true);
        assert_eq!(count.wakes(), 1);
        assert!(shared.poll_progress(&mut ticket, &cx, connected).is_pending());
        shared.mark_closed(ConnectionError::TimedOut);
        shared.mark_closed(ConnectionError::Reset);
        assert_eq!(count.wakes(), 2);
        let found = shared.poll_progress(&mut ticket, &cx, connected);
        assert_eq!(found, Poll::Ready(Err(ConnectionError::TimedOut)), "the first reason counts");
    }

    #[test]
    fn a_quarter_of_the_window_over_all_streams_wakes_the_task() {
        let shared = connection();
        let (waker, count) = CountingWaker::pair();
        let quarter = TransportConfig::default().receive_window / 4;
        shared.inbox.signal.clear(&waker);
        shared.count_read(quarter - 1);
        assert_eq!(count.wakes(), 0);
        shared.count_read(1);
        assert_eq!(count.wakes(), 1);
        shared.inbox.signal.clear(&waker);
        shared.count_read(1);
        assert_eq!(count.wakes(), 1, "told already");
        assert_eq!((shared.take_unreported(), shared.take_unreported()), (quarter + 1, 0));
        shared.set_window(4);
        shared.count_read(1);
        assert_eq!(count.wakes(), 2);
    }
}
