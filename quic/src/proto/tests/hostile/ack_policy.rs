//! When acknowledgments are sent, and with what, as a peer hears it (RFC 9000 §13.2).

use super::tolerated::acks;
use super::{Hostile, MS, Stage, encode};
use crate::packet::{Dir, Level, Side, StreamId};
use crate::proto::tests::pair::bytes;
use crate::wire::frame::{Ack, Frame};

fn ping(hostile: &mut Hostile) -> Vec<u8> {
    hostile.packet(Level::OneRtt, &encode(&[Frame::Ping]))
}

fn ranges(ack: &Ack) -> Vec<(u64, u64)> {
    ack.ranges.iter().map(|range| (*range.start(), *range.end())).collect()
}

// covers: R9000-13.2-01 R9000-13.2.1-05
#[test]
fn what_is_sent_anyway_carries_the_acknowledgment() {
    for side in [Side::Client, Side::Server] {
        let mut hostile = Hostile::new(side, Stage::Confirmed);
        let id = StreamId::new(side, Dir::Uni, 0);
        hostile.wait(30 * MS);
        hostile.heard.clear();
        let packet = ping(&mut hostile);
        let pn = hostile.next[2] - 1;
        hostile.deliver(packet);
        assert!(hostile.heard.is_empty(), "one packet alone is not answered at once");
        hostile.victim().connection.streams().write(id, bytes(3_000));
        hostile.listen();
        let first = &hostile.heard[0].frames;
        assert!(first.iter().any(|frame| matches!(frame, Frame::Stream(_))));
        assert!(matches!(&first[0], Frame::Ack(ack) if ack.largest == pn), "{first:?}");
        assert_eq!(acks(&hostile.heard).count(), 1, "and only the first packet does");
        // Nothing is left to be acknowledged.
        hostile.heard.clear();
        hostile.wait(40 * MS);
        assert_eq!(acks(&hostile.heard).count(), 0);
    }
}

// covers: R9000-13.2.1-03
#[test]
fn however_many_packets_come_at_once_they_have_one_acknowledgment() {
    let mut hostile = Hostile::new(Side::Server, Stage::Confirmed);
    hostile.wait(100 * MS);
    for packets in [2, 3, 60] {
        hostile.heard.clear();
        let burst: Vec<_> = (0..packets).map(|_| ping(&mut hostile)).collect();
        hostile.deliver_burst(&burst);
        let next = hostile.next[2];
        let acks: Vec<_> = acks(&hostile.heard).collect();
        assert_eq!(acks.len(), 1);
        assert_eq!(acks[0].largest, next - 1);
    }
}

// covers: R9000-13.2.3-01 R9000-13.2.3-05 R9000-13.2.1-07
#[test]
fn what_is_late_is_reported_at_once_and_the_newest_with_it() {
    let mut hostile = Hostile::new(Side::Client, Stage::Confirmed);
    hostile.wait(100 * MS);
    let packets: Vec<_> = (0..8).map(|_| ping(&mut hostile)).collect();
    let first = hostile.next[2] - 8;
    for (index, expected) in [(3, 3), (1, 3), (6, 6), (0, 6), (5, 6), (7, 7)] {
        hostile.heard.clear();
        hostile.deliver(packets[index].clone());
        if index == 7 {
            // In order: it waits.
            assert!(hostile.heard.is_empty());
            hostile.wait(25 * MS);
        }
        let acks: Vec<_> = acks(&hostile.heard).collect();
        assert_eq!(acks.len(), 1, "packet {index}");
        assert_eq!(acks[0].largest, first + expected);
        let pn = first + index as u64;
        assert!(ranges(acks[0]).iter().any(|(start, end)| (*start..=*end).contains(&pn)));
    }
}

/// The time that packets wait for their keys is part of the delay, however long it is.
// covers: R9000-13.2.5-02 R9000-13.2.5-03
#[test]
fn waiting_for_keys_counts_as_delay() {
    for waited in [4, 15, 60] {
        let mut hostile = Hostile::new(Side::Server, Stage::First);
        let packet = ping(&mut hostile);
        let pn = hostile.next[2] - 1;
        hostile.deliver(packet);
        hostile.heard.clear();
        // Time passes without timers: those of the handshake are not what this is about.
        hostile.pair.now += waited * MS;
        let finished: Vec<_> = hostile.pair.server().inbox.drain(..).map(|(_, datagram)| datagram).collect();
        finished.into_iter().for_each(|datagram| hostile.deliver(datagram));
        hostile.wait(25 * MS);
        let scale = 1 << hostile.victim().connection.config.ack_delay_exponent;
        let ack = acks(&hostile.heard).find(|ack| ack.largest == pn).expect("acknowledged");
        let delay = ack.delay * scale;
        assert!(delay >= u64::from(waited) * 1_000, "{delay} µs after {waited} ms");
    }
}
