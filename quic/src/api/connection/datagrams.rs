//! Datagrams: messages that are sent once (RFC 9221).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Connection;
use crate::api::wait::wait;
use crate::config::DatagramPolicy;
use crate::driver::shared::datagrams::{FateSender, FateWatch, Item, Refused};
use crate::error::{ConnectionError, SendDatagramError};
use crate::packet::{DatagramFate, Priority};

/// What is special about a datagram.
///
/// ```
/// use std::time::Duration;
/// use gannet::DatagramOptions;
///
/// // A frame of a video call: nobody wants to see it late.
/// let options = DatagramOptions::new().max_age(Duration::from_millis(150));
/// ```
#[derive(Debug, Copy, Clone, Default)]
#[must_use]
pub struct DatagramOptions {
    max_age: Option<Duration>,
    deadline: Option<Instant>,
    policy: Option<DatagramPolicy>,
    level: i32,
}

impl DatagramOptions {
    /// Nothing is.
    pub fn new() -> Self {
        Self::default()
    }

    /// If it could not be sent this long after the call, it is dropped instead (RFC 9221 §5.4).
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// If it could not be sent before this moment, it is dropped instead. With [`DatagramOptions::max_age`], whichever
    /// comes first.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// What gives way if it finds the queue full, in place of
    /// [`TransportConfigBuilder::datagram_send_policy`](crate::config::TransportConfigBuilder::datagram_send_policy).
    pub fn policy(mut self, policy: DatagramPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Which goes first: datagrams of a higher level are sent before others, and before data of streams of a lower level;
    /// of the same level datagrams go by age, and take turns with streams. The default is that of streams. In a full queue
    /// the lowest level gives way first, and never to a lower one.
    pub fn priority(mut self, priority: impl Into<Priority>) -> Self {
        self.level = priority.into().level();
        self
    }

    fn expires(&self) -> Option<Instant> {
        let by_age = self.max_age.and_then(|age| crate::driver::now().checked_add(age));
        [by_age, self.deadline].into_iter().flatten().min()
    }

    fn item(&self, data: Bytes) -> Item {
        Item { data, deadline: self.expires(), level: self.level, fate: None }
    }
}

/// What becomes of one datagram; see [`Connection::send_datagram_tracked`]. Dropping it changes nothing for the datagram.
#[derive(Debug)]
pub struct DatagramTracker(FateWatch);

impl DatagramTracker {
    /// What is known now.
    #[must_use]
    pub fn fate(&self) -> DatagramFate {
        self.0.fate()
    }

    /// Waits until the datagram has left, or will not.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn sent(&mut self) -> DatagramFate {
        std::future::poll_fn(|cx| self.0.poll(cx, |fate| fate != DatagramFate::Queued)).await
    }

    /// Waits until nothing more will be heard; returns what was last heard.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn settled(&mut self) -> DatagramFate {
        std::future::poll_fn(|cx| self.0.poll(cx, DatagramFate::is_final)).await
    }
}

impl Connection {
    /// Sends a datagram: a message that arrives whole or not at all, in any order, and is not sent again.
    ///
    /// Never waits. The datagram leaves, behind those sent before it, as soon as congestion control and pacing allow.
    /// Where stream data wait as well, they take turns by the packet. If too much waits already
    /// ([`datagram_send_buffer_size`](crate::config::TransportConfigBuilder::datagram_send_buffer_size)), the oldest
    /// are dropped, or this one is:
    /// [`datagram_send_policy`](crate::config::TransportConfigBuilder::datagram_send_policy).
    ///
    /// `data` is kept until it is sent, and not copied before. What waits when the connection is closed, also by
    /// [`Connection::close_gracefully`], is not sent.
    ///
    /// ```
    /// # async fn example(connection: gannet::Connection) -> Result<(), Box<dyn std::error::Error>> {
    /// connection.send_datagram("position 3 4".into())?;
    /// let answer = connection.read_datagram().await?;
    /// # drop(answer); Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If it cannot be sent; [`SendDatagramError::Full`] only if the newest is to be dropped, or matters least.
    pub fn send_datagram(&self, data: Bytes) -> Result<(), SendDatagramError> {
        self.push_datagram(Item { data, deadline: None, level: 0, fate: None }, None)
    }

    /// Sends a datagram that there is something special about; else like [`Connection::send_datagram`].
    ///
    /// # Errors
    /// Those of [`Connection::send_datagram`].
    pub fn send_datagram_with(&self, data: Bytes, options: DatagramOptions) -> Result<(), SendDatagramError> {
        self.push_datagram(options.item(data), options.policy)
    }

    /// Sends a datagram, and tells what becomes of it (RFC 9221 §5.2); else like [`Connection::send_datagram_with`].
    /// That costs an allocation and some bookkeeping, which other datagrams do without.
    ///
    /// # Errors
    /// Those of [`Connection::send_datagram`].
    pub fn send_datagram_tracked(
        &self,
        data: Bytes,
        options: DatagramOptions,
    ) -> Result<DatagramTracker, SendDatagramError> {
        let (sender, watch) = FateSender::pair();
        self.push_datagram(Item { fate: Some(sender), ..options.item(data) }, options.policy)?;
        Ok(DatagramTracker(watch))
    }

    /// Sends a datagram when there is room for it, so that none has to be dropped. Tasks that wait are served in order; one
    /// that is woken and does not poll is passed over until it does.
    ///
    /// Whoever sends without waiting and drops the oldest does that to these as well.
    ///
    /// # Errors
    /// If it cannot be sent.
    ///
    /// # Cancel safety
    /// Safe: a cancelled call has sent nothing. A call that has returned has.
    pub async fn send_datagram_wait(&self, data: Bytes) -> Result<(), SendDatagramError> {
        self.send_datagram_wait_with(data, DatagramOptions::new()).await
    }

    /// Sends a datagram when there is room for it, with options; their policy has no meaning here, and an age counts from
    /// the call. Else like [`Connection::send_datagram_wait`].
    ///
    /// # Errors
    /// If it cannot be sent.
    ///
    /// # Cancel safety
    /// Safe: a cancelled call has sent nothing.
    pub async fn send_datagram_wait_with(
        &self,
        data: Bytes,
        options: DatagramOptions,
    ) -> Result<(), SendDatagramError> {
        let queue = &self.shared.datagrams_out;
        let mut item = Some(options.item(data));
        let pushed =
            wait(|ticket, cx| queue.poll_push(&mut item, ticket, cx), |ticket| self.leave_line(ticket)).await;
        self.pushed(pushed)
    }

    /// Sends datagrams, at less cost than one by one. Takes them out of `data`, and leaves what it did not send: all from
    /// the first on that cannot be sent, or that is dropped as the newest. Never waits.
    ///
    /// # Errors
    /// If it cannot send even the first.
    pub fn send_datagrams(&self, data: &mut Vec<Bytes>) -> Result<(), SendDatagramError> {
        if data.is_empty() {
            return Ok(());
        }
        self.pushed(self.shared.datagrams_out.push_some(data, None, None))
    }

    /// Sends all datagrams of `data`, as soon as there is room for each; takes them out as it does so.
    ///
    /// # Errors
    /// If one cannot be sent; it is the first of those left in `data`.
    ///
    /// # Cancel safety
    /// Safe: what is left in `data` was not sent, and the rest was.
    pub async fn send_datagrams_wait(&self, data: &mut Vec<Bytes>) -> Result<(), SendDatagramError> {
        let queue = &self.shared.datagrams_out;
        while !data.is_empty() {
            let pushed = wait(
                |ticket, cx| queue.poll_push_some(data, None, ticket, cx),
                |ticket| self.leave_line(ticket),
            );
            let pushed = pushed.await;
            self.pushed(pushed)?;
        }
        Ok(())
    }

    /// The next datagram of the peer. Any number of tasks may wait; each datagram goes to one of them.
    ///
    /// What an application does not read in time is dropped, by
    /// [`datagram_receive_policy`](crate::config::TransportConfigBuilder::datagram_receive_policy). At a server that takes
    /// early data, datagrams may be such, and replays therefore, that were sent before [`Connection::handshake_completed`].
    ///
    /// # Errors
    /// When the connection is over. Datagrams that came before are still handed out, unless this end closed it.
    ///
    /// # Cancel safety
    /// Safe: no datagram is lost.
    pub async fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        let queue = &self.shared.datagrams_in;
        let read = wait(
            |ticket, cx| match self.shared.closed() {
                Some(ConnectionError::LocallyClosed) => std::task::Poll::Ready(None),
                _ => queue.poll_read_one(ticket, cx),
            },
            |ticket| queue.cancel(ticket),
        );
        let read = read.await.ok_or_else(|| self.datagrams_ended());
        self.report_reading();
        read
    }

    /// A datagram of the peer if there is one now; `None` if not.
    ///
    /// # Errors
    /// Those of [`Connection::read_datagram`].
    pub fn try_read_datagram(&self) -> Result<Option<Bytes>, ConnectionError> {
        if let Some(ConnectionError::LocallyClosed) = self.shared.closed() {
            return Err(ConnectionError::LocallyClosed);
        }
        let read = self.shared.datagrams_in.try_read();
        self.report_reading();
        match read {
            Ok(data) => Ok(Some(data)),
            Err(true) => Ok(None),
            Err(false) => Err(self.datagrams_ended()),
        }
    }

    /// Waits for datagrams of the peer and appends up to `limit` of them, at least one, to `into`, at less cost than one by
    /// one. Returns how many.
    ///
    /// # Errors
    /// Those of [`Connection::read_datagram`].
    ///
    /// # Cancel safety
    /// Safe: a cancelled call has taken nothing.
    pub async fn read_datagrams(
        &self,
        into: &mut Vec<Bytes>,
        limit: usize,
    ) -> Result<usize, ConnectionError> {
        let queue = &self.shared.datagrams_in;
        let read = wait(
            |ticket, cx| match self.shared.closed() {
                Some(ConnectionError::LocallyClosed) => std::task::Poll::Ready(None),
                _ => queue.poll_read(into, limit, ticket, cx),
            },
            |ticket| queue.cancel(ticket),
        );
        let read = read.await.ok_or_else(|| self.datagrams_ended());
        self.report_reading();
        read
    }

    /// How large a datagram may be now, bytes; `None` if the peer takes none, if this end is configured to send none, and
    /// while nothing is known of that, which is before the handshake but for clients that remember the server.
    ///
    /// It grows and shrinks with what the path carries. A datagram that waits to be sent and has become too large is
    /// dropped.
    #[must_use]
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.shared.datagrams_out.max()
    }

    /// How large a datagram may be so that [`Connection::send_datagram`] drops no other for it, bytes, as far as the queue is
    /// concerned. 0 if there is no room even for an empty one.
    #[must_use]
    pub fn datagram_send_buffer_space(&self) -> usize {
        self.shared.datagrams_out.space()
    }

    /// What was read is not held any more.
    fn report_reading(&self) {
        if self.shared.datagrams_in.is_stale() {
            self.shared.inbox.signal.set();
        }
    }

    fn leave_line(&self, ticket: u64) {
        if self.shared.datagrams_out.cancel(ticket) {
            self.shared.inbox.signal.set();
        }
    }

    fn push_datagram(&self, item: Item, policy: Option<DatagramPolicy>) -> Result<(), SendDatagramError> {
        self.pushed(self.shared.datagrams_out.push(item, policy))
    }

    fn pushed(&self, pushed: Result<bool, Refused>) -> Result<(), SendDatagramError> {
        match pushed {
            Ok(first) => {
                if first {
                    self.shared.inbox.signal.set();
                }
                Ok(())
            }
            Err(Refused::Unsupported) => Err(SendDatagramError::UnsupportedByPeer),
            Err(Refused::Disabled) => Err(SendDatagramError::Disabled),
            Err(Refused::TooLarge(max)) => Err(SendDatagramError::TooLarge { max }),
            Err(Refused::Full) => Err(SendDatagramError::Full),
            Err(Refused::Closed) => Err(self.datagrams_ended().into()),
        }
    }

    fn datagrams_ended(&self) -> ConnectionError {
        self.close_reason().unwrap_or(ConnectionError::TaskLost)
    }
}
