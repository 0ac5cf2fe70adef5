//! Whether a file was open before this process opened it.
//!
//! SQLite keeps what it holds of a file in memory, which a fork copies, and locks it for its process,
//! which a fork does not. In a forked child it would believe to hold locks that are the parent's: the
//! parent, as the last one to leave, then removes the journal that the child still writes to, and
//! what the child has committed is lost. So a file is not opened where a descriptor of it came from
//! somewhere else. Nor is any other file while one of the parent's is open: a thread of the parent's
//! may have had a mutex of SQLite's at the fork, and nobody is left to give it back. The same holds
//! for a file that another copy of SQLite has open in this process.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use crate::ledger::store::LedgerError;

/// What was opened, by which process: a child has the list of its parent.
static OPENED: Mutex<Vec<(u32, Identity)>> = Mutex::new(Vec::new());

type Identity = (u64, u64);

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> Option<Identity> {
    None
}

/// Whether this process has a descriptor of that file.
fn is_open(file: Identity) -> bool {
    let folders = ["/proc/self/fd", "/dev/fd"];
    let Some(entries) = folders
        .iter()
        .find_map(|folder| std::fs::read_dir(folder).ok())
    else {
        return false;
    };
    let mut entries = entries.flatten();
    entries.any(|entry| identity(&entry.path()) == Some(file))
}

fn opened() -> Option<MutexGuard<'static, Vec<(u32, Identity)>>> {
    // A process may fork while another thread of it is here, and in the child the lock stays taken.
    for _ in 0..2_000 {
        match OPENED.try_lock() {
            Ok(opened) => return Some(opened),
            Err(TryLockError::Poisoned(opened)) => return Some(opened.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    None
}

/// Called before a file is opened. It is made where there is none, so that two who open it at once
/// know of each other.
///
/// # Errors
/// [`LedgerError::Inherited`] for a file that was opened in this process by somebody else.
pub(super) fn enter(path: &Path) -> Result<(), LedgerError> {
    let opened = opened();
    // Where that fails, SQLite will say why. A file that is there is not opened: closing it again
    // would drop the locks that SQLite has on it.
    drop(OpenOptions::new().write(true).create_new(true).open(path));
    let Some(file) = identity(path) else {
        return Ok(());
    };
    let us = std::process::id();
    let Some(mut opened) = opened else {
        return Err(LedgerError::Inherited(path.display().to_string()));
    };
    let parents = |(process, file): &(u32, Identity)| *process != us && is_open(*file);
    if opened.iter().any(parents) {
        return Err(LedgerError::Inherited(path.display().to_string()));
    }
    let ours = (us, file);
    if opened.contains(&ours) {
        return Ok(());
    }
    if is_open(file) {
        return Err(LedgerError::Inherited(path.display().to_string()));
    }
    opened.push(ours);
    Ok(())
}
