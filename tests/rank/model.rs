use timmy_dispatcher::rank::{ModelError, RankedClassifier, WHOLE};

#[test]
fn the_shipped_model_is_whole_and_comes_back_as_it_was_written() {
    let shipped = RankedClassifier::built_in();
    assert!(shipped.features() > 20_000);
    let bytes = shipped.to_bytes();
    assert_eq!(bytes, include_bytes!("../../src/rank/model.bin"));
    assert!(&RankedClassifier::from_bytes(&bytes).unwrap() == shipped);
}

#[test]
fn what_is_no_model_is_told_so() {
    for bytes in [&b""[..], b"{}", b"PK\x03\x04 and more", &[0; 100]] {
        assert_eq!(
            RankedClassifier::from_bytes(bytes),
            Err(ModelError::NotAModel)
        );
    }
}

#[test]
fn a_model_that_is_cut_off_anywhere_is_told_so() {
    let bytes = RankedClassifier::built_in().to_bytes();
    for length in (1..40).chain((40..bytes.len()).step_by(997)) {
        let cut = RankedClassifier::from_bytes(&bytes[..length]);
        assert!(
            matches!(cut, Err(ModelError::Truncated { .. })),
            "{length}: {cut:?}"
        );
    }
}

#[test]
fn a_changed_byte_is_never_a_wrong_answer() {
    let bytes = RankedClassifier::built_in().to_bytes();
    for place in (0..60).chain((60..bytes.len()).step_by(3_989)) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        assert!(RankedClassifier::from_bytes(&changed).is_err(), "{place}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(
        RankedClassifier::from_bytes(&longer),
        Err(ModelError::Damaged)
    );
}

#[test]
fn another_version_is_named() {
    let mut bytes = RankedClassifier::built_in().to_bytes();
    bytes[8] = 9;
    let error = RankedClassifier::from_bytes(&bytes).unwrap_err();
    assert_eq!(error, ModelError::Version { found: 9 });
    assert!(error.to_string().contains("format 9"), "{error}");
}

#[test]
fn any_text_is_ranked() {
    let long = "race ".repeat(200_000);
    for text in [
        "",
        "?",
        "0",
        "\u{0}",
        "ß\u{130}ﬁ\u{1f980}",
        "aB",
        "x_y-z",
        &long,
    ] {
        let ranking = RankedClassifier::built_in().rank(text, text);
        let probabilities = ranking.types().iter().map(|one| one.probability);
        assert_eq!(probabilities.sum::<u32>(), WHOLE, "{text:.20}");
        for found in ranking.evidence() {
            for span in &found.spans {
                assert!(
                    text.get(span.start..span.end).is_some(),
                    "{text:.20} {span:?}"
                );
            }
        }
    }
}
