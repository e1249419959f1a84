//! Who holds a port, and who may: what `/proc` and `/etc/group` tell.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The bits of a mode that let the group read and write.
const GROUP_READ_WRITE: u32 = 0o060;

/// The program that has `path` open, as `name (process id)`; none where the system does not tell.
pub fn holder(path: &Path) -> Option<String> {
    let target = fs::canonicalize(path).ok()?;
    let processes = fs::read_dir("/proc").ok()?;
    let mut holders = processes
        .flatten()
        .filter(|process| has_open(&process.path(), &target))
        .filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    let id = holders.next()?;
    if id == std::process::id() {
        return Some("another encoder of this agent".to_owned());
    }
    let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
    Some(format!("{} (process {id})", name.trim()))
}

/// The name of the group that may read and write `path`; none where the group may not, or is root's.
pub fn group(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    if metadata.mode() & GROUP_READ_WRITE != GROUP_READ_WRITE || metadata.gid() == 0 {
        return None;
    }
    let groups = fs::read_to_string("/etc/group").ok()?;
    group_name(&groups, metadata.gid())
}

fn has_open(process: &Path, target: &Path) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .any(|descriptor| fs::read_link::<PathBuf>(descriptor.path()).is_ok_and(|to| to == target))
}

fn group_name(groups: &str, id: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == id).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_number() {
        let groups = "root:x:0:\nmalformed\ndialout:x:20:desk,front\n";
        assert_eq!(group_name(groups, 20).as_deref(), Some("dialout"));
        assert_eq!(group_name(groups, 21), None);
    }

    #[test]
    fn an_open_file_of_this_process_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(has_open(
            Path::new("/proc/self"),
            &fs::canonicalize(file.path()).unwrap()
        ));
        let path = file.path().to_path_buf();
        drop(file);
        assert!(!has_open(Path::new("/proc/self"), &path));
    }
}
