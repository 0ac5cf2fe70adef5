//! The vocabulary: what kinds of work there are, who does it, and how a hand-over stands.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A name that is not in one of the closed lists of this module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {name:?}; known are {known}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    known: String,
}

impl UnknownName {
    pub(crate) fn new<'a>(
        what: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        Self {
            what,
            name: name.to_owned(),
            known,
        }
    }
}

/// Declares an enum whose members have a fixed name in text.
macro_rules! named {
    (
        $(#[$doc:meta])* $enum:ident, $what:literal,
        { $($(#[$member_doc:meta])* $member:ident = $name:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum { $($(#[$member_doc])* $member,)+ }

        impl $enum {
            /// Every member, in the order of declaration.
            pub const ALL: &'static [$enum] = &[$($enum::$member,)+];

            /// The name that stands for it in text, JSON and Python.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($enum::$member => $name,)+ }
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $enum {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                match name {
                    $($name => Ok($enum::$member),)+
                    _ => Err(UnknownName::new($what, name, Self::ALL.iter().map(|m| m.as_str()))),
                }
            }
        }
    };
}

#[cfg(feature = "ledger")]
pub(crate) use named;

named! {
    /// A category of engineering work.
    TaskType, "task type", {
        /// Deciding the structure or interfaces of a system.
        Architecture = "architecture",
        /// Restructuring without a change of behaviour.
        Refactoring = "refactoring",
        /// Work whose cause or correctness is hard to see.
        ComplexReasoning = "complex_reasoning",
        /// Judging a change or existing code.
        CodeReview = "code_review",
        /// One change in many places at once.
        ParallelImplementation = "parallel_implementation",
        /// Ordinary work; what is left when nothing else fits.
        RoutineCoding = "routine_coding",
        /// Prototypes and quick tries.
        FastIteration = "fast_iteration",
        /// Finding out what exists.
        Research = "research",
        /// Looking at measurements and reporting.
        Analysis = "analysis",
        /// A domain specialist's work.
        Specialized = "specialized",
        /// Sorting and prioritising.
        Triage = "triage",
        /// Roadmaps, milestones, breaking work down.
        Planning = "planning",
        /// Prose, names, stories.
        Creative = "creative",
        /// Making agents and services work together.
        Orchestration = "orchestration",
    }
}

named! {
    /// How a hand-over stands.
    DispatchStatus, "dispatch status", {
        /// Not handed out yet.
        Pending = "pending",
        /// Handed to an agent.
        Assigned = "assigned",
        /// The agent gave a sign of life.
        InProgress = "in_progress",
        /// Done.
        Completed = "completed",
        /// Ended without success.
        Failed = "failed",
        /// No agent could take it; a person is asked.
        Escalated = "escalated",
        /// The time given for it passed.
        TimedOut = "timed_out",
    }
}

impl DispatchStatus {
    /// Whether a dispatch that ends so has reached its agent.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Assigned | Self::Completed)
    }
}

named! {
    /// The way by which an agent takes its tasks.
    Interface, "interface", {
        /// A label and a comment on a Gitea issue.
        Gitea = "gitea",
        /// An HTTP POST.
        Api = "api",
        /// In this process.
        Local = "local",
    }
}

/// The name of an agent. The swarm is open: any name can be registered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(Cow<'static, str>);

impl AgentName {
    /// Claude Code.
    pub const CLAUDE_CODE: Self = Self::from_static("claude_code");
    /// Kimi Code.
    pub const KIMI_CODE: Self = Self::from_static("kimi_code");
    /// The agent behind an HTTP API.
    pub const AGENT_API: Self = Self::from_static("agent_api");
    /// Timmy itself.
    pub const TIMMY: Self = Self::from_static("timmy");

    /// A name known at compile time.
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for AgentName {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl From<&str> for AgentName {
    fn from(name: &str) -> Self {
        Self(Cow::Owned(name.to_owned()))
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
