//! A look at a ledger from outside, without changing it.

use std::path::Path;

use super::database::{Connection, Database, Fault, Mode, Sql};
use super::engine;
use super::handle::Ledger;
use super::options::Options;
use super::store::{Inspection, LedgerError};

impl Ledger {
    /// A place as it may be shown, and the file where it is one.
    #[cfg(feature = "durable")]
    pub(crate) fn locate(at: &Path) -> Result<(String, Option<std::path::PathBuf>), LedgerError> {
        use super::database::Place;
        let database = Database::at(at)?;
        let file = match database.place() {
            Place::File(path) => Some(path.clone()),
            Place::Server(_) => None,
        };
        Ok((database.place().to_string(), file))
    }

    /// What can be seen of a ledger without opening it: none is made, none is brought to a newer
    /// version. None where there is no ledger. The place is given as for [`open`](Self::open).
    ///
    /// # Errors
    /// [`LedgerError::Foreign`], [`LedgerError::Newer`], and [`LedgerError::Database`] where it
    /// cannot be read.
    pub async fn inspect(at: impl AsRef<Path>) -> Result<Option<Inspection>, LedgerError> {
        let database = Database::at(at.as_ref())?;
        let Some((mut connection, version, known)) = database.look().await? else {
            return Ok(None);
        };
        let mut seen = Inspection {
            version,
            known,
            revision: 0,
            agents: Vec::new(),
            workers: Vec::new(),
        };
        if version == known {
            let mut transaction = connection.begin(Mode::Read).await.map_err(Fault::from)?;
            let options = Options::default();
            (seen.revision, seen.agents) = engine::in_force(&mut transaction).await?;
            seen.workers = engine::workers(&mut transaction, database.place(), &options).await?;
            transaction.end().await.map_err(Fault::from)?;
        }
        connection.close().await;
        Ok(Some(seen))
    }

    /// Reads every page of a ledger's file and compares it with its indices: what is wrong, or
    /// nothing. A database server looks after its pages itself; of it only the version is asked.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect); [`LedgerError::Unknown`] where there is no ledger.
    pub async fn check(at: impl AsRef<Path>) -> Result<Vec<String>, LedgerError> {
        const INTEGRITY: Sql = Sql::both("PRAGMA integrity_check");
        const STRAYS: Sql = Sql::both("SELECT count(*) FROM pragma_foreign_key_check");
        let database = Database::at(at.as_ref())?;
        let Some((mut connection, ..)) = database.look().await? else {
            let place = database.place();
            return Err(LedgerError::Unknown(format!("ledger at {place}")));
        };
        let mut wrong = Vec::new();
        if let Connection::Sqlite(_) = connection {
            let mut transaction = connection.begin(Mode::Read).await.map_err(Fault::from)?;
            let lines: Vec<(String,)> = transaction.fetch(INTEGRITY, &[]).await?;
            wrong.extend(lines.into_iter().map(|(line,)| line));
            wrong.retain(|line| line != "ok");
            let strays: Option<(i64,)> = transaction.first(STRAYS, &[]).await?;
            if let Some((strays @ 1..,)) = strays {
                wrong.push(format!("{strays} rows belong to no dispatch"));
            }
            transaction.end().await.map_err(Fault::from)?;
        }
        connection.close().await;
        Ok(wrong)
    }
}
