//! Datagrams that mean nothing, thrown at connections and at an endpoint.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Hostile, MS, Stage};
use crate::config::TransportConfig;
use crate::error::ConnectionError;
use crate::packet::{Burst, Dir, Level, Rng, Side, StreamId, VERSION_1};
use crate::proto::endpoint::{Class, classify};
use crate::proto::tests::pair::{Pair, Setup, bytes, tuple};

/// A datagram that is no packet, often made from one that was.
fn noise(rng: &mut Rng, real: &[Vec<u8>]) -> Vec<u8> {
    let mut datagram = real[rng.below(real.len() as u64) as usize].clone();
    let len = datagram.len() as u64;
    match rng.below(6) {
        0 => {
            datagram = vec![0; rng.below(1_500) as usize];
            rng.fill(&mut datagram);
        }
        1 => datagram.truncate(rng.below(len) as usize),
        2 => {
            for _ in 0..=rng.below(3) {
                datagram[rng.below(len) as usize] ^= 1 << rng.below(8);
            }
        }
        3 => {
            // The right header, and nothing behind it.
            let keep = rng.below(30.min(len)) as usize;
            rng.fill(&mut datagram[keep..]);
        }
        4 => {
            let from = rng.below(len) as usize;
            datagram.drain(..from);
        }
        _ => {
            let other = &real[rng.below(real.len() as u64) as usize];
            let at = rng.below(len) as usize;
            datagram.truncate(at);
            datagram.extend_from_slice(&other[rng.below(other.len() as u64) as usize..]);
        }
    }
    datagram
}

/// Every datagram that either end has sent.
fn recorded(pair: &mut Pair) -> [Rc<RefCell<Vec<Vec<u8>>>>; 2] {
    let logs: [Rc<RefCell<Vec<Vec<u8>>>>; 2] = Default::default();
    let copy = logs[0].clone();
    pair.to_server = Box::new(move |_, datagram| {
        copy.borrow_mut().push(datagram.clone());
        true
    });
    let copy = logs[1].clone();
    pair.to_client = Box::new(move |_, datagram| {
        copy.borrow_mut().push(datagram.clone());
        true
    });
    logs
}

// covers: R9000-12.2-06
#[test]
fn ten_thousand_datagrams_of_noise_do_not_touch_a_transfer() {
    let mut pair = Pair::new(Setup::default());
    let logs = recorded(&mut pair);
    let mut rng = Rng::from_u64(11);
    let data = bytes(2 << 20);
    let id = StreamId::new(Side::Client, Dir::Bi, 0);
    let mut thrown = 0;
    while thrown < 10_000 {
        pair.run_for(2 * MS);
        if thrown == 0 && pair.client.connected() {
            pair.client.connection.streams().write(id, data.clone());
            pair.client.connection.streams().finish(id);
        }
        if pair.server.is_none() {
            continue;
        }
        // From the first packets of the handshake on.
        for _ in 0..20 {
            let (now, log) = (pair.now, logs[0].borrow());
            let datagram = noise(&mut rng, &log[log.len().saturating_sub(50)..]);
            let burst = Burst::single(now, tuple(5000), None, datagram);
            pair.server.as_mut().unwrap().connection.handle_burst(now, burst);
            let log = logs[1].borrow();
            if !log.is_empty() {
                let datagram = noise(&mut rng, &log[log.len().saturating_sub(50)..]);
                pair.client.connection.handle_burst(now, Burst::single(now, tuple(4433), None, datagram));
            }
            thrown += 1;
        }
        if thrown == 20 {
            pair.run_for(60 * MS);
            assert!(pair.client.confirmed() && pair.server().confirmed());
            pair.client.connection.streams().write(id, data.clone());
            pair.client.connection.streams().finish(id);
        }
    }
    pair.run_for(5_000 * MS);
    assert_eq!((pair.client.closed(), pair.server.as_ref().unwrap().closed()), (None, None));
    let received = &pair.server().received;
    assert!(received.len() == 1 && received[0].1 == data && received[0].2);
    let stats = pair.client.connection.stats();
    assert!(stats.packets_lost < 50, "{stats:?}");
}

/// The same while the handshake runs: it may take longer, and no noise ends it.
#[test]
fn noise_during_the_handshake() {
    for seed in 0..50 {
        let mut pair = Pair::new(Setup::default());
        let logs = recorded(&mut pair);
        let mut rng = Rng::from_u64(seed);
        for _ in 0..80 {
            pair.run_for(MS);
            let now = pair.now;
            for _ in 0..10 {
                let log = logs[0].borrow();
                if let Some(server) = &mut pair.server {
                    let burst = Burst::single(now, tuple(5000), None, noise(&mut rng, &log));
                    server.connection.handle_burst(now, burst);
                }
                let log = logs[1].borrow();
                if !log.is_empty() {
                    let burst = Burst::single(now, tuple(4433), None, noise(&mut rng, &log));
                    pair.client.connection.handle_burst(now, burst);
                }
            }
        }
        pair.run_for(5_000 * MS);
        assert!(
            pair.client.confirmed() && pair.server().confirmed(),
            "seed {seed}: {:?} {:?}",
            pair.client.closed(),
            pair.server.as_ref().unwrap().closed()
        );
    }
}

/// An endpoint that looks at each of them, and opens those that could begin a connection.
#[test]
fn noise_at_the_door_of_an_endpoint() {
    let mut pair = Pair::new(Setup::default());
    let logs = recorded(&mut pair);
    pair.run_for(200 * MS);
    let mut real = logs[0].borrow().clone();
    real.extend(logs[1].borrow().iter().cloned());
    let first = real[0].clone();
    assert!(pair.open(&first).is_ok());
    let mut rng = Rng::from_u64(3);
    let mut opened = 0;
    for _ in 0..20_000 {
        let datagram = match rng.below(3) {
            0 => {
                let mut datagram = noise(&mut rng, &real);
                datagram.resize(1_200, 0);
                datagram
            }
            1 => {
                let mut datagram = first.clone();
                for _ in 0..=rng.below(4) {
                    datagram[rng.below(60) as usize] ^= 1 << rng.below(8);
                }
                datagram
            }
            _ => noise(&mut rng, &real),
        };
        let _ = classify(&datagram, rng.below(21) as usize, &[VERSION_1]);
        let class = classify(&datagram, 8, &[VERSION_1]);
        if datagram.len() < 1_200 {
            assert!(!matches!(class, Class::Long { may_begin: true, .. } | Class::UnsupportedVersion { .. }));
        }
        // Also those that no endpoint would try. Only the client's very bytes can open.
        if let Ok(mut incoming) = pair.open(&datagram) {
            opened += 1;
            assert!(datagram.starts_with(&first[..1_200]) || incoming.client_hello().is_some());
            for _ in 0..3 {
                let more = Burst::single(pair.now, tuple(5000), None, noise(&mut rng, &real));
                incoming.absorb(more);
            }
            pair.serve(incoming);
            let now = pair.now;
            pair.server().drain(now);
        }
    }
    assert!(opened < 2_000);
}

/// Datagrams without a byte are counted and do nothing.
#[test]
fn empty_datagrams() {
    for side in [Side::Client, Side::Server] {
        for stage in [Stage::First, Stage::Confirmed] {
            let mut hostile = Hostile::new(side, stage);
            for _ in 0..100 {
                hostile.deliver(Vec::new());
            }
            hostile.assert_open();
            for len in 1..60 {
                hostile.deliver(vec![0x40; len]);
                hostile.deliver(vec![0xc0; len]);
                hostile.deliver(vec![0; len]);
                hostile.deliver(vec![0xff; len]);
            }
            hostile.assert_open();
        }
    }
}

/// What looks like a stateless reset and is none.
// covers: R9000-10.3.1-01 R9000-10.3.1-02
#[test]
fn lookalikes_of_a_stateless_reset() {
    let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
    let token = hostile.victim().connection.paths.active.remote_cid.reset_token.unwrap().0;
    let mut rng = Rng::from_u64(9);
    let mut random = |len: usize| {
        let mut bytes = vec![0; len];
        rng.fill(&mut bytes);
        bytes[0] = bytes[0] & 0x3f | 0x40;
        bytes
    };
    for len in 21..60 {
        hostile.deliver(random(len));
        // The token in another place, or but for one bit.
        hostile.deliver([&random(5)[..], &token, &[0]].concat());
        let mut wrong = token;
        wrong[len % 16] ^= 1;
        hostile.deliver([&random(len)[..], &wrong].concat());
        hostile.assert_open();
    }
    // A genuine packet whose last frames look like the token is a packet: the tag stands behind them.
    let payload = [&[0x1a, 1, 2, 3, 4, 5, 6, 7, 8][..], &[1; 20]].concat();
    let packet = hostile.packet(Level::OneRtt, &payload);
    hostile.deliver(packet);
    hostile.assert_open();
    // A token of an ID that was never used counts for nothing.
    let unused = [7; 16];
    let id = crate::packet::ConnectionId::try_from(&[0x31; 8][..]).unwrap();
    let frame = crate::wire::frame::NewConnectionId {
        sequence: 9,
        retire_prior_to: 1,
        id,
        reset_token: crate::packet::ResetToken(unused),
    };
    hostile.send(Level::OneRtt, &[frame.into()]);
    hostile.deliver([&[0x45; 20][..], &unused].concat());
    hostile.assert_open();
    // The one of the retired ID neither: the victim has moved on.
    hostile.deliver([&[0x45; 20][..], &token].concat());
    hostile.assert_open();
    let current = hostile.victim().connection.paths.active.remote_cid.reset_token.unwrap().0;
    hostile.deliver([&[0x45; 20][..], &current].concat());
    assert_eq!(hostile.victim().closed(), Some(&ConnectionError::Reset));
    assert!(hostile.close().is_none(), "nothing is answered");
}

/// Whatever stands before the token, but for a packet that opens.
// covers: R9000-10.3-08 R9000-10.3.1-04
#[test]
fn a_stateless_reset_of_any_form() {
    for first in [0x00, 0x40, 0x7f, 0x80, 0xc0, 0xe0, 0xff] {
        for (len, version) in [(5, 1u32), (20, 1), (26, 0), (40, 0x0a0a_0a0a), (1_200, 1)] {
            let config = TransportConfig::builder().grease_quic_bit(true).build().unwrap();
            let setup = Setup { client: config.clone(), server: config, ..Setup::default() };
            let mut hostile = Hostile::with(setup, Side::Client, Stage::Confirmed);
            let token = hostile.victim().connection.paths.active.remote_cid.reset_token.unwrap().0;
            let mut datagram = vec![0x5a; len];
            datagram[0] = first;
            datagram[1..5].copy_from_slice(&version.to_be_bytes());
            datagram.extend(token);
            hostile.deliver(datagram);
            assert_eq!(hostile.victim().closed(), Some(&ConnectionError::Reset), "{first:#x} {len}");
        }
    }
}
