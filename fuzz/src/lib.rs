//! The inputs that fuzzing has found worth keeping: one text file a target, one input a line.
//!
//! A line is the input in base64 (RFC 4648, section 4); an empty line is the empty input, a line that begins with `#` a
//! remark.

#![forbid(unsafe_code)]

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The file that keeps a target's inputs.
pub fn corpus_file(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(format!("{target}.txt"))
}

/// The inputs of a file's text, in its order.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] with the number of a line that is no base64.
pub fn unpack(text: &str) -> io::Result<Vec<Vec<u8>>> {
    let lines = text.lines().zip(1..);
    lines
        .filter(|(line, _)| !line.starts_with('#'))
        .map(|(line, number)| {
            STANDARD.decode(line).map_err(|error| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("line {number}: expected base64: {error}"),
                )
            })
        })
        .collect()
}

/// The text that keeps `inputs`, each once, short ones first.
pub fn pack(mut inputs: Vec<Vec<u8>>) -> String {
    inputs.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    inputs.dedup();
    let lines = inputs.iter().map(|input| STANDARD.encode(input) + "\n");
    lines.collect()
}

/// A target's kept inputs.
///
/// # Errors
/// [`io::Error`] when its file is missing or no corpus.
pub fn read(target: &str) -> io::Result<Vec<Vec<u8>>> {
    unpack(&fs::read_to_string(corpus_file(target))?)
}

/// Writes a target's kept inputs as files of a folder, where a fuzzer takes them.
///
/// # Errors
/// [`io::Error`] when they cannot be read or written.
pub fn spread(target: &str, folder: &Path) -> io::Result<usize> {
    fs::create_dir_all(folder)?;
    let inputs = read(target)?;
    for (number, input) in inputs.iter().enumerate() {
        fs::write(folder.join(format!("kept-{number:04}")), input)?;
    }
    Ok(inputs.len())
}

/// Keeps the files of a folder as a target's inputs, in place of those that were kept before.
///
/// # Errors
/// [`io::Error`] when they cannot be read or written.
pub fn gather(target: &str, folder: &Path) -> io::Result<usize> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        inputs.push(fs::read(entry?.path())?);
    }
    let count = inputs.len();
    fs::write(corpus_file(target), pack(inputs))?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_once_and_in_order() {
        let inputs = vec![b"longer".to_vec(), vec![], vec![0xFF, b'\n'], vec![]];
        let text = pack(inputs);
        assert_eq!(
            unpack(&text).unwrap(),
            [vec![], vec![0xFF, b'\n'], b"longer".to_vec()]
        );
    }

    #[test]
    fn a_line_that_is_no_base64_is_named() {
        let error = unpack("# remark\nAAAA\n!\n").unwrap_err();
        assert!(error.to_string().starts_with("line 3:"), "{error}");
    }
}
