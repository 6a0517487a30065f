//! News for a task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicBool;
use loom::thread;

use super::{connection, model, task};
use crate::driver::inbox::{Inbox, weight};
use crate::driver::shared::connection::ConnectionRef;
use crate::driver::shared::signal::Signal;
use crate::packet::{Burst, FourTuple, SocketId, epoch};

#[test]
fn no_news_is_missed() {
    model(|| {
        let shared = Arc::new((Signal::default(), [AtomicBool::new(false), AtomicBool::new(false)]));
        for n in 0..2 {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.1[n].store(true, Ordering::Relaxed);
                shared.0.set();
            });
        }
        task(&shared.0, || shared.1.iter().all(|news| news.load(Ordering::Relaxed)));
    });
}

fn burst() -> Burst {
    let path = FourTuple { socket: SocketId(0), local_ip: None, remote: ([127, 0, 0, 1], 1).into() };
    Burst::single(epoch(), path, None, vec![0; 10])
}

/// Both bursts arrive; after the end nothing is kept.
#[test]
fn bursts_reach_the_task_or_are_dropped() {
    model(|| {
        let inbox = Arc::new(Inbox::new(1 << 20));
        let producers = [0, 1].map(|_| {
            let inbox = inbox.clone();
            thread::spawn(move || inbox.push(burst()))
        });
        let (mut local, mut processed, mut seen) = (VecDeque::new(), 0, 0);
        task(&inbox.signal, || {
            inbox.take(&mut local, std::mem::take(&mut processed));
            while let Some(burst) = local.pop_front() {
                processed += weight(&burst);
                seen += 1;
            }
            seen == 2
        });
        assert!(producers.into_iter().all(|producer| producer.join().unwrap()));
    });
    model(|| {
        let inbox = Arc::new(Inbox::new(1 << 20));
        let producer = {
            let inbox = inbox.clone();
            thread::spawn(move || inbox.push(burst()))
        };
        inbox.close();
        producer.join().unwrap();
        let mut local = VecDeque::new();
        inbox.take(&mut local, 0);
        assert!(local.is_empty(), "the end took it along, or it was refused");
    });
}

#[test]
fn commands_reach_the_task() {
    model(|| {
        let shared = connection();
        let first = ConnectionRef::new(shared.clone());
        let second = first.clone();
        let other = thread::spawn(move || {
            second.command(|commands| commands.rotate_ids = true);
            drop(second);
        });
        let third = thread::spawn(move || drop(first));
        let (mut rotate, mut abandoned) = (false, false);
        task(&shared.inbox.signal, || {
            if let Some(commands) = shared.take_new_commands() {
                assert!(!abandoned, "with the last handle comes the last command");
                rotate |= commands.rotate_ids;
                abandoned |= commands.abandoned;
            }
            rotate && abandoned
        });
        other.join().unwrap();
        third.join().unwrap();
    });
}
