//! The task of one connection. It owns the protocol's state by value; nobody else ever sees it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::datagrams::Datagrams;
use super::ending::Ending;
use super::memory::WindowUse;
use super::moving::Moves;
use super::shared::chunks::Chunks;
use super::shared::stream::Stream;
use super::timer::Timer;
use super::transmit::Transmitter;
use crate::config::{ServerConfig, TokenIssuer, TokenStore, TransportConfig};
use crate::error::ConnectionError;
use crate::packet::{Burst, TransportError, TransportErrorCode};
use crate::proto::endpoint::Incoming;
use crate::proto::{self, NewTokens, ServerArgs};

/// Drives a connection until it is over; what it does in a turn is in [`pump`](super::pump).
pub struct ConnectionTask {
    pub connection: proto::Connection,
    pub(super) ending: Ending,
    pub(super) transmitter: Transmitter,
    pub(super) timer: Timer,
    /// When the protocol wants to be called again.
    pub(super) deadline: Option<Instant>,
    /// Datagrams taken out of the inbox.
    pub(super) arrived: VecDeque<Burst>,
    /// Weight of those that are done with.
    pub(super) processed: usize,
    /// The most that the application may have under way, bytes.
    pub(super) send_budget: u64,
    /// The receive window of the connection that others know of.
    pub(super) window: u64,
    /// That which the transport parameters gave.
    pub(super) first_window: u64,
    /// It tunes itself.
    pub(super) tuned: bool,
    /// Whether it is of use.
    pub(super) window_use: WindowUse,
    /// Weight of what is in the inbox, or was and is not done with.
    pub(super) pinned: u64,
    /// Datagrams that it had no room for.
    pub(super) overflowed: u64,
    /// What the inbox is limited to.
    pub(super) inbox_limit: usize,
    /// Whether it tries to move to another socket.
    pub(super) moves: Moves,
    /// The application waits until all finished streams are delivered: the number of the latest that does.
    pub(super) draining: Option<u64>,
    /// How often streams began anew (0-RTT that was rejected); handles of streams before that are dead.
    pub(super) epoch: u32,
    /// Something happened in this turn.
    pub(super) busy: bool,
    /// Something has since room was last let go of.
    pub(super) spare: bool,
    /// The application was told that the connection is over.
    pub(super) over: bool,
    pub(super) scratch: Scratch,
    pub(super) datagrams: Datagrams,
    /// Where a client keeps the server's tokens, and under which name and address.
    pub tokens: Option<(Arc<dyn TokenStore>, TokenIssuer)>,
}

/// Lists that are filled and emptied within a turn; empty ones are swapped for full ones.
#[derive(Default)]
pub(super) struct Scratch {
    pub opened: Vec<Arc<Stream>>,
    pub news: Vec<Arc<Stream>>,
    pub chunks: Chunks,
}

impl ConnectionTask {
    /// Drives `connection`.
    pub fn new(mut connection: proto::Connection, ending: Ending, config: &TransportConfig) -> Self {
        let socket = connection.path().socket;
        // From here on it takes the memory budget's consent.
        let first_window = config.receive_window;
        connection.streams().set_receive_window_ceiling(first_window);
        let mut task = Self {
            connection,
            transmitter: Transmitter::new(ending.endpoint.sockets.clone()),
            ending,
            timer: Timer::default(),
            deadline: None,
            arrived: VecDeque::new(),
            processed: 0,
            send_budget: config.send_budget,
            window: 0,
            first_window,
            tuned: config.max_receive_window > first_window,
            window_use: WindowUse::new(super::now()),
            pinned: 0,
            overflowed: 0,
            inbox_limit: 0,
            moves: Moves::default(),
            draining: None,
            epoch: 0,
            busy: false,
            spare: false,
            over: false,
            scratch: Scratch::default(),
            datagrams: Datagrams::new(config),
            tokens: None,
        };
        task.consider_socket(socket);
        // A client may know enough to send before the handshake.
        task.publish_datagrams();
        task
    }

    /// Answers a client: makes the connection, or closes it for want of a TLS configuration that works.
    fn serve(incoming: Incoming, config: &ServerConfig, ending: Ending) -> Option<Self> {
        let args = ServerArgs {
            versions: &config.versions,
            tls: &*config.tls,
            resumption: &config.resumption,
            config: config.transport.clone(),
            endpoint: &ending.endpoint.core,
            preferred_address: config.preferred_address,
            new_tokens: Some(NewTokens {
                key: ending.endpoint.tokens.clone(),
                wall: super::wall_clock(),
                count: config.new_tokens,
            }),
            rng: ending.endpoint.fork_rng(),
        };
        match proto::Connection::server(super::now(), incoming, args) {
            Ok(connection) => Some(Self::new(connection, ending, &config.transport)),
            Err(error) => {
                tracing::error!(%error, "the TLS configuration does not work");
                let error = TransportError::new(TransportErrorCode::INTERNAL_ERROR, format!("TLS: {error}"));
                ending.shared.mark_closed(ConnectionError::local(error));
                None
            }
        }
    }
}

/// The task of a connection that a client asked for. TLS begins in it, and not in the task of whoever accepted it.
///
/// Not an `async fn`: that would keep room for what it is made from beside what is made.
#[expect(clippy::large_enum_variant, reason = "it is the larger one from the first poll on")]
pub enum ServerTask {
    /// Not polled yet.
    New(Option<Box<Start>>),
    /// Under way.
    Running(ConnectionTask),
}

/// What a server's connection is made from.
pub struct Start {
    /// The client's first Initials.
    pub incoming: Incoming,
    /// How it is answered.
    pub config: Arc<ServerConfig>,
    /// What goes with the connection.
    pub ending: Ending,
}

impl Future for ServerTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut *self {
                Self::New(start) => {
                    let made = start.take().and_then(|start| {
                        let Start { incoming, config, ending } = *start;
                        ConnectionTask::serve(incoming, &config, ending)
                    });
                    let Some(task) = made else { return Poll::Ready(()) };
                    *self = Self::Running(task);
                }
                Self::Running(task) => return task.turn(cx),
            }
        }
    }
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.turn(cx)
    }
}
