use timmy_dispatcher::ledger::page;

#[test]
fn the_page_says_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/state-machine.md");
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == page(),
        "docs/state-machine.md is out of date: \
         run cargo run --example state_machine --features ledger"
    );
}
