//! Trains the shipped model: `make train`.
//!
//! `cargo run --release --example train -- OUT VECTORS DATA.jsonl…`

use std::error::Error;
use std::fs;

use timmy_dispatcher::rank::{Example, TrainOptions, WordVectors, train};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("where to?")?;
    let vectors = fs::read(arguments.next().ok_or("by which vectors?")?)?;
    let mut examples = Vec::new();
    for path in arguments {
        for line in fs::read_to_string(path)?.lines() {
            let task: serde_json::Value = serde_json::from_str(line)?;
            let text = |name: &str| task[name].as_str().unwrap_or_default();
            examples.push(Example {
                title: text("title").to_owned(),
                description: text("description").to_owned(),
                task_type: text("label").parse()?,
                weight: 1.0,
                set: text("set").to_owned(),
            });
        }
    }
    let options = TrainOptions {
        vectors: Some(WordVectors::from_bytes(&vectors)?),
        ..TrainOptions::default()
    };
    let model = train(&examples, &options)?;
    println!("{} texts, {} features", examples.len(), model.features());
    fs::write(out, model.to_bytes())?;
    Ok(())
}
