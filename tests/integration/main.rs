//! The running program from outside: every test starts the real binary on a home of its own and a free port, and speaks HTTPS, websockets,
//! signals and `vctl` to it. One test binary, one file per concern; nothing here knows a crate of the product.

#![cfg(test)]

mod authentication;
mod bad_input;
mod commands;
mod demonstration;
mod durability;
mod first_start;
mod forwarding;
mod isolation;
mod linking;
mod mock_agent;
mod modbus;
mod peers;
mod postgres_history;
mod python_agents;
mod routes;
mod simulator;
mod sockets;
