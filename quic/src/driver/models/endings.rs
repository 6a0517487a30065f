//! How waiting ends, and whose routes are whose.

use std::sync::Arc;

use loom::thread;

use super::{block_on, connection, model};
use crate::api::Connection;
use crate::driver::inbox::Inbox;
use crate::driver::routes::{Entries, Route, Routes};
use crate::driver::shared::connection::ConnectionRef;
use crate::error::ConnectionError;
use crate::packet::ConnectionId;

#[test]
fn whoever_waits_learns_of_the_end() {
    model(|| {
        let shared = connection();
        let handle = Connection::new(ConnectionRef::new(shared.clone()));
        let closed = {
            let handle = handle.clone();
            thread::spawn(move || block_on(handle.closed()))
        };
        let confirmed = thread::spawn(move || block_on(handle.handshake_confirmed()));
        shared.mark_closed(ConnectionError::TimedOut);
        assert_eq!(closed.join().unwrap(), ConnectionError::TimedOut);
        assert_eq!(confirmed.join().unwrap(), Err(ConnectionError::TimedOut));
    });
}

/// Of two ends at once one is the reason, for all.
#[test]
fn there_is_one_reason() {
    model(|| {
        let shared = connection();
        let handle = Connection::new(ConnectionRef::new(shared.clone()));
        let waits = {
            let handle = handle.clone();
            thread::spawn(move || block_on(handle.closed()))
        };
        let closes = thread::spawn(move || handle.close(1_u8.into(), b""));
        shared.mark_closed(ConnectionError::TimedOut);
        let reason = waits.join().unwrap();
        closes.join().unwrap();
        assert_eq!(shared.closed(), Some(&reason));
    });
}

/// Two connections draw the same ID: one has it, until it gives it back.
#[test]
fn an_id_leads_to_one_connection() {
    model(|| {
        let routes = Arc::new(Routes::default());
        let cid = ConnectionId::try_from(&[7; 8][..]).unwrap();
        let connections = [0, 1].map(|_| {
            let routes = routes.clone();
            thread::spawn(move || {
                let (inbox, mut entries) = (Arc::new(Inbox::new(1 << 20)), Entries::default());
                let mine = routes.add_cid(&inbox, &mut entries, cid);
                let leads_to = routes.by_cid(&cid);
                let is_mine = matches!(leads_to, Some(Route::Inbox(other)) if Arc::ptr_eq(&other, &inbox));
                assert_eq!(mine, is_mine);
                routes.remove_all(&inbox, &entries);
                mine
            })
        });
        let got = connections.map(|connection| connection.join().unwrap());
        assert!(got.contains(&true));
        assert!(routes.by_cid(&cid).is_none() && routes.is_empty());
    });
}
