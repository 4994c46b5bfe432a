//! Reads `global/pg_control` itself: a hundred microseconds instead of starting pg_controldata in the middle of a switchover.

use leaderl_decision::model::{Lsn, Timeline};
use leaderl_decision::replication_plan::Control;
use std::path::Path;

/// `pg_control_version` of PostgreSQL 13 to 16; the offsets below are that layout's.
const VERSION: u32 = 1300;
const VERSION_AT: usize = 8;
const STATE_AT: usize = 16;
const CHECKPOINT_AT: usize = 32;
const TIMELINE_AT: usize = 48;
/// The settings that a standby must not have lower than the server that wrote its WAL, and where pg_control keeps them.
const MINIMA: [(&str, usize); 5] = [
    ("max_connections", 180),
    ("max_worker_processes", 184),
    ("max_wal_senders", 188),
    ("max_prepared_transactions", 192),
    ("max_locks_per_transaction", 196),
];
/// CRC-32C over everything before it.
const CRC_AT: usize = 288;
/// `DB_SHUTDOWNED`
const SHUT_DOWN: u32 = 1;
/// `DB_SHUTDOWNED_IN_RECOVERY`
const SHUT_DOWN_IN_RECOVERY: u32 = 2;

/// Why pg_control says nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlFileError {
    #[error("it cannot be read")]
    Unreadable(#[source] std::io::Error),
    #[error("it is only {0} bytes long")]
    TooShort(usize),
    #[error("its version is {0}; versions of PostgreSQL 13 to 16 are understood")]
    OtherVersion(u32),
    #[error("its checksum is wrong")]
    Damaged,
}

/// Reads PGDATA's control file.
pub(super) fn read(data: &Path) -> Result<Control, ControlFileError> {
    let bytes = std::fs::read(data.join("global/pg_control")).map_err(ControlFileError::Unreadable)?;
    parse(&bytes)
}

/// What a standby on this data directory needs at least; empty when pg_control says nothing.
pub(super) fn minima(data: &Path) -> Vec<(&'static str, u32)> {
    let bytes = std::fs::read(data.join("global/pg_control")).unwrap_or_default();
    if parse(&bytes).is_err() {
        return Vec::new();
    }
    let value = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    MINIMA.iter().filter_map(|(name, at)| Some((*name, value(*at)?))).collect()
}

fn parse(bytes: &[u8]) -> Result<Control, ControlFileError> {
    let short = || ControlFileError::TooShort(bytes.len());
    let int32 =
        |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes).ok_or_else(short);
    let int64 =
        |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_ne_bytes).ok_or_else(short);
    let version = int32(VERSION_AT)?;
    if version != VERSION {
        return Err(ControlFileError::OtherVersion(version));
    }
    if crc32c(bytes.get(..CRC_AT).ok_or_else(short)?) != int32(CRC_AT)? {
        return Err(ControlFileError::Damaged);
    }
    let state = int32(STATE_AT)?;
    Ok(Control {
        system_identifier: int64(0)?.to_string(),
        shut_down_as_primary: state == SHUT_DOWN,
        ended_cleanly: state == SHUT_DOWN || state == SHUT_DOWN_IN_RECOVERY,
        checkpoint: Lsn(int64(CHECKPOINT_AT)?),
        timeline: Timeline(int32(TIMELINE_AT)?),
    })
}

/// CRC-32C (Castagnoli), bit by bit: the file is 288 bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_damaged_file_says_nothing() {
        let mut bytes = vec![0u8; 8192];
        bytes[VERSION_AT..VERSION_AT + 4].copy_from_slice(&VERSION.to_ne_bytes());
        assert!(matches!(parse(&bytes), Err(ControlFileError::Damaged)));
        let crc = crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_ne_bytes());
        assert!(parse(&bytes).is_ok());
        bytes[STATE_AT] = 1;
        assert!(matches!(parse(&bytes), Err(ControlFileError::Damaged)));
        assert!(matches!(parse(&bytes[..100]), Err(ControlFileError::TooShort(100))));
    }
}
