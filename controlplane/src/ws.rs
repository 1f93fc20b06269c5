//! Placeholder until the REST branch is merged.
