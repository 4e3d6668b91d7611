//! The endpoint over real sockets, with our own dealer as the peer. What libzmq makes of it is in the compatibility tests.

#![cfg(test)]

mod bench;
mod calls;
mod channels;
mod connecting;
mod hostile;
mod platforms;
mod pubsub;
mod remote;
mod requests;
