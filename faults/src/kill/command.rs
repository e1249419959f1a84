//! The command line of the kill matrix.

#![allow(clippy::print_stdout, reason = "a program for people and scripts")]

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

use super::{Matrix, Options};

/// Kill the agent and the coordinator at every step and byte of an encode, and check what is left
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder of encoder-agent and encoder-coordinator [default: the one of this program]
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Where the sites are kept while they are played; those of failed cases stay [default: a new temporary folder]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Play every combination, not only what fits the time of a run before a change lands
    #[arg(long)]
    full: bool,
    /// How many cases are under way at a time; most of them wait
    #[arg(long, default_value_t = 160, value_name = "N", value_parser = parse_count)]
    lanes: usize,
    /// How many of them use the machine at a time
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = parse_count)]
    active: usize,
    /// Play only the case of this name
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
}

/// Plays what the command line says, prints it, and ends with 0 only without violations.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match play(arguments) {
        Ok(matrix) if matrix.violations == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the kill matrix could not be played: {error}");
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: Arguments) -> Result<Matrix, Box<dyn std::error::Error>> {
    let temporary = tempfile::Builder::new().prefix("kill-matrix-").tempdir()?;
    let programs = match arguments.programs {
        Some(programs) => programs,
        None => {
            let own = std::env::current_exe()?;
            own.parent()
                .ok_or("this program lies in no folder")?
                .to_owned()
        }
    };
    let options = Options {
        programs: programs.canonicalize()?,
        folder: arguments
            .folder
            .unwrap_or_else(|| temporary.path().to_owned()),
        full: arguments.full,
        lanes: arguments.lanes,
        active: arguments.active,
        case: arguments.case,
    };
    let matrix = Matrix::play(&options, &|line| println!("{line}"))?;
    for line in matrix.summary() {
        println!("{line}");
    }
    if matrix.violations > 0 {
        println!(
            "the sites of failed cases are kept in {}",
            temporary.keep().display()
        );
    }
    println!("cases={} violations={}", matrix.cases, matrix.violations);
    Ok(matrix)
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a number from 1 on".to_owned()),
    }
}
