//! Connections that go on from earlier ones.

use std::time::Duration;

use super::pair::{Pair, Setup};
use crate::config::{ClientVersions, ServerVersions};
use crate::packet::{VERSION_1, VERSION_2};

fn resumed(pair: &mut Pair) -> [bool; 2] {
    pair.run_for(Duration::from_millis(200));
    let of_client = pair.client.connection.handshake_data().unwrap().resumed;
    [of_client, pair.server().connection.handshake_data().unwrap().resumed]
}

#[test]
fn a_second_connection_resumes() {
    let mut pair = Pair::new(Setup::default());
    assert_eq!(resumed(&mut pair), [false; 2]);
    let mut again = pair.again(Setup::default());
    assert_eq!(resumed(&mut again), [true; 2]);
    let mut after_retry = again.again(Setup { retry: true, ..Setup::default() });
    assert_eq!(resumed(&mut after_retry), [true; 2]);
}

// covers: R9369-5-01
#[test]
fn a_server_is_met_again_in_the_version_that_its_sessions_are_of() {
    let both =
        || Setup { versions: (ClientVersions::default(), ServerVersions::default()), ..Setup::default() };
    let mut pair = Pair::new(both());
    let began = |pair: &Pair| pair.client.connection.handshake.negotiation.original;
    assert_eq!((began(&pair), resumed(&mut pair)), (VERSION_1, [false; 2]));
    let mut again = pair.again(both());
    assert_eq!((began(&again), resumed(&mut again)), (VERSION_2, [true; 2]));
    assert_eq!(again.client.connection.version(), VERSION_2);
}
