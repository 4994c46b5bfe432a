//! Sessions with a node's PostgreSQL from inside the node: the port gate lets nobody else read from a follower.

use super::Cluster;
use crate::checker::read_back::{LOG_IN_LIMIT, explain, log_in};
use crate::{Failure, Outcome, While, fail};
use nix::sched::{CloneFlags, setns};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

const PORT: u16 = 5432;

impl Cluster {
    /// A session with the node's server, by its own address. Closes with the client.
    ///
    /// # Errors
    /// The node does not run, or does not take the log-in within 3 s.
    pub async fn session(&self, node: &str, password: &str) -> Outcome<Client> {
        let namespace = self.network_of(node).await?;
        let address = SocketAddr::new(self.address(node)?, PORT);
        let connecting = tokio::task::spawn_blocking(move || {
            // A thread that ends with it: nothing else must find itself in the node's network.
            std::thread::spawn(move || connect_in(namespace, address)).join()
        });
        let connected = timeout(LOG_IN_LIMIT, connecting).await.during(|| format!("connecting to {node}"))?;
        let stream = match connected {
            Ok(Ok(stream)) => stream.during(|| format!("connecting to {node}"))?,
            Ok(Err(_)) | Err(_) => return fail(format!("connecting to {node}: the thread did not end in order")),
        };
        stream.set_nonblocking(true).during(|| format!("connecting to {node}"))?;
        let stream = tokio::net::TcpStream::from_std(stream).during(|| format!("connecting to {node}"))?;
        let config = log_in(address.ip(), PORT, "chef_pgsql", password);
        let (client, connection) = timeout(LOG_IN_LIMIT, config.connect_raw(stream, NoTls))
            .await
            .during(|| format!("log-in to {node}"))?
            .map_err(|error| Failure(format!("log-in to {node}: {}", explain(&error))))?;
        tokio::spawn(connection);
        Ok(client)
    }
}

/// The network namespaces that were found, by node, with a process in each.
pub(super) type Networks = Arc<Mutex<BTreeMap<String, (i32, PathBuf)>>>;

impl Cluster {
    /// Asking Docker costs more than all else of a look at the cluster: done once for each start of a node.
    async fn network_of(&self, node: &str) -> Outcome<File> {
        let known = self.networks.lock().ok().and_then(|networks| networks.get(node).cloned());
        if let Some((pid, link)) = known
            && std::fs::read_link(path_of(pid)).is_ok_and(|now| now == link)
        {
            return File::open(path_of(pid)).during(|| format!("network of {node}"));
        }
        let pid = self.pid(node).await?;
        if pid == 0 {
            return fail(format!("{node} does not run"));
        }
        let link = std::fs::read_link(path_of(pid)).during(|| format!("network of {node}"))?;
        if let Ok(mut networks) = self.networks.lock() {
            networks.insert(node.to_string(), (pid, link));
        }
        File::open(path_of(pid)).during(|| format!("network of {node}"))
    }
}

fn path_of(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/net"))
}

fn connect_in(namespace: File, address: SocketAddr) -> std::io::Result<TcpStream> {
    setns(namespace, CloneFlags::CLONE_NEWNET)?;
    TcpStream::connect_timeout(&address, LOG_IN_LIMIT)
}
