//! Looks at the running server: one round trip of SQL and one of the replication protocol.

use super::RealPostgres;
use super::session::Row;
use crate::ports::PostgresError;
use leaderl_decision::model::{Lsn, NodeId};
use leaderl_decision::replication_plan::{SenderSeen, ServerSeen, SlotSeen};
use std::time::Duration;

/// Statement by statement, in order: the position is read after the state that gives it its meaning.
const LOOK: &str = "\
select pg_is_in_recovery(), \
 case when pg_is_in_recovery() then pg_last_wal_receive_lsn() end, \
 case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end, \
 (select wait_event = 'RecoveryWalStream' from pg_stat_activity where backend_type = 'startup'), \
 (select sender_host || ' ' || sender_port from pg_stat_wal_receiver where status = 'streaming'); \
select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end; \
select slot_name, wal_status = 'lost', restart_lsn from pg_replication_slots where slot_name like 'leaderl\\_%' and slot_type = 'physical'; \
select application_name, state = 'streaming', flush_lsn, sync_priority > 0 from pg_stat_replication order by reply_time nulls first";

impl RealPostgres {
    /// `None`: no session can be had, the server starts, ends, or is not there.
    pub(super) async fn look(&self, limit: Duration) -> Result<Option<ServerSeen>, PostgresError> {
        let at_sentinel = self.sentinel().await?.name();
        let statements = match self.sessions.all(LOOK, limit).await {
            Ok(statements) => statements,
            Err(PostgresError::NoAnswer { .. }) => return Ok(None),
            Err(other) => return Err(other),
        };
        let timeline = match self.wal_session.timeline(limit).await {
            Ok(timeline) => timeline,
            Err(why) => {
                tracing::debug!(error = %why, "the replication session ended; it is opened again");
                match self.wal_session.timeline(limit).await {
                    Ok(timeline) => timeline,
                    Err(source) => {
                        return Err(PostgresError::Query { what: "tell its timeline".into(), source: source.into() });
                    }
                }
            }
        };
        let [state, position, slots, senders] = statements.as_slice() else {
            return Err(PostgresError::Unfit(format!("{} answers to 4 questions", statements.len())));
        };
        let state = state.first().cloned().unwrap_or_default();
        let in_recovery = flag(&state, 0);
        let mut seen = ServerSeen {
            in_recovery,
            timeline,
            position: lsn(position.first(), 0).unwrap_or_default(),
            received: lsn(Some(&state), 1),
            paused: flag(&state, 2),
            waiting_for_wal: flag(&state, 3),
            at_sentinel,
            streaming_from: text(&state, 4).and_then(host_and_port),
            slots: slots.iter().filter_map(slot).collect(),
            senders: senders.iter().filter_map(sender).collect(),
            promoted_at: Lsn::default(),
        };
        if !in_recovery {
            seen.promoted_at = self.with_files(move |files| Ok(files.began_at(timeline))).await?.unwrap_or_default();
        }
        Ok(Some(seen))
    }

    /// Whether the startup process waits for WAL that its walreceiver has not.
    pub(super) async fn waits_for_wal(&self, limit: Duration) -> Result<bool, PostgresError> {
        let sql = "select wait_event = 'RecoveryWalStream' from pg_stat_activity where backend_type = 'startup'";
        let rows = self.sessions.rows(sql, limit).await?;
        Ok(rows.first().is_some_and(|row| flag(row, 0)))
    }
}

fn text(row: &Row, at: usize) -> Option<&str> {
    row.get(at)?.as_deref()
}

fn flag(row: &Row, at: usize) -> bool {
    text(row, at) == Some("t")
}

fn lsn(row: Option<&Row>, at: usize) -> Option<Lsn> {
    text(row?, at)?.parse().ok()
}

fn host_and_port(both: &str) -> Option<(String, u16)> {
    let (host, port) = both.rsplit_once(' ')?;
    Some((host.to_owned(), port.parse().ok()?))
}

fn slot(row: &Row) -> Option<(String, SlotSeen)> {
    Some((text(row, 0)?.to_owned(), SlotSeen { lost: flag(row, 1), restart_lsn: lsn(Some(row), 2) }))
}

/// Rows come with the newest reply last, so that it stays when a dead walsender's row is still there.
fn sender(row: &Row) -> Option<(NodeId, SenderSeen)> {
    let node = NodeId(text(row, 0)?.to_owned());
    let seen =
        SenderSeen { streaming: flag(row, 1), flushed: lsn(Some(row), 2).unwrap_or_default(), counted: flag(row, 3) };
    node.is_well_formed().then_some((node, seen))
}

/// The last switch point in a history file is where its timeline began.
pub(super) fn switch_point(history: &str) -> Option<Lsn> {
    let mut lines = history.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.next_back()?.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_timeline_begins_where_its_history_ends() {
        let text = "1\t0/3000148\tno recovery target specified\n\n2\t0/50000A0\tno recovery target specified\n";
        assert_eq!(switch_point(text), Some(Lsn(0x0500_00A0)));
        assert_eq!(switch_point("# leaderl: this timeline is taken by another epoch\n"), None);
    }

    #[test]
    fn of_two_rows_with_one_name_the_newest_reply_counts() {
        let name = "0123456789abcdef0123456789abcdef";
        let row = |flushed: &str| vec![Some(name.into()), Some("t".into()), Some(flushed.into()), Some("f".into())];
        let rows = [row("0/1"), row("0/2")];
        let senders: BTreeMap<NodeId, SenderSeen> = rows.iter().filter_map(sender).collect();
        assert_eq!(senders[&NodeId(name.into())].flushed, Lsn(2));
        assert_eq!(sender(&vec![Some("pg_basebackup".into()), None, None, None]), None);
    }
}
