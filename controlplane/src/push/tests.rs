//! Tests of the push.
