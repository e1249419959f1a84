//! Writes the manual pages and shell completions of both programs, for packages: `cargo run --example manual -- FOLDER`.
//!
//! Each program gets a folder of its own: `FOLDER/PROGRAM/man/*.1`, and `FOLDER/PROGRAM/completions/` with a file for each
//! shell, named as that shell looks for it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap_complete::aot::{Shell, generate_to};

/// The shells that Debian and Fedora package places for completions in.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: manual FOLDER");
        return ExitCode::from(2);
    };
    let programs = [
        encoder_agent::cli::command(),
        encoder_coordinator::cli::command(),
    ];
    for program in programs {
        if let Err(error) = write(&folder, program) {
            eprintln!("cannot write into {}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn write(folder: &Path, mut program: clap::Command) -> io::Result<()> {
    let name = program.get_name().to_owned();
    let (manual, completions) = (
        folder.join(&name).join("man"),
        folder.join(&name).join("completions"),
    );
    // Pages of commands that are no more would go into the package too.
    for part in [&manual, &completions] {
        if part.exists() {
            fs::remove_dir_all(part)?;
        }
        fs::create_dir_all(part)?;
    }
    clap_mangen::generate_to(without_help(program.clone()), manual)?;
    for shell in SHELLS {
        generate_to(shell, &mut program, &name, &completions)?;
    }
    Ok(())
}

/// `help COMMAND` says what `COMMAND --help` says: it needs no pages of its own.
fn without_help(program: clap::Command) -> clap::Command {
    program
        .disable_help_subcommand(true)
        .mut_subcommands(without_help)
}
