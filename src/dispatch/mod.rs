//! The flow: validate, route, hand over, retry, escalate.
//!
//! [`Swarm`] is where a Rust program starts:
//!
//! ```no_run
//! use timmy_dispatcher::dispatch::{Settings, Swarm, Task};
//!
//! # async fn example() {
//! let swarm = Swarm::new(Settings::from_env());
//! let task = Task::new("Design the LLM router").issue(1072).criterion("Failover works");
//! let result = swarm.dispatch(&task).await;
//! println!("{}: {}", result.agent, result.status);
//! # }
//! ```

pub(crate) mod flow;
pub(crate) mod host;
pub(crate) mod retry;
pub(crate) mod settings;
mod swarm;
mod swarm_steps;
mod swarm_values;
mod swarm_watch;

pub use retry::{MAX_RETRY_AFTER, Transient};
pub use settings::{ConfigError, Settings, api_base, check_http_url, check_repo};
pub use swarm::{DispatchResult, Swarm, Task};
#[cfg(feature = "python")]
pub(crate) use swarm_values::{Client, NativeHost, Opaque};
