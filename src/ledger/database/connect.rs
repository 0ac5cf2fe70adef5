//! Where a ledger lies, and how to get there.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, PgConnection};

use super::fault::{advice, file_advice, is_coming, may_pass};
use super::{Connection, inherited, migrate};
use crate::ledger::store::LedgerError;

/// How long to wait for a server that is starting, or for another process that has the file to
/// itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that has not let anybody in by then is not there.
const CONNECT: Duration = Duration::from_secs(10);

/// The schema where none is named.
const SCHEMA: &str = "timmy_dispatcher";

/// Every statement has its index, but the statistics of a new ledger say that its tables are too
/// small to need one, or to be worth their order, and a plan stays. (With a bitmap, each 200 that are
/// taken over read and sorted all that were left.) That makes the plans of tiny tables seem worth
/// compiling, which they are not. And whoever is stopped in the middle of a transaction must not keep
/// rows for as long as others wait for them.
const SETTINGS: &[(&str, &str)] = &[
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("jit", "off"),
    ("idle_in_transaction_session_timeout", "10000"),
];

/// Where a ledger lies.
#[derive(Debug, Clone)]
pub(in crate::ledger) enum Place {
    File(PathBuf),
    /// As it may be shown: without a user and a password.
    Server(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(shown) => f.write_str(shown),
        }
    }
}

/// Opens connections.
#[derive(Clone)]
pub(in crate::ledger) struct Database {
    kind: Kind,
    place: Place,
}

#[derive(Clone)]
enum Kind {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres {
        options: Box<PgConnectOptions>,
        schema: String,
        pooled: bool,
    },
}

impl Database {
    /// As [`new`](Self::new); a path need not be text.
    pub(in crate::ledger) fn at(place: &Path) -> Result<Self, LedgerError> {
        match place.to_str() {
            Some(url) => Self::new(url),
            None => Self::file(place),
        }
    }

    /// `sqlite:///relative/path`, `sqlite:////absolute/path`, as `SQLAlchemy` reads them,
    /// `postgresql://…`, or the path of a file.
    pub(in crate::ledger) fn new(url: &str) -> Result<Self, LedgerError> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        match scheme {
            "postgresql" | "postgres" => Self::postgres(url),
            "sqlite" => match url.strip_prefix("sqlite:///") {
                // What stands behind the question mark is SQLite's: `mode=ro`.
                Some(path) if path.contains('?') => {
                    let options = SqliteConnectOptions::from_str(&format!("sqlite://{path}"));
                    Self::sqlite(options.map_err(unusable)?)
                }
                Some(path) => Self::file(Path::new(path)),
                None => Err(LedgerError::Unusable(
                    "a ledger needs a file: sqlite:///relative/path or sqlite:////absolute/path"
                        .to_owned(),
                )),
            },
            _ if url.contains("://") => Err(LedgerError::Unusable(format!(
                "a ledger lies at sqlite:///path or postgresql://…, not at {scheme}://…"
            ))),
            _ => Self::file(Path::new(url)),
        }
    }

    pub(in crate::ledger) fn file(path: &Path) -> Result<Self, LedgerError> {
        Self::sqlite(SqliteConnectOptions::new().filename(path))
    }

    fn sqlite(options: SqliteConnectOptions) -> Result<Self, LedgerError> {
        let path = options.get_filename().to_owned();
        let named = path.to_string_lossy();
        if named.is_empty() || named == ":memory:" || named.starts_with("file:") {
            let why = "a ledger needs a file: one in memory would survive nothing";
            return Err(LedgerError::Unusable(why.to_owned()));
        }
        let options = options
            .create_if_missing(true)
            .busy_timeout(PATIENCE)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        Ok(Self {
            kind: Kind::Sqlite(Box::new(options)),
            place: Place::File(path),
        })
    }

    /// Two parameters of the URL are ours: `schema`, and `pgbouncer=true`.
    fn postgres(url: &str) -> Result<Self, LedgerError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (_, rest) = base.split_once("://").unwrap_or_default();
        let authority = rest.split('/').next().unwrap_or_default();
        let hosts = authority.rsplit('@').next().unwrap_or_default();
        if hosts.contains(',') {
            let why = "a ledger has one address, and this URL names several hosts: name a proxy, or \
                       an address that moves, that leads to the one that may be written to";
            return Err(LedgerError::Unusable(why.to_owned()));
        }
        let mut schema = SCHEMA;
        let mut pooled = false;
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("schema", name)) => schema = name,
                Some(("pgbouncer", yes)) => pooled = yes == "true",
                _ => others.push(pair),
            }
        }
        let plain = |character: char| character.is_ascii_lowercase() || character == '_';
        let fits = (1..=63).contains(&schema.len())
            && schema.starts_with(plain)
            && schema.chars().all(|c| plain(c) || c.is_ascii_digit());
        if !fits {
            return Err(LedgerError::Unusable(format!(
                "the schema {schema:?} must be small letters, digits and _"
            )));
        }
        let url = format!("{base}?{}", others.join("&"));
        let mut options = PgConnectOptions::from_str(&url)
            .map_err(unusable)?
            .application_name("timmy-dispatcher")
            .disable_statement_logging();
        options = if pooled {
            // A pooler refuses settings at the start that it does not know.
            options.extra_float_digits(None).statement_cache_capacity(0)
        } else {
            let path = ("search_path", schema);
            options.options(SETTINGS.iter().copied().chain([path]))
        };
        let place = Place::Server(format!(
            "postgresql://{}:{}/{} ({schema})",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_default(),
        ));
        Ok(Self {
            kind: Kind::Postgres {
                options: Box::new(options),
                schema: schema.to_owned(),
                pooled,
            },
            place,
        })
    }

    pub(in crate::ledger) const fn place(&self) -> &Place {
        &self.place
    }

    /// Whether a connection stays with one session of the database, which then can hold a lock for
    /// as long as it lives.
    pub(in crate::ledger) const fn has_sessions(&self) -> bool {
        matches!(self.kind, Kind::Postgres { pooled: false, .. })
    }

    /// Brings the ledger to the current version.
    pub(in crate::ledger) async fn migrate(&self) -> Result<(), LedgerError> {
        match &self.kind {
            // A foreign file is looked at before anything about it is changed, its journal mode
            // included.
            Kind::Sqlite(options) => {
                inherited::enter(options.get_filename())?;
                let connected = options.connect().await;
                let mut connection = connected.map_err(|error| self.not_ours(error))?;
                migrate::sqlite(&mut connection, &self.place).await
            }
            Kind::Postgres { schema, .. } => {
                let mut connection = self.first(true).await?;
                migrate::postgres(&mut connection, schema, &self.place).await?;
                connection.close().await;
                Ok(())
            }
        }
    }

    /// Opens a connection for who only looks, with the version of the ledger and the one that this
    /// program works with. Nothing is made or changed; `None` where there is no ledger.
    pub(in crate::ledger) async fn look(
        &self,
    ) -> Result<Option<(Connection, i64, i64)>, LedgerError> {
        match &self.kind {
            Kind::Sqlite(options) => {
                let path = options.get_filename();
                if !path.exists() {
                    return Ok(None);
                }
                inherited::enter(path)?;
                let options = options.clone().create_if_missing(false).read_only(true);
                let connected = options.connect().await;
                let mut connection = connected.map_err(|error| self.not_ours(error))?;
                let seen = migrate::sqlite_version(&mut connection, &self.place).await;
                let (version, known) = seen.map_err(|error| self.not_ours(error))??;
                Ok(Some((Connection::Sqlite(connection), version, known)))
            }
            Kind::Postgres { schema, .. } => {
                let connected = self.try_connect(false).await;
                let mut connection = connected.map_err(|error| self.unreachable(error))?;
                let seen = migrate::postgres_version(&mut connection, schema, &self.place).await?;
                Ok(seen.map(|(version, known)| (connection, version, known)))
            }
        }
    }

    fn not_ours(&self, error: sqlx::Error) -> LedgerError {
        match &error {
            // SQLITE_NOTADB.
            sqlx::Error::Database(inner) if inner.code().as_deref() == Some("26") => {
                LedgerError::Foreign(self.place.to_string())
            }
            _ => self.unreachable(error),
        }
    }

    /// Opens a connection to where there was one; waits for it to be there again.
    pub(in crate::ledger) async fn connect(&self, writes: bool) -> Result<Connection, LedgerError> {
        self.patiently(writes, may_pass).await
    }

    /// Opens the first connection: what is wrong with the URL or the server is said at once.
    pub(in crate::ledger) async fn first(&self, writes: bool) -> Result<Connection, LedgerError> {
        self.patiently(writes, is_coming).await
    }

    async fn patiently(
        &self,
        writes: bool,
        waits: fn(&sqlx::Error) -> bool,
    ) -> Result<Connection, LedgerError> {
        let ends = tokio::time::Instant::now() + PATIENCE;
        loop {
            let error = match self.try_connect(writes).await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            if !waits(&error) || tokio::time::Instant::now() >= ends {
                return Err(self.unreachable(error));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Why there is no connection, and what to do.
    fn unreachable(&self, error: sqlx::Error) -> LedgerError {
        let advice = match &self.kind {
            Kind::Sqlite(_) => file_advice(&error),
            Kind::Postgres { .. } => Some(advice(&error)),
        };
        match advice {
            None => error.into(),
            Some(advice) => LedgerError::Unreachable {
                place: self.place.to_string(),
                advice,
                why: error.to_string(),
            },
        }
    }

    async fn try_connect(&self, writes: bool) -> Result<Connection, sqlx::Error> {
        Ok(match &self.kind {
            Kind::Sqlite(options) => {
                let options = options.clone().journal_mode(SqliteJournalMode::Wal);
                Connection::Sqlite(if writes {
                    options.connect().await?
                } else {
                    options.read_only(true).connect().await?
                })
            }
            Kind::Postgres {
                options,
                schema,
                pooled,
            } => {
                let connecting = tokio::time::timeout(CONNECT, options.connect()).await;
                let silent = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
                let connection: PgConnection = connecting.map_err(silent)??;
                let mut begin = "BEGIN".to_owned();
                if *pooled {
                    let path = ("search_path", schema.as_str());
                    for (name, value) in SETTINGS.iter().copied().chain([path]) {
                        begin.push_str(&format!("; SET LOCAL {name} TO {value}"));
                    }
                }
                Connection::Postgres {
                    connection,
                    begin,
                    persistent: !pooled,
                }
            }
        })
    }
}

fn unusable(error: sqlx::Error) -> LedgerError {
    let said = match error {
        sqlx::Error::Configuration(inner) => inner.to_string(),
        other => other.to_string(),
    };
    LedgerError::Unusable(format!("the ledger's URL cannot be used: {said}"))
}
