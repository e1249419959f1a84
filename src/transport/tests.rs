use std::{
    fs::File,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::*;

#[tokio::test]
async fn a_missing_port_is_named_with_what_to_do() {
    let error = Port::open(&settings(Path::new("/dev/no-such-port")))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no port /dev/no-such-port: plug the encoder in, or correct `port` in the configuration"
    );
}

#[tokio::test]
async fn a_port_is_opened_once_also_by_root_and_its_holder_is_named() {
    let (_device, path) = terminal();
    let port = Port::open(&settings(&path)).await.unwrap();
    let error = Port::open(&settings(&path)).await.unwrap_err();
    assert_eq!(
        error,
        PortError::Busy {
            path: path.clone(),
            holder: Some("another encoder of this agent".to_owned())
        }
    );
    port.close();
    Port::open(&settings(&path)).await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_not_permitted_names_its_group() {
    let path = PathBuf::from("/dev/ttyUSB0");
    let error = PortError::NotPermitted {
        path: path.clone(),
        group: Some("dialout".to_owned()),
    };
    assert!(error.to_string().contains("usermod -aG dialout"), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o000)).unwrap();
    let error = Port::open(&settings(file.path())).await.unwrap_err();
    if rustix::process::geteuid().is_root() {
        assert!(matches!(error, PortError::Io { .. }), "{error}");
    } else {
        assert!(matches!(error, PortError::NotPermitted { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_terminal_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Port::open(&settings(file.path())).await.unwrap_err();
    assert!(matches!(error, PortError::Io { .. }), "{error}");
}

#[tokio::test]
async fn stale_bytes_are_thrown_away_at_open() {
    let (mut device, path) = terminal();
    let earlier = Port::open(&settings(&path)).await.unwrap();
    device.write_all(b"stale").unwrap();
    earlier.close();
    let mut port = Port::open(&settings(&path)).await.unwrap();
    device.write_all(b"fresh").unwrap();
    let mut buffer = [0; 16];
    let count = port.read(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..count], b"fresh");
}

#[tokio::test]
async fn lines_that_a_pseudo_terminal_lacks_do_not_fail_the_open() {
    let (_device, path) = terminal();
    let wanted = PortSettings {
        dtr: Some(true),
        rts: Some(false),
        ..settings(&path)
    };
    let mut port = Port::open(&wanted).await.unwrap();
    let error = port.control(Control::Dtr(true)).unwrap_err();
    assert!(matches!(error, PortError::Unsupported { .. }), "{error}");
    port.control(Control::Baud(921_600)).unwrap();
}

#[tokio::test]
async fn every_byte_passes_and_the_other_ends_close_is_gone() {
    for threaded in [false, true] {
        let (mut device, path) = terminal();
        let mut port = if threaded {
            Port::Threaded(ThreadedPort::open(&settings(&path)).unwrap())
        } else {
            Port::open(&settings(&path)).await.unwrap()
        };
        let bytes: Vec<u8> = (0..=255).collect();
        port.write(&bytes).await.unwrap();
        let mut there = [0; 256];
        device.read_exact(&mut there).unwrap();
        assert_eq!(there, *bytes);
        device.write_all(&bytes).unwrap();
        let mut back = Vec::new();
        while back.len() < bytes.len() {
            let mut buffer = [0; 100];
            let count = port.read(&mut buffer).await.unwrap();
            back.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(back, bytes);
        drop(device);
        let error = port.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error, PortError::Gone { path });
    }
}

/// The device's end of a new pseudo terminal, and the path of the other end.
fn terminal() -> (File, PathBuf) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap();
    (
        File::from(master),
        PathBuf::from(path.into_string().unwrap()),
    )
}

fn settings(path: &Path) -> PortSettings {
    PortSettings {
        path: path.to_path_buf(),
        baud: 115_200,
        dtr: None,
        rts: None,
    }
}
