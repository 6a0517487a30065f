//! What the server does is up to its clients: the first bytes of a stream say it.

use bytes::Bytes;
use futures::FutureExt;
use gannet::{Connection, Endpoint, RecvStream, SendStream, VarInt};

/// What a client wants of a bidirectional stream; followed by a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Everything back.
    Echo,
    /// So many bytes.
    Source,
    /// Ask me to stop after so many bytes, and reset.
    Stop,
    /// Reset after so many bytes.
    Reset,
}

impl Wish {
    pub const ALL: [Self; 4] = [Self::Echo, Self::Source, Self::Stop, Self::Reset];

    pub fn encode(self, bytes: u32) -> [u8; 5] {
        let [a, b, c, d] = bytes.to_be_bytes();
        [self as u8, a, b, c, d]
    }
}

pub async fn run(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            if let Ok(connection) = incoming.accept().await {
                serve(connection).await;
            }
        });
    }
}

async fn serve(connection: Connection) {
    loop {
        tokio::select! {
            streams = connection.accept_bi() => match streams {
                Ok((send, recv)) => drop(tokio::spawn(answer(send, recv).map(drop))),
                Err(_) => return,
            },
            stream = connection.accept_uni() => match stream {
                Ok(recv) => drop(tokio::spawn(swallow(recv).map(drop))),
                Err(_) => return,
            },
            datagram = connection.read_datagram() => match datagram {
                // What does not fit is lost, as datagrams may be.
                Ok(data) => drop(connection.send_datagram(data)),
                Err(_) => return,
            },
        }
    }
}

async fn swallow(mut recv: RecvStream) -> Option<u64> {
    let mut bytes = 0;
    while let Some(chunk) = recv.read_chunk(usize::MAX).await.ok()? {
        bytes += chunk.len() as u64;
    }
    Some(bytes)
}

async fn answer(mut send: SendStream, mut recv: RecvStream) -> Option<()> {
    let mut wish = [0; 5];
    recv.read_exact(&mut wish).await.ok()?;
    let [kind, a, b, c, d] = wish;
    let bytes = u32::from_be_bytes([a, b, c, d]) as usize;
    let code = VarInt::from_u32(7);
    match Wish::ALL.into_iter().find(|wish| *wish as u8 == kind)? {
        Wish::Echo => {
            while let Some(chunk) = recv.read_chunk(usize::MAX).await.ok()? {
                send.write_chunk(chunk).await.ok()?;
            }
        }
        Wish::Source => send.write_chunk(Bytes::from(vec![7; bytes])).await.ok()?,
        Wish::Stop => {
            let mut read = 0;
            while read < bytes
                && let Some(chunk) = recv.read_chunk(bytes - read).await.ok()?
            {
                read += chunk.len();
            }
            recv.stop(code).ok()?;
            return send.reset(code).ok();
        }
        Wish::Reset => {
            send.write_chunk(Bytes::from(vec![7; bytes])).await.ok()?;
            return send.reset(code).ok();
        }
    }
    send.finish().await.ok()
}
