//! Whole-system tests: the real binary, third-party clients, plain HTTP. Each test has its own process, data and ports.
//! Never sleeps to synchronise and never asserts a speed.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code: it reads the clock to report times, and panics and prints to report"
)]

mod alarm_rules;
mod alarms;
mod assets;
mod attributes;
mod bad_requests;
mod badinput;
mod brokers;
mod calculated;
mod chain_requests;
mod chains;
mod connectivity;
mod debugging;
mod device_http;
mod diskfull;
mod drain;
mod exported;
mod firmware;
mod gateway;
mod identity;
mod idle;
mod independence;
mod isolation;
mod life;
mod limits;
mod live;
mod load;
mod mqtt_websocket;
mod outbox;
mod profiles;
mod proxy;
mod publish;
mod rest;
mod rpc;
mod ruling;
mod sdk;
mod sessions;
mod settings;
mod shards;
mod slow_peers;
mod timing;
