//! The coordination service: offers every encoder of its agents through the HTTP API of the Seam card guides.

#![forbid(unsafe_code)]

pub mod jobs;
