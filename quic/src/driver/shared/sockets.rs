//! The sockets of an endpoint.
//!
//! The first one, [`Sockets::MAIN`], is there as long as the endpoint; another may take its place. Further ones are
//! either bound by the application, and stay, or belong to connections that moved to them, and go with the last of those.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::signal::Signal;
use crate::driver::lock;
use crate::driver::sync::Mutex;
use crate::net::Socket;
use crate::packet::SocketId;

/// Which socket an identifier stands for.
pub struct Sockets {
    /// Goes up whenever `table` changes, so that whoever remembers a socket sees that it may be another now.
    generation: AtomicU32,
    table: Mutex<Vec<Option<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    /// `None`: its task has ended before its users. As long as these name it, its number stands for no other.
    socket: Option<Arc<dyn Socket>>,
    /// Wakes the task that receives from it; the main socket's task has the endpoint's signal.
    signal: Arc<Signal>,
    /// Connections that moved here; `None` for a socket that stays.
    users: Option<usize>,
}

/// A socket that was added.
#[derive(Debug)]
pub struct Added {
    /// What stands for it.
    pub id: SocketId,
    /// Tells the task that receives from it that it is no longer in the table.
    pub signal: Arc<Signal>,
    /// It goes with the connections that use it; no other may begin there.
    pub lent: bool,
}

impl Sockets {
    /// The socket that connections are opened over, and that the endpoint's address is that of.
    pub const MAIN: SocketId = SocketId(0);

    /// A table of one socket.
    pub fn new(main: Arc<dyn Socket>) -> Self {
        let entry = Entry { socket: Some(main), signal: Arc::default(), users: None };
        Self { generation: AtomicU32::new(0), table: Mutex::new(vec![Some(entry)]) }
    }

    /// Changes when any socket does.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// The socket, unless it is closed.
    pub fn get(&self, id: SocketId) -> Option<Arc<dyn Socket>> {
        lock(&self.table).get(usize::from(id.0))?.as_ref()?.socket.clone()
    }

    /// The address of the main socket.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.get(Self::MAIN).ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// Enters a socket: one that stays, or one for a connection, which goes with its last [`SocketUse`].
    ///
    /// # Errors
    /// When there are as many as can be told apart, or the endpoint is no more.
    pub fn add(&self, socket: Arc<dyn Socket>, stays: bool) -> io::Result<Added> {
        let signal = Arc::<Signal>::default();
        let users = if stays { None } else { Some(0) };
        let entry = Some(Entry { socket: Some(socket), signal: signal.clone(), users });
        let mut table = lock(&self.table);
        if table.is_empty() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let index = table.iter().position(Option::is_none).unwrap_or(table.len());
        let Ok(id) = u16::try_from(index) else {
            return Err(io::Error::other("the endpoint has too many sockets"));
        };
        match table.get_mut(index) {
            Some(free) => *free = entry,
            None => table.push(entry),
        }
        self.generation.fetch_add(1, Ordering::Release);
        Ok(Added { id: SocketId(id), signal, lent: !stays })
    }

    /// Puts another socket in the place of the main one.
    ///
    /// # Errors
    /// When the endpoint is no more.
    pub fn replace_main(&self, socket: Arc<dyn Socket>) -> io::Result<()> {
        let _before = {
            let mut table = lock(&self.table);
            let entry = table.first_mut().and_then(Option::as_mut).ok_or(io::ErrorKind::NotConnected)?;
            self.generation.fetch_add(1, Ordering::Release);
            entry.socket.replace(socket)
        };
        Ok(())
    }

    /// Keeps a socket open.
    pub fn hold(self: &Arc<Self>, id: SocketId) -> SocketUse {
        if let Some(Some(users)) = lock(&self.table)
            .get_mut(usize::from(id.0))
            .and_then(Option::as_mut)
            .map(|entry| entry.users.as_mut())
        {
            *users += 1;
        }
        SocketUse { sockets: self.clone(), id }
    }

    fn release(&self, id: SocketId) {
        let signal = {
            let mut table = lock(&self.table);
            let Some(slot) = table.get_mut(usize::from(id.0)) else { return };
            let Some(entry) = slot else { return };
            let Some(users) = &mut entry.users else { return };
            *users -= 1;
            if *users > 0 {
                return;
            }
            self.generation.fetch_add(1, Ordering::Release);
            let signal = entry.signal.clone();
            if entry.socket.is_none() {
                *slot = None;
            }
            signal
        };
        signal.set();
    }

    /// True for a socket that no connection uses any more and that is not to stay.
    pub fn is_left(&self, id: SocketId) -> bool {
        let table = lock(&self.table);
        table.get(usize::from(id.0)).and_then(Option::as_ref).is_none_or(|entry| entry.users == Some(0))
    }

    /// Takes a socket out: its task has ended. Its number is free when no connection uses it any more.
    pub fn remove(&self, id: SocketId) {
        let _removed = {
            let mut table = lock(&self.table);
            self.generation.fetch_add(1, Ordering::Release);
            match table.get_mut(usize::from(id.0)) {
                Some(Some(entry)) if entry.users.is_some_and(|users| users > 0) => entry.socket.take(),
                Some(slot) => slot.take().and_then(|entry| entry.socket),
                None => None,
            }
        };
    }

    /// Takes all out: the endpoint is no more. The tasks that receive from them learn of it.
    pub fn close(&self) {
        let table = {
            let mut table = lock(&self.table);
            self.generation.fetch_add(1, Ordering::Release);
            std::mem::take(&mut *table)
        };
        table.iter().flatten().for_each(|entry| entry.signal.set());
    }

    /// The socket to open a connection over: the first that stays and speaks the family of the server's address. What is
    /// lent to another connection goes with that.
    pub fn towards(&self, remote: SocketAddr) -> Option<SocketId> {
        let sockets: Vec<_> = {
            let table = lock(&self.table);
            let stays = |entry: &&Entry| entry.users.is_none();
            table
                .iter()
                .map(|entry| entry.as_ref().filter(stays).and_then(|entry| entry.socket.clone()))
                .collect()
        };
        let rank = |socket: &dyn Socket| match (socket.local_addr(), remote) {
            (Ok(SocketAddr::V4(_)), SocketAddr::V6(_)) => None,
            // Bound to one address it speaks IPv6 alone, unless the system knows better.
            (Ok(SocketAddr::V6(local)), SocketAddr::V4(_)) if !local.ip().is_unspecified() => Some(1),
            _ => Some(0),
        };
        let ranked = (0..).zip(&sockets).filter_map(|(id, socket)| Some((rank(&**socket.as_ref()?)?, id)));
        ranked.min().map(|(_, id)| SocketId(id))
    }
}

/// A connection uses a socket. It is closed some time after the last of them is dropped.
#[derive(Debug)]
pub struct SocketUse {
    sockets: Arc<Sockets>,
    /// Which one.
    pub id: SocketId,
}

impl Drop for SocketUse {
    fn drop(&mut self) {
        self.sockets.release(self.id);
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sockets").field(&lock(&self.table)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use super::*;
    use crate::driver::inbox::Inbox;
    use crate::driver::routes::{Entries, Routes};
    use crate::driver::testing::CountingWaker;
    use crate::net::{RecvMeta, SocketFuture, Transmit};
    use crate::packet::{Buffer, FourTuple};
    use crate::proto::Tombstone;

    #[derive(Debug)]
    struct At(&'static str);

    impl Socket for At {
        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            _: &mut [Buffer],
            _: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn try_send(&self, _: &Transmit<'_>) -> io::Result<()> {
            Ok(())
        }

        fn writable(self: Arc<Self>) -> SocketFuture<io::Result<()>> {
            Box::pin(std::future::ready(Ok(())))
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(self.0.parse().unwrap())
        }
    }

    fn sockets(addrs: &[&'static str]) -> Sockets {
        let sockets = Sockets::new(Arc::new(At(addrs[0])));
        for addr in &addrs[1..] {
            sockets.add(Arc::new(At(addr)), true).unwrap();
        }
        sockets
    }

    #[test]
    fn a_socket_of_the_right_family_is_found() {
        let (v4, v6) = ("192.0.2.9:443".parse().unwrap(), "[2001:db8::9]:443".parse().unwrap());
        for (addrs, to_v4, to_v6) in [
            (&["0.0.0.0:1"][..], Some(0), None),
            (&["[::]:1"], Some(0), Some(0)),
            (&["[::1]:1"], Some(0), Some(0)),
            (&["0.0.0.0:1", "[::1]:1"], Some(0), Some(1)),
            (&["[::1]:1", "0.0.0.0:1"], Some(1), Some(0)),
            (&["[::]:1", "0.0.0.0:1"], Some(0), Some(0)),
        ] {
            let sockets = sockets(addrs);
            assert_eq!(sockets.towards(v4), to_v4.map(SocketId), "{addrs:?}");
            assert_eq!(sockets.towards(v6), to_v6.map(SocketId), "{addrs:?}");
        }
    }

    #[test]
    fn no_connection_is_opened_over_a_socket_that_goes_with_another() {
        let sockets = Arc::new(sockets(&["0.0.0.0:1"]));
        let lent = sockets.add(Arc::new(At("[::]:2")), false).unwrap();
        let _held = sockets.hold(lent.id);
        let v6 = "[2001:db8::9]:443".parse().unwrap();
        assert_eq!(sockets.towards(v6), None);
        let stays = sockets.add(Arc::new(At("[::]:3")), true).unwrap();
        assert_eq!(sockets.towards(v6), Some(stays.id));
        assert!(lent.lent && !stays.lent);
    }

    #[test]
    fn a_socket_is_left_with_its_last_user() {
        let sockets = Arc::new(sockets(&["127.0.0.1:1", "127.0.0.1:2"]));
        let added = sockets.add(Arc::new(At("127.0.0.1:3")), false).unwrap();
        let (waker, count) = CountingWaker::pair();
        let first = sockets.hold(added.id);
        let (second, stays) = (sockets.hold(added.id), sockets.hold(SocketId(1)));
        added.signal.clear(&waker);
        drop((first, stays));
        assert!(!sockets.is_left(added.id) && !sockets.is_left(SocketId(1)));
        drop(second);
        assert!(sockets.is_left(added.id) && count.wakes() == 1);
        assert!(sockets.get(added.id).is_some(), "what was under way is still received and answered");
        sockets.remove(added.id);
        assert!(sockets.is_left(added.id));
        drop(sockets.hold(added.id));
    }

    #[test]
    fn the_number_of_a_socket_that_failed_is_not_given_to_another_while_it_is_used() {
        let sockets = Arc::new(sockets(&["127.0.0.1:1"]));
        let failed = sockets.add(Arc::new(At("127.0.0.1:2")), false).unwrap();
        let users = [sockets.hold(failed.id), sockets.hold(failed.id)];
        sockets.remove(failed.id);
        assert!(sockets.get(failed.id).is_none());
        let next = sockets.add(Arc::new(At("127.0.0.1:3")), false).unwrap();
        assert_ne!(next.id, failed.id);
        let held = sockets.hold(next.id);
        drop(users);
        assert!(!sockets.is_left(next.id));
        let last = sockets.add(Arc::new(At("127.0.0.1:4")), true).unwrap();
        assert_eq!(last.id, failed.id, "nobody uses it any more");
        drop(held);
        assert!(sockets.is_left(next.id));
    }

    /// Late packets of a closed connection come where it was.
    #[test]
    fn a_tombstone_keeps_its_socket() {
        let sockets = Arc::new(sockets(&["127.0.0.1:1"]));
        let added = sockets.add(Arc::new(At("127.0.0.1:2")), false).unwrap();
        let entries = Entries { sockets: vec![sockets.hold(added.id)], ..Entries::default() };
        let (routes, until) = (Routes::default(), crate::driver::now());
        let path = FourTuple { socket: added.id, local_ip: None, remote: ([127, 0, 0, 1], 9).into() };
        let left = Tombstone { close: None, path, credit: 0, until };
        routes.bury(&Arc::new(Inbox::new(0)), entries, left);
        assert!(!sockets.is_left(added.id));
        routes.expire(until);
        assert!(sockets.is_left(added.id));
    }

    #[test]
    fn sockets_come_and_go() {
        let sockets = sockets(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        let before = sockets.generation();
        sockets.remove(SocketId(1));
        assert!(sockets.get(SocketId(1)).is_none() && sockets.generation() != before);
        let added = sockets.add(Arc::new(At("127.0.0.1:4")), true).unwrap();
        assert_eq!(added.id, SocketId(1));
        assert_eq!(sockets.get(SocketId(1)).unwrap().local_addr().unwrap().port(), 4);
        sockets.replace_main(Arc::new(At("127.0.0.1:5"))).unwrap();
        assert_eq!(sockets.local_addr().unwrap().port(), 5);
        sockets.close();
        assert!(sockets.get(SocketId(2)).is_none() && sockets.local_addr().is_err());
        assert!(sockets.add(Arc::new(At("127.0.0.1:4")), true).is_err());
        assert!(sockets.replace_main(Arc::new(At("127.0.0.1:4"))).is_err());
    }
}
