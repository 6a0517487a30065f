//! Who gets a datagram.
//!
//! | entry | put in by | taken out |
//! |---|---|---|
//! | a connection ID of ours | the connection's task, before it announces the ID | when the ID is retired, or the connection forgotten |
//! | address and original destination ID | the endpoint task, with the first Initial | when the handshake is confirmed, or it comes to nothing |
//! | address and stateless reset token | the connection's task | when the token goes out of use |
//! | address alone | whoever connects, where our IDs are empty | with the connection |
//!
//! An entry is put in only where there is none that leads to a connection, and taken out only by whom it belongs to. What is left of a closed
//! connection, a [`Tombstone`], takes the place of its entries until it expires.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;

use super::inbox::Inbox;
use super::lock;
use super::shared::sockets::SocketUse;
use crate::driver::sync::{AtomicU64, Mutex};
use crate::packet::{ConnectionId, ResetToken};
use crate::proto;

const SHARDS: usize = 8;

/// Beyond so many closed connections the one that would go first goes at once.
const MAX_TOMBSTONES: usize = 1 << 16;

/// The routes of an endpoint, over all of its sockets.
#[derive(Debug, Default)]
pub struct Routes {
    /// By our own connection IDs, which peers do not choose: a fast hash will do.
    cids: [Mutex<HashMap<ConnectionId, Route, foldhash::fast::RandomState>>; SHARDS],
    initials: Mutex<HashMap<(SocketAddr, ConnectionId), Route>>,
    resets: Mutex<HashMap<(SocketAddr, ResetToken), Arc<Inbox>>>,
    peers: Mutex<HashMap<SocketAddr, Route>>,
    tombstones: Mutex<BTreeMap<(Instant, u64), Arc<Tombstone>>>,
    next_tombstone: AtomicU64,
}

/// Where a datagram goes.
#[derive(Debug, Clone)]
pub enum Route {
    /// To a connection.
    Inbox(Arc<Inbox>),
    /// To what is left of one.
    Tombstone(Arc<Tombstone>),
}

impl Route {
    fn leads_to(&self, inbox: &Arc<Inbox>) -> bool {
        matches!(self, Self::Inbox(other) if Arc::ptr_eq(inbox, other))
    }

    fn is_answered_by(&self, tombstone: &Arc<Tombstone>) -> bool {
        matches!(self, Self::Tombstone(other) if Arc::ptr_eq(tombstone, other))
    }
}

/// The entries that lead to one connection, kept by its task.
#[derive(Debug, Default)]
pub struct Entries {
    /// Connection IDs of ours.
    pub cids: Vec<ConnectionId>,
    /// The client's address and its original destination ID.
    pub initial: Option<(SocketAddr, ConnectionId)>,
    /// Stateless reset tokens.
    pub resets: Vec<(SocketAddr, ResetToken)>,
    /// The peer's address, where our ID is empty.
    pub peer: Option<SocketAddr>,
    /// The sockets that were lent to the connection. They stay as long as something may arrive there for it.
    pub sockets: Vec<SocketUse>,
}

/// What is left of a closed connection.
#[derive(Debug)]
pub struct Tombstone {
    close: Option<Bytes>,
    remote: SocketAddr,
    entries: Entries,
    received: AtomicU64,
    /// Bytes that may be sent to `remote` before more come from there.
    credit: AtomicU64,
}

/// So many bytes are sent for one received (RFC 9000 §10.2.1).
const AMPLIFICATION_FACTOR: u64 = 3;

impl Tombstone {
    /// What to answer `bytes` from this address with: the more have come, the fewer are answered, and never with more
    /// than three times as many bytes as came from there (RFC 9000 §10.2.1).
    pub fn answer(&self, remote: SocketAddr, bytes: usize) -> Option<&Bytes> {
        let received = self.received.fetch_add(1, Ordering::Relaxed) + 1;
        let close = self.close.as_ref()?;
        let (more, cost) = (AMPLIFICATION_FACTOR * bytes as u64, close.len() as u64);
        if remote != self.remote {
            // No account is kept for an address that the connection has not known: each answer is paid at once.
            return (received.is_power_of_two() && cost <= more).then_some(close);
        }
        self.credit.fetch_add(more, Ordering::Relaxed);
        let pay = |credit: u64| credit.checked_sub(cost);
        let paid = received.is_power_of_two()
            && self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok();
        paid.then_some(close)
    }
}

impl Routes {
    fn shard(&self, cid: &ConnectionId) -> &Mutex<HashMap<ConnectionId, Route, foldhash::fast::RandomState>> {
        let last = cid.as_slice().last().copied().unwrap_or_default();
        &self.cids[usize::from(last) % SHARDS]
    }

    /// By a connection ID of ours.
    pub fn by_cid(&self, cid: &ConnectionId) -> Option<Route> {
        lock(self.shard(cid)).get(cid).cloned()
    }

    /// By the address of a client and the destination ID that it chose.
    pub fn by_initial(&self, remote: SocketAddr, cid: ConnectionId) -> Option<Route> {
        lock(&self.initials).get(&(remote, cid)).cloned()
    }

    /// By the end of a datagram that nobody knows.
    pub fn by_reset(&self, remote: SocketAddr, token: ResetToken) -> Option<Arc<Inbox>> {
        lock(&self.resets).get(&(remote, token)).cloned()
    }

    /// By the address alone.
    pub fn by_peer(&self, remote: SocketAddr) -> Option<Route> {
        lock(&self.peers).get(&remote).cloned()
    }

    /// Routes a connection ID of ours. False if it is taken.
    pub fn add_cid(&self, inbox: &Arc<Inbox>, entries: &mut Entries, cid: ConnectionId) -> bool {
        entries.cids.push(cid);
        insert(self.shard(&cid), cid, inbox)
    }

    /// Routes all that comes from an address, where our own IDs are empty. False if it is taken.
    pub fn add_peer(&self, inbox: &Arc<Inbox>, entries: &mut Entries, remote: SocketAddr) -> bool {
        let free = insert(&self.peers, remote, inbox);
        if free {
            entries.peer = Some(remote);
        }
        free
    }

    /// Routes what a client sends before it knows an ID of ours. False if it is taken.
    pub fn add_initial(&self, inbox: &Arc<Inbox>, remote: SocketAddr, cid: ConnectionId) -> bool {
        insert(&self.initials, (remote, cid), inbox)
    }

    /// Routes stateless resets.
    pub fn add_reset(
        &self,
        inbox: &Arc<Inbox>,
        entries: &mut Entries,
        remote: SocketAddr,
        token: ResetToken,
    ) {
        lock(&self.resets).entry((remote, token)).or_insert_with(|| inbox.clone());
        entries.resets.push((remote, token));
    }

    /// A connection ID is out of use.
    pub fn remove_cid(&self, inbox: &Arc<Inbox>, entries: &mut Entries, cid: ConnectionId) {
        entries.cids.retain(|known| *known != cid);
        remove(self.shard(&cid), &cid, |route| route.leads_to(inbox));
    }

    /// The client knows an ID of ours now, or there will be no connection.
    pub fn remove_initial(&self, inbox: &Arc<Inbox>, remote: SocketAddr, cid: ConnectionId) {
        remove(&self.initials, &(remote, cid), |route| route.leads_to(inbox));
    }

    /// A reset token is out of use.
    pub fn remove_reset(
        &self,
        inbox: &Arc<Inbox>,
        entries: &mut Entries,
        remote: SocketAddr,
        token: ResetToken,
    ) {
        entries.resets.retain(|known| *known != (remote, token));
        remove(&self.resets, &(remote, token), |other| Arc::ptr_eq(other, inbox));
    }

    /// Takes out all entries of a connection.
    pub fn remove_all(&self, inbox: &Arc<Inbox>, entries: &Entries) {
        let mine = |route: &Route| route.leads_to(inbox);
        entries.cids.iter().for_each(|cid| remove(self.shard(cid), cid, mine));
        entries.initial.iter().for_each(|key| remove(&self.initials, key, mine));
        entries.peer.iter().for_each(|key| remove(&self.peers, key, mine));
        for key in &entries.resets {
            remove(&self.resets, key, |other| Arc::ptr_eq(other, inbox));
        }
    }

    /// Replaces the entries of a closed connection by its tombstone. True if it is the first to expire.
    pub fn bury(&self, inbox: &Arc<Inbox>, mut entries: Entries, left: proto::Tombstone) -> bool {
        for key in std::mem::take(&mut entries.resets) {
            remove(&self.resets, &key, |other| Arc::ptr_eq(other, inbox));
        }
        let proto::Tombstone { close, path, credit, until } = left;
        let tombstone = Arc::new(Tombstone {
            close,
            remote: path.remote,
            entries,
            received: AtomicU64::new(0),
            credit: AtomicU64::new(credit),
        });
        let entries = &tombstone.entries;
        entries.cids.iter().for_each(|cid| replace(self.shard(cid), cid, inbox, &tombstone));
        entries.initial.iter().for_each(|key| replace(&self.initials, key, inbox, &tombstone));
        entries.peer.iter().for_each(|key| replace(&self.peers, key, inbox, &tombstone));
        let key = (until, self.next_tombstone.fetch_add(1, Ordering::Relaxed));
        let (first, surplus) = {
            let mut tombstones = lock(&self.tombstones);
            tombstones.insert(key, tombstone);
            let first = tombstones.first_key_value().is_some_and(|(first, _)| *first == key);
            (first, if tombstones.len() > MAX_TOMBSTONES { tombstones.pop_first() } else { None })
        };
        if let Some((_, surplus)) = surplus {
            self.forget(&surplus);
        }
        first
    }

    /// Forgets closed connections whose time has come; returns when the next one's does.
    pub fn expire(&self, now: Instant) -> Option<Instant> {
        loop {
            let expired = {
                let mut tombstones = lock(&self.tombstones);
                match tombstones.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    Some(first) => return Some(first.key().0),
                    None => return None,
                }
            };
            self.forget(&expired);
        }
    }

    fn forget(&self, tombstone: &Arc<Tombstone>) {
        let mine = |route: &Route| route.is_answered_by(tombstone);
        let entries = &tombstone.entries;
        entries.cids.iter().for_each(|cid| remove(self.shard(cid), cid, mine));
        entries.initial.iter().for_each(|key| remove(&self.initials, key, mine));
        entries.peer.iter().for_each(|key| remove(&self.peers, key, mine));
    }

    /// True if nothing is routed, not even to a tombstone.
    pub fn is_empty(&self) -> bool {
        self.cids.iter().all(|shard| lock(shard).is_empty())
            && lock(&self.initials).is_empty()
            && lock(&self.resets).is_empty()
            && lock(&self.peers).is_empty()
            && lock(&self.tombstones).is_empty()
    }

    /// How many entries there are, and to how many closed connections they lead.
    pub fn count(&self) -> (usize, usize) {
        let cids: usize = self.cids.iter().map(|shard| lock(shard).len()).sum();
        let others = [lock(&self.initials).len(), lock(&self.resets).len(), lock(&self.peers).len()];
        (cids + others.iter().sum::<usize>(), lock(&self.tombstones).len())
    }

    /// All inboxes that something leads to.
    pub fn inboxes(&self) -> Vec<Arc<Inbox>> {
        fn collect<K, S>(map: &Mutex<HashMap<K, Route, S>>, out: &mut Vec<Arc<Inbox>>) {
            out.extend(lock(map).values().filter_map(|route| match route {
                Route::Inbox(inbox) => Some(inbox.clone()),
                Route::Tombstone(_) => None,
            }));
        }
        let mut inboxes = Vec::new();
        self.cids.iter().for_each(|shard| collect(shard, &mut inboxes));
        collect(&self.initials, &mut inboxes);
        collect(&self.peers, &mut inboxes);
        inboxes
    }
}

fn insert<K: Hash + Eq, S: std::hash::BuildHasher>(
    map: &Mutex<HashMap<K, Route, S>>,
    key: K,
    inbox: &Arc<Inbox>,
) -> bool {
    let mut map = lock(map);
    let free = !matches!(map.get(&key), Some(Route::Inbox(_)));
    if free {
        map.insert(key, Route::Inbox(inbox.clone()));
    }
    free
}

fn remove<K: Hash + Eq, V, S: std::hash::BuildHasher>(
    map: &Mutex<HashMap<K, V, S>>,
    key: &K,
    mine: impl Fn(&V) -> bool,
) {
    let _removed = {
        let mut map = lock(map);
        if map.get(key).is_some_and(mine) { map.remove(key) } else { None }
    };
}

fn replace<K: Hash + Eq, S: std::hash::BuildHasher>(
    map: &Mutex<HashMap<K, Route, S>>,
    key: &K,
    inbox: &Arc<Inbox>,
    tombstone: &Arc<Tombstone>,
) {
    if let Some(route) = lock(map).get_mut(key)
        && route.leads_to(inbox)
    {
        *route = Route::Tombstone(tombstone.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::packet::{FourTuple, SocketId};

    fn cid(byte: u8) -> ConnectionId {
        ConnectionId::try_from(&[byte; 8][..]).unwrap()
    }

    fn remote() -> SocketAddr {
        ([127, 0, 0, 1], 9).into()
    }

    #[test]
    fn an_entry_belongs_to_whoever_came_first() {
        let routes = Routes::default();
        let (a, b) = (Arc::new(Inbox::new(0)), Arc::new(Inbox::new(0)));
        let (mut of_a, mut of_b) = (Entries::default(), Entries::default());
        assert!(routes.add_cid(&a, &mut of_a, cid(1)));
        assert!(!routes.add_cid(&b, &mut of_b, cid(1)));
        routes.remove_cid(&b, &mut of_b, cid(1));
        assert!(routes.by_cid(&cid(1)).is_some_and(|route| route.leads_to(&a)));
        routes.remove_cid(&a, &mut of_a, cid(1));
        assert!(routes.by_cid(&cid(1)).is_none() && routes.is_empty());
    }

    #[test]
    fn all_kinds_of_entries_come_and_go() {
        let routes = Routes::default();
        let inbox = Arc::new(Inbox::new(0));
        let mut entries = Entries { initial: Some((remote(), cid(7))), ..Entries::default() };
        let token = ResetToken([1; 16]);
        assert!(routes.add_cid(&inbox, &mut entries, cid(1)));
        assert!(routes.add_peer(&inbox, &mut entries, remote()));
        assert!(routes.add_initial(&inbox, remote(), cid(7)));
        routes.add_reset(&inbox, &mut entries, remote(), token);
        assert!(routes.by_peer(remote()).is_some() && routes.by_initial(remote(), cid(7)).is_some());
        assert!(routes.by_reset(remote(), token).is_some());
        assert!(routes.by_reset(remote(), ResetToken([2; 16])).is_none());
        assert_eq!((routes.inboxes().len(), routes.count()), (3, (4, 0)));
        routes.remove_all(&inbox, &entries);
        assert!(routes.is_empty());
    }

    fn left(close: &'static [u8], credit: u64, until: Instant) -> proto::Tombstone {
        let path = FourTuple { socket: SocketId(0), local_ip: None, remote: remote() };
        proto::Tombstone { close: Some(Bytes::from_static(close)), path, credit, until }
    }

    /// The tombstone of a connection that said `close`.
    fn buried(routes: &Routes, left: proto::Tombstone) -> Arc<Tombstone> {
        let inbox = Arc::new(Inbox::new(0));
        let mut entries = Entries::default();
        assert!(routes.add_cid(&inbox, &mut entries, cid(1)));
        assert!(routes.bury(&inbox, entries, left));
        let Some(Route::Tombstone(tombstone)) = routes.by_cid(&cid(1)) else { panic!() };
        tombstone
    }

    // covers: R9000-10.2-03 R9000-10.2.1-01
    #[test]
    fn a_tombstone_answers_less_and_less_and_expires() {
        let routes = Routes::default();
        let start = crate::driver::now();
        let until = start + Duration::from_secs(1);
        let tombstone = buried(&routes, left(b"bye", 3600, until));
        let answers = (0..100).filter(|_| tombstone.answer(remote(), 30).is_some()).count();
        assert_eq!(answers, 7);
        assert_eq!(routes.expire(start), Some(until));
        assert_eq!(routes.expire(until), None);
        assert!(routes.is_empty());
    }

    // covers: R9000-10.2.1-02 R9000-10.2.1-03
    #[test]
    fn a_tombstone_sends_no_more_than_three_times_what_it_got() {
        let until = crate::driver::now();
        let elsewhere: SocketAddr = ([192, 0, 2, 1], 9).into();
        for credit in [0, 100, 3600] {
            let routes = Routes::default();
            let tombstone = buried(&routes, left(&[7; 200], credit, until));
            let (mut received, mut sent) = (0, 0);
            for (index, len) in [20, 21, 30, 500, 40, 1200, 20].into_iter().cycle().take(1000).enumerate() {
                if index % 3 == 2 {
                    let reflected = tombstone.answer(elsewhere, len).map_or(0, Bytes::len);
                    assert!(reflected <= 3 * len, "{reflected} bytes to somebody who sent {len}");
                    continue;
                }
                received += len as u64;
                sent += tombstone.answer(remote(), len).map_or(0, |close| close.len() as u64);
                assert!(sent <= 3 * received + credit, "{sent} bytes for {received}");
            }
            assert!(sent > 0);
        }
    }
}
