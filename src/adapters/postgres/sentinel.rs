//! The listener that walreceivers hang at when they shall stream from nobody (see docs/decisions/0002-sentinel-conninfo.md).
//!
//! It reads the startup packet, publishes its application_name while the connection is open, and never answers.

use super::durable::Owner;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The port in our conninfo; libpq makes the socket's file name from it.
pub(super) const PORT: u16 = 5499;
/// The protocol version that a startup packet begins with.
const PROTOCOL_3: u32 = 196_608;
/// Longest startup packet libpq and PostgreSQL agree on.
const LONGEST_PACKET: usize = 10_000;
/// How long a connection may take to send its startup packet.
const PACKET_LIMIT: Duration = Duration::from_secs(5);

/// The running listener; ends when dropped.
pub(super) struct Sentinel {
    seen: watch::Receiver<Hanging>,
    task: JoinHandle<()>,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sentinel {
    /// Listens in `dir`; only `owner` (and root) is believed.
    pub(super) fn listen(dir: &Path, owner: Owner) -> io::Result<Self> {
        super::durable::make_dir(dir, Some(owner))?;
        let path = dir.join(format!(".s.PGSQL.{PORT}"));
        match std::fs::remove_file(&path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        if owner.change {
            chown(&path, Some(owner.uid), Some(owner.gid))?;
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let (publish, seen) = watch::channel(None);
        Ok(Self { seen, task: tokio::spawn(accept(listener, owner.uid, publish)) })
    }

    /// The application_name that hangs here now.
    pub(super) fn name(&self) -> Option<String> {
        self.seen.borrow().as_ref().map(|(_, name)| name.clone())
    }

    /// Waits until exactly this name hangs here.
    pub(super) async fn until(&self, name: &str) {
        let mut seen = self.seen.clone();
        // The sender lives as long as the task, and the task as long as `self`.
        let _ = seen.wait_for(|hanging| hanging.as_ref().is_some_and(|(_, there)| there == name)).await;
    }
}

/// The connection that hangs here: its number and its name.
type Hanging = Option<(u64, String)>;

/// A server has one walreceiver at most, so a new connection replaces the one before.
async fn accept(listener: UnixListener, uid: u32, publish: watch::Sender<Hanging>) {
    let mut connections = tokio::task::JoinSet::new();
    for number in 1u64.. {
        let stream = match listener.accept().await {
            Ok((stream, _)) if believed(&stream, uid) => stream,
            Ok(_) => continue,
            // Out of descriptors, or the like: never spin.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        connections.abort_all();
        while connections.try_join_next().is_some() {}
        publish.send_replace(None);
        let publish = publish.clone();
        connections.spawn(async move { hang(stream, number, &publish).await });
    }
}

fn believed(stream: &UnixStream, uid: u32) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == uid)
}

/// Publishes the connection's name, then waits until the other side closes. Takes back only its own name.
async fn hang(mut stream: UnixStream, number: u64, publish: &watch::Sender<Hanging>) {
    let Ok(Ok(Some(name))) = tokio::time::timeout(PACKET_LIMIT, startup_name(&mut stream)).await else { return };
    publish.send_replace(Some((number, name)));
    let mut rest = [0u8; 256];
    while let Ok(read) = stream.read(&mut rest).await
        && read > 0
    {}
    publish.send_if_modified(|hanging| {
        let ours = hanging.as_ref().is_some_and(|(there, _)| *there == number);
        if ours {
            *hanging = None;
        }
        ours
    });
}

async fn startup_name(stream: &mut UnixStream) -> io::Result<Option<String>> {
    let length = stream.read_u32().await? as usize;
    if !(8..=LONGEST_PACKET).contains(&length) {
        return Ok(None);
    }
    let mut packet = vec![0u8; length - 4];
    stream.read_exact(&mut packet).await?;
    Ok(application_name(&packet))
}

/// Finds application_name among the zero-terminated pairs after the protocol version.
fn application_name(packet: &[u8]) -> Option<String> {
    let (version, pairs) = packet.split_first_chunk::<4>()?;
    if u32::from_be_bytes(*version) != PROTOCOL_3 {
        return None;
    }
    let mut texts = pairs.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    while let (Some(key), Some(value)) = (texts.next(), texts.next()) {
        if key == "application_name" {
            return Some(value.into_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_in_a_startup_packet() {
        let mut packet = PROTOCOL_3.to_be_bytes().to_vec();
        packet.extend(b"user\0replicator\0replication\0true\0application_name\0detached_r12_n1\0\0");
        assert_eq!(application_name(&packet).as_deref(), Some("detached_r12_n1"));
        packet[0] = 9;
        assert_eq!(application_name(&packet), None);
        assert_eq!(application_name(b"\0\x03\0\0user\0"), None);
    }
}
