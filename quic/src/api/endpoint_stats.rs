//! What an endpoint counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::driver::shared::endpoint::Endpoint;

/// What an endpoint did and what it turned away. Counts begin at 0 with the endpoint; taken one after the other while
/// it works, they may differ by what happens meanwhile.
///
/// The limits behind them are those of [`EndpointConfigBuilder`](crate::config::EndpointConfigBuilder).
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Datagrams dropped that are not QUIC, cannot be opened, are empty, or come from port 0.
    pub malformed: u64,
    /// Datagrams dropped of connections that nobody knows; some of them were answered by a stateless reset.
    pub unknown: u64,
    /// Datagrams dropped for which a connection had no room, or all clients in their handshakes together.
    pub overflowed: u64,
    /// Connections that were opened from here, whatever came of them.
    pub opened: u64,
    /// Clients that were accepted, whatever came of them.
    pub accepted: u64,
    /// Clients that were told CONNECTION_REFUSED: by the application, or for one of the limits.
    pub refused: u64,
    /// Clients that the application ignored.
    pub ignored: u64,
    /// Clients that were asked to come again (Retry): by the application, the policy, or for one of the limits.
    pub retries: u64,
    /// Clients that came with the token of a Retry that is not good.
    pub invalid_tokens: u64,
    /// Clients that were turned away before the application saw them: they were refused or asked to come again, or,
    /// where `unanswered` counts, told nothing. The sum of what is in `turned_away_by`.
    pub turned_away: u64,
    /// The same by limit.
    pub turned_away_by: TurnedAwayBy,
    /// Handshakes ended with CONNECTION_REFUSED after they were accepted, because all clients in their handshakes together
    /// used more than [`unauthenticated_memory`](crate::config::EndpointConfigBuilder::unauthenticated_memory).
    pub overloaded: u64,
    /// Clients of other versions that were told which ones there are (Version Negotiation).
    pub version_negotiations: u64,
    /// Stateless resets sent.
    pub stateless_resets: u64,
    /// Late datagrams to closed connections that were answered.
    pub closing_answers: u64,
    /// Stateless answers that were due and not given, because there were too many.
    pub unanswered: u64,
    /// Handshakes of clients under way now, those that wait for `accept` included.
    pub handshakes: usize,
    /// What these clients have sent and is kept now, with the cost of keeping it, bytes.
    pub unauthenticated_memory: usize,
    /// Connection IDs, addresses and reset tokens by which datagrams find their connections now.
    pub routes: usize,
    /// Closed connections that are remembered now, to answer late datagrams.
    pub closed_connections: usize,
    /// What connections hold now of [`memory_budget`](crate::config::EndpointConfigBuilder::memory_budget), bytes: 16 KiB for
    /// each, what arrived and was not read, what was written and is not acknowledged, datagrams (RFC 9221) that wait to be read
    /// or sent, and UDP datagrams not looked at yet.
    pub memory_used: u64,
    /// By how much the receive windows of all connections exceed what they began with, bytes; those out of use for 5 s count
    /// for an eighth.
    pub memory_granted: u64,
    /// How often the receive window of a connection would have grown, but there was no budget for it.
    pub windows_held_back: u64,
    /// How often a connection was given a smaller receive window because the budget was nearly used up.
    pub windows_shrunk: u64,
}

/// Clients that were turned away, by the limit that did it.
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TurnedAwayBy {
    /// [`max_connections`](crate::config::EndpointConfigBuilder::max_connections).
    pub connections: u64,
    /// [`memory_budget`](crate::config::EndpointConfigBuilder::memory_budget).
    pub budget: u64,
    /// [`max_incoming`](crate::config::EndpointConfigBuilder::max_incoming).
    pub incoming: u64,
    /// [`max_handshakes`](crate::config::EndpointConfigBuilder::max_handshakes).
    pub handshakes: u64,
    /// [`max_handshakes_per_network`](crate::config::EndpointConfigBuilder::max_handshakes_per_network).
    pub network: u64,
    /// [`unauthenticated_memory`](crate::config::EndpointConfigBuilder::unauthenticated_memory).
    pub memory: u64,
    /// [`RetryPolicy::UnderLoad`](crate::config::RetryPolicy::UnderLoad).
    pub load: u64,
}

impl EndpointStats {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &endpoint.counters;
        let (routes, closed_connections) = endpoint.routes.count();
        let by = TurnedAwayBy {
            connections: get(&counters.too_many_connections),
            budget: get(&counters.over_budget),
            incoming: get(&counters.too_many_incoming),
            handshakes: get(&counters.too_many_handshakes),
            network: get(&counters.too_many_of_network),
            memory: get(&counters.too_much_memory),
            load: get(&counters.under_load),
        };
        Self {
            malformed: get(&counters.malformed),
            unknown: get(&counters.unknown),
            overflowed: get(&counters.overflowed),
            opened: get(&counters.opened),
            accepted: get(&counters.accepted),
            refused: get(&counters.refused),
            ignored: get(&counters.ignored),
            retries: get(&counters.retries),
            invalid_tokens: get(&counters.invalid_tokens),
            turned_away: by.connections
                + by.budget
                + by.incoming
                + by.handshakes
                + by.network
                + by.memory
                + by.load,
            turned_away_by: by,
            overloaded: get(&counters.overloaded),
            version_negotiations: get(&counters.version_negotiations),
            stateless_resets: get(&counters.stateless_resets),
            closing_answers: get(&counters.closing_answers),
            unanswered: get(&counters.unanswered),
            handshakes: endpoint.admission.handshakes(),
            routes,
            closed_connections,
            unauthenticated_memory: endpoint.admission.memory(),
            memory_used: endpoint.budget.used(),
            memory_granted: endpoint.budget.granted(),
            windows_held_back: endpoint.budget.held_back(),
            windows_shrunk: endpoint.budget.shrunk(),
        }
    }
}
