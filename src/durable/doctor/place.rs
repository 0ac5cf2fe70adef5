//! The ledger: its file and disk, its version, who works on it.

use std::path::Path;

use super::{Finding, listed};
use crate::ledger::{Inspection, Ledger, LedgerError};

pub(super) fn examine(
    place: &Path,
    inspection: &Result<Option<Inspection>, LedgerError>,
    findings: &mut Vec<Finding>,
) {
    let check = "ledger";
    let (shown, path) = match Ledger::locate(place) {
        Ok(located) => located,
        Err(error) => {
            let advice = "name a file, or postgresql://…";
            findings.push(Finding::error(check, error.to_string(), advice));
            return;
        }
    };
    match inspection {
        Ok(None) => {
            let found = format!("{shown} is not there yet; the first submission makes it");
            findings.push(Finding::ok(check, found));
        }
        Ok(Some(seen)) if seen.version < seen.known => {
            let (version, known) = (seen.version, seen.known);
            findings.push(Finding::warning(
                check,
                format!("{shown} has version {version}, this program works with {known}"),
                "`timmy-dispatch ledger migrate` brings it up; older programs cannot open it then",
            ));
        }
        Ok(Some(seen)) => {
            findings.push(Finding::ok(
                check,
                format!("{shown}, version {}", seen.version),
            ));
            workers(seen, findings);
        }
        Err(error @ LedgerError::Newer { .. }) => {
            let advice = "update this program";
            findings.push(Finding::error(check, error.to_string(), advice));
        }
        Err(error @ LedgerError::Foreign(_)) => {
            let advice = "name another file";
            findings.push(Finding::error(check, error.to_string(), advice));
        }
        Err(LedgerError::Unreachable { place, why, advice }) => {
            let found = format!("no connection to {place}: {why}");
            findings.push(Finding::error(check, found, *advice));
        }
        Err(error) => {
            let advice = match path {
                Some(_) => {
                    "see that the file can be read and is whole: `timmy-dispatch ledger check`"
                }
                None => "see that the server runs, has that database, and lets this user in",
            };
            findings.push(Finding::error(check, error.to_string(), advice));
        }
    }
    // A database server looks after its files itself.
    if let Some(path) = path {
        disk(&path, findings);
        permissions(&path, findings);
    }
}

fn workers(seen: &Inspection, findings: &mut Vec<Finding>) {
    let check = "workers";
    let revision = seen.revision;
    if seen.workers.is_empty() {
        let found = "none runs: what is submitted waits";
        findings.push(Finding::warning(
            check,
            found,
            "start one: `timmy-dispatch run`",
        ));
        return;
    }
    let handled = seen.workers.iter().flat_map(|worker| &worker.handles);
    let mut handled: Vec<&str> = handled.map(String::as_str).collect();
    handled.sort_unstable();
    handled.dedup();
    let count = seen.workers.len();
    let runs = if count == 1 { "runs" } else { "run" };
    let for_whom = listed(handled.iter().copied());
    findings.push(Finding::ok(
        check,
        format!("{count} {runs}, for {for_whom}; the agents are of revision {revision}"),
    ));
    let old = seen
        .workers
        .iter()
        .filter(|w| w.revision != 0 && w.revision != revision);
    let old = old.count();
    if old > 0 {
        findings.push(Finding::warning(
            check,
            format!("{old} of them know older agents or limits, and claim nothing"),
            "start them again with the options, or the environment, of the newest one",
        ));
    }
    for agent in &seen.agents {
        if !handled.contains(&agent.name.as_str()) {
            findings.push(Finding::warning(
                check,
                format!("none handles {}: its tasks wait", agent.name),
                "start one that has the handler (`--local`) or the settings for it",
            ));
        }
    }
}

#[cfg(target_os = "linux")]
fn disk(path: &Path, findings: &mut Vec<Finding>) {
    let check = "disk";
    // Of the file, or of the nearest folder that is there.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut kinds = path.ancestors().map(rustix::fs::statfs);
    let Some(Ok(kind)) = kinds.find(Result::is_ok) else {
        return;
    };
    #[expect(
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "magic numbers have 32 bits; the type of the field differs between machines"
    )]
    let magic = kind.f_type as u32;
    findings.push(match filesystem(magic) {
        Some(("tmpfs", _)) => Finding::warning(
            check,
            "it is in memory (tmpfs): gone with the next start of the machine",
            "put the ledger on a disk",
        ),
        Some((name, _)) => Finding::warning(
            check,
            format!("it is on {name}, where locks cannot be trusted"),
            "put the ledger on a local disk; for several machines take PostgreSQL",
        ),
        None => Finding::ok(check, "local"),
    });
}

#[cfg(not(target_os = "linux"))]
fn disk(_path: &Path, _findings: &mut Vec<Finding>) {}

/// What Linux calls filesystems that are no local disk.
#[cfg(target_os = "linux")]
fn filesystem(magic: u32) -> Option<(&'static str, u32)> {
    const KNOWN: &[(&str, u32)] = &[
        ("NFS", 0x6969),
        ("SMB", 0x517B),
        ("CIFS", 0xFF53_4D42),
        ("SMB", 0xFE53_4D42),
        ("9P", 0x0102_1997),
        ("Ceph", 0x00C3_6400),
        ("AFS", 0x5346_414F),
        ("Coda", 0x7375_7245),
        ("GPFS", 0x4750_4653),
        ("Lustre", 0x0BD0_0BD0),
        ("OCFS2", 0x7461_636F),
        ("FUSE, perhaps over a network", 0x6573_5546),
        ("tmpfs", 0x0102_1994),
    ];
    KNOWN.iter().copied().find(|(_, known)| *known == magic)
}

#[cfg(unix)]
fn permissions(file: &Path, findings: &mut Vec<Finding>) {
    use std::os::unix::fs::PermissionsExt;
    let check = "permissions";
    let shown = file.display();
    let Ok(about) = std::fs::metadata(file) else {
        return;
    };
    let mode = about.permissions().mode() & 0o777;
    if rustix::fs::access(file, rustix::fs::Access::WRITE_OK).is_err() {
        let advice = format!("run as its owner, or `chmod u+w {shown}`");
        findings.push(Finding::error(check, "it cannot be written to", advice));
    } else if mode & 0o077 == 0 {
        findings.push(Finding::ok(check, "only its owner reads and writes it"));
    } else {
        findings.push(Finding::warning(
            check,
            format!("others can read or write it ({mode:o}); tasks and answers are in it"),
            format!("`chmod 600 {shown}`, and its folder 700"),
        ));
    }
}

#[cfg(not(unix))]
fn permissions(_file: &Path, _findings: &mut Vec<Finding>) {}
