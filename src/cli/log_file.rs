//! A log in files of bounded size, for a service that has no journal to write to.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The file that is written to. Full, it becomes `NAME.1`, `NAME.1` becomes `NAME.2`, and the oldest goes.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    written: u64,
    room: u64,
    files: usize,
}

impl LogFile {
    /// Goes on with the file, or makes it. Each file has room for so many bytes, and there are at most so many files.
    ///
    /// # Errors
    /// The system's error when it cannot be opened.
    pub(super) fn open(path: &Path, room: u64, files: usize) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let written = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            written,
            room,
            files,
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        for age in (1..self.files.saturating_sub(1)).rev() {
            // One that is not there yet, or that somebody has open, stays as it is.
            let _ = fs::rename(self.aged(age), self.aged(age + 1));
        }
        // Where somebody keeps it from being renamed, the room counts for more than what it holds.
        if self.files < 2 || fs::rename(&self.path, self.aged(1)).is_err() {
            self.file.set_len(0)?;
        } else {
            self.file = OpenOptions::new()
                .append(true)
                .create(true)
                .open(&self.path)?;
        }
        self.written = 0;
        Ok(())
    }

    fn aged(&self, age: usize) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{age}"));
        PathBuf::from(name)
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.written > 0 && self.written.saturating_add(length) > self.room {
            self.turn()?;
        }
        let count = self.file.write(line)?;
        self.written += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(directory: &Path) -> Vec<(String, String)> {
        let mut texts: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        texts.sort();
        texts
    }

    fn text(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn full_files_make_room_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.log");
        let mut log = LogFile::open(&path, 10, 3).unwrap();
        for line in ["1111\n", "2222\n", "3333\n", "4444\n", "5555\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(
            texts(directory.path()),
            [
                text("agent.log", "5555\n"),
                text("agent.log.1", "3333\n4444\n"),
                text("agent.log.2", "1111\n2222\n")
            ]
        );
        log.write_all(b"6666\n").unwrap();
        log.write_all(b"7777\n").unwrap();
        let texts = texts(directory.path());
        assert_eq!(texts.len(), 3);
        assert_eq!(texts[2], text("agent.log.2", "3333\n4444\n"));
    }

    #[test]
    fn a_restart_goes_on_with_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.log");
        for line in ["1111\n", "2222\n", "3333\n"] {
            let mut log = LogFile::open(&path, 10, 2).unwrap();
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(
            texts(directory.path()),
            [
                text("agent.log", "3333\n"),
                text("agent.log.1", "1111\n2222\n")
            ]
        );
    }

    #[test]
    fn a_line_that_fills_more_than_a_file_is_kept_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.log");
        let mut log = LogFile::open(&path, 4, 2).unwrap();
        log.write_all(b"a long line\n").unwrap();
        log.write_all(b"next\n").unwrap();
        assert_eq!(
            texts(directory.path()),
            [
                text("agent.log", "next\n"),
                text("agent.log.1", "a long line\n")
            ]
        );
    }

    #[test]
    fn a_file_that_cannot_be_renamed_is_emptied() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.log");
        // Nothing can be renamed over a directory that holds something.
        fs::create_dir(directory.path().join("agent.log.1")).unwrap();
        fs::write(directory.path().join("agent.log.1/held"), "").unwrap();
        let mut log = LogFile::open(&path, 5, 2).unwrap();
        log.write_all(b"1111\n").unwrap();
        log.write_all(b"2222\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "2222\n");
    }
}
