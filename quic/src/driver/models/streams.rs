//! Streams between handles and the task.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use loom::thread;

use super::{block_on, connection, give_up, model, task};
use crate::api::Connection;
use crate::driver::shared::accepted::Accepted;
use crate::driver::shared::chunks::Chunks;
use crate::driver::shared::connection::ConnectionRef;
use crate::driver::shared::open_credit::OpenCredit;
use crate::driver::shared::recv::{Fill, RecvEnd, RecvHalf};
use crate::driver::shared::send_pool::{FLOOR, SendPool};
use crate::driver::shared::stream::{RECV, SEND, Stream};
use crate::packet::{Dir, Side, StreamId};

fn stream(connection: &Arc<crate::driver::shared::connection::Connection>) -> Arc<Stream> {
    Stream::opened(StreamId::new(Side::Client, Dir::Bi, 0), 0, connection.clone())
}

/// Two halves of one stream, and another stream.
#[test]
fn the_ready_list_loses_no_stream() {
    model(|| {
        let shared = connection();
        let one = stream(&shared);
        let other = Stream::opened(StreamId::new(Side::Client, Dir::Bi, 1), 0, shared.clone());
        let sender = {
            let one = one.clone();
            thread::spawn(move || {
                one.send.push(Bytes::from_static(b"data"));
                one.tell(SEND);
            })
        };
        let reader = thread::spawn(move || {
            one.recv.count_read(7);
            one.tell(RECV);
            other.tell(RECV);
        });
        let (mut halves, mut others, mut sent, mut read) = (0, 0, 0, 0);
        task(&shared.inbox.signal, || {
            let (mut opened, mut news) = (Vec::new(), Vec::new());
            shared.ready.swap(&mut opened, &mut news);
            for stream in news {
                let of = stream.take_news();
                if stream.id.index() == 1 {
                    others |= of;
                    continue;
                }
                halves |= of;
                let mut chunks = Chunks::default();
                stream.send.take(&mut chunks);
                sent += chunks.bytes();
                read += stream.recv.take().credit;
            }
            halves == SEND | RECV && others == RECV
        });
        assert_eq!((sent, read), (4, 7));
        sender.join().unwrap();
        reader.join().unwrap();
        drop(shared.ready.close());
    });
}

/// A writer with more than its budget, and a task that acknowledges or ends.
#[test]
fn a_blocked_writer_is_woken() {
    for ends in [false, true] {
        model(move || {
            let shared = connection();
            let stream = stream(&shared);
            let budget = shared.stream_send_budget;
            let first = give_up(poll_fn(|cx| stream.poll_reserve(budget, &mut None, Some(cx))));
            assert_eq!(first, Some(Ok(budget)));
            let writer = {
                let stream = stream.clone();
                thread::spawn(move || {
                    let mut ticket = None;
                    block_on(poll_fn(|cx| stream.poll_reserve(1, &mut ticket, Some(cx)))).is_ok()
                })
            };
            if ends {
                stream.on_lost();
            } else {
                shared.pool.release(stream.send.on_acked(budget));
            }
            assert_eq!(writer.join().unwrap(), !ends);
        });
    }
}

/// The budget of a connection: one of those that wait gives up.
#[test]
fn the_pool_serves_who_stays() {
    model(|| {
        let pool = Arc::new(SendPool::new(FLOOR));
        let all = give_up(poll_fn(|cx| pool.poll_reserve(FLOOR, &mut None, Some(cx))));
        assert_eq!(all, Some(FLOOR));
        let fickle = {
            let pool = pool.clone();
            thread::spawn(move || {
                let mut ticket = None;
                let taken = give_up(poll_fn(|cx| pool.poll_reserve(FLOOR, &mut ticket, Some(cx))));
                ticket.into_iter().for_each(|ticket| pool.cancel(ticket));
                taken.into_iter().for_each(|taken| pool.release(taken));
            })
        };
        let patient = {
            let pool = pool.clone();
            thread::spawn(move || {
                let mut ticket = None;
                block_on(poll_fn(|cx| pool.poll_reserve(FLOOR, &mut ticket, Some(cx))))
            })
        };
        pool.release(FLOOR);
        fickle.join().unwrap();
        assert!(patient.join().unwrap() > 0);
    });
}

/// Streams begin when the peer allows one more; who gives up takes none.
#[test]
fn open_credit_goes_to_who_stays() {
    model(|| {
        let credit = Arc::new(OpenCredit::default());
        let fickle = {
            let credit = credit.clone();
            thread::spawn(move || {
                let mut ticket = None;
                let opened = give_up(poll_fn(|cx| credit.poll_open(&mut ticket, cx)));
                ticket.into_iter().for_each(|ticket| credit.cancel(ticket));
                if opened.is_some() {
                    credit.raise(2);
                }
            })
        };
        let patient = {
            let credit = credit.clone();
            thread::spawn(move || {
                let mut ticket = None;
                block_on(poll_fn(|cx| credit.poll_open(&mut ticket, cx)))
            })
        };
        credit.raise(1);
        fickle.join().unwrap();
        assert!(patient.join().unwrap().index < 2);
    });
}

#[test]
fn an_accepted_stream_goes_to_who_stays() {
    model(|| {
        let queue = Arc::new(Accepted::default());
        let fickle = {
            let queue = queue.clone();
            thread::spawn(move || {
                let mut ticket = None;
                let item = give_up(poll_fn(|cx| queue.poll_pop(&mut ticket, cx)));
                ticket.into_iter().for_each(|ticket| queue.cancel(ticket));
                item.flatten().into_iter().for_each(|item| queue.push(item).unwrap());
            })
        };
        let patient = {
            let queue = queue.clone();
            thread::spawn(move || {
                let mut ticket = None;
                block_on(poll_fn(|cx| queue.poll_pop(&mut ticket, cx)))
            })
        };
        queue.push(7).unwrap();
        fickle.join().unwrap();
        assert_eq!(patient.join().unwrap(), Some(7));
    });
}

#[test]
fn a_reader_gets_everything_up_to_the_end() {
    model(|| {
        let half = Arc::new(RecvHalf::default());
        let task = {
            let half = half.clone();
            thread::spawn(move || {
                let mut chunks: Chunks = [Bytes::from_static(b"ab")].into_iter().collect();
                half.deliver(&mut chunks, None);
                half.deliver(&mut [Bytes::from_static(b"c")].into_iter().collect(), Some(RecvEnd::Fin));
            })
        };
        let mut read = 0;
        loop {
            let mut local = Chunks::default();
            match block_on(poll_fn(|cx| half.poll_fill(&mut local, cx))).0 {
                Fill::Data => read += local.bytes(),
                end => break assert_eq!(end, Fill::End(RecvEnd::Fin)),
            }
        }
        assert_eq!(read, 3);
        task.join().unwrap();
    });
}

/// Bytes that two readers count while the task looks are credited once, each of them.
#[test]
fn what_is_read_is_credited_once() {
    model(|| {
        let shared = connection();
        let stream = stream(&shared);
        let readers = [0, 1].map(|_| {
            let stream = stream.clone();
            thread::spawn(move || stream.count_read(5))
        });
        let credit = || (shared.take_unreported(), stream.recv.take_credit());
        let before = credit();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        let after = credit();
        assert_eq!((before.0 + after.0, before.1 + after.1), (10, 10));
        drop(shared.ready.close());
    });
}

/// Whoever waits to open a stream sees the end of the connection, whenever it comes.
#[test]
fn opening_ends_with_the_connection() {
    model(|| {
        let shared = connection();
        let handle = Connection::new(ConnectionRef::new(shared.clone()));
        let opener = thread::spawn(move || block_on(handle.open_uni()).is_err());
        shared.mark_closed(crate::error::ConnectionError::TimedOut);
        assert!(opener.join().unwrap());
        drop(shared.ready.close());
    });
}
