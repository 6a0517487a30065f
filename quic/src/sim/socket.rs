//! A socket of the virtual network.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::carrier::Carrier;
use crate::driver::lock;
use crate::net::sim::Datagram;
use crate::net::{RecvMeta, Socket, SocketFuture, Transmit};
use crate::packet::Buffer;

/// Bytes that wait to be received; what arrives beyond them is dropped, as a system does.
const RECEIVE_BUFFER: usize = 4 << 20;

/// What has arrived at a socket.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Arrived>);

#[derive(Debug, Default)]
struct Arrived {
    datagrams: VecDeque<Datagram>,
    bytes: usize,
    waker: Option<Waker>,
}

impl Queue {
    /// Adds whoever is to be woken for that to the list. False if there is no room.
    pub(super) fn push(&self, datagram: Datagram, woken: &mut Vec<Waker>) -> bool {
        let mut arrived = lock(&self.0);
        if arrived.bytes + datagram.payload.len() > RECEIVE_BUFFER {
            return false;
        }
        arrived.bytes += datagram.payload.len();
        arrived.datagrams.push_back(datagram);
        woken.extend(arrived.waker.take());
        true
    }

    fn poll_pop(&self, cx: &Context<'_>) -> Poll<Datagram> {
        let mut arrived = lock(&self.0);
        if let Some(datagram) = arrived.datagrams.pop_front() {
            arrived.bytes -= datagram.payload.len();
            return Poll::Ready(datagram);
        }
        arrived.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Its address is free again when it is dropped.
#[derive(Debug)]
pub(super) struct VirtualSocket {
    carrier: Arc<Carrier>,
    addr: SocketAddr,
    queue: Arc<Queue>,
}

impl VirtualSocket {
    pub(super) fn new(carrier: Arc<Carrier>, addr: SocketAddr, queue: Arc<Queue>) -> Self {
        Self { carrier, addr, queue }
    }
}

impl Drop for VirtualSocket {
    fn drop(&mut self) {
        self.carrier.lock().sockets.remove(&self.addr);
    }
}

impl Socket for VirtualSocket {
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [Buffer],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut filled = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let Poll::Ready(datagram) = self.queue.poll_pop(cx) else { break };
            let len = datagram.payload.len().min(buffer.as_ref().len());
            buffer.as_mut()[..len].copy_from_slice(&datagram.payload[..len]);
            *meta = RecvMeta {
                remote: datagram.from,
                local_ip: Some(self.addr.ip()),
                ecn: datagram.ecn,
                len,
                segment_size: len,
            };
            filled += 1;
        }
        if filled > 0 { Poll::Ready(Ok(filled)) } else { Poll::Pending }
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Transmit { remote, ecn, contents, segment_size, .. } = *transmit;
        let datagrams = contents.chunks(segment_size.max(1));
        let datagram =
            |payload: &[u8]| Datagram { from: self.addr, to: remote, ecn, payload: payload.to_vec() };
        self.carrier.send(datagrams.map(datagram));
        Ok(())
    }

    fn writable(self: Arc<Self>) -> SocketFuture<io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn max_send_segments(&self) -> usize {
        64
    }
}
