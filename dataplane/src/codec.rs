//! Codecs: bytes to packets and back. They borrow from the input, are total on any bytes and allocate nothing that a peer
//! could make large. They never ask the time, never touch a socket and never decide what a packet means for a session.

pub mod amqp;
pub mod cursor;
pub mod http;
pub mod mqtt;
pub mod nats;
pub mod proxy;
pub mod websocket;
