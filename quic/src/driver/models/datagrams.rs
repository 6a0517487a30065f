//! Datagrams between handles and the task.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use loom::thread;

use super::{block_on, connection, give_up, model, poll_once, task};
use crate::api::Connection;
use crate::config::TransportConfig;
use crate::driver::shared::connection::{self, ConnectionRef};
use crate::driver::shared::datagrams::{FateSender, Outgoing};
use crate::error::ConnectionError;
use crate::packet::{DatagramFate, datagram_weight};
use crate::proto::datagrams::Levels;

fn handle(shared: &Arc<connection::Connection>) -> Connection {
    shared.datagrams_out.set_max(Some(1000));
    Connection::new(ConnectionRef::new(shared.clone()))
}

/// Takes until it is enough, and says so each time; whether it looks after those that it has called.
fn take_until(shared: &connection::Connection, looks_after: bool, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let (mut into, mut taken) = (Levels::default(), Vec::new());
    task(&shared.inbox.signal, || {
        shared.datagrams_out.take(&mut into);
        taken.extend(std::iter::from_fn(|| into.pop()).map(|item| item.data[0]));
        if !taken.is_empty() && shared.datagrams_out.set_held(0) && looks_after {
            shared.inbox.signal.set();
        }
        enough(&taken)
    });
    taken
}

/// Takes until there were `count`.
fn take(shared: &connection::Connection, count: usize) -> Vec<u8> {
    take_until(shared, false, |taken| taken.len() == count)
}

fn data(number: u8) -> Bytes {
    vec![number; 100].into()
}

#[test]
fn all_that_is_sent_reaches_the_task() {
    model(|| {
        let shared = connection();
        let handle = handle(&shared);
        let threads = [1, 3].map(|number| {
            let handle = handle.clone();
            thread::spawn(move || {
                handle.send_datagram(data(number)).unwrap();
                handle.send_datagram(data(number + 1)).unwrap();
            })
        });
        let taken = take(&shared, 4);
        let of = |first: u8| taken.iter().copied().filter(move |n| (first..first + 2).contains(n));
        assert!(of(1).eq([1, 2]) && of(3).eq([3, 4]), "{taken:?}");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Room for one, which is taken.
fn full() -> (Arc<connection::Connection>, Connection) {
    let shared = connection::testing::connection_with(
        TransportConfig::builder().datagram_send_buffer_size(datagram_weight(100)),
    );
    let handle = handle(&shared);
    handle.send_datagram(data(0)).unwrap();
    (shared, handle)
}

/// The first in line is called and neither comes nor gives up.
#[test]
fn who_stays_away_holds_nobody_up() {
    model(|| {
        let (shared, handle) = full();
        let mut absent = pin!(handle.send_datagram_wait(data(1)));
        assert!(poll_once(absent.as_mut()).is_none());
        let patient = {
            let handle = handle.clone();
            thread::spawn(move || block_on(handle.send_datagram_wait(data(2))).unwrap())
        };
        assert_eq!(take_until(&shared, true, |taken| taken.len() == 2), [0, 2]);
        patient.join().unwrap();
        assert!(poll_once(absent).is_some_and(|sent| sent.is_ok()) || !shared.datagrams_out.set_held(0));
    });
}

/// Room for one; two wait, or one of them gives up.
#[test]
fn whoever_waits_for_room_gets_it() {
    for gives_up in [false, true] {
        model(move || {
            let (shared, handle) = full();
            let first = {
                let handle = handle.clone();
                thread::spawn(move || {
                    let wait = handle.send_datagram_wait(data(1));
                    let sent = if gives_up { give_up(wait) } else { Some(block_on(wait)) };
                    usize::from(sent.is_some_and(|sent| sent.is_ok()))
                })
            };
            let second = {
                let handle = handle.clone();
                thread::spawn(move || block_on(handle.send_datagram_wait(data(2))).unwrap())
            };
            if gives_up {
                take_until(&shared, false, |taken| taken.contains(&2));
                first.join().unwrap();
            } else {
                assert_eq!(take(&shared, 3).len(), 3);
                assert_eq!(first.join().unwrap(), 1);
            }
            second.join().unwrap();
        });
    }
}

#[test]
fn the_end_is_seen_by_senders_and_readers() {
    model(|| {
        let shared = connection();
        shared.datagrams_out.set_held(usize::MAX / 2);
        let handle = handle(&shared);
        let sender = {
            let handle = handle.clone();
            thread::spawn(move || block_on(handle.send_datagram_wait(data(1))).is_err())
        };
        let reader = {
            let handle = handle.clone();
            thread::spawn(move || block_on(handle.read_datagram()).is_err())
        };
        shared.mark_closed(ConnectionError::TimedOut);
        assert!(sender.join().unwrap() && reader.join().unwrap());
    });
}

#[test]
fn what_was_sent_before_the_end_is_told_of() {
    model(|| {
        let config = TransportConfig::default();
        let queue = Arc::new(Outgoing::new(&config));
        queue.set_max(Some(1000));
        let (fate, watch) = FateSender::pair();
        let sender = {
            let queue = queue.clone();
            thread::spawn(move || {
                let item = super::super::shared::datagrams::Item {
                    data: data(1),
                    deadline: None,
                    level: 0,
                    fate: Some(fate),
                };
                let _ = queue.push(item, None);
            })
        };
        let closer = thread::spawn(move || queue.close());
        let fate = block_on(poll_fn(|cx| watch.poll(cx, DatagramFate::is_final)));
        assert_eq!(fate, DatagramFate::Unknown);
        sender.join().unwrap();
        closer.join().unwrap();
    });
}

/// Two readers, of whom one may give up, and two datagrams, of which it may have taken one.
#[test]
fn each_datagram_finds_a_reader() {
    model(|| {
        let shared = connection();
        let handle = handle(&shared);
        let fickle = {
            let handle = handle.clone();
            thread::spawn(move || give_up(handle.read_datagram()).map(|data| data.unwrap()[0]))
        };
        let patient = {
            let handle = handle.clone();
            thread::spawn(move || block_on(handle.read_datagram()).unwrap()[0])
        };
        for number in [1, 2] {
            shared.datagrams_in.deliver(&mut VecDeque::from([data(number)]));
        }
        let (fickle, patient) = (fickle.join().unwrap(), patient.join().unwrap());
        let left = handle.try_read_datagram().unwrap().map(|data| data[0]);
        let mut seen: Vec<u8> = fickle.into_iter().chain([patient]).chain(left).collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}

#[test]
fn the_last_fate_is_heard() {
    model(|| {
        let (sender, watch) = FateSender::pair();
        let teller = thread::spawn(move || {
            sender.tell(DatagramFate::Sent);
            sender.tell(DatagramFate::Lost);
        });
        let sent = block_on(poll_fn(|cx| watch.poll(cx, |fate| fate != DatagramFate::Queued)));
        assert!(matches!(sent, DatagramFate::Sent | DatagramFate::Lost));
        assert_eq!(block_on(poll_fn(|cx| watch.poll(cx, DatagramFate::is_final))), DatagramFate::Lost);
        teller.join().unwrap();
    });
}
