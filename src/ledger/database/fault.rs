//! What can go wrong with a database, by what may be done about it.

use std::borrow::Cow;

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
                Some(code) if is_lost(code) => Self::Lost(error.to_string()),
                // PostgreSQL's, and SQLITE_FULL.
                Some("53100" | "13") => Self::Final(LedgerError::Full(error.to_string())),
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

/// The server is being stopped or started, has no connection left, or ended this one; or it is a
/// standby, and who connects again may come to the one that took its place.
const LOST: &[&str] = &[
    "57P01", "57P02", "57P03", "57P05", "25P03", "25006", "53300",
];

/// PostgreSQL's and PgBouncer's codes for a connection that is gone begin so.
const CONNECTION: &str = "08";

fn is_lost(code: &str) -> bool {
    LOST.contains(&code) || code.starts_with(CONNECTION)
}

/// Whether who asks for a connection is to wait, for the database is there and busy with itself: it
/// is starting or has no connection left. To change the journal mode, or to mend the journal after
/// a crash, SQLite needs the file for itself (5, 261), and does not wait by itself.
pub(super) fn is_coming(error: &sqlx::Error) -> bool {
    code(error)
        .is_some_and(|code| ["5", "261", "57P01", "57P02", "57P03", "53300"].contains(&&*code))
}

/// Whether a connection that there was may be had again a moment later. Where the database was, it
/// may come back: it is being restarted, another takes its place, or the way to it is mended.
pub(super) fn may_pass(error: &sqlx::Error) -> bool {
    let lost = |code: Cow<'_, str>| is_lost(&code);
    let broke = matches!(
        error,
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_)
    );
    is_coming(error) || broke || code(error).is_some_and(lost)
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    match error {
        sqlx::Error::Database(inner) => inner.code(),
        _ => None,
    }
}

/// What to do about one that only follows another.
pub(super) const STANDBY: &str =
    "it is a standby, or kept from writing otherwise: name the server that may be written to";

/// What to do where a file or its folder may only be read.
pub(in crate::ledger) const UNWRITABLE: &str =
    "this user must be able to write to the file and to its folder";

/// What to do where a file cannot be opened, by SQLite's primary code.
pub(super) fn file_advice(error: &sqlx::Error) -> Option<&'static str> {
    let code: i32 = code(error)?.parse().ok()?;
    Some(match code & 0xff {
        8 => UNWRITABLE,
        10 => "see that it is a file, on a local disk that works",
        14 => "see that its folder is there, and that this user may write to it",
        _ => return None,
    })
}

/// What to do where a server gives no connection.
pub(super) fn advice(error: &sqlx::Error) -> &'static str {
    let said = error.to_string();
    match (error, code(error).as_deref()) {
        // PgBouncer's word for a setting that it does not know.
        _ if said.contains("unsupported startup parameter") => {
            "behind PgBouncer the URL must say ?pgbouncer=true"
        }
        (_, Some("28P01" | "28000")) => {
            "see that the user and the password of the URL are right, and that pg_hba.conf lets it in"
        }
        (_, Some("3D000")) => "make the database (`createdb`), or name another in the URL",
        (_, Some("25006")) => STANDBY,
        (sqlx::Error::Tls(_), _) => {
            "see to sslmode and sslrootcert in the URL, and the certificate"
        }
        (sqlx::Error::Io(_) | sqlx::Error::Protocol(_), _) => {
            "see that the host and the port of the URL are right, that PostgreSQL runs there and that \
             it can be reached from here"
        }
        _ => "see that the URL is right",
    }
}
