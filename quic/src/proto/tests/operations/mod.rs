//! Random stories: what two applications do, what becomes of each datagram, how time passes. Whatever the order, every byte
//! arrives once, or its stream ends as somebody said; in the end nothing is left over.
//!
//! A story that fails is shortened to one in which each step matters. `PROPTEST_CASES=100000` tells so many; a few otherwise.

mod model;
mod world;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use self::world::World;
use super::pair::{Pair, Setup, Tls};
use crate::config::TransportConfig;
use crate::packet::{Dir, Side};

/// What an application does. Streams are named by their position among those that it could mean.
#[derive(Debug, Clone)]
enum Call {
    Open(Dir),
    Write {
        stream: u8,
        len: u16,
    },
    Finish(u8),
    Reset(u8),
    ResetAt {
        stream: u8,
        keep: u16,
    },
    Stop(u8),
    /// At most so many pieces; they are consumed now or later.
    Read {
        stream: u8,
        pieces: u8,
        consume: bool,
    },
    Consume(u8),
    Priority {
        stream: u8,
        level: i8,
    },
    /// How many streams the peer may have.
    Streams {
        dir: Dir,
        count: u8,
    },
    /// How many bytes the peer may send beyond what was read.
    Window(u16),
    UpdateKeys,
    RotateIds,
    Migrate,
    Datagram(u8),
    Close,
}

/// What becomes of the next datagram on its way to one end.
#[derive(Debug, Clone)]
enum Fate {
    Arrive,
    Lose,
    /// It arrives, and again later.
    Copy,
    /// Others overtake it.
    HoldBack,
    /// The byte at this position is changed.
    Change(u16),
    /// Marked by a congested router.
    Mark,
}

#[derive(Debug, Clone)]
enum Step {
    Call(Side, Call),
    /// So many datagrams on their way to this end.
    Datagrams {
        to: Side,
        fate: Fate,
        count: u8,
    },
    /// Milliseconds, during which nothing arrives.
    Time(u16),
    /// All arrives that is on its way, and all that it brings about at once.
    Calm,
    /// The server sees the client at another port from now on.
    Rebind,
}

fn dir() -> impl Strategy<Value = Dir> {
    prop_oneof![Just(Dir::Uni), Just(Dir::Bi)]
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Client), Just(Side::Server)]
}

fn call() -> impl Strategy<Value = Call> {
    let stream = || 0u8..12;
    let read = (stream(), 1u8..6, any::<bool>());
    prop_oneof![
        6 => dir().prop_map(Call::Open),
        20 => (stream(), 0u16..9000).prop_map(|(stream, len)| Call::Write { stream, len }),
        3 => stream().prop_map(Call::Finish),
        1 => stream().prop_map(Call::Reset),
        1 => (stream(), 0u16..9000).prop_map(|(stream, keep)| Call::ResetAt { stream, keep }),
        1 => stream().prop_map(Call::Stop),
        9 => read.prop_map(|(stream, pieces, consume)| Call::Read { stream, pieces, consume }),
        3 => stream().prop_map(Call::Consume),
        1 => (stream(), -2i8..3).prop_map(|(stream, level)| Call::Priority { stream, level }),
        1 => (dir(), 0u8..8).prop_map(|(dir, count)| Call::Streams { dir, count }),
        1 => any::<u16>().prop_map(Call::Window),
        1 => Just(Call::UpdateKeys),
        1 => Just(Call::RotateIds),
        1 => Just(Call::Migrate),
        2 => any::<u8>().prop_map(Call::Datagram),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Arrive),
        3 => Just(Fate::Lose),
        1 => Just(Fate::Copy),
        2 => Just(Fate::HoldBack),
        1 => any::<u16>().prop_map(Fate::Change),
        1 => Just(Fate::Mark),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        24 => (side(), call()).prop_map(|(side, call)| Step::Call(side, call)),
        24 => (side(), fate(), 1u8..6).prop_map(|(to, fate, count)| Step::Datagrams { to, fate, count }),
        6 => (1u16..400).prop_map(Step::Time),
        4 => Just(Step::Calm),
        1 => Just(Step::Rebind),
    ]
}

/// Mostly without a close, which ends everything.
fn story() -> impl Strategy<Value = Vec<Step>> {
    let close = side().prop_map(|side| Step::Call(side, Call::Close));
    (prop::collection::vec(step(), 1..200), prop::option::weighted(0.15, close)).prop_map(
        |(mut steps, close)| {
            steps.extend(close);
            steps
        },
    )
}

fn setup() -> Setup {
    let config = || {
        TransportConfig::builder()
            .stream_receive_window(8_000)
            .receive_window(20_000)
            .max_concurrent_bidi_streams(3)
            .max_concurrent_uni_streams(3)
            .max_idle_timeout(Some(std::time::Duration::from_secs(900)))
    };
    // A client that only receives has nothing else that shows where it is.
    let keep_alive = Some(std::time::Duration::from_secs(1));
    Setup {
        client: config().keep_alive_interval(keep_alive).build().unwrap(),
        server: config().build().unwrap(),
        ..Setup::default()
    }
}

#[test]
fn stories_end_well() {
    let chosen = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let config = if chosen { default } else { ProptestConfig { cases: 150, ..default } };
    let tls = Tls::new(&setup());
    TestRunner::new(config)
        .run(&story(), |steps| {
            let mut world = World::new(Pair::with(setup(), tls.clone()));
            for step in &steps {
                world.step(step);
            }
            world.settle();
            Ok(())
        })
        .unwrap();
}

/// The client has another port, hardly anything of what the server asks there arrives, and then the client retires the
/// ID of the way back.
#[test]
fn the_way_back_is_retired_while_the_way_ahead_is_tried() {
    use Side::{Client, Server};
    let open = |side| Step::Call(side, Call::Open(Dir::Uni));
    let arrive = |to, count| Step::Datagrams { to, fate: Fate::Arrive, count };
    let steps = [
        open(Server),
        open(Client),
        Step::Call(Client, Call::Write { stream: 0, len: 1 }),
        open(Client),
        open(Client),
        open(Server),
        Step::Time(246),
        Step::Call(Client, Call::Stop(0)),
        Step::Time(348),
        open(Server),
        Step::Time(419),
        Step::Rebind,
        Step::Calm,
        Step::Time(815),
        Step::Call(Server, Call::ResetAt { stream: 0, keep: 0 }),
        Step::Time(129),
        Step::Calm,
        Step::Time(136),
        arrive(Server, 2),
        arrive(Client, 1),
        Step::Time(396),
        Step::Call(Client, Call::RotateIds),
        Step::Time(628),
        open(Client),
        Step::Call(Client, Call::Finish(0)),
        Step::Datagrams { to: Client, fate: Fate::Lose, count: 5 },
        Step::Call(Server, Call::Write { stream: 1, len: 1008 }),
    ];
    let mut world = World::new(Pair::new(setup()));
    steps.iter().for_each(|step| world.step(step));
    world.settle();
}
