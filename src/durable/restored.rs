//! A ledger that was restored from an older copy: what is open is looked up on Gitea before anything
//! is done about it.

use uuid::Uuid;

use super::dispatcher::{Dispatcher, DispatcherError};
use super::effects::{MARK, is_ours};
use super::order::Order;
use super::server::Server;
use crate::gitea::GiteaError;
use crate::http::Transport;
use crate::ledger::Record;
use crate::ledger::machine::Event;

/// A dispatch of a restored ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Which.
    pub id: Uuid,
    /// Why it stays held; nothing: it goes on.
    pub held: Option<String>,
}

impl<T: Transport> Dispatcher<T> {
    /// To be done once with a ledger that was restored from an older copy, before anybody works on
    /// it: raises the fences above all that may be in use, and looks every open dispatch up on Gitea.
    /// What was handed over since the copy was made, or cannot be looked up, stays held until
    /// somebody releases or cancels it; the rest goes on. What was submitted since is not known.
    ///
    /// # Errors
    /// [`DispatcherError::Ledger`].
    pub async fn restored(&self) -> Result<Vec<Restored>, DispatcherError> {
        let ledger = self.ledger();
        let mut all = Vec::new();
        for id in ledger.restored().await? {
            let record = ledger.get(id).await?;
            let held = looked_up(&self.0.server, &record).await?;
            let event = match &held {
                Some(why) => Event::Hold(why.clone()),
                None => Event::Release,
            };
            ledger.record(id, event).await?;
            all.push(Restored { id, held });
        }
        Ok(all)
    }
}

/// Why a dispatch must not go on.
async fn looked_up<T: Transport>(
    server: &Server<T>,
    record: &Record,
) -> Result<Option<String>, DispatcherError> {
    let order = Order::of(&record.task)?;
    let live = record.state.attempt.is_some();
    let Some(number) = order.issue else {
        let why = "whether it was handed over since the copy was made cannot be looked up: release \
                   or cancel it";
        // What its live attempt may have sent is in doubt by itself.
        return Ok((!live).then(|| why.to_owned()));
    };
    Ok(match on_issue(server, &order.repo, number, record).await {
        Ok(why) => why,
        Err(error) => Some(format!(
            "its issue cannot be looked up ({error}): release or cancel it"
        )),
    })
}

async fn on_issue<T: Transport>(
    server: &Server<T>,
    repo: &str,
    number: u64,
    record: &Record,
) -> Result<Option<String>, GiteaError> {
    let me = server.me().await?;
    let repository = server.repository(repo);
    let mark = format!("{MARK}{}:", record.id);
    let comments = repository.comments(number).await?;
    let ours = comments.iter().filter(|comment| is_ours(&comment.user, me));
    let fence = |body: &str| {
        let (_, mark) = body.rsplit_once(&mark)?;
        mark.split(':').next()?.parse::<u64>().ok()
    };
    let last = ours.filter_map(|comment| fence(&comment.body)).max();
    if last > Some(record.state.fence) {
        let why = "it was handed over since the copy was made: release it to hand it over again, or \
                   cancel it";
        return Ok(Some(why.to_owned()));
    }
    if record.state.attempt.is_none() && repository.issue(number).await?.is_closed() {
        return Ok(Some("its issue is closed: release or cancel it".to_owned()));
    }
    Ok(None)
}
