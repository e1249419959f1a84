//! Kills the agent and the coordinator at every step and byte of an encode, and checks what is left:
//! `kill_matrix [--full] [--case NAME] [--lanes N] [--active N] [--programs FOLDER] [--folder FOLDER]`.
//!
//! The last line is `cases=… violations=…`; the exit code is 0 only without violations.

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    encoder_faults::kill::main()
}

#[cfg(not(unix))]
fn main() {
    eprintln!(
        "the kill matrix needs a pseudo terminal and signals, which this system does not have"
    );
    std::process::exit(1);
}
