//! What can go wrong with a database, by what may be done about it.

use std::io;

use crate::ledger::store::LedgerError;

#[derive(Debug, Clone)]
pub(in crate::ledger) enum Fault {
    /// Another writer was in the way: the whole transaction may be tried again at once.
    Again(String),
    /// The connection is gone. Whether a commit that was on its way was kept is not known.
    Lost(String),
    /// Neither helps.
    Final(LedgerError),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) => match inner.code().as_deref() {
                // Serialization, deadlock, lock timeout, and a unique value that another writer
                // has brought since it was looked for.
                Some("40001" | "40P01" | "55P03" | "23505") => Self::Again(error.to_string()),
                Some(code) if LOST.contains(&code) => Self::Lost(error.to_string()),
                // SQLITE_CORRUPT, and that of an index.
                Some("11" | "779") => Self::Final(LedgerError::Damaged(error.to_string())),
                _ => Self::Final(LedgerError::Database(error.to_string())),
            },
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self::Lost(error.to_string())
            }
            _ => Self::Final(LedgerError::Database(error.to_string())),
        }
    }
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        Self::Final(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Final(error.into())
    }
}

impl From<Fault> for LedgerError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Again(text) | Fault::Lost(text) => Self::Database(text),
            Fault::Final(error) => error,
        }
    }
}

/// The server is being stopped or started, has no connection left, or ended this one.
const LOST: &[&str] = &["57P01", "57P02", "57P03", "25P03", "53300"];

/// Whether a connection may well be had a moment later. To change the journal mode, or to mend the
/// journal after a crash, SQLite needs the file for itself (5, 261), and does not wait by itself.
pub(super) fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| ["5", "261"].contains(&&*code) || LOST.contains(&&*code)),
        sqlx::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        ),
        _ => false,
    }
}
