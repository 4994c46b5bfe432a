//! A replication session with the local server, for the one thing that SQL does not tell on a standby: the replayed timeline.
//!
//! Speaks the few messages of the protocol that this needs; the local socket's `peer` method asks for no password.

use leaderl_decision::model::Timeline;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

/// Longest message this session expects.
const LONGEST_MESSAGE: usize = 64 * 1024;

/// Keeps one replication session open.
pub(super) struct WalSession {
    path: PathBuf,
    user: String,
    open: Mutex<Option<UnixStream>>,
}

impl WalSession {
    pub(super) fn new(path: PathBuf, user: String) -> Self {
        Self { path, user, open: Mutex::new(None) }
    }

    /// `IDENTIFY_SYSTEM`'s timeline: the one replayed on a standby, the one written on a primary.
    pub(super) async fn timeline(&self, limit: Duration) -> io::Result<Timeline> {
        let mut open = self.open.lock().await;
        let mut stream = match open.take() {
            Some(stream) => stream,
            None => tokio::time::timeout(limit, self.connect()).await.map_err(io::Error::from)??,
        };
        let timeline = tokio::time::timeout(limit, identify(&mut stream)).await.map_err(io::Error::from)??;
        // Kept only after a whole answer: anything else may have left half a message behind.
        *open = Some(stream);
        Ok(timeline)
    }

    /// Closes the session.
    pub(super) async fn forget(&self) {
        *self.open.lock().await = None;
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.path).await?;
        let mut body = 196_608u32.to_be_bytes().to_vec();
        for text in ["user", self.user.as_str(), "replication", "true", "application_name", "leaderl"] {
            body.extend(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &body].concat()).await?;
        loop {
            match message(&mut stream).await? {
                (b'Z', _) => return Ok(stream),
                (b'E', body) => return Err(refused(&body)),
                (b'R', body) if body.get(..4) != Some(&[0; 4]) => {
                    return Err(io::Error::other("the local socket asks for a password"));
                }
                _ => {}
            }
        }
    }
}

async fn identify(stream: &mut UnixStream) -> io::Result<Timeline> {
    let query = b"IDENTIFY_SYSTEM\0";
    let length = u32::try_from(query.len() + 4).map_err(io::Error::other)?;
    stream.write_all(&[b"Q", &length.to_be_bytes()[..], query].concat()).await?;
    let mut timeline = None;
    loop {
        match message(stream).await? {
            (b'Z', _) => return timeline.ok_or_else(|| io::Error::other("IDENTIFY_SYSTEM answered no timeline")),
            (b'E', body) => return Err(refused(&body)),
            (b'D', body) => timeline = second_column(&body).and_then(|text| text.parse().ok()).map(Timeline),
            _ => {}
        }
    }
}

async fn message(stream: &mut UnixStream) -> io::Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    let length = stream.read_u32().await? as usize;
    if !(4..=LONGEST_MESSAGE).contains(&length) {
        return Err(io::Error::other("a message of an impossible length"));
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}

/// systemid, timeline, xlogpos, dbname.
fn second_column(row: &[u8]) -> Option<String> {
    let mut rest = row.get(2..)?;
    for column in 0..2 {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        if column == 1 {
            return String::from_utf8(after.get(..length)?.to_vec()).ok();
        }
        rest = after.get(length..)?;
    }
    None
}

fn refused(body: &[u8]) -> io::Error {
    let text = body
        .split(|byte| *byte == 0)
        .filter_map(|field| field.split_first())
        .find(|(code, _)| **code == b'M')
        .map(|(_, text)| String::from_utf8_lossy(text).into_owned())
        .unwrap_or_default();
    io::Error::other(text)
}
