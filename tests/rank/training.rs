use timmy_dispatcher::rank::{
    RankedClassifier, TrainError, TrainOptions, VectorsError, WordVectors, evaluate, train,
};

use timmy_dispatcher::task::TaskType;

use crate::examples;

const TRAIN: &str = include_str!("../../python/timmy/dispatcher/routing/train.jsonl");
const VECTORS: &[u8] = include_bytes!("../../python/timmy/dispatcher/routing/vectors.bin");
const EVALUATION: &str = include_str!("../routing/evaluation.jsonl");

#[test]
fn the_same_texts_give_the_same_bytes() {
    let some: Vec<_> = examples(TRAIN).into_iter().step_by(40).collect();
    let options = TrainOptions {
        features: 500,
        vectors: Some(WordVectors::from_bytes(VECTORS).unwrap()),
        ..TrainOptions::default()
    };
    let first = train(&some, &options).unwrap();
    let again = train(&some, &options).unwrap();
    assert_eq!(first.features(), 500);
    assert_eq!(first.to_bytes(), again.to_bytes());
}

#[test]
fn a_word_of_no_text_is_known_by_those_that_are_like_it() {
    let about = |title: &str, task_type| timmy_dispatcher::rank::Example {
        title: title.to_owned(),
        description: String::new(),
        task_type,
        weight: 1.0,
        set: String::new(),
    };
    let some: Vec<_> = ["poem", "novel", "story", "essay", "song", "tale"]
        .map(|word| about(word, TaskType::Creative))
        .into_iter()
        .chain(
            ["crash", "bug", "error", "failure", "fault", "broken"]
                .map(|word| about(word, TaskType::RoutineCoding)),
        )
        .collect();
    let options = TrainOptions {
        vectors: Some(WordVectors::from_bytes(VECTORS).unwrap()),
        ..TrainOptions::default()
    };
    let model = train(&some, &options).unwrap();
    for (word, task_type) in [
        ("poetry", TaskType::Creative),
        ("crashes", TaskType::RoutineCoding),
    ] {
        let ranking = model.rank(word, "");
        assert_eq!(ranking.first().task_type, task_type, "{word}");
        assert_eq!(ranking.evidence()[0].text, word);
    }
}

#[test]
fn what_are_no_vectors_is_told() {
    for (bytes, error) in [
        (&b""[..], VectorsError::NotVectors),
        (b"timmyrnk\x01\x00", VectorsError::NotVectors),
        (b"timmyvec\x02\x00", VectorsError::NotVectors),
        (b"timmyvec\x01\x00", VectorsError::Damaged),
        (&VECTORS[..VECTORS.len() - 1], VectorsError::Damaged),
        (&VECTORS[..20], VectorsError::Damaged),
    ] {
        assert_eq!(WordVectors::from_bytes(bytes), Err(error));
    }
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
    let options = TrainOptions {
        vectors: Some(WordVectors::from_bytes(VECTORS).unwrap()),
        ..TrainOptions::default()
    };
    let model = train(&examples(TRAIN), &options).unwrap();
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
