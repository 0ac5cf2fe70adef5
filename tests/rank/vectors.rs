//! The golden vectors, which hold the same in Rust and Python (`generate_ranking.py` wrote them): title, description, the
//! probabilities in the order of the types, and the weightiest words with weight and places.

use timmy_dispatcher::infer::Unit;
use timmy_dispatcher::rank::rank_task_types;
use timmy_dispatcher::task::TaskType;

#[test]
fn ranking_answers_as_the_vectors_say() {
    let lines = include_str!("../vectors/ranking.jsonl").lines();
    let mut count = 0;
    for line in lines {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let (title, description) = (vector[0].as_str().unwrap(), vector[1].as_str().unwrap());
        assert_eq!(
            answer(title, description),
            vector,
            "{title:?} {description:?}"
        );
        count += 1;
    }
    assert!(count >= 150);
}

/// The vector of a text.
fn answer(title: &str, description: &str) -> serde_json::Value {
    let ranking = rank_task_types(title, description);
    let mut probabilities = [0; TaskType::ALL.len()];
    for one in ranking.types() {
        probabilities[one.task_type as usize] = one.probability;
    }
    let ranking = ranking.in_unit(title, description, Unit::CodePoints);
    let words: Vec<_> = ranking
        .evidence()
        .iter()
        .take(5)
        .map(|found| {
            let spans: Vec<_> = found
                .spans
                .iter()
                .map(|s| (s.field.as_str(), s.start, s.end))
                .collect();
            (&found.text, found.weight, spans)
        })
        .collect();
    serde_json::json!([title, description, probabilities, words])
}
