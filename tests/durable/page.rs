//! The fault table of the docs names tests that there are.

use std::path::Path;

fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_row_of_the_fault_table_is_held_by_a_test() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(here.join("docs/durable.md")).unwrap();
    let mut tests = String::new();
    sources(&here.join("tests"), &mut tests);
    sources(&here.join("src"), &mut tests);
    let (_, table) = page.split_once("| what goes wrong |").unwrap();
    let rows: Vec<&str> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() > 20, "{rows:#?}");
    for row in rows {
        let (_, cell) = row.trim_end_matches([' ', '|']).rsplit_once('|').unwrap();
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names {
            assert!(
                tests.contains(&format!("fn {name}(")),
                "no such test: {name}"
            );
        }
    }
}
