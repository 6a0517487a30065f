//! Tokens that a server gives for the client's next connection (RFC 9000 §8.1.3).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::pair::{Pair, Setup};
use crate::packet::{MIN_DATAGRAM_SIZE, TransportErrorCode as Code};
use crate::proto::Event;
use crate::proto::endpoint::Rejected;
use crate::wire::header::{ProtectedHeader, parse};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The tokens that the client has heard of.
fn told(pair: &Pair) -> Vec<Bytes> {
    let tokens = pair.client.events.iter().filter_map(|event| match event {
        Event::NewToken(token) => Some(token.clone()),
        _ => None,
    });
    tokens.collect()
}

/// A token of an earlier connection; the servers of all pairs have the same key.
fn token() -> Bytes {
    let mut pair = Pair::new(Setup { new_tokens: 2, ..Setup::default() });
    pair.run_for(100 * MS);
    told(&pair).remove(0)
}

/// The token of an Initial.
fn token_of(datagram: &[u8]) -> Option<Vec<u8>> {
    match parse(datagram, 8).ok()?.header {
        ProtectedHeader::Initial { token, .. } => Some(datagram[token].to_vec()),
        _ => None,
    }
}

/// The tokens of all Initials that the client sends from now on, and its very first datagrams.
type Seen = Rc<RefCell<(Vec<Vec<u8>>, Vec<Vec<u8>>)>>;

/// Notes what the client sends; the first `lost` datagrams do not arrive.
fn watch(pair: &mut Pair, lost: usize) -> Seen {
    let seen = Seen::default();
    let copy = seen.clone();
    pair.to_server = Box::new(move |index, datagram| {
        let mut seen = copy.borrow_mut();
        seen.0.extend(token_of(datagram));
        seen.1.push(datagram.clone());
        index >= lost
    });
    seen
}

// covers: R9000-8.1.3-04 R9000-8.1.3-05 R9000-19.7-01
#[test]
fn a_server_gives_as_many_tokens_as_it_is_told_to() {
    for count in [0, 1, 2, 5] {
        let mut pair = Pair::new(Setup { new_tokens: count, ..Setup::default() });
        pair.run_for(25 * MS);
        assert!(told(&pair).is_empty(), "before the handshake is confirmed");
        pair.run_for(200 * MS);
        let mut tokens = told(&pair);
        assert_eq!(tokens.len(), usize::from(count));
        assert_eq!(pair.server().connection.frames_sent().of(0x07), u64::from(count));
        tokens.sort();
        tokens.dedup();
        assert_eq!(tokens.len(), usize::from(count), "no two are the same");
        let ids =
            [pair.client.connection.handshake.original_dcid, pair.client.connection.local_cids.initial()];
        for token in tokens {
            assert!((1..=100).contains(&token.len()));
            for id in ids {
                assert!(!token.windows(id.len()).any(|bytes| bytes == id.as_slice()));
            }
        }
    }
}

// covers: R9000-8.1.3-05
#[test]
fn a_lost_token_is_replaced_by_another() {
    let mut pair = Pair::new(Setup { new_tokens: 2, ..Setup::default() });
    while pair.server.as_ref().is_none_or(|server| server.connection.frames_sent().of(0x07) == 0) {
        pair.run_for(MS);
    }
    pair.client.inbox.clear();
    pair.run_for(5_000 * MS);
    assert!(pair.client.confirmed());
    let mut tokens = told(&pair);
    let heard = tokens.len();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), heard, "no two are the same");
    // A probe may bring some in place of those that are only late.
    assert!((2..=4).contains(&heard), "{heard}");
}

// covers: R9000-8.1.3-01 R9000-8.1.3-06 R9000-8.1.3-10 R9000-8.1.3-12
#[test]
fn a_token_is_in_every_initial_and_spares_the_amplification_limit() {
    let token = token();
    for lost in [0, 1, 3] {
        // The certificate does not fit into three datagrams.
        let setup = Setup { token: token.clone(), more_names: 250, retry: true, ..Setup::default() };
        let mut pair = Pair::new(setup);
        let seen = watch(&mut pair, lost);
        let sent = Rc::new(RefCell::new(0));
        let copy = sent.clone();
        pair.to_client = Box::new(move |_, datagram| {
            *copy.borrow_mut() += datagram.len();
            true
        });
        while pair.server.is_none() {
            pair.run_for(MS);
        }
        assert!(*sent.borrow() > 3 * MIN_DATAGRAM_SIZE, "{}", sent.borrow());
        pair.run_for(SECOND);
        assert!(pair.client.confirmed(), "without a Retry, although the server asks strangers for it");
        let seen = seen.borrow();
        assert!(seen.0.len() > lost);
        assert!(seen.0.iter().all(|sent| *sent == token), "{seen:?}");
    }
}

// covers: R9000-8.1.3-11 R9000-8.1.3-10 R9000-8.1.4-04 R9000-8.1.4-05 R9000-8.1.4-06 R9000-8.1.4-08 R9000-8.1.3-03
#[test]
fn a_token_that_does_not_hold_is_as_good_as_none() {
    let mut pair = Pair::new(Setup { token: token(), ..Setup::default() });
    let seen = watch(&mut pair, 1);
    pair.run_for(MS);
    let first = seen.borrow().1[0].clone();
    let key = pair.tokens.clone();
    // Too old, or too new, the IP address aside all that can be wrong is told by the token's own tests.
    let late = pair.open_as(&key, 5000, 1_001 * SECOND, &first).unwrap();
    assert!(!late.is_validated() && late.may_retry());
    // Another port is another NAT binding and no other address.
    let incoming = pair.open_as(&key, 6000, 999 * SECOND, &first).unwrap();
    assert!(incoming.is_validated() && incoming.may_retry() && incoming.retry_scid().is_none());
    assert_eq!(incoming.original_dcid(), incoming.dcid());
    // Used.
    let again = pair.open(&first).unwrap();
    assert!(!again.is_validated() && again.may_retry());
    // A server may ask for a Retry nevertheless, and then its token counts.
    let retry = pair.retry(&incoming).unwrap();
    drop((incoming, again));
    let path = super::pair::tuple(4433);
    let now = pair.now;
    pair.client.connection.handle_burst(now, crate::packet::Burst::single(now, path, None, retry));
    let second = pair.client.drain(now).remove(0);
    assert_ne!(token_of(&second), token_of(&first), "the Retry's token replaces the other");
    assert!(pair.open_as(&key, 6000, Duration::ZERO, &second).unwrap().is_validated());
    // Nor does the Retry's token outlive the connection: nothing was said of it.
    assert!(told(&pair).is_empty());
}

/// A server that demands a Retry goes on with it after a token that does not hold.
// covers: R9000-8.1.3-01 R9000-8.1.3-02 R9000-8.1.3-08 R9000-8.1.3-11
#[test]
fn a_token_that_does_not_hold_leads_to_a_retry() {
    for bad in [&b"not ours"[..], &[8; 57], &[7; 500]] {
        let token = Bytes::copy_from_slice(bad);
        let mut pair = Pair::new(Setup { token, retry: true, ..Setup::default() });
        let seen = watch(&mut pair, 0);
        pair.run_for(200 * MS);
        assert!(pair.client.confirmed());
        let seen = seen.borrow();
        assert_eq!(seen.0[0], bad);
        assert!(seen.0[1..].iter().all(|token| token != bad && !token.is_empty()));
        assert!(told(&pair).is_empty(), "a Retry's token is not for later");
    }
}

/// A Retry token in the first Initial of another connection is no token of NEW_TOKEN: the destination ID tells.
// covers: R9000-8.1.1-01 R9000-8.1.2-02
#[test]
fn a_retry_token_is_of_no_use_to_another_connection() {
    let mut pair = Pair::new(Setup { retry: true, ..Setup::default() });
    let seen = watch(&mut pair, 0);
    pair.run_for(200 * MS);
    let retry_token = seen.borrow().0.last().unwrap().clone();
    let mut pair = Pair::new(Setup { token: retry_token.into(), ..Setup::default() });
    let first = watch(&mut pair, 1);
    pair.run_for(MS);
    let opened = pair.open(&first.borrow().1[0]);
    assert!(
        matches!(opened, Err(Rejected::InvalidToken(_))),
        "{opened:?} is to end in {}",
        Code::INVALID_TOKEN
    );
}
