//! The agent: a service on the front-desk PC.

fn main() {}
