//! Ranking. Answers are numbers, as those of the exact rules.

use std::cell::RefCell;

use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::infer::{Field, Unit};
use crate::rank::RankedClassifier;

thread_local! {
    static MODEL: RefCell<Option<RankedClassifier>> = const { RefCell::new(None) };
}

/// Takes the model, which comes as a file of its own: a server ranks by the one that it was given.
///
/// # Errors
/// What is no model says so.
#[wasm_bindgen]
pub fn load(model: &[u8]) -> Result<(), JsError> {
    MODEL.set(Some(RankedClassifier::from_bytes(model)?));
    Ok(())
}

/// For each task type, the likeliest first, its place in the table of types and its probability in
/// 1/10,000. Then how many words and pairs spoke for or against the first, and for each of these, the
/// weightiest first, its weight, the number of its places, and for each place 0 for the title or 1
/// for the description, start and end in UTF-16 units. Then their texts in UTF-16 units, a line for
/// each. Nothing without a model.
#[wasm_bindgen]
#[must_use]
pub fn rank(title: &str, description: &str) -> Vec<i32> {
    let Some(ranking) =
        MODEL.with_borrow(|model| model.as_ref().map(|model| model.rank(title, description)))
    else {
        return Vec::new();
    };
    let ranking = ranking.in_unit(title, description, Unit::Utf16);
    let mut flat = Vec::with_capacity(2 * ranking.types().len() + 20 * ranking.evidence().len());
    for one in ranking.types() {
        flat.extend([one.task_type as i32, one.probability as i32]);
    }
    flat.push(ranking.evidence().len() as i32);
    for found in ranking.evidence() {
        flat.extend([found.weight, found.spans.len() as i32]);
        for span in &found.spans {
            let field = i32::from(span.field == Field::Description);
            flat.extend([field, span.start as i32, span.end as i32]);
        }
    }
    for found in ranking.evidence() {
        flat.extend(found.text.encode_utf16().map(i32::from));
        flat.push(i32::from(b'\n'));
    }
    flat
}
