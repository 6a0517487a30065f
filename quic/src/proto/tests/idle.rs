//! What a connection holds that does nothing.

use std::time::Duration;

use super::pair::{Pair, Setup, bytes};
use crate::packet::{Dir, Side, SpaceId, StreamId};
use crate::proto::connection::Connection;

fn handshake_is_forgotten(connection: &Connection) {
    for space in [SpaceId::Initial, SpaceId::Handshake] {
        assert!(connection.spaces.get(space).is_none(), "{space:?}");
    }
    let keys = &connection.keys;
    assert!(keys.initial.is_none() && keys.handshake.is_none());
}

#[test]
fn neither_the_handshake_nor_what_was_sent_and_read_leaves_anything_behind() {
    let mut pair = Pair::new(Setup::default());
    pair.run_for(Duration::from_millis(200));
    handshake_is_forgotten(&pair.client.connection);
    handshake_is_forgotten(&pair.server().connection);

    let ids: Vec<_> = (0..20).map(|index| StreamId::new(Side::Client, Dir::Uni, index)).collect();
    for id in &ids {
        pair.client.connection.streams().write(*id, bytes(10_000));
        pair.client.connection.streams().finish(*id);
    }
    pair.run_for(Duration::from_millis(500));
    assert_eq!(
        pair.server().received.iter().filter(|(_, data, fin)| data.len() == 10_000 && *fin).count(),
        20
    );
    pair.run_for(Duration::from_secs(2));

    for side in [Side::Client, Side::Server] {
        let connection = match side {
            Side::Client => &mut pair.client.connection,
            Side::Server => &mut pair.server().connection,
        };
        assert!(connection.streams.spare_memory() > 0, "there is something to let go of");
        connection.release_spare();
        assert_eq!(connection.streams.spare_memory(), 0);
        let sent = connection.spaces.data.sent.memory();
        assert!(sent <= 256, "{side:?} remembers {sent} bytes of packets");
        let waiting = connection.outbox.routes.capacity() + connection.outbox.events.capacity();
        assert_eq!(waiting, 0, "{side:?}");
    }
    // All of it comes back when it is needed.
    let id = StreamId::new(Side::Client, Dir::Uni, 20);
    pair.client.connection.streams().write(id, bytes(10_000));
    pair.run_for(Duration::from_millis(500));
    assert_eq!(pair.server().received.last().map(|(id, data, _)| (*id, data.len())), Some((id, 10_000)));
}
