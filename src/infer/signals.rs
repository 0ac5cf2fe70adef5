//! The keywords of each task type, in order of priority. This is the place to add one.

use crate::task::TaskType;

/// Lower-case keywords; they match anywhere, inside words too. An earlier type wins.
pub const SIGNALS: &[(TaskType, &[&str])] = &[
    (
        TaskType::Architecture,
        &["architect", "design", "adr", "system design", "schema"],
    ),
    (
        TaskType::Refactoring,
        &[
            "refactor",
            "clean up",
            "cleanup",
            "reorganise",
            "reorganize",
        ],
    ),
    (
        TaskType::CodeReview,
        &["review", "pr review", "pull request review", "audit"],
    ),
    (
        TaskType::ComplexReasoning,
        &[
            "complex",
            "hard problem",
            "debug",
            "investigate",
            "diagnose",
        ],
    ),
    (
        TaskType::Research,
        &[
            "research",
            "survey",
            "literature",
            "benchmark",
            "analyse",
            "analyze",
        ],
    ),
    (
        TaskType::Analysis,
        &["analysis", "profil", "trace", "metric", "performance"],
    ),
    (
        TaskType::Triage,
        &["triage", "classify", "prioritise", "prioritize"],
    ),
    (
        TaskType::Planning,
        &["plan", "roadmap", "milestone", "epic", "spike"],
    ),
    (
        TaskType::Creative,
        &["creative", "persona", "story", "write", "draft"],
    ),
    (
        TaskType::Orchestration,
        &["orchestrat", "coordinat", "swarm", "dispatch"],
    ),
    (
        TaskType::ParallelImplementation,
        &["parallel", "concurrent", "batch"],
    ),
    (
        TaskType::FastIteration,
        &["quick", "fast", "iterate", "prototype", "poc"],
    ),
];
