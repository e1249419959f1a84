//! Moves a target's kept inputs between its file and a folder of files.

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let moved = match words.as_slice() {
        ["spread", target, folder] => encoder_fuzz::spread(target, Path::new(folder)),
        ["gather", target, folder] => encoder_fuzz::gather(target, Path::new(folder)),
        _ => {
            eprintln!("expected: encoder-fuzz spread|gather TARGET FOLDER");
            return ExitCode::FAILURE;
        }
    };
    match moved {
        Ok(count) => {
            eprintln!("{count} inputs");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
