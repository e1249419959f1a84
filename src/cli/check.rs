//! `check`: is the configuration right, and would `run` find what it needs? Opens no connection and no port.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{Exit, Output, SettingsArgs};
#[cfg(not(unix))]
use crate::transport::{PortKind, is_listed};
use crate::{
    config::{ConfigError, CoordinatorSettings, Settings, TokenSetting, parse_token},
    discovery::{DiscoverySettings, Lister},
    encoder::EncoderSettings,
    platform,
    transport::resolved,
};

/// Check configuration, state directory, token file and ports, and print every finding
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Prints every finding, or `ok`.
pub(super) fn check(args: &Args, output: &Output) -> Exit {
    let settings = match args.settings.load() {
        Ok(settings) => settings,
        Err(error) => {
            output.line(error);
            return Exit::Unusable;
        }
    };
    let missing = missing(&settings);
    if !missing.is_empty() {
        missing.iter().for_each(|error| output.line(error));
        return Exit::Unusable;
    }
    let findings = findings(&settings);
    for finding in &findings {
        output.line(finding);
    }
    if findings.is_empty() {
        output.line("ok");
        Exit::Done
    } else {
        Exit::Failed
    }
}

/// What `run` cannot do without and the settings lack.
pub(super) fn missing(settings: &Settings) -> Vec<ConfigError> {
    [
        settings.require_state_dir().err(),
        settings.require_coordinator().err(),
        settings.require_encoders().err(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn findings(settings: &Settings) -> Vec<String> {
    let mut findings = of_state_and_trust(settings);
    findings.extend(of_another_machine(settings).map(|file| {
        format!(
            "{} was made on another machine: this disk was copied; pair this machine by itself with `encoder-agent pair URL`",
            file.display()
        )
    }));
    let found = found_by_key(&settings.discovery, &mut findings);
    let encoders: Vec<_> = settings.encoders.iter().cloned().chain(found).collect();
    findings.extend(encoders.iter().filter_map(port_finding));
    findings.extend(shared_ports(&encoders));
    findings
}

/// The pairing's file, where it was made on another machine than this.
pub(super) fn of_another_machine(settings: &Settings) -> Option<&Path> {
    let pairing = settings.coordinator.as_ref()?.pairing.as_ref()?;
    let machine = platform::machine_fact();
    let is_copied = pairing.is_of_another_machine(machine.as_deref());
    is_copied.then_some(pairing.file.as_path())
}

/// What is wrong with state directory, journal, token and certificates.
pub(super) fn of_state_and_trust(settings: &Settings) -> Vec<String> {
    let mut findings = Vec::new();
    if let Some(directory) = &settings.state_dir {
        findings.extend(state_dir_finding(directory).or_else(|| journal_finding(directory)));
    }
    if let Some(coordinator) = &settings.coordinator {
        findings.extend(coordinator_findings(coordinator));
    }
    findings
}

/// The encoders that are listed by a key and plugged in, each at its port; those that are not are findings.
fn found_by_key(discovery: &DiscoverySettings, findings: &mut Vec<String>) -> Vec<EncoderSettings> {
    if discovery.listed.is_empty() {
        return Vec::new();
    }
    let attached = Lister::system(discovery).list().unwrap_or_default();
    findings.extend(discovery.missing(&attached).map(|listed| {
        format!(
            "encoder \"{}\": no device with the key {} is plugged in; plug it in, or correct `key`: `encoder-agent devices` \
             prints every device's",
            listed.name, listed.key
        )
    }));
    let found = attached.iter().filter_map(|candidate| {
        let port = candidate.port.clone();
        let listed = discovery.listed_as(candidate)?.clone();
        Some(EncoderSettings { port, ..listed })
    });
    found.collect()
}

/// Writes a file into the directory and takes it away again: permissions alone do not tell about full or
/// read-only file systems. A directory that is not there yet is made by `run`, so its nearest parent is tried.
fn state_dir_finding(directory: &Path) -> Option<String> {
    let existing = directory.ancestors().find(|part| part.exists())?;
    let probe = existing.join(".encoder-agent-check");
    let written = fs::write(&probe, b"check");
    // A full disk takes the name of a file and not its contents.
    let removed = fs::remove_file(&probe);
    let error = written.and(removed).err()?;
    let kind = error.kind();
    let remedy = if matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ) {
        "free some space"
    } else if kind == io::ErrorKind::ReadOnlyFilesystem {
        "make its file system writable, and look at the disk's health"
    } else {
        "it must belong to the user that the agent runs as"
    };
    Some(format!(
        "state_dir {}: cannot be written: {error}; {remedy}",
        directory.display()
    ))
}

fn journal_finding(directory: &Path) -> Option<String> {
    crate::journal::inspect(directory)
        .err()
        .map(|error| format!("state_dir {}: {error}", directory.display()))
}

fn coordinator_findings(coordinator: &CoordinatorSettings) -> Vec<String> {
    let mut findings = Vec::new();
    if let TokenSetting::File(path) = &coordinator.token {
        findings.extend(token_file_finding(path));
    }
    if let Some(path) = &coordinator.extra_ca_file {
        findings.extend(
            crate::session::read_certificates(path)
                .err()
                .map(|error| error.to_string()),
        );
    }
    findings
}

fn token_file_finding(path: &Path) -> Option<String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => zeroize::Zeroizing::new(text),
        Err(error) => {
            return Some(format!(
                "token_file {}: cannot be read: {error}; put the agent's token there",
                path.display()
            ));
        }
    };
    parse_token(&text).err().map(|problem| {
        format!(
            "token_file {}: holds no token: {problem}; put the agent's token there and nothing else",
            path.display()
        )
    })
}

fn port_finding(encoder: &EncoderSettings) -> Option<String> {
    let port = encoder.port.display();
    let problem = port_problem(&encoder.port)?;
    let remedy = if problem.kind() == io::ErrorKind::NotFound {
        "no such port; plug the encoder in, or correct `port` in the configuration".to_owned()
    } else if problem.kind() == io::ErrorKind::PermissionDenied {
        "not permitted; add the user that the agent runs as to the group that owns the port (often dialout)"
            .to_owned()
    } else {
        format!("cannot be used: {problem}")
    };
    Some(format!(
        "encoder \"{}\": port {port}: {remedy}",
        encoder.name
    ))
}

/// Whether a device file may be read and written; it is not opened, since that alone moves DTR and RTS.
#[cfg(unix)]
fn port_problem(path: &Path) -> Option<io::Error> {
    use rustix::fs::{Access, access};

    access(path, Access::READ_OK | Access::WRITE_OK)
        .err()
        .map(io::Error::from)
}

/// Whether a port is there: the system lists it. It is not opened, and has no permissions to ask for.
#[cfg(not(unix))]
fn port_problem(path: &Path) -> Option<io::Error> {
    match PortKind::of(path) {
        PortKind::Serial if is_listed(path) => None,
        PortKind::Serial => Some(io::ErrorKind::NotFound.into()),
        PortKind::Hid => fs::metadata(path).err(),
    }
}

/// Ports that are written differently and lead to the same device.
fn shared_ports(encoders: &[EncoderSettings]) -> Vec<String> {
    let mut seen: BTreeMap<PathBuf, &EncoderSettings> = BTreeMap::new();
    let mut findings = Vec::new();
    for encoder in encoders {
        let device = resolved(&encoder.port);
        if let Some(first) = seen.get(&device) {
            findings.push(format!(
                "encoders \"{}\" and \"{}\": both ports are {}; give each encoder a port of its own",
                first.name,
                encoder.name,
                device.display()
            ));
        } else {
            seen.insert(device, encoder);
        }
    }
    findings
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::config::Layers;

    struct Bench {
        directory: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let bench = Self {
                directory: tempfile::tempdir().unwrap(),
            };
            bench.put("port", "");
            bench.put("token", "agent-token\n");
            bench
        }

        fn put(&self, name: &str, text: &str) {
            fs::write(self.directory.path().join(name), text).unwrap();
        }

        fn path(&self, name: &str) -> String {
            self.directory.path().join(name).display().to_string()
        }

        fn findings(&self, more: &str) -> Vec<String> {
            let text = format!(
                "state_dir = \"state/agent\"\n[coordinator]\nurl = \"ws://127.0.0.1:1\"\ntoken_file = \"token\"\n{more}\n\
                 [[encoder]]\nname = \"One\"\ndriver = \"pn532\"\nport = \"{}\"\n",
                self.path("port")
            );
            let layers = Layers {
                file: self.directory.path().join("agent.toml"),
                ..Layers::default()
            };
            let settings = Settings::parse(&text, &layers).unwrap();
            assert_eq!(missing(&settings), []);
            findings(&settings)
        }
    }

    #[test]
    fn a_sound_setup_has_no_findings() {
        let bench = Bench::new();
        assert_eq!(bench.findings(""), Vec::<String>::new());
        assert!(!bench.directory.path().join("state").exists());
    }

    #[test]
    fn token_files_are_read() {
        let bench = Bench::new();
        bench.put("token", " \n");
        assert_eq!(
            bench.findings(""),
            [format!(
                "token_file {}: holds no token: it is empty; put the agent's token there and nothing else",
                bench.path("token")
            )]
        );
        fs::remove_file(bench.path("token")).unwrap();
        assert_eq!(
            bench.findings(""),
            [format!(
                "token_file {}: cannot be read: No such file or directory (os error 2); put the agent's token there",
                bench.path("token")
            )]
        );
    }

    #[test]
    fn missing_certificates_are_told() {
        let bench = Bench::new();
        let findings = bench.findings("extra_ca_file = \"ca.pem\"");
        assert!(
            findings[0].starts_with(&format!("extra_ca_file {}: ", bench.path("ca.pem"))),
            "{findings:?}"
        );
    }

    #[test]
    fn ports_that_are_missing_or_shared_are_told() {
        let bench = Bench::new();
        std::os::unix::fs::symlink(bench.path("port"), bench.path("same")).unwrap();
        let encoder = |name: &str, port: &str| {
            format!(
                "[[encoder]]\nname = \"{name}\"\ndriver = \"pn532\"\nport = \"{}\"",
                bench.path(port)
            )
        };
        assert_eq!(
            bench.findings(&encoder("Two", "none")),
            [format!(
                "encoder \"Two\": port {}: no such port; plug the encoder in, or correct `port` in the configuration",
                bench.path("none")
            )]
        );
        let device = fs::canonicalize(bench.path("port")).unwrap();
        assert_eq!(
            bench.findings(&encoder("Two", "same")),
            [format!(
                "encoders \"Two\" and \"One\": both ports are {}; give each encoder a port of its own",
                device.display()
            )]
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_key_that_no_device_has_and_one_at_a_listed_port_are_told() {
        use crate::discovery::tree::{Tree, UsbStick};

        let adapter = UsbStick {
            id: "0403:6001",
            socket: "1-1",
            serial: Some("A9XK01"),
            manufacturer: None,
        };
        let bench = Bench::new();
        let tree = Tree::new();
        let more = format!(
            "[discovery]\nsys = \"{}\"\ndev = \"{}\"\n\
             [[encoder]]\nname = \"Two\"\ndriver = \"pn532\"\nkey = \"usb:0403:6001:A9XK01\"",
            tree.sys().display(),
            tree.dev().display()
        );
        assert_eq!(
            bench.findings(&more),
            [
                "encoder \"Two\": no device with the key usb:0403:6001:A9XK01 is plugged in; plug it in, or correct `key`: \
                 `encoder-agent devices` prints every device's"
            ]
        );
        let elsewhere = bench.path("token");
        tree.plug_serial("ttyUSB0", adapter, Path::new(&elsewhere));
        assert_eq!(bench.findings(&more), Vec::<String>::new());
        tree.unplug("tty", "ttyUSB0", adapter);
        let port = bench.path("port");
        tree.plug_serial("ttyUSB0", adapter, Path::new(&port));
        let findings = bench.findings(&more);
        assert!(
            findings[0].starts_with("encoders \"One\" and \"Two\": both ports are "),
            "{findings:?}"
        );
    }

    #[test]
    fn a_state_directory_that_cannot_be_written_is_told() {
        let bench = Bench::new();
        bench.put("state", "a file where a directory is wanted");
        let findings = bench.findings("");
        assert!(
            findings[0].starts_with(&format!(
                "state_dir {}: cannot be written: ",
                bench.path("state/agent")
            )),
            "{findings:?}"
        );
    }
}
