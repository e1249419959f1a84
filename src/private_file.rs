//! Files that only the agent may read: tokens, and what it was paired with.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use zeroize::Zeroizing;

/// Reads such a file.
///
/// # Errors
/// What the system says.
pub(crate) fn read(file: &Path) -> io::Result<Zeroizing<String>> {
    fs::read_to_string(file).map(Zeroizing::new)
}

/// Puts the text in the file's place, durably: a crash leaves the old or the new one. Only the owner may read it, and that
/// is the owner of its directory, so that what root writes is the agent's.
///
/// # Errors
/// What the system says; the old file is then still there.
pub(crate) fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let beside = file.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut opened = create(&beside)?;
    give_to_the_directorys_owner(&opened, file)?;
    opened.write_all(text)?;
    opened.sync_all()?;
    drop(opened);
    fs::rename(&beside, file)?;
    sync_directory(file)
}

/// Gives a file that was made otherwise to the owner of its directory.
///
/// # Errors
/// What the system says.
pub(crate) fn hand_over(file: &Path) -> io::Result<()> {
    give_to_the_directorys_owner(&File::open(file)?, file)
}

/// Makes a file that only its owner may read; that none was there before keeps others' modes out.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn give_to_the_directorys_owner(opened: &File, file: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};

    let Some(directory) = file.parent() else {
        return Ok(());
    };
    let (wanted, found) = (fs::metadata(directory)?, opened.metadata()?);
    if wanted.uid() == found.uid() {
        return Ok(());
    }
    fchown(opened, Some(wanted.uid()), Some(wanted.gid()))
}

/// A file has the rights of its directory, which are the agent's alone.
#[cfg(not(unix))]
fn give_to_the_directorys_owner(_: &File, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn sync_directory(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// A rename is durable on NTFS without more.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
