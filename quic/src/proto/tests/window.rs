//! The congestion window of a sender that does not use it (RFC 9002 §7.8).

use std::time::Duration;

use super::pair::{DELAY, Pair, Setup, bytes};
use crate::packet::{Burst, Dir, Side, StreamId, TxBatch};
use crate::proto::Output;
use crate::proto::tests::pair::tuple;

/// A sender with more to send than its processor has time for: one batch a round trip.
// covers: R9002-7.8-01
#[test]
fn the_window_of_a_slow_sender_stays_small() {
    let mut setup = Setup::default();
    (setup.server.receive_window, setup.server.stream_receive_window) = (1 << 40, 1 << 40);
    let mut pair = Pair::new(setup);
    pair.run_for(Duration::from_millis(200));
    let id = StreamId::new(Side::Client, Dir::Uni, 0);
    let mut batch = TxBatch::new(64);
    for _ in 0..1000 {
        pair.client.connection.streams().write(id, bytes(60_000));
        while let Output::Event(_) | Output::Route(_) =
            pair.client.connection.poll_output(pair.now, Some(&mut batch))
        {}
        let now = pair.now + DELAY;
        for datagram in batch.bytes().chunks(batch.segment_size().max(1)) {
            let burst = Burst::single(now, tuple(5000), None, datagram.to_vec());
            pair.server().connection.handle_burst(now, burst);
        }
        batch.clear();
        pair.now += 2 * DELAY;
        let now = pair.now;
        for answer in pair.server().drain(now) {
            pair.client.connection.handle_burst(now, Burst::single(now, tuple(4433), None, answer));
        }
    }
    let stats = pair.client.connection.stats();
    assert_eq!((stats.packets_lost, stats.probe_timeouts), (0, 0));
    // While it is smaller than ten batches the pacer would have stopped a sender that has the time.
    assert!((40_000..10 * 65_000).contains(&stats.congestion_window), "{}", stats.congestion_window);
}
