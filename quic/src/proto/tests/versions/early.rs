//! Early data stays in the version that the client began with.

use super::*;
use crate::config::Version::{V1, V2};
use crate::crypto::tls::{EarlyData, EarlyDataPolicy};
use crate::packet::{VERSION_1, VERSION_2};
use crate::proto::tests::early::stream;
use crate::proto::tests::pair::Tls;

/// TLS of a client that has a ticket of version 1, from a server that speaks nothing else yet.
fn acquainted() -> Tls {
    let before = || setup((ClientVersions::default(), server(&[V1])));
    let mut tls = Tls::new(&before());
    tls.server_sessions.early_data = Some(EarlyDataPolicy::new());
    let mut pair = Pair::with(before(), tls);
    pair.run_for(300 * MS);
    assert!(pair.client.confirmed());
    pair.tls
}

// covers: R9369-4.1-09, R9369-4.1-07
#[test]
fn it_is_taken_in_the_original_version_while_all_else_changes_over() {
    let setup = setup((ClientVersions::default(), server(&[V2, V1])));
    let mut pair = Pair::with(setup, acquainted());
    assert_eq!(pair.client.connection.early_data(), EarlyData::Offered);
    pair.client.connection.streams().write(stream(0), bytes(30_000));
    pair.client.connection.streams().finish(stream(0));
    let [sent, answered] = watch(&mut pair);
    pair.run_for(500 * MS);
    assert_eq!(pair.client.closed(), None);
    assert_eq!(
        (pair.client.connection.version(), pair.server().connection.version()),
        (VERSION_2, VERSION_2)
    );
    assert_eq!(pair.client.connection.early_data(), EarlyData::Accepted);
    assert!(pair.server().received == [(stream(0), bytes(30_000).to_vec(), true)]);
    assert_eq!(versions(&sent, Level::ZeroRtt), [VERSION_1]);
    assert_eq!(versions(&sent, Level::Handshake), [VERSION_2]);
    assert_eq!(versions(&answered, Level::Handshake), [VERSION_2]);
}

/// The server that gave the ticket has given up version 1 since: nothing of the early data has arrived, and it is not lost
/// without a word.
#[test]
fn it_is_rejected_where_the_client_has_to_begin_anew() {
    let setup = setup((ClientVersions::default(), server(&[V2])));
    let mut pair = Pair::with(setup, acquainted());
    pair.client.connection.streams().write(stream(0), bytes(5_000));
    pair.client.connection.streams().finish(stream(0));
    pair.run_for(500 * MS);
    assert!(pair.client.confirmed());
    assert_eq!((pair.client.closed(), pair.client.connection.version()), (None, VERSION_2));
    assert_eq!(pair.client.connection.early_data(), EarlyData::Rejected);
    assert!(pair.client.events.iter().any(|event| matches!(event, Event::EarlyData { accepted: false })));
    assert!(pair.server().received.is_empty());
    // The stream begins anew.
    pair.client.connection.streams().write(stream(0), bytes(1_000));
    pair.client.connection.streams().finish(stream(0));
    pair.run_for(500 * MS);
    assert!(pair.server().received == [(stream(0), bytes(1_000).to_vec(), true)]);
}
