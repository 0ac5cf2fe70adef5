use timmy_dispatcher::rank::{RankedClassifier, TrainError, TrainOptions, evaluate, train};

use crate::examples;

const TRAIN: &str = include_str!("../../python/timmy/dispatcher/routing/train.jsonl");
const EVALUATION: &str = include_str!("../routing/evaluation.jsonl");

#[test]
fn the_same_texts_give_the_same_bytes() {
    let some: Vec<_> = examples(TRAIN).into_iter().step_by(40).collect();
    let options = TrainOptions {
        features: 500,
        ..TrainOptions::default()
    };
    let first = train(&some, &options).unwrap();
    let again = train(&some, &options).unwrap();
    assert_eq!(first.features(), 500);
    assert_eq!(first.to_bytes(), again.to_bytes());
}

#[test]
fn too_little_to_learn_from_is_told() {
    let mut few = examples(TRAIN);
    few.truncate(5);
    assert_eq!(
        train(&few, &TrainOptions::default()),
        Err(TrainError::TooFew)
    );
    let mut odd = examples(TRAIN);
    odd[3].weight = f32::NAN;
    assert_eq!(
        train(&odd, &TrainOptions::default()),
        Err(TrainError::Weight(3))
    );
}

/// `make train` in release; `make rust` runs this there too, for it takes minutes otherwise.
#[test]
#[cfg(not(debug_assertions))]
fn the_shipped_model_is_what_make_train_makes() {
    let model = train(&examples(TRAIN), &TrainOptions::default()).unwrap();
    assert!(
        model.to_bytes() == include_bytes!("../../src/rank/model.bin"),
        "run `make train`"
    );
}

#[test]
fn the_evaluation_set_is_not_trained_on_and_the_model_is_as_good_as_said() {
    let trained: std::collections::HashSet<_> = examples(TRAIN)
        .into_iter()
        .map(|one| one.title.to_lowercase())
        .collect();
    let tasks = examples(EVALUATION);
    assert!(tasks.len() >= 150);
    assert!(
        tasks
            .iter()
            .all(|task| !trained.contains(&task.title.to_lowercase()))
    );
    let evaluation = evaluate(RankedClassifier::built_in(), &tasks);
    let share = |count: usize| count * 100 / evaluation.tasks;
    assert!(share(evaluation.ranked.types) >= 76, "{evaluation:?}");
    assert!(share(evaluation.ranked.agents) >= 84, "{evaluation:?}");
    assert!(evaluation.ranked.types > evaluation.exact.types);
}
