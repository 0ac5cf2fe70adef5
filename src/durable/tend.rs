//! Stub until watching is there.
use std::sync::Arc;

use super::dispatcher::{DispatcherError, Inner};
use crate::http::Transport;

pub(super) async fn receiver<T: Transport>(_inner: &Arc<Inner<T>>) -> Result<(), DispatcherError> {
    Ok(())
}
pub(super) async fn watch<T: Transport>(_inner: Arc<Inner<T>>, _receiver: ()) {}
pub(super) async fn agents<T: Transport>(_inner: Arc<Inner<T>>) {}
