//! The shim between a process and its database: kills at a step, and lets a power cut be played afterwards.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    HarnessError,
    case::{Disk, Step},
};

const SOURCE: &str = include_str!("disk.c");

/// What a disk writes at once; a torn write ends at one of its borders.
const SECTOR_BYTES: usize = 512;

/// The length of the shim's fixed record, see `struct record` in its source.
const RECORD_BYTES: usize = 28;

/// The compiled shim.
#[derive(Clone, Debug)]
pub(super) struct Shim(PathBuf);

impl Shim {
    /// Compiles it into this folder.
    pub(super) fn compile(folder: &Path) -> Result<Self, HarnessError> {
        let (source, library) = (folder.join("disk.c"), folder.join("disk.so"));
        fs::write(&source, SOURCE).map_err(HarnessError::system("writing the shim"))?;
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        if compiled.is_ok_and(|status| status.success()) {
            Ok(Self(library))
        } else {
            Err(HarnessError::NoCompiler(source))
        }
    }

    /// Puts it between a process that is about to start and the files whose paths begin with `files`.
    pub(super) fn watch(&self, command: &mut Command, watch: &Watch) {
        let step = watch.kill.map_or(0, |step| step.number);
        let after = watch.kill.is_some_and(|step| step.after);
        command
            .env("LD_PRELOAD", &self.0)
            .env("DISK_FILES", &watch.files)
            .env("DISK_ARMED", watch.armed())
            .env("DISK_LOG", watch.log())
            .env("DISK_STEP", step.to_string())
            .env("DISK_AFTER", if after { "1" } else { "0" });
    }
}

/// Which files are watched, and at which step the process dies.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// What the paths of the files begin with.
    pub(super) files: PathBuf,
    /// Where the log and the sign that steps count are kept.
    pub(super) folder: PathBuf,
    pub(super) kill: Option<Step>,
}

impl Watch {
    /// From now on steps count.
    pub(super) fn arm(&self) -> Result<(), HarnessError> {
        fs::create_dir_all(&self.folder)
            .and_then(|()| File::create(self.armed()))
            .map(drop)
            .map_err(HarnessError::system("arming the kill"))
    }

    /// The steps that counted, in order.
    pub(super) fn steps(&self) -> Result<Vec<StepKind>, HarnessError> {
        let steps = self.read()?;
        Ok(steps
            .iter()
            .filter(|step| step.counted)
            .map(|step| step.kind)
            .collect())
    }

    /// Plays a power cut to the files of a process that is dead.
    pub(super) fn lose(&self, disk: Disk) -> Result<(), HarnessError> {
        let mut unflushed: BTreeMap<PathBuf, Vec<Logged>> = BTreeMap::new();
        for step in self.read()? {
            match step.kind {
                StepKind::Flush => drop(unflushed.remove(&step.path)),
                StepKind::Write | StepKind::Truncate => {
                    unflushed.entry(step.path.clone()).or_default().push(step);
                }
            }
        }
        for (path, steps) in unflushed {
            set_back(&path, &steps, disk).map_err(HarnessError::system("the power cut"))?;
        }
        Ok(())
    }

    fn read(&self) -> Result<Vec<Logged>, HarnessError> {
        let bytes = match fs::read(self.log()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(HarnessError::system("reading the steps"))?,
        };
        let mut rest = bytes.as_slice();
        let mut steps = Vec::new();
        // A record that the kill cut short is one of a step that was not taken.
        while let Some((step, next)) = logged(rest) {
            steps.push(step);
            rest = next;
        }
        Ok(steps)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("steps")
    }

    fn armed(&self) -> PathBuf {
        self.folder.join("armed")
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StepKind {
    Write,
    Truncate,
    Flush,
}

/// A step as the shim logs it before it is taken.
#[derive(Clone, Debug)]
struct Logged {
    kind: StepKind,
    counted: bool,
    path: PathBuf,
    offset: u64,
    size_before: u64,
    /// What the step overwrites or cuts off.
    old: Vec<u8>,
    new: Vec<u8>,
}

fn logged(bytes: &[u8]) -> Option<(Logged, &[u8])> {
    let (head, rest) = bytes.split_at_checked(RECORD_BYTES)?;
    let length = |at: usize| {
        let bytes = head.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_ne_bytes(bytes)).ok()
    };
    let long = |at: usize| Some(u64::from_ne_bytes(head.get(at..at + 8)?.try_into().ok()?));
    let path_length = u16::from_ne_bytes(head.get(2..4)?.try_into().ok()?);
    let (path, rest) = rest.split_at_checked(path_length.into())?;
    let (old, rest) = rest.split_at_checked(length(4)?)?;
    let (new, rest) = rest.split_at_checked(length(8)?)?;
    let step = Logged {
        kind: match head.first()? {
            1 => StepKind::Write,
            2 => StepKind::Truncate,
            _ => StepKind::Flush,
        },
        counted: *head.get(1)? == 1,
        path: PathBuf::from(std::str::from_utf8(path).ok()?),
        offset: long(12)?,
        size_before: long(20)?,
        old: old.to_vec(),
        new: new.to_vec(),
    };
    Some((step, rest))
}

/// Takes back what was not flushed and does again what the disk had got to.
fn set_back(path: &Path, steps: &[Logged], disk: Disk) -> std::io::Result<()> {
    if disk == Disk::Kept || !path.exists() {
        return Ok(());
    }
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    for step in steps.iter().rev() {
        file.write_all_at(&step.old, step.offset)?;
        file.set_len(step.size_before)?;
    }
    for (index, step) in steps.iter().enumerate() {
        let part = match disk {
            Disk::Scattered if index % 2 == 0 => step.new.len(),
            Disk::Torn if index < steps.len() / 2 => step.new.len(),
            Disk::Torn if index == steps.len() / 2 => {
                (step.new.len() / 2).next_multiple_of(SECTOR_BYTES)
            }
            Disk::Kept | Disk::Cut | Disk::Torn | Disk::Scattered => continue,
        };
        match step.kind {
            StepKind::Truncate => file.set_len(step.offset)?,
            StepKind::Write | StepKind::Flush => {
                let part = part.min(step.new.len());
                file.write_all_at(&step.new[..part], step.offset)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: u64, size_before: u64, old: &[u8], new: &[u8]) -> Logged {
        Logged {
            kind: StepKind::Write,
            counted: true,
            path: PathBuf::new(),
            offset,
            size_before,
            old: old.to_vec(),
            new: new.to_vec(),
        }
    }

    #[test]
    fn a_power_cut_leaves_what_the_disk_had_got_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let steps = [write(1, 4, b"bcd", b"XYZ!"), write(3, 5, b"Z!", b"12345")];
        for (disk, expected) in [
            (Disk::Kept, b"aXY12345".as_slice()),
            (Disk::Cut, b"abcd"),
            (Disk::Scattered, b"aXYZ!"),
            (Disk::Torn, b"aXY12345"),
        ] {
            fs::write(&path, b"aXY12345").unwrap();
            set_back(&path, &steps, disk).unwrap();
            assert_eq!(fs::read(&path).unwrap(), expected, "{disk:?}");
        }
    }

    #[test]
    fn a_torn_write_ends_at_a_border_of_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let long = vec![1; 4 * SECTOR_BYTES];
        fs::write(&path, &long).unwrap();
        set_back(&path, &[write(0, 0, b"", &long)], Disk::Torn).unwrap();
        assert_eq!(fs::read(&path).unwrap(), vec![1; 2 * SECTOR_BYTES]);
    }
}
