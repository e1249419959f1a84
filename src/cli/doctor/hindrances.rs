//! What this system does to an encoder's device besides letting it be opened: programs that ask it or take it, and settings
//! that make it slow or let it sleep. As the kernel and udev tell; nothing is opened.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    System,
    finding::{Finding, State},
};
use crate::{
    cli::{
        devices::{PACKAGED_RULES, RELOAD_RULES, release},
        found::allowed,
    },
    config::Settings,
    discovery::{Around, Candidate, Match, TakenDevice},
    drivers::{DRIVERS, UsbId},
    transport::{PortKind, holder, same_node},
};

const PART: &str = "device";

/// How long a chip may keep what came before it hands it on; FTDI's keep it for 16 ms unless told otherwise.
const LONGEST_LATENCY_MS: u32 = 2;

/// What the rules of udev say to ModemManager of a port that it must leave alone (its `ModemManager-udev-tags`).
const LEFT_ALONE: [&str; 4] = [
    "ID_MM_DEVICE_IGNORE=1",
    "ID_MM_PORT_IGNORE=1",
    "ID_MM_TTY_MANUAL_SCAN_ONLY=1",
    "ID_MM_DEVICE_MANUAL_SCAN_ONLY=1",
];

/// Everything that is in the way of the encoders that this agent uses, or would use.
pub(super) fn of(settings: &Settings, system: &System) -> Vec<Finding> {
    let sysfs = &settings.discovery.sysfs;
    let mut findings: Vec<_> = sysfs
        .taken()
        .iter()
        .filter_map(|taken| of_taken(taken, settings, system))
        .collect();
    let candidates = sysfs.list().unwrap_or_default();
    let modem_manager = system.runs("ModemManager");
    for candidate in candidates.iter().filter(|other| is_used(other, settings)) {
        let Some(around) = sysfs.around(candidate) else {
            continue;
        };
        let port = candidate.port.display().to_string();
        if modem_manager && candidate.kind == PortKind::Serial {
            findings.extend(of_modem_manager(&port, &around, system));
        }
        findings.extend(of_latency(&port, &around));
        findings.extend(of_sleep(&port, &around));
    }
    findings
}

/// Whether it is an encoder, as far as that can be told without opening it. One that is left alone is none of ours.
fn is_used(candidate: &Candidate, settings: &Settings) -> bool {
    let mut configured = settings.encoders.iter();
    configured.any(|encoder| same_node(&encoder.port, &candidate.port))
        || settings.discovery.enabled
            && !allowed(candidate, &Match::of(candidate), settings).is_empty()
}

/// A device whose port is gone, since a program or the kernel has taken the device itself.
fn of_taken(taken: &TakenDevice, settings: &Settings, system: &System) -> Option<Finding> {
    let TakenDevice {
        id, name, driver, ..
    } = taken;
    if driver.starts_with("pn533") {
        let what = format!(
            "the kernel's NFC driver {driver} has the reader {id} at usb {name}: no other program can use it meanwhile"
        );
        let fix = format!(
            "echo 'blacklist {driver}' | sudo tee -a /etc/modprobe.d/encoder-agent.conf && sudo modprobe -r {driver}"
        );
        return Some(Finding::new(PART, State::Warning, what).fixed_by(Some(fix)));
    }
    let mut claims = DRIVERS.iter().flat_map(|driver| driver.claims());
    if driver != "usbfs" || !claims.any(|claim| claim.usb == *id) {
        return None;
    }
    let node = settings.discovery.sysfs.dev.join(&taken.node);
    let who = match system.runs("brltty") {
        true => Some("brltty".to_owned()),
        false => holder(&node),
    };
    let what = format!(
        "{} has taken the chip {id} at usb {name} for itself, and with it the serial port",
        who.as_deref().unwrap_or("another program")
    );
    let fix = format!("{}, then plug it in again", release(who.as_deref()));
    Some(Finding::new(PART, State::Broken, what).fixed_by(Some(fix)))
}

/// ModemManager asks a new port for a modem, for seconds, with bytes that upset an encoder.
fn of_modem_manager(port: &str, around: &Around, system: &System) -> Option<Finding> {
    let numbers = around.numbers.iter();
    let is_left_alone = numbers.map(|number| system.udev.join(format!("c{number}")));
    let is_left_alone = is_left_alone.filter_map(|file| fs::read_to_string(file).ok());
    let is_left_alone = is_left_alone.into_iter().any(|told| {
        let mut lines = told.lines().filter_map(|line| line.strip_prefix("E:"));
        lines.any(|property| LEFT_ALONE.contains(&property))
    });
    if is_left_alone {
        return None;
    }
    let UsbId { vendor, product } = around.id;
    let what = format!(
        "ModemManager runs, and no rule of udev keeps it off {port}: it may ask the encoder for a modem"
    );
    let rule = format!(
        "echo 'ATTRS{{idVendor}}==\"{vendor:04x}\", ATTRS{{idProduct}}==\"{product:04x}\", ENV{{ID_MM_DEVICE_IGNORE}}=\"1\"' \
         | sudo tee -a /etc/udev/rules.d/61-encoder-modem.rules && {RELOAD_RULES}"
    );
    let fix = packaged(around.id, "ID_MM_DEVICE_IGNORE").unwrap_or(rule);
    Some(Finding::new(PART, State::Warning, what).fixed_by(Some(fix)))
}

fn of_latency(port: &str, around: &Around) -> Option<Finding> {
    let (file, latency) = around.latency_timer.as_ref()?;
    if *latency <= LONGEST_LATENCY_MS {
        return None;
    }
    let what = format!(
        "the chip at {port} keeps what the encoder says for {latency} ms: a card takes several times as long"
    );
    let fix = packaged(around.id, "latency_timer").unwrap_or_else(|| set(1, file));
    Some(Finding::new(PART, State::Warning, what).fixed_by(Some(fix)))
}

/// A device that sleeps may miss the first command, or come back as another.
fn of_sleep(port: &str, around: &Around) -> Option<Finding> {
    let (file, control) = around.power_control.as_ref()?;
    if control != "auto" {
        return None;
    }
    let what =
        format!("the system lets the device at {port} fall asleep while nothing is asked of it");
    let fix = packaged(around.id, "power/control").unwrap_or_else(|| set("on", file));
    Some(Finding::new(PART, State::Warning, what).fixed_by(Some(fix)))
}

/// Sets an attribute until the device is unplugged.
fn set(value: impl std::fmt::Display, file: &Path) -> String {
    format!("echo {value} | sudo tee {}", file.display())
}

/// What makes the packaged rules count for a device that they name with this word.
fn packaged(id: UsbId, word: &str) -> Option<String> {
    let rules = fs::read_to_string(PACKAGED_RULES).ok()?;
    let (vendor, product) = (
        format!("\"{:04x}\"", id.vendor),
        format!("\"{:04x}\"", id.product),
    );
    let mut lines = rules.lines();
    let is_named = lines.any(|line| {
        [vendor.as_str(), &product, word]
            .iter()
            .all(|text| line.contains(text))
    });
    is_named.then(|| RELOAD_RULES.to_owned())
}

impl System {
    /// Whether a program of that name runs (`comm` of proc(5)).
    fn runs(&self, name: &str) -> bool {
        let processes = fs::read_dir(&self.processes);
        let processes = processes.into_iter().flatten().flatten();
        let comms: Vec<PathBuf> = processes
            .map(|process| process.path().join("comm"))
            .collect();
        comms
            .iter()
            .filter_map(|comm| fs::read_to_string(comm).ok())
            .any(|comm| comm.trim_end() == name)
    }
}
