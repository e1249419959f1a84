//! The whole road in one command: a coordinator, an agent and an emulated encoder with its card; one encode and one scan
//! through the HTTP API. Needs no hardware, and leaves nothing behind.
//!
//! `cargo run --example demo`, or with `-- --stay` to keep it running.

#[cfg(unix)]
#[path = "demo/desk.rs"]
mod desk;
#[cfg(unix)]
#[path = "demo/tour.rs"]
mod tour;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let stay = match arguments.as_slice() {
        [] => false,
        [flag] if flag == "--stay" => true,
        _ => {
            eprintln!("usage: cargo run --example demo [-- --stay]");
            return ExitCode::from(2);
        }
    };
    match tour::run(stay) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(unix))]
fn main() {
    eprintln!("the demo needs a pseudo-terminal, which this system does not have");
    std::process::exit(1);
}
