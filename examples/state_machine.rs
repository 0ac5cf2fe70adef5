//! Writes `docs/state-machine.md` from the tables of the state machines.

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/state-machine.md");
    std::fs::write(path, timmy_dispatcher::ledger::page())
}
