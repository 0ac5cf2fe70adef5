//! The exact rules and routing.
//!
//! Answers are numbers: indices into the tables that [`tables`] names once. The module that people
//! import, `web/src/inference.js`, makes objects of them.

use wasm_bindgen::prelude::wasm_bindgen;

use crate::infer::{self, Counter, Span, Unit};
use crate::route::{BUILT_IN, select_agent};
use crate::task::TaskType;

/// The type of a text, as its place in the table of types, then five numbers for each match: the
/// keyword's place in the table of keywords, start and end in the title, start and end in the
/// description, in UTF-16 units. A span that is not there is 0 to 0.
#[wasm_bindgen]
#[must_use]
pub fn explain(title: &str, description: &str) -> Vec<u32> {
    let found = infer::evidence::<false>(title, description);
    let mut in_title = Counter::new(title, Unit::Utf16);
    let mut in_description = Counter::new(description, Unit::Utf16);
    let mut flat = Vec::with_capacity(1 + 5 * found.len());
    flat.push(infer::decided(&found) as u32);
    for found in &found {
        flat.push(found.index().unwrap_or_default() as u32);
        let [title, description] = found.spans;
        flat.extend_from_slice(&place(title, &mut in_title));
        flat.extend_from_slice(&place(description, &mut in_description));
    }
    flat
}

/// Start and end of a span.
fn place(span: Option<Span>, counter: &mut Counter<'_>) -> [u32; 2] {
    match span.map(|span| counter.span(span)) {
        Some(span) => [span.start as u32, span.end as u32],
        None => [0, 0],
    }
}

/// The tables, a line for each row, a tab behind each column, a blank line between tables: task
/// types (name, agent), agents (name, display name, interface, label or nothing), keywords (task
/// type, keyword). In bytes, for the glue that decodes a string is longer than its one use.
#[wasm_bindgen]
#[must_use]
pub fn tables() -> Vec<u8> {
    let mut text = String::new();
    for task_type in TaskType::ALL {
        row(
            &mut text,
            &[task_type.as_str(), select_agent(*task_type).as_str()],
        );
    }
    row(&mut text, &[]);
    for agent in BUILT_IN {
        let label = agent.gitea_label.unwrap_or_default();
        let interface = agent.interface.as_str();
        row(
            &mut text,
            &[agent.name.as_str(), agent.display_name, interface, label],
        );
    }
    row(&mut text, &[]);
    for (task_type, keyword) in infer::keywords() {
        row(&mut text, &[task_type.as_str(), keyword]);
    }
    text.into_bytes()
}

fn row(text: &mut String, columns: &[&str]) {
    for column in columns {
        text.push_str(column);
        text.push('\t');
    }
    text.push('\n');
}
