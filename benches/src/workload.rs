//! What every contender is asked to do.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use tokio::task::JoinSet;

use gannet_benches::meter::Cost;

/// The name of our own contender in reports.
pub const OURS: &str = "gannet";
/// The name of the contender that all are measured against.
pub const LIMIT: &str = "limit (b) sealed";
/// UDP payload of a full packet, bytes. Comparisons pin it: path MTU discovery would measure the interface instead.
pub const PACKET: usize = 1452;
/// Flow-control windows, the same for every contender that has them, bytes.
pub const STREAM_WINDOW: u32 = 8 << 20;
/// Likewise for the connection as a whole.
pub const CONNECTION_WINDOW: u32 = 16 << 20;
/// No single run may take longer than this.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// How many datagrams either side hands over at a time, if its API lets it.
pub const DATAGRAMS: usize = 64;
/// What a server hands to its transport at a time, bytes.
pub const CHUNK: usize = 64 << 10;

/// A server sends, a client receives.
#[derive(Debug, Copy, Clone)]
pub enum Workload {
    /// One stream of this many bytes, after a tenth of that to warm up.
    Download {
        /// Bytes that are measured.
        bytes: u64,
    },
    /// Small exchanges on one connection.
    Requests {
        /// How many are measured.
        count: u64,
        /// How many are under way at a time.
        concurrent: u64,
        /// Length of a response, bytes.
        response: u64,
    },
    /// Datagrams as fast as they come, until so many have arrived; others may be lost.
    Datagrams {
        /// How many are measured.
        count: u64,
        /// Length of each, bytes.
        size: usize,
    },
}

impl Workload {
    /// Its name in reports.
    pub fn name(&self) -> String {
        match self {
            Self::Download { .. } => "one stream, download".to_owned(),
            Self::Requests { concurrent, response, .. } => {
                format!("{concurrent} concurrent requests of {response} B")
            }
            Self::Datagrams { size, .. } => format!("datagrams of {size} B"),
        }
    }

    /// The same, smaller: what is done before the measurement begins.
    pub fn warm_up(self) -> Self {
        match self {
            Self::Download { bytes } => Self::Download { bytes: (bytes / 10).max(1) },
            Self::Requests { count, concurrent, response } => {
                Self::Requests { count: (count / 10).max(concurrent), concurrent, response }
            }
            Self::Datagrams { count, size } => Self::Datagrams { count: (count / 10).max(1), size },
        }
    }

    /// The client's part for contenders on streams: `get` requests so many bytes and reads them all.
    pub async fn run<F>(self, get: impl Fn(u64) -> F + Clone + Send + 'static) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let (count, concurrent, response) = match self {
            Self::Download { bytes } => return get(bytes).await,
            Self::Requests { count, concurrent, response } => (count, concurrent, response),
            Self::Datagrams { .. } => return Err(anyhow!("there are no streams in it")),
        };
        let begun = Arc::new(AtomicU64::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..concurrent {
            let (get, begun) = (get.clone(), Arc::clone(&begun));
            workers.spawn(async move {
                while begun.fetch_add(1, Ordering::Relaxed) < count {
                    get(response).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = workers.join_next().await {
            done??;
        }
        Ok(())
    }
}

/// One implementation. A run makes its own sockets, connects, warms up, and measures.
pub trait Contender {
    /// Its name in reports.
    fn name(&self) -> &'static str;
    /// Whether it can do that.
    fn can(&self, _workload: Workload) -> bool {
        true
    }
    /// Does the work once.
    fn run(&self, workload: Workload) -> Result<Cost>;
}

/// Runs a server and a client on a thread each, and returns what the client measured.
///
/// The server tells its address through the channel and returns when the client has gone.
pub fn two_threads(
    server: impl FnOnce(mpsc::Sender<SocketAddr>) -> Result<()> + Send + 'static,
    client: impl FnOnce(SocketAddr) -> Result<Cost> + Send + 'static,
) -> Result<Cost> {
    let (ready, address) = mpsc::channel();
    let server = thread::Builder::new().name("server".into()).spawn(move || server(ready))?;
    let Ok(address) = address.recv_timeout(DEADLINE) else {
        return Err(join(server).err().unwrap_or_else(|| anyhow!("the server did not start")));
    };
    let client = thread::Builder::new().name("client".into()).spawn(move || client(address))?;
    let cost = join(client).context("client")?;
    join(server).context("server")?;
    Ok(cost)
}

fn join<T>(thread: thread::JoinHandle<Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))?
}

/// A runtime for one side: everything of that side runs on its one thread.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// A loopback socket with buffers as large as the system grants.
pub fn socket() -> Result<std::net::UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.set_recv_buffer_size(8 << 20)?;
    socket.set_send_buffer_size(8 << 20)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    Ok(socket.into())
}

/// The next piece of a response, of which `left` bytes are due. All pieces share one buffer.
pub fn next_chunk(source: &Bytes, left: &mut u64) -> Option<Bytes> {
    let len = usize::try_from(*left).map_or(source.len(), |left| left.min(source.len()));
    *left -= len as u64;
    (len > 0).then(|| source.slice(..len))
}

/// Datagrams that a server sends at a time.
pub fn datagrams(source: &Bytes, size: usize) -> impl Iterator<Item = Bytes> {
    std::iter::repeat_n(source.slice(..size.min(source.len())), DATAGRAMS)
}

/// A buffer to take responses from.
pub fn source() -> Bytes {
    Bytes::from(vec![0xa5; CHUNK])
}
