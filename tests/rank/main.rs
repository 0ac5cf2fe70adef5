//! Ranked inference: its vectors, its model's file, its training.

#![allow(clippy::unwrap_used, reason = "tests")]

mod model;
mod training;
mod vectors;

use timmy_dispatcher::rank::Example;

/// The tasks of a file of lines.
fn examples(text: &str) -> Vec<Example> {
    let example = |line: &str| {
        let task: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| task[name].as_str().unwrap_or_default().to_owned();
        Example {
            title: text("title"),
            description: text("description"),
            task_type: text("label").parse().unwrap(),
            weight: 1.0,
            set: text("set"),
        }
    };
    text.lines().map(example).collect()
}
