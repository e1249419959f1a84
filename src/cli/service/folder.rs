//! The folder of settings, state and logs, and who may enter it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::system::Failure;

/// LocalSystem, which starts the service.
const SYSTEM: &str = "*S-1-5-18";
/// The local group of administrators, whatever its name in the PC's language.
const ADMINISTRATORS: &str = "*S-1-5-32-544";
/// `NT SERVICE\encoder-agent`: S-1-5-80 and the five parts of the SHA-1 of the name in capital letters, in UTF-16.
const SERVICE: &str = "*S-1-5-80-3925735096-3361196198-2401630764-3312526119-877923864";

/// What the service writes to; the rest it only reads.
const WRITTEN: [&str; 2] = ["state", "logs"];

/// Makes the folder and those in it, and lets nobody in but the system, administrators and the service, which may change only
/// its state and logs.
///
/// Before a first installation, `is_first`, the folder may be anybody's, since every user may make folders beside it: it gets the
/// administrators as its owner, and loses all rights that were given before.
pub(super) fn prepare(folder: &Path, is_first: bool) -> Result<(), Failure> {
    make(folder)?;
    for part in WRITTEN {
        make(&folder.join(part))?;
    }
    if is_first {
        rights(folder, &["/setowner", ADMINISTRATORS, "/t", "/l", "/q"])?;
        rights(folder, &["/reset", "/t", "/l", "/q"])?;
    }
    grant(folder, "RX")?;
    for part in WRITTEN {
        grant(&folder.join(part), "M")?;
    }
    Ok(())
}

/// Removes the folder with all that is in it; none that is there is fine.
pub(super) fn remove(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unfit(folder, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A link in place of a folder would let its maker choose what the service writes to.
fn make(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| unfit(folder, &error))?;
    let metadata = fs::symlink_metadata(folder).map_err(|error| unfit(folder, &error))?;
    if metadata.is_dir() {
        Ok(())
    } else {
        Err(Failure::Folder {
            path: folder.to_owned(),
            reason: "it is a link to somewhere else; remove it".to_owned(),
        })
    }
}

fn grant(folder: &Path, service: &str) -> Result<(), Failure> {
    let all = |who: &str, what: &str| format!("{who}:(OI)(CI){what}");
    rights(
        folder,
        &[
            "/inheritance:r",
            "/grant:r",
            &all(SYSTEM, "F"),
            &all(ADMINISTRATORS, "F"),
            &all(SERVICE, service),
            "/q",
        ],
    )
}

fn rights(folder: &Path, arguments: &[&str]) -> Result<(), Failure> {
    let done = Command::new(icacls())
        .arg(folder)
        .args(arguments)
        .output()
        .map_err(|error| unfit(folder, &error))?;
    if done.status.success() {
        return Ok(());
    }
    let said = [done.stdout, done.stderr].concat();
    Err(Failure::Folder {
        path: folder.to_owned(),
        reason: format!(
            "icacls {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&said).trim()
        ),
    })
}

/// The system's own, wherever PATH leads.
fn icacls() -> PathBuf {
    let root = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    PathBuf::from(root).join(r"System32\icacls.exe")
}

fn unfit(folder: &Path, error: &io::Error) -> Failure {
    Failure::Folder {
        path: folder.to_owned(),
        reason: error.to_string(),
    }
}
