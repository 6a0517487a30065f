//! Sends the batches of one connection. A batch that the socket has no room for is state, not an await.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::shared::sockets::Sockets;
use super::tx_pool::TxPool;
use crate::net::{Socket, SocketFuture, Transmit, is_too_long};
use crate::packet::{FourTuple, SocketId, TxBatch};

/// What became of a batch.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Sent {
    /// It is gone; with the last error, if some of it was not sent.
    Done(Option<io::ErrorKind>),
    /// It waits until the socket has room.
    Parked,
}

/// The sending side of a connection.
pub struct Transmitter {
    outlet: Outlet,
    batch: Option<TxBatch>,
    /// Bytes of the batch that are dealt with.
    offset: usize,
    /// The rest of the batch goes out datagram by datagram.
    split: bool,
    failed: Option<io::ErrorKind>,
    /// The system refused a datagram of this size, bytes.
    too_long: Option<(FourTuple, usize)>,
    /// Resolves when the socket has room.
    blocked: Option<SocketFuture<io::Result<()>>>,
    /// How often in a row the socket said that it had room and then had none.
    vain: u32,
    /// Segmentation offload has failed towards this address.
    no_offload: Option<SocketAddr>,
}

/// The socket that was used last, so that the table is asked only when that may have changed.
struct Outlet {
    sockets: Arc<Sockets>,
    generation: u32,
    id: SocketId,
    socket: Option<Arc<dyn Socket>>,
}

impl Outlet {
    fn get(&mut self, id: SocketId) -> Option<&Arc<dyn Socket>> {
        if self.is_stale() || self.id != id {
            self.generation = self.sockets.generation();
            (self.id, self.socket) = (id, self.sockets.get(id));
        }
        self.socket.as_ref()
    }

    fn is_stale(&self) -> bool {
        self.generation != self.sockets.generation()
    }
}

impl Transmitter {
    /// Sends on these sockets, each datagram on that of its path.
    pub fn new(sockets: Arc<Sockets>) -> Self {
        let generation = sockets.generation();
        let socket = sockets.get(Sockets::MAIN);
        Self {
            outlet: Outlet { sockets, generation, id: Sockets::MAIN, socket },
            batch: None,
            offset: 0,
            split: false,
            failed: None,
            too_long: None,
            blocked: None,
            vain: 0,
            no_offload: None,
        }
    }

    /// An empty batch to fill, most likely for `path`; `None` while one is parked.
    pub fn batch(&mut self, pool: &TxPool, path: FourTuple) -> Option<&mut TxBatch> {
        if self.blocked.is_some() {
            return None;
        }
        if self.batch.is_none() {
            let offload = self.no_offload != Some(path.remote);
            let socket = self.outlet.get(path.socket).filter(|_| offload);
            self.batch = Some(pool.take(socket.map_or(1, |socket| socket.max_send_segments())));
        }
        self.batch.as_mut()
    }

    /// Sends what was filled.
    pub fn send(&mut self) -> Sent {
        let Some(batch) = &mut self.batch else { return Sent::Done(None) };
        // It was filled for another socket, perhaps with more than this one takes at once.
        self.split |= self.outlet.is_stale();
        let (bytes, segment_size) = (batch.bytes(), batch.segment_size());
        while let (Some(meta), Some(rest @ [_, ..])) = (batch.meta(), bytes.get(self.offset..)) {
            let len = if self.split { rest.len().min(segment_size) } else { rest.len() };
            let transmit = Transmit {
                remote: meta.path.remote,
                local_ip: meta.path.local_ip,
                ecn: meta.ecn,
                contents: rest.get(..len).unwrap_or(rest),
                segment_size,
            };
            let Some(socket) = self.outlet.get(meta.path.socket) else {
                tracing::debug!(remote = %meta.path.remote, "the socket of this path is closed");
                self.failed = Some(io::ErrorKind::NotConnected);
                break;
            };
            match socket.try_send(&transmit) {
                Ok(()) => {
                    self.vain = 0;
                    self.offset += len;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = Some(wait(socket, self.vain));
                    return Sent::Parked;
                }
                Err(error) if len > segment_size => {
                    tracing::debug!(%error, remote = %meta.path.remote, "sending datagram by datagram");
                    if !is_too_long(&error) {
                        self.no_offload = Some(meta.path.remote);
                    }
                    self.split = true;
                }
                Err(error) => {
                    tracing::debug!(%error, remote = %meta.path.remote, len, "datagram not sent");
                    if is_too_long(&error) {
                        self.too_long = Some((meta.path, len));
                        // It was the size: some kernels say so of a batch in the words for missing offload.
                        self.no_offload = None;
                    } else {
                        self.failed = Some(error.kind());
                    }
                    self.offset += len;
                }
            }
        }
        batch.clear();
        (self.offset, self.split) = (0, false);
        Sent::Done(self.failed.take())
    }

    /// Waits for room, and goes on with the parked batch; ready when none is parked.
    pub fn poll_unblocked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(blocked) = &mut self.blocked {
            // Another socket may be in the place of the one that had no room.
            if !self.outlet.is_stale() && blocked.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.blocked = None;
            self.vain += 1;
            self.send();
        }
        Poll::Ready(())
    }

    /// The path and size of a datagram that was too long for the system, if there was one since the last call.
    pub fn take_too_long(&mut self) -> Option<(FourTuple, usize)> {
        self.too_long.take()
    }

    /// True while a batch is parked.
    pub fn is_parked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Gives the buffer back, unless it is in use.
    pub fn rest(&mut self, pool: &TxPool) {
        if self.blocked.is_none()
            && let Some(batch) = self.batch.take()
        {
            pool.give(batch);
        }
    }
}

/// Waits until the socket has room. After an error the system may say so forever: then a short time does.
fn wait(socket: &Arc<dyn Socket>, vain: u32) -> SocketFuture<io::Result<()>> {
    if vain < 2 {
        return socket.clone().writable();
    }
    Box::pin(async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use crate::driver::sync::Mutex;
    use std::collections::VecDeque;

    use super::*;
    use crate::driver::lock;
    use crate::net::RecvMeta;
    use crate::packet::{Buffer, TxMeta};

    /// Answers sends from a script; afterwards all succeed.
    #[derive(Debug, Default)]
    struct Scripted {
        script: Mutex<VecDeque<io::Error>>,
        sent: Mutex<Vec<usize>>,
    }

    impl Socket for Scripted {
        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            _: &mut [Buffer],
            _: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            if let Some(error) = lock(&self.script).pop_front() {
                return Err(error);
            }
            lock(&self.sent).push(transmit.contents.len());
            Ok(())
        }

        fn writable(self: Arc<Self>) -> SocketFuture<io::Result<()>> {
            Box::pin(std::future::ready(Ok(())))
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(([127, 0, 0, 1], 1).into())
        }

        fn max_send_segments(&self) -> usize {
            64
        }
    }

    fn remote() -> SocketAddr {
        ([127, 0, 0, 1], 2).into()
    }

    fn path() -> FourTuple {
        FourTuple { socket: Sockets::MAIN, local_ip: None, remote: remote() }
    }

    fn transmitter(script: impl IntoIterator<Item = io::Error>) -> (Arc<Scripted>, Transmitter) {
        let script = Mutex::new(script.into_iter().collect());
        let socket = Arc::new(Scripted { script, ..Scripted::default() });
        (socket.clone(), Transmitter::new(Arc::new(Sockets::new(socket))))
    }

    fn fill(transmitter: &mut Transmitter, pool: &TxPool, datagrams: usize) {
        let path = path();
        let batch = transmitter.batch(pool, path).unwrap();
        for _ in 0..datagrams {
            batch.begin(TxMeta { path, ecn: None }).extend([0; 100]);
            batch.finish();
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_batch_that_is_too_long_for_the_system_goes_out_in_pieces() {
        let pool = TxPool::default();
        let emsgsize = io::Error::from_raw_os_error(nix::errno::Errno::EMSGSIZE as i32);
        let (socket, mut transmitter) = transmitter([emsgsize]);
        fill(&mut transmitter, &pool, 3);
        assert_eq!(transmitter.send(), Sent::Done(None));
        assert_eq!(*lock(&socket.sent), [100, 100, 100]);
        fill(&mut transmitter, &pool, 3);
        assert_eq!(transmitter.send(), Sent::Done(None));
        assert_eq!(lock(&socket.sent).last(), Some(&300), "the next one is tried whole");
    }

    /// As some kernels put it: EINVAL for the batch, EMSGSIZE for each datagram.
    #[cfg(unix)]
    #[tokio::test]
    async fn datagrams_that_are_too_long_are_told_and_offload_is_not_to_blame() {
        let pool = TxPool::default();
        let emsgsize = || io::Error::from_raw_os_error(nix::errno::Errno::EMSGSIZE as i32);
        let (socket, mut transmitter) =
            transmitter([io::ErrorKind::InvalidInput.into(), emsgsize(), emsgsize()]);
        fill(&mut transmitter, &pool, 2);
        assert_eq!(transmitter.send(), Sent::Done(None));
        assert_eq!(transmitter.take_too_long(), Some((path(), 100)));
        assert_eq!(transmitter.take_too_long(), None);
        fill(&mut transmitter, &pool, 2);
        assert_eq!(transmitter.send(), Sent::Done(None));
        assert_eq!(*lock(&socket.sent), [200]);
    }

    #[tokio::test]
    async fn offload_that_fails_is_not_tried_again_towards_that_address() {
        let pool = TxPool::default();
        let (socket, mut transmitter) = transmitter([io::ErrorKind::InvalidInput.into()]);
        fill(&mut transmitter, &pool, 2);
        assert_eq!(transmitter.send(), Sent::Done(None));
        assert_eq!(*lock(&socket.sent), [100, 100]);
        transmitter.rest(&pool);
        fill(&mut transmitter, &pool, 1);
        let room = transmitter.batch(&pool, path()).unwrap().room(TxMeta { path: path(), ecn: None }, 100);
        assert_eq!(room, None, "one datagram a batch");
    }

    #[tokio::test]
    async fn a_blocked_batch_waits_and_is_not_lost() {
        let pool = TxPool::default();
        let blocked = || io::Error::from(io::ErrorKind::WouldBlock);
        let (socket, mut transmitter) = transmitter([blocked(), blocked(), blocked(), blocked()]);
        fill(&mut transmitter, &pool, 2);
        assert_eq!(transmitter.send(), Sent::Parked);
        assert!(transmitter.is_parked() && transmitter.batch(&pool, path()).is_none());
        transmitter.rest(&pool);
        assert!(transmitter.is_parked(), "what is in use is not given back");
        std::future::poll_fn(|cx| transmitter.poll_unblocked(cx)).await;
        assert_eq!(*lock(&socket.sent), [200]);
        assert!(!transmitter.is_parked());
    }

    /// Has no room, and never will.
    #[derive(Debug)]
    struct Dead;

    impl Socket for Dead {
        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            _: &mut [Buffer],
            _: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn try_send(&self, _: &Transmit<'_>) -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn writable(self: Arc<Self>) -> SocketFuture<io::Result<()>> {
            Box::pin(std::future::pending())
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(([127, 0, 0, 1], 1).into())
        }
    }

    #[tokio::test]
    async fn what_is_parked_on_a_socket_leaves_by_the_one_that_takes_its_place() {
        let (pool, sockets) = (TxPool::default(), Arc::new(Sockets::new(Arc::new(Scripted::default()))));
        let mut transmitter = Transmitter::new(sockets.clone());
        fill(&mut transmitter, &pool, 2);
        sockets.replace_main(Arc::new(Dead)).unwrap();
        assert_eq!(transmitter.send(), Sent::Parked);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(transmitter.poll_unblocked(&mut cx).is_pending());
        let alive = Arc::new(Scripted::default());
        sockets.replace_main(alive.clone()).unwrap();
        assert!(transmitter.poll_unblocked(&mut cx).is_ready() && !transmitter.is_parked());
        assert_eq!(*lock(&alive.sent), [100, 100], "one by one: what it takes at once is not known");
        // And on a closed one nothing waits.
        fill(&mut transmitter, &pool, 1);
        sockets.close();
        assert_eq!(transmitter.send(), Sent::Done(Some(io::ErrorKind::NotConnected)));
    }

    #[tokio::test]
    async fn a_datagram_that_cannot_be_sent_is_told_and_dropped() {
        let pool = TxPool::default();
        let (socket, mut transmitter) = transmitter([io::ErrorKind::NetworkUnreachable.into()]);
        fill(&mut transmitter, &pool, 1);
        assert_eq!(transmitter.send(), Sent::Done(Some(io::ErrorKind::NetworkUnreachable)));
        assert!(lock(&socket.sent).is_empty());
    }
}
