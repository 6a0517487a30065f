//! Larger datagrams: searched, used, and given up (RFC 9000 §14).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::pair::{Pair, Setup, bytes, tuple};
use crate::config::TransportConfig;
use crate::error::{ClosedBy, ConnectionError};
use crate::packet::{Dir, Side, StreamId, TransportErrorCode as Code};
use crate::proto::Output;
use crate::wire::VarInt;

const SECOND: Duration = Duration::from_secs(1);

/// The addresses of a pair are on loopback.
fn setup(bound: u16) -> Setup {
    let config = TransportConfig::builder().loopback_mtu_upper_bound(bound).build().unwrap();
    Setup { client: config.clone(), server: config, ..Setup::default() }
}

/// A path that swallows what is larger than it carries, and remembers the sizes that came.
fn narrow(pair: &mut Pair, carries: usize) -> (Rc<Cell<usize>>, Rc<RefCell<Vec<usize>>>) {
    let carried = Rc::new(Cell::new(carries));
    let sizes = Rc::new(RefCell::new(Vec::new()));
    let (limit, seen) = (carried.clone(), sizes.clone());
    pair.to_server = Box::new(move |_, datagram| {
        seen.borrow_mut().push(datagram.len());
        datagram.len() <= limit.get()
    });
    (carried, sizes)
}

fn upload(pair: &mut Pair, stream: u64, len: usize) {
    pair.run_for(SECOND);
    let id = StreamId::new(Side::Client, Dir::Uni, stream);
    pair.client.connection.streams().write(id, bytes(len));
    pair.client.connection.streams().finish(id);
    pair.run_for(20 * SECOND);
    let (_, received, fin) = pair.server().received.iter().find(|(known, ..)| *known == id).unwrap();
    assert!(*fin && received[..] == bytes(len)[..], "{} of {len} bytes", received.len());
}

// covers: R9000-14.2-01 R9000-14.2-03
#[test]
fn both_ends_find_what_fits_once_the_handshake_is_confirmed() {
    let mut pair = Pair::new(setup(1452));
    let (_, sizes) = narrow(&mut pair, 9000);
    pair.run_for(SECOND);
    for stats in [pair.client.connection.stats(), pair.server().connection.stats()] {
        assert_eq!((stats.mtu, stats.mtu_probes_sent, stats.mtu_probes_lost), (1452, 1, 0));
    }
    assert!(pair.client.confirmed());
    let probes = sizes.borrow().iter().filter(|size| **size > 1200).count();
    assert_eq!(probes, 1, "{sizes:?}");
    upload(&mut pair, 0, 100_000);
    let full = sizes.borrow().iter().filter(|size| **size == 1452).count();
    assert!(full > 100_000 / 1452, "{full}");
}

#[test]
fn nothing_is_probed_before_the_handshake_is_confirmed() {
    let mut pair = Pair::new(setup(1452));
    let (_, sizes) = narrow(&mut pair, 9000);
    // HANDSHAKE_DONE does not arrive.
    pair.to_client = Box::new(|index, _| index < 1);
    pair.run_for(2 * SECOND);
    assert!(pair.client.connected() && !pair.client.confirmed());
    assert!(sizes.borrow().iter().all(|size| *size <= 1200), "{sizes:?}");
    assert_eq!(pair.client.connection.stats().mtu_probes_sent, 0);
}

// covers: R9000-14.2-03 R9000-14.4-01
#[test]
fn on_a_narrow_path_nothing_but_probes_is_lost() {
    for carries in [1200, 1250, 1299, 1400, 1451] {
        let mut pair = Pair::new(setup(1452));
        let (_, sizes) = narrow(&mut pair, carries);
        upload(&mut pair, 0, 1_000_000);
        let stats = pair.client.connection.stats();
        assert!(stats.mtu <= carries && stats.mtu + stats.mtu / 32 > carries, "{} of {carries}", stats.mtu);
        assert_eq!((stats.packets_lost, stats.congestion_events), (0, 0));
        assert_eq!(stats.mtu_black_holes, 0);
        let lost = sizes.borrow().iter().filter(|size| **size > carries).count();
        assert_eq!(lost as u64, stats.mtu_probes_lost);
        assert!(stats.mtu_probes_lost <= 18, "{}", stats.mtu_probes_lost);
    }
}

// covers: R9000-14.2-03
#[test]
fn a_path_that_shrinks_under_a_transfer_delays_it_a_little() {
    let mut pair = Pair::new(setup(1452));
    let (carried, sizes) = narrow(&mut pair, 1500);
    upload(&mut pair, 0, 300_000);
    assert_eq!(pair.client.connection.stats().mtu, 1452);
    carried.set(1252);
    let id = StreamId::new(Side::Client, Dir::Uni, 1);
    pair.client.connection.streams().write(id, bytes(300_000));
    pair.client.connection.streams().finish(id);
    pair.run_for(3 * SECOND);
    assert_eq!(pair.server().received[1].1.len(), 300_000);
    let stats = pair.client.connection.stats();
    assert_eq!((stats.mtu, stats.mtu_black_holes), (1200, 1));
    // Later it finds what there is now, and when the path is wide again, that.
    sizes.borrow_mut().clear();
    pair.run_for(10 * SECOND);
    upload(&mut pair, 2, 300_000);
    let mtu = pair.client.connection.stats().mtu;
    assert!((1225..=1252).contains(&mtu), "{mtu}");
    carried.set(1500);
    for stream in 3..40 {
        upload(&mut pair, stream, 1000);
    }
    assert_eq!(pair.client.connection.stats().mtu, 1452);
}

#[test]
fn no_probe_is_larger_than_the_peer_takes() {
    let mut setup = setup(9000);
    setup.server_params = |mut params| {
        VarInt::from_u32(3).encode(&mut params);
        VarInt::from_u32(2).encode(&mut params);
        VarInt::from_u32(1333).encode(&mut params);
        params
    };
    let mut pair = Pair::new(setup);
    let (_, sizes) = narrow(&mut pair, 9000);
    upload(&mut pair, 0, 300_000);
    assert_eq!(pair.client.connection.stats().mtu, 1333);
    assert!(sizes.borrow().iter().all(|size| *size <= 1333));
    assert!(pair.server().connection.stats().mtu > 1333, "the other way there is no such limit");
}

#[test]
fn what_the_interface_refuses_is_sent_again_in_smaller_datagrams() {
    let mut pair = Pair::new(setup(1452));
    let (carried, _) = narrow(&mut pair, 1500);
    pair.run_for(SECOND);
    // The interface shrinks; the system says so when it is asked to send.
    carried.set(1300);
    let id = StreamId::new(Side::Client, Dir::Uni, 0);
    pair.client.connection.streams().write(id, bytes(100_000));
    pair.client.connection.streams().finish(id);
    let now = pair.now;
    let path = pair.client.connection.path();
    let mut batch = crate::packet::TxBatch::new(10);
    while !matches!(pair.client.connection.poll_output(now, Some(&mut batch)), Output::Transmit) {}
    assert_eq!((batch.segment_size(), batch.segments()), (1452, 8));
    pair.client.connection.on_datagram_refused(now, tuple(9), 1452);
    assert_eq!(pair.client.connection.stats().mtu, 1452, "another path");
    pair.client.connection.on_datagram_refused(now, path, 1452);
    assert_eq!(pair.client.connection.stats().mtu, 1200);
    pair.run_for(SECOND);
    let (_, received, fin) = &pair.server().received[0];
    assert!(*fin && received[..] == bytes(100_000)[..]);
    let mtu = pair.client.connection.stats().mtu;
    assert!((1270..=1300).contains(&mtu), "{mtu}");
}

// covers: R9000-14-01 R9000-14.2-04
#[test]
fn an_interface_too_small_for_quic_ends_the_connection() {
    let mut pair = Pair::new(setup(1452));
    let (now, path) = (pair.now, pair.client.connection.path());
    pair.client.connection.on_datagram_refused(now, path, 1200);
    pair.run_for(SECOND);
    assert!(
        matches!(pair.client.closed(), Some(ConnectionError::Transport { by: ClosedBy::Local, error })
            if error.code == Code::NO_VIABLE_PATH),
        "{:?}",
        pair.client.closed()
    );
    // Once the peer has answered it is more likely that somebody lies.
    let mut pair = Pair::new(setup(1452));
    pair.run_for(SECOND);
    let (now, path) = (pair.now, pair.client.connection.path());
    pair.client.connection.on_datagram_refused(now, path, 1200);
    upload(&mut pair, 0, 100_000);
}

#[test]
fn a_handshake_that_begins_too_large_comes_through() {
    let mut setup = setup(1452);
    setup.client.initial_mtu = 1452;
    setup.server.initial_mtu = 1452;
    setup.more_names = 100;
    let mut pair = Pair::new(setup);
    pair.to_server = Box::new(|_, datagram| datagram.len() <= 1252);
    pair.to_client = Box::new(|_, datagram| datagram.len() <= 1252);
    pair.run_for(8 * SECOND);
    assert!(pair.client.confirmed());
    upload(&mut pair, 0, 100_000);
}
