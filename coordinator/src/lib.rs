//! The coordination service: offers every encoder of its agents through the HTTP API of the Seam card guides.

#![forbid(unsafe_code)]

pub mod access_system;
pub mod agents;
pub mod cli;
pub mod clock;
mod connections;
pub mod database;
pub mod demo;
pub mod desk;
pub mod encryption;
pub mod grants;
pub mod http;
pub mod ids;
pub mod jobs;
pub mod key_server;
mod metrics;
pub mod operator;
pub mod outbound;
pub mod pairing;
pub mod provider;
pub mod secrets;
pub mod serve;
pub mod simulation;
pub mod state;
pub mod store;
mod systemd;
pub mod tokens;
pub mod webhooks;
