//! The coordination service.

fn main() {}
