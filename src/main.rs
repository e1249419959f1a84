//! The agent: a service on the front-desk PC.

use std::process::ExitCode;

fn main() -> ExitCode {
    encoder_agent::cli::main()
}
