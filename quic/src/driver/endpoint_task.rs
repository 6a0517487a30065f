//! The task of a socket: receives, hands datagrams to the connections they belong to, and gives the stateless answers.
//!
//! That of the main socket also keeps the endpoint's house: closed connections are forgotten in time, and when nothing is
//! left to do the other tasks end with it.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::{ControlFlow, Range};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::accept::{self, Waiting, answer};
use super::allowance::Allowance;
use super::inbox::Inbox;
use super::routes::Route;
use super::shared::admission::Handshaking;
use super::shared::budget::Pressure;
use super::shared::endpoint::{Counters, Endpoint, TurnedAway};
use super::shared::signal::Signal;
use super::shared::sockets::{Added, Sockets};
use super::timer::Timer;
use crate::config::{RetryPolicy, ServerConfig, ServerVersions};
use crate::net::{RecvMeta, Socket, SocketFuture, Unreachable};
use crate::packet::{
    Buffer, BufferPool, Burst, ConnectionId, FourTuple, ResetToken, Rng, SocketId, VERSION_1, VERSION_2,
};
use crate::proto::endpoint::{
    Class, Incoming, Rejected, classify, has_quic_bit, stateless_reset, version_negotiation,
};

/// Buffers filled by one system call.
const SLOTS: usize = 32;

/// What is shorter is copied out of its buffer, bytes.
const MIN_BURST: usize = 4096;

/// The versions whose packets can be told apart; which of them a client may begin with is the server's choice.
const SPOKEN: [u32; 2] = [VERSION_1, VERSION_2];

/// How often errors are forgiven that switched segmentation offload off.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(60);

/// How long a socket that is replaced, or not used any more, goes on receiving: what is under way arrives within a round trip.
const LEAVING: Duration = Duration::from_secs(1);

/// Free receive buffers of a socket that are kept.
const MAX_FREE_BUFFERS: usize = 64;

/// Owns the receiving half of a socket.
pub struct EndpointTask {
    endpoint: Arc<Endpoint>,
    role: Role,
    id: SocketId,
    socket: Arc<dyn Socket>,
    /// What of `sockets` this task has seen; at first nothing.
    generation: Option<u32>,
    pool: BufferPool,
    slots: Vec<Buffer>,
    meta: [RecvMeta; SLOTS],
    rng: Rng,
    answers: Arc<Allowance>,
    unreachable: SocketFuture<Unreachable>,
    timer: Timer,
    /// When errors that switched offload off are forgiven.
    recover_at: Instant,
}

/// What a socket is to its endpoint.
enum Role {
    /// The one that is there as long as the endpoint.
    Main,
    /// One more. The signal says that it is no longer in the table, or not used; in the latter case it still receives until
    /// then.
    Further { signal: Arc<Signal>, lent: bool, until: Option<Instant> },
    /// Another has taken its place; what was under way is received until then.
    Leaving(Instant),
}

impl EndpointTask {
    /// Serves the main socket.
    pub fn main(endpoint: Arc<Endpoint>, socket: Arc<dyn Socket>) -> Self {
        Self::new(endpoint, Role::Main, Sockets::MAIN, socket)
    }

    /// Serves one more socket.
    pub fn further(endpoint: Arc<Endpoint>, added: Added, socket: Arc<dyn Socket>) -> Self {
        let Added { id, signal, lent } = added;
        Self::new(endpoint, Role::Further { signal, lent, until: None }, id, socket)
    }

    fn new(endpoint: Arc<Endpoint>, role: Role, id: SocketId, socket: Arc<dyn Socket>) -> Self {
        Self {
            role,
            id,
            generation: None,
            pool: BufferPool::new(socket.receive_buffer_size(), MAX_FREE_BUFFERS),
            slots: Vec::with_capacity(SLOTS),
            meta: [RecvMeta::default(); SLOTS],
            rng: endpoint.fork_rng(),
            answers: endpoint.answers.clone(),
            unreachable: socket.clone().unreachable(),
            timer: Timer::default(),
            recover_at: super::now() + RECOVERY_INTERVAL,
            socket,
            endpoint,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.role {
            Role::Main => self.endpoint.signal.clear(cx.waker()),
            Role::Further { signal, .. } => signal.clear(cx.waker()),
            Role::Leaving(_) => {}
        }
        if self.generation != Some(self.endpoint.sockets.generation()) && self.look_for_changes().is_break() {
            return Poll::Ready(());
        }
        while let Poll::Ready(report) = self.unreachable.as_mut().poll(cx) {
            self.endpoint.on_unreachable(report);
            self.unreachable = self.socket.clone().unreachable();
        }
        while self.slots.len() < SLOTS {
            self.slots.push(self.pool.take());
        }
        let received = self.socket.poll_recv(cx, &mut self.slots, &mut self.meta);
        let now = super::now();
        match received {
            Poll::Ready(Ok(filled)) => {
                for slot in 0..filled {
                    self.route_slot(now, slot);
                }
                // The connections come first: what they got is still in the cache.
                cx.waker().wake_by_ref();
            }
            Poll::Ready(Err(error)) => {
                tracing::error!(%error, "the socket is of no use any more");
                return Poll::Ready(());
            }
            Poll::Pending => {}
        }
        if now >= self.recover_at {
            self.socket.recover();
            self.recover_at = now + RECOVERY_INTERVAL;
        }
        let next = match &self.role {
            Role::Main => self.endpoint.routes.expire(now),
            Role::Further { until, .. } => *until,
            Role::Leaving(until) => Some(*until),
        };
        let done = match &self.role {
            Role::Main => self.endpoint.is_done(),
            Role::Further { .. } | Role::Leaving(_) => next.is_some_and(|until| until <= now),
        };
        if done {
            return Poll::Ready(());
        }
        if self.timer.poll(next, cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// The table of sockets has changed. Breaks if there is nothing left to do.
    fn look_for_changes(&mut self) -> ControlFlow<()> {
        self.generation = Some(self.endpoint.sockets.generation());
        if let Role::Leaving(_) = self.role {
            return ControlFlow::Continue(());
        }
        let Some(socket) = self.endpoint.sockets.get(self.id) else { return ControlFlow::Break(()) };
        if let Role::Further { until, .. } = &mut self.role
            && self.endpoint.sockets.is_left(self.id)
        {
            until.get_or_insert_with(|| super::now() + LEAVING);
        }
        if !Arc::ptr_eq(&socket, &self.socket) {
            let before = std::mem::replace(&mut self.socket, socket);
            self.unreachable = self.socket.clone().unreachable();
            self.pool = BufferPool::new(self.socket.receive_buffer_size(), MAX_FREE_BUFFERS);
            self.slots.clear();
            let role = Role::Leaving(super::now() + LEAVING);
            self.endpoint.spawn(Self::new(self.endpoint.clone(), role, self.id, before));
        }
        ControlFlow::Continue(())
    }

    /// Takes a filled buffer apart into runs of one connection ID.
    fn route_slot(&mut self, now: Instant, slot: usize) {
        let meta = self.meta[slot];
        let RecvMeta { remote, local_ip, ecn, len, segment_size } = meta;
        let data = self.slots[slot].as_ref();
        let sound = remote.port() != 0 && !is_for_many(remote.ip()) && !local_ip.is_some_and(is_for_many);
        let Some(data) = data.get(..len).filter(|data| !data.is_empty() && sound) else {
            return Counters::count(&self.endpoint.counters.malformed);
        };
        let path = FourTuple { socket: self.id, local_ip, remote };
        let segment_size = segment_size.clamp(1, len);
        let cid_len = self.endpoint.core.connection_ids.len();
        if len >= MIN_BURST && run(data, segment_size, cid_len) == len {
            // The usual case of bulk data: all of it for one connection, and large enough to be handed on as it is.
            let class = classify(&data[..segment_size.min(len)], cid_len, &SPOKEN);
            let mut buffer = std::mem::replace(&mut self.slots[slot], self.pool.take());
            buffer.truncate(len);
            let burst = Burst { received: now, path, ecn, segment_size, buffer };
            return self.dispatch(class, burst);
        }
        let mut start = 0;
        while start < len {
            let rest = &self.slots[slot].as_ref()[start..len];
            let run = run(rest, segment_size, cid_len);
            let class = classify(&rest[..segment_size.min(run)], cid_len, &SPOKEN);
            let buffer = Buffer::from(&rest[..run]);
            start += run;
            self.dispatch(class, Burst { received: now, path, ecn, segment_size, buffer });
        }
    }

    fn dispatch(&mut self, class: Class, burst: Burst) {
        let remote = burst.path.remote;
        let routes = &self.endpoint.routes;
        match class {
            Class::Short { dcid } => {
                let route = if dcid.is_empty() { routes.by_peer(remote) } else { routes.by_cid(&dcid) };
                match route {
                    Some(route) => self.hand_over(route, burst),
                    None => self.on_unknown(&dcid, burst),
                }
            }
            Class::Long { dcid, may_begin } => {
                let known = if dcid.is_empty() { routes.by_peer(remote) } else { routes.by_cid(&dcid) };
                match known.or_else(|| routes.by_initial(remote, dcid)) {
                    Some(route) => self.hand_over(route, burst),
                    None if may_begin => self.admit(&burst),
                    // Not worth a stateless reset, but perhaps one (RFC 9000 §10.3).
                    None => self.on_unknown(&ConnectionId::EMPTY, burst),
                }
            }
            Class::UnsupportedVersion { dcid, scid, .. } => {
                if let Some(config) = self.server() {
                    self.offer_versions(&burst, &config.versions, dcid, scid);
                }
            }
            Class::Drop => Counters::count(&self.endpoint.counters.malformed),
        }
    }

    fn hand_over(&self, route: Route, burst: Burst) {
        match route {
            Route::Inbox(inbox) => {
                let datagrams = burst.datagrams() as u64;
                if !inbox.push(burst) {
                    self.endpoint.counters.overflowed.fetch_add(datagrams, Ordering::Relaxed);
                }
            }
            Route::Tombstone(tombstone) => {
                if let Some(close) = tombstone.answer(burst.path.remote, burst.buffer.as_ref().len()) {
                    Counters::count(&self.endpoint.counters.closing_answers);
                    answer(&self.endpoint, burst.path, close);
                }
            }
        }
    }

    /// A stateless reset for one of ours, or a datagram that is worth one.
    fn on_unknown(&mut self, dcid: &ConnectionId, burst: Burst) {
        let datagram = burst.buffer.as_ref();
        let last = datagram.chunks(burst.segment_size).next_back().unwrap_or_default();
        let reset = ResetToken::trailing(last);
        if let Some(inbox) = reset.and_then(|token| self.endpoint.routes.by_reset(burst.path.remote, token)) {
            return self.hand_over(Route::Inbox(inbox), burst);
        }
        Counters::count(&self.endpoint.counters.unknown);
        if dcid.is_empty() || !self.answers.take(burst.received, &self.endpoint) {
            return;
        }
        let len = burst.segment_size.min(datagram.len());
        if let Some(reset) = stateless_reset(dcid, len, &self.endpoint.core.reset_key, &mut self.rng) {
            Counters::count(&self.endpoint.counters.stateless_resets);
            answer(&self.endpoint, burst.path, &reset);
        }
    }

    /// A client of another version: tells it which ones there are (RFC 9000 §6.1). The IDs are ranges of its datagram.
    fn offer_versions(
        &mut self,
        burst: &Burst,
        versions: &ServerVersions,
        dcid: Range<usize>,
        scid: Range<usize>,
    ) {
        let datagram = burst.buffer.as_ref();
        if let (Some(dcid), Some(scid)) = (datagram.get(dcid), datagram.get(scid))
            && self.answers.take(burst.received, &self.endpoint)
        {
            let offer: Vec<u32> = versions.offer().collect();
            let datagram = version_negotiation(dcid, scid, &offer, &mut self.rng);
            Counters::count(&self.endpoint.counters.version_negotiations);
            answer(&self.endpoint, burst.path, &datagram);
        }
    }

    /// How connections are accepted here: not at all on a socket that goes with the connection it is lent to.
    fn server(&self) -> Option<Arc<ServerConfig>> {
        match self.role {
            Role::Further { lent: true, .. } => None,
            _ => self.endpoint.server(),
        }
    }

    /// A client that nobody knows: opens its Initial, and queues it for the application.
    fn admit(&mut self, burst: &Burst) {
        let Some(config) = self.server() else {
            return Counters::count(&self.endpoint.counters.unknown);
        };
        if !config.transport.grease_quic_bit && !has_quic_bit(burst.buffer.as_ref()) {
            // Nobody was told that it means nothing (RFC 9000 §17.2).
            return Counters::count(&self.endpoint.counters.malformed);
        }
        let acceptable: Vec<u32> = config.versions.acceptable().collect();
        let cid_len = self.endpoint.core.connection_ids.len();
        if let Class::UnsupportedVersion { dcid, scid, .. } =
            classify(burst.buffer.as_ref(), cid_len, &acceptable)
        {
            return self.offer_versions(burst, &config.versions, dcid, scid);
        }
        let opened = Incoming::open(
            burst.received,
            super::wall_clock(),
            burst.path,
            burst.ecn,
            burst.buffer.as_ref(),
            self.endpoint.validation(&config),
        );
        match opened {
            Ok(incoming) => self.queue(burst.received, incoming, &config),
            Err(Rejected::InvalidToken(close)) => {
                Counters::count(&self.endpoint.counters.invalid_tokens);
                if self.answers.take(burst.received, &self.endpoint) {
                    answer(&self.endpoint, burst.path, &close);
                }
            }
            Err(Rejected::Drop) => Counters::count(&self.endpoint.counters.malformed),
        }
    }

    fn queue(&mut self, now: Instant, incoming: Incoming, config: &ServerConfig) {
        let endpoint = &self.endpoint;
        let (remote, dcid) = (incoming.path().remote, incoming.dcid());
        let handshaking = match self.let_in(&incoming, config) {
            Ok(handshaking) => handshaking,
            Err(reason) => {
                if let Some(reason) = reason {
                    endpoint.counters.turned_away(reason);
                }
                if self.answers.take(now, endpoint) && !accept::retry(endpoint, &incoming) {
                    accept::refuse(endpoint, &incoming);
                }
                return;
            }
        };
        let (limit, validated) = (endpoint.config.incoming_buffer_size, incoming.is_validated());
        let inbox = Inbox::of_stranger(limit, endpoint.admission.clone(), validated);
        let waiting = Waiting { incoming, inbox: Arc::new(inbox), handshaking };
        if !endpoint.routes.add_initial(&waiting.inbox, remote, dcid) {
            return;
        }
        // The endpoint is closed: whoever comes now learns it as long as there are not too many.
        if let Err(waiting) = endpoint.incoming.push(waiting) {
            if self.answers.take(now, endpoint) {
                waiting.refuse(endpoint);
            } else {
                waiting.ignore(endpoint);
            }
        }
    }

    /// Enters a client that wants a connection; or why not, where it is not the policy to ask everybody for Retry.
    fn let_in(&self, incoming: &Incoming, config: &ServerConfig) -> Result<Handshaking, Option<TurnedAway>> {
        let endpoint = &self.endpoint;
        let (queued, limits) = (endpoint.incoming.len(), &endpoint.config);
        if queued >= limits.max_incoming {
            return Err(Some(TurnedAway::Incoming));
        }
        if queued + endpoint.connections() >= limits.max_connections {
            return Err(Some(TurnedAway::Connections));
        }
        if endpoint.budget.pressure() == Pressure::Full {
            return Err(Some(TurnedAway::Budget));
        }
        let validated = incoming.is_validated();
        if !validated && endpoint.wants_retry(config.retry) {
            return Err((config.retry != RetryPolicy::Always).then_some(TurnedAway::Load));
        }
        let begun = endpoint.admission.begin(incoming.path().remote.ip(), validated, incoming.held());
        begun.map_err(|full| Some(TurnedAway::Full(full)))
    }
}

impl Future for EndpointTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.turn(cx)
    }
}

impl Drop for EndpointTask {
    fn drop(&mut self) {
        match self.role {
            Role::Main => self.endpoint.on_task_lost(),
            Role::Further { .. } => self.endpoint.sockets.remove(self.id),
            Role::Leaving(_) => {}
        }
    }
}

/// An address of many hosts at once, or of none: if each of them answered, one datagram would cause as many; and an answer
/// there would go to all of them.
fn is_for_many(ip: IpAddr) -> bool {
    ip.is_multicast() || ip.is_unspecified() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// How many bytes at the front are short-header datagrams of one connection ID; of others, the first datagram.
fn run(data: &[u8], segment_size: usize, cid_len: usize) -> usize {
    let is_short = |datagram: &[u8]| datagram.first().is_some_and(|first| first & 0x80 == 0);
    let first = data.len().min(segment_size);
    let Some(cid) = data.get(1..1 + cid_len).filter(|_| is_short(data)) else { return first };
    let same = |datagram: &&[u8]| is_short(datagram) && datagram.get(1..1 + cid_len) == Some(cid);
    data.chunks(segment_size).take_while(same).map(<[u8]>::len).sum::<usize>().max(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EndpointConfig;
    use crate::net::SocketSource;

    #[tokio::test]
    async fn a_task_that_comes_late_sees_that_the_endpoint_is_no_more() {
        let open = || {
            let source = SocketSource::from(std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
            source.open(Endpoint::udp_options(&EndpointConfig::default())).unwrap()
        };
        let endpoint = Arc::new(Endpoint::new(EndpointConfig::default(), open(), Rng::from_seed([1; 32])));
        let socket = open();
        let added = endpoint.sockets.add(socket.clone(), true).unwrap();
        endpoint.sockets.close();
        let task = EndpointTask::further(endpoint, added, socket);
        tokio::time::timeout(Duration::from_secs(20), task).await.expect("it ends");
    }

    #[test]
    fn a_run_is_short_headers_of_one_id() {
        let datagram = |first: u8, id: u8| [&[first][..], &[id; 8], &[0; 11]].concat();
        let (a, b, long) = (datagram(0x40, 1), datagram(0x40, 2), datagram(0xc0, 1));
        let burst = |datagrams: &[&Vec<u8>]| -> Vec<u8> {
            datagrams.iter().flat_map(|d| d.iter().copied()).collect()
        };
        assert_eq!(run(&burst(&[&a, &a, &a]), 20, 8), 60);
        assert_eq!(run(&burst(&[&a, &a, &b]), 20, 8), 40);
        assert_eq!(run(&burst(&[&a, &long]), 20, 8), 20);
        assert_eq!(run(&burst(&[&long, &long]), 20, 8), 20, "others one by one");
        assert_eq!(run(&burst(&[&a, &a])[..25], 20, 8), 20, "the last one is too short to hold an ID");
        assert_eq!(run(&[0x40, 1], 20, 8), 2);
        assert_eq!(run(&burst(&[&a, &b]), 20, 0), 40, "with empty IDs all are one run");
    }
}
