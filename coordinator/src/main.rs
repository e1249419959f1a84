//! The coordination service.

use std::process::ExitCode;

fn main() -> ExitCode {
    encoder_coordinator::cli::main()
}
