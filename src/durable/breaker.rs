//! When a destination is left alone: a circuit breaker for the Gitea server and for each endpoint,
//! in process memory.
//!
//! After [`FAILURES`] in a row, or when the server says so, nothing is sent for a while. Then one
//! request tries. Where it succeeds, few others follow, and more with each success: after an outage
//! not everything that waits goes out in one tick.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::http::redact_url;

/// So many failures in a row and it is left alone.
const FAILURES: u32 = 5;
/// So many requests at a time after an outage, and nothing is counted any more.
const ALL: u32 = 32;
/// So many times the first wait is the longest.
const LONGEST: u32 = 64;
/// The longest time that a server can have itself left alone.
const MOST: Duration = Duration::from_secs(15 * 60);
/// Destinations that are remembered.
const REMEMBERED: usize = 4096;

/// How a destination took a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It answered, whatever it said.
    Well,
    /// It did not, or with a 5xx or a 401.
    Ill,
    /// It wants to be left alone for so long.
    Limited(Duration),
    /// Nothing was asked of it in the end.
    Unasked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Duration,
        refused: u32,
    },
    Probing {
        refused: u32,
    },
    Recovering {
        allowed: u32,
        running: u32,
        refused: u32,
    },
}

/// Why a request is not let through, and when to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cooling {
    pub(crate) wait: Duration,
    pub(crate) why: String,
}

/// The state machine, without a clock: times are since any beginning.
#[derive(Debug)]
struct Breaker {
    state: State,
    /// Counts the changes between the kinds of state: an answer to a request that was let through in
    /// an earlier one says nothing about this one.
    era: u64,
    first: Duration,
    waits: ExponentialBackoff,
    /// What was said of the last failure.
    last: String,
}

impl Breaker {
    fn new(first: Duration) -> Self {
        Self {
            state: State::Closed { failures: 0 },
            era: 0,
            first,
            waits: waits(first),
            last: String::new(),
        }
    }

    /// Lets a request through, and says in which era; or how long to wait.
    fn admit(&mut self, now: Duration) -> Result<u64, Duration> {
        // Those who wait come back one after the other.
        let turn = |refused: &mut u32| {
            *refused = refused.saturating_add(1);
            let spacing = (self.first / 20).max(Duration::from_millis(1));
            (spacing * *refused).min(self.first * LONGEST)
        };
        match &mut self.state {
            State::Closed { .. } => {}
            State::Open { until, refused } if now < *until => {
                return Err(*until - now + turn(refused));
            }
            State::Open { refused, .. } => {
                let refused = *refused;
                self.turn_to(State::Probing { refused });
            }
            State::Probing { refused } => return Err(turn(refused)),
            State::Recovering {
                allowed,
                running,
                refused,
            } => {
                if running >= allowed {
                    return Err(turn(refused));
                }
                *running += 1;
            }
        }
        Ok(self.era)
    }

    /// Takes the outcome of a request that was let through in that era, and says how long to wait
    /// before the same is tried again.
    fn report(&mut self, era: u64, now: Duration, health: Health) -> Duration {
        if era != self.era {
            return match self.state {
                State::Open { until, .. } => until.saturating_sub(now) + self.first,
                _ => self.first,
            };
        }
        match (health, &mut self.state) {
            (Health::Limited(wait), _) => return self.open(now, wait.min(MOST)),
            (Health::Ill, State::Closed { failures }) => {
                *failures += 1;
                if *failures < FAILURES {
                    return self.waits.next().unwrap_or(self.first);
                }
                let wait = self.waits.next().unwrap_or(self.first);
                return self.open(now, wait);
            }
            (Health::Ill, _) => {
                let wait = self.waits.next().unwrap_or(self.first);
                return self.open(now, wait);
            }
            (Health::Well, State::Closed { failures }) => {
                if *failures > 0 {
                    *failures = 0;
                    self.waits = waits(self.first);
                }
            }
            (
                Health::Well,
                State::Recovering {
                    allowed, running, ..
                },
            ) => {
                *running = running.saturating_sub(1);
                *allowed += 1;
                if *allowed >= ALL {
                    self.waits = waits(self.first);
                    self.turn_to(State::Closed { failures: 0 });
                }
            }
            (Health::Well, State::Probing { .. }) => self.turn_to(State::Recovering {
                allowed: 1,
                running: 0,
                refused: 0,
            }),
            (Health::Unasked, State::Probing { refused }) => {
                let refused = *refused;
                self.turn_to(State::Open {
                    until: now,
                    refused,
                });
            }
            (Health::Unasked, State::Recovering { running, .. }) => {
                *running = running.saturating_sub(1);
            }
            (Health::Unasked, State::Closed { .. }) | (_, State::Open { .. }) => {}
        }
        self.first
    }

    /// Why a request is not let through.
    fn why(&self, destination: &str) -> String {
        let what = match self.state {
            State::Open { .. } => "is left alone",
            _ => "is coming back, and takes one after the other",
        };
        let destination = redact_url(destination);
        match self.last.as_str() {
            "" => format!("{destination} {what}"),
            last => format!("{destination} {what}: {last}"),
        }
    }

    fn open(&mut self, now: Duration, wait: Duration) -> Duration {
        self.turn_to(State::Open {
            until: now + wait,
            refused: 0,
        });
        wait
    }

    fn turn_to(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}

/// Twice as long each time, and up to twice that by chance.
fn waits(first: Duration) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(first * LONGEST)
        .with_jitter()
        .without_max_times()
        .build()
}

/// A breaker for each destination. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Breakers {
    known: Arc<Mutex<HashMap<String, Breaker>>>,
    began: Instant,
    first: Duration,
}

impl Breakers {
    /// Each leaves its destination alone for `first` at first.
    pub(crate) fn new(first: Duration) -> Self {
        Self {
            known: Arc::default(),
            began: Instant::now(),
            first: first.max(Duration::from_millis(1)),
        }
    }

    /// Lets a request through, or says how long to wait, and why.
    pub(crate) fn admit(&self, destination: &str) -> Result<Permit, Cooling> {
        let admit = |breaker: &mut Breaker, now| {
            let admitted = breaker.admit(now);
            admitted.map_err(|wait| Cooling {
                wait,
                why: breaker.why(destination),
            })
        };
        let era = self.with(destination, admit)?;
        Ok(Permit {
            breakers: self.clone(),
            destination: destination.to_owned(),
            era: Some(era),
        })
    }

    /// Those that are left alone now, and for how long.
    pub(crate) fn cooling(&self) -> Vec<(String, Duration)> {
        let now = self.began.elapsed();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let cooling = known
            .iter()
            .filter_map(|(name, breaker)| match breaker.state {
                State::Open { until, .. } if now < until => Some((name.clone(), until - now)),
                _ => None,
            });
        cooling.collect()
    }

    fn with<R>(&self, destination: &str, act: impl FnOnce(&mut Breaker, Duration) -> R) -> R {
        let now = self.began.elapsed();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.retain(|_, breaker| breaker.state != State::Closed { failures: 0 });
        }
        let fresh = || Breaker::new(self.first);
        act(
            known.entry(destination.to_owned()).or_insert_with(fresh),
            now,
        )
    }
}

/// A request that was let through. Dropped, it counts as never asked.
#[derive(Debug)]
pub(crate) struct Permit {
    breakers: Breakers,
    destination: String,
    era: Option<u64>,
}

impl Permit {
    /// Says how the destination took it, and if not well, in words; yields how long to wait before the
    /// same is tried again, and why.
    pub(crate) fn report(mut self, health: Health, why: &str) -> Cooling {
        self.settle(health, why)
    }

    fn settle(&mut self, health: Health, why: &str) -> Cooling {
        let Some(era) = self.era.take() else {
            return Cooling {
                wait: Duration::ZERO,
                why: String::new(),
            };
        };
        let report = |breaker: &mut Breaker, now| {
            let well = matches!(health, Health::Well | Health::Unasked);
            if !well {
                why.clone_into(&mut breaker.last);
            }
            let wait = breaker.report(era, now, health);
            let why = match breaker.state {
                State::Closed { .. } => why.to_owned(),
                _ if well => why.to_owned(),
                _ => breaker.why(&self.destination),
            };
            Cooling { wait, why }
        };
        self.breakers.with(&self.destination, report)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.settle(Health::Unasked, "");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Duration = Duration::from_secs(1);

    fn broken() -> Breaker {
        let mut breaker = Breaker::new(FIRST);
        for _ in 0..FAILURES {
            let era = breaker.admit(Duration::ZERO).unwrap();
            breaker.report(era, Duration::ZERO, Health::Ill);
        }
        breaker
    }

    #[test]
    fn one_probe_goes_first_and_few_follow() {
        let mut breaker = broken();
        let wait = breaker.admit(Duration::ZERO).unwrap_err();
        assert!(wait >= FIRST, "{wait:?}");
        let later = FIRST * LONGEST * 4;
        let probe = breaker.admit(later).unwrap();
        // The others come back one after the other.
        let waits: Vec<_> = (0..3).map(|_| breaker.admit(later).unwrap_err()).collect();
        assert!(waits.is_sorted() && waits[0] < waits[2], "{waits:?}");
        breaker.report(probe, later, Health::Well);
        let mut peak = 0;
        let mut rounds = 0;
        while !matches!(breaker.state, State::Closed { .. }) {
            let mut admitted = Vec::new();
            while let Ok(era) = breaker.admit(later) {
                admitted.push(era);
                if matches!(breaker.state, State::Closed { .. }) {
                    break;
                }
            }
            assert!(
                admitted.len() <= 2 * peak.max(1),
                "{} after {peak}",
                admitted.len()
            );
            peak = admitted.len();
            rounds += 1;
            for era in admitted {
                breaker.report(era, later, Health::Well);
            }
        }
        assert!(rounds >= 5, "{rounds}");
    }

    #[test]
    fn a_server_that_asks_for_it_is_left_alone_for_as_long_and_no_longer_than_bearable() {
        for (asked, kept) in [
            (Duration::from_secs(7), Duration::from_secs(7)),
            (Duration::MAX, MOST),
        ] {
            let mut breaker = Breaker::new(FIRST);
            let era = breaker.admit(Duration::ZERO).unwrap();
            assert_eq!(
                breaker.report(era, Duration::ZERO, Health::Limited(asked)),
                kept
            );
            assert!(breaker.admit(kept - Duration::from_millis(1)).is_err());
            assert!(breaker.admit(kept).is_ok());
        }
    }

    #[test]
    fn a_probe_that_is_given_up_makes_way_for_the_next() {
        let breakers = Breakers::new(Duration::from_millis(1));
        for _ in 0..FAILURES {
            breakers
                .admit("x")
                .unwrap()
                .report(Health::Ill, "no answer");
        }
        let cooling = breakers.admit("x").unwrap_err();
        assert_eq!(cooling.why, "x is left alone: no answer");
        assert!(breakers.admit("y").is_ok());
        let probe = loop {
            if let Ok(probe) = breakers.admit("x") {
                break probe;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let cooling = breakers.admit("x").unwrap_err();
        assert!(cooling.why.starts_with("x is coming back"), "{cooling:?}");
        drop(probe);
        assert!(breakers.admit("x").is_ok());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Admit,
        Report(usize, Health),
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let health = prop_oneof![
            3 => Just(Health::Well),
            3 => Just(Health::Ill),
            1 => (0_u64..5000).prop_map(|ms| Health::Limited(Duration::from_millis(ms))),
            1 => Just(Health::Unasked),
        ];
        let step = prop_oneof![
            4 => Just(Step::Admit),
            4 => (any::<usize>(), health).prop_map(|(which, health)| Step::Report(which, health)),
            1 => (0_u64..20_000).prop_map(Step::Pass),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn whatever_happens(steps in steps()) {
            let mut breaker = Breaker::new(FIRST);
            let mut now = Duration::ZERO;
            let mut out: Vec<u64> = Vec::new();
            for step in steps {
                let before = breaker.state;
                match step {
                    Step::Pass(ms) => now += Duration::from_millis(ms),
                    Step::Admit => match breaker.admit(now) {
                        Ok(era) => {
                            let cooling = matches!(before, State::Open { until, .. } if now < until);
                            let probing = matches!(before, State::Probing { .. });
                            prop_assert!(!cooling && !probing);
                            out.push(era);
                        }
                        Err(wait) => prop_assert!(wait > Duration::ZERO && wait <= MOST + FIRST * LONGEST * 3),
                    },
                    Step::Report(which, health) => if !out.is_empty() {
                        let era = out.swap_remove(which % out.len());
                        breaker.report(era, now, health);
                    },
                }
                let of_now = out.iter().filter(|era| **era == breaker.era).count();
                match breaker.state {
                    State::Probing { .. } => prop_assert_eq!(of_now, 1),
                    State::Recovering { allowed, running, .. } => {
                        prop_assert!(running <= allowed && allowed < ALL);
                        prop_assert_eq!(usize::try_from(running).unwrap(), of_now);
                    }
                    State::Closed { failures } => prop_assert!(failures < FAILURES),
                    State::Open { .. } => {}
                }
            }
            // It never locks up: once everything is answered and time has passed, it lets one through.
            for era in out {
                breaker.report(era, now, Health::Well);
            }
            prop_assert!(breaker.admit(now + MOST).is_ok());
        }
    }
}
