//! Placeholder until the REST branch is merged.

use std::sync::Arc;

/// No routes yet.
pub fn router(_app: Arc<crate::app::App>) -> axum::Router {
    axum::Router::new()
}
