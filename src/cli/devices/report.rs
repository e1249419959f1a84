//! What is told of one device, with the command that mends it.

use std::path::Path;

use serde::Serialize;

use crate::{
    discovery::{
        Access, Candidate, Match, Verdict,
        identity::{by_place, by_serial, scope_of_listed},
    },
    drivers::EncoderError,
    encoder::{EncoderIdentity, EncoderSettings},
    platform::STOP_SERVICE,
    status::{EncoderState, EncoderStatus},
    transport::{PortError, PortKind},
};

/// Where the package puts the udev rules.
pub(in crate::cli) const PACKAGED_RULES: &str = "/usr/lib/udev/rules.d/60-encoder-agent.rules";

/// What makes changed rules count for what is plugged in already.
pub(in crate::cli) const RELOAD_RULES: &str =
    "sudo udevadm control --reload && sudo udevadm trigger";

/// How a device is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub(in crate::cli) enum State {
    /// It answers.
    #[serde(rename = "ready")]
    Ready,
    /// Another program has it.
    #[serde(rename = "in use")]
    InUse,
    /// It should work and does not.
    #[serde(rename = "fault")]
    Fault,
    /// This process may not open it.
    #[serde(rename = "not permitted")]
    NotPermitted,
    /// It may be an encoder, but must not be asked.
    #[serde(rename = "left alone")]
    LeftAlone,
    /// It was asked, and is none.
    #[serde(rename = "no answer")]
    NoAnswer,
    /// It is none.
    #[serde(rename = "no encoder")]
    NoEncoder,
    /// It would be opened, were this no dry run.
    #[serde(rename = "would be opened")]
    WouldBeOpened,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::InUse => "in use",
            Self::Fault => "fault",
            Self::NotPermitted => "not permitted",
            Self::LeftAlone => "left alone",
            Self::NoAnswer => "no answer",
            Self::NoEncoder => "no encoder",
            Self::WouldBeOpened => "would be opened",
        }
    }
}

/// What is told of one device.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Report {
    pub(in crate::cli) name: Option<String>,
    pub(in crate::cli) key: Option<String>,
    pub(in crate::cli) driver: Option<String>,
    pub(in crate::cli) port: String,
    pub(in crate::cli) state: State,
    /// Whether the configuration lists it.
    pub(in crate::cli) configured: bool,
    pub(in crate::cli) usb: Option<String>,
    pub(in crate::cli) usb_serial: Option<String>,
    pub(in crate::cli) maker: Option<String>,
    pub(in crate::cli) product: Option<String>,
    pub(in crate::cli) socket: Option<String>,
    pub(in crate::cli) why: Option<String>,
    pub(in crate::cli) model: Option<String>,
    pub(in crate::cli) serial: Option<String>,
    pub(in crate::cli) firmware: Option<String>,
    pub(in crate::cli) held_by: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::cli) would_send: Vec<String>,
    pub(in crate::cli) problem: Option<String>,
    pub(in crate::cli) fix: Option<String>,
}

/// What makes udev give HID encoders to their group: the package brings the rules, and they hold for what is plugged in later.
fn rules_fix() -> String {
    if Path::new(PACKAGED_RULES).exists() {
        RELOAD_RULES.to_owned()
    } else {
        format!("sudo cp systemd/60-encoder-agent.rules /etc/udev/rules.d/ && {RELOAD_RULES}")
    }
}

impl Report {
    fn new(port: &std::path::Path, candidate: Option<&Candidate>) -> Self {
        let usb = candidate.and_then(|candidate| candidate.usb.as_ref());
        Self {
            name: None,
            key: None,
            driver: None,
            port: port.display().to_string(),
            state: State::NoEncoder,
            configured: false,
            usb: usb.map(|usb| usb.id.to_string()),
            usb_serial: usb.and_then(|usb| usb.serial.clone()),
            maker: usb.and_then(|usb| usb.manufacturer.clone()),
            product: usb.and_then(|usb| usb.product.clone()),
            socket: candidate.and_then(|candidate| candidate.socket.clone()),
            why: None,
            model: None,
            serial: None,
            firmware: None,
            held_by: None,
            would_send: Vec::new(),
            problem: None,
            fix: None,
        }
    }

    /// An encoder that the configuration lists.
    pub(super) fn configured(settings: &EncoderSettings, candidate: Option<&Candidate>) -> Self {
        Self {
            name: Some(settings.name.clone()),
            key: Some(settings.key.0.clone()),
            driver: Some(settings.driver.clone()),
            configured: true,
            why: Some("its port is configured".to_owned()),
            ..Self::new(&settings.port, candidate)
        }
    }

    /// An encoder that the configuration lists by a key which no device has.
    pub(super) fn missing(listed: &EncoderSettings) -> Self {
        let mut report = Self {
            problem: Some("no device with this key is plugged in".to_owned()),
            fix: Some("plug it in, or correct `key`: every device is told with its own".to_owned()),
            state: State::Fault,
            ..Self::new(&listed.port, None)
        };
        report.list(listed);
        report
    }

    /// The configuration lists it by its key.
    pub(super) fn list(&mut self, listed: &EncoderSettings) {
        self.name = Some(listed.name.clone());
        self.key = Some(listed.key.0.clone());
        self.driver = Some(listed.driver.clone());
        self.configured = true;
        self.why = Some("its key is configured".to_owned());
    }

    /// A device that is attached, and what is known of it without opening it.
    pub(super) fn found(candidate: &Candidate, matched: &Match) -> Self {
        let drivers = match &matched.verdict {
            Verdict::Exact(driver) => Some(driver.name().to_owned()),
            Verdict::Possible(drivers) => {
                let names: Vec<_> = drivers.iter().map(|driver| driver.name()).collect();
                Some(format!("{}?", names.join(" or ")))
            }
            Verdict::Foreign => None,
        };
        let recognition = by_serial(candidate).unwrap_or_else(|| by_place(candidate));
        Self {
            key: drivers.as_ref().map(|_| recognition.key.0),
            driver: drivers,
            why: Some(matched.why.clone()),
            ..Self::new(&candidate.port, Some(candidate))
        }
    }

    /// The agent does not ask it, and how that is changed.
    pub(super) fn leave_alone(&mut self, candidate: &Candidate) {
        self.state = State::LeftAlone;
        let key = self.key.as_ref();
        let by_key = key.filter(|key| scope_of_listed(key).is_some());
        let by = match by_key {
            Some(key) => format!("key = \"{key}\""),
            None => format!("port = \"{}\"", candidate.port.display()),
        };
        self.fix = Some(format!(
            "list it as an [[encoder]] with {by}, or set probe = true under [discovery]"
        ));
    }

    /// This process may not open it.
    pub(super) fn not_permitted(&mut self, candidate: &Candidate, is_exact: bool) {
        self.state = State::NotPermitted;
        let Access::NotPermitted { group } = &candidate.access else {
            self.state = State::Fault;
            self.problem = Some(format!("{} is not there yet", self.port));
            return;
        };
        self.fix = Some(match group {
            Some(group) => format!("sudo usermod -aG {group} \"$USER\", then log in again"),
            None if candidate.kind == PortKind::Hid => rules_fix(),
            None => format!("sudo chgrp dialout {0} && sudo chmod g+rw {0}", self.port),
        });
        if is_exact {
            self.problem = Some(format!("no permission to open {}", self.port));
        }
    }

    /// It was asked in a driver's way, and is nothing of the kind.
    pub(super) fn no_answer(
        &mut self,
        driver: &str,
        answer: &Result<EncoderIdentity, EncoderError>,
    ) {
        self.state = State::NoAnswer;
        if let Err(error) = answer {
            let why = self.why.take().unwrap_or_default();
            self.why = Some(format!("{why}; {driver}: {error}"));
        }
    }

    /// The running agent has it, and knows this of it.
    pub(super) fn take_agents(&mut self, encoder: &EncoderStatus) {
        self.name = Some(encoder.name.clone());
        self.key = Some(encoder.key.0.clone());
        self.driver = Some(encoder.driver.clone());
        self.model.clone_from(&encoder.model);
        self.serial.clone_from(&encoder.serial);
        self.firmware.clone_from(&encoder.firmware);
        self.held_by = Some("the running encoder-agent".to_owned());
        self.problem.clone_from(&encoder.problem);
        self.state = match encoder.state {
            EncoderState::Ready | EncoderState::Busy | EncoderState::Lent => State::Ready,
            EncoderState::Starting | EncoderState::Fault | EncoderState::Absent => State::Fault,
        };
        if self.state == State::Fault && self.problem.is_none() {
            self.problem = Some("the agent is opening it: ask again".to_owned());
        }
    }

    /// It was opened, and this came of it.
    pub(super) fn take_answer(&mut self, answer: &Result<EncoderIdentity, EncoderError>) {
        let error = match answer {
            Ok(identity) => {
                self.state = State::Ready;
                self.model.clone_from(&identity.model);
                self.serial.clone_from(&identity.serial);
                self.firmware.clone_from(&identity.firmware);
                return;
            }
            Err(error) => error,
        };
        self.problem = Some(error.to_string());
        self.state = State::Fault;
        if let EncoderError::Port(PortError::Busy { holder, .. }) = error {
            self.state = State::InUse;
            self.held_by.clone_from(holder);
            self.fix = Some(release(holder.as_deref()));
        }
        if let EncoderError::Port(PortError::NotPermitted { group, .. }) = error {
            self.state = State::NotPermitted;
            let group = group.as_deref().unwrap_or("dialout");
            self.fix = Some(format!(
                "sudo usermod -aG {group} \"$USER\", then log in again"
            ));
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let title = self.name.as_ref().unwrap_or(&self.port);
        let mut lines = vec![title.clone()];
        let facts = [
            ("state", Some(self.state.as_str())),
            ("driver", self.driver.as_deref()),
            (
                "port",
                self.name
                    .as_ref()
                    .map(|_| self.port.as_str())
                    .filter(|port| !port.is_empty()),
            ),
            ("key", self.key.as_deref()),
            ("usb", self.usb.as_deref()),
            ("usb serial", self.usb_serial.as_deref()),
            ("maker", self.maker.as_deref()),
            ("product", self.product.as_deref()),
            ("socket", self.socket.as_deref()),
            ("why", self.why.as_deref()),
            ("model", self.model.as_deref()),
            ("serial", self.serial.as_deref()),
            ("firmware", self.firmware.as_deref()),
            ("held by", self.held_by.as_deref()),
            ("problem", self.problem.as_deref()),
            ("fix", self.fix.as_deref()),
        ];
        for (fact, value) in facts {
            lines.extend(value.map(|value| format!("  {fact:<10} {value}")));
        }
        let sent = self.would_send.iter();
        lines.extend(sent.map(|words| format!("  {:<10} {words}", "would send")));
        lines
    }
}

/// What makes another program let go of a port.
pub(in crate::cli) fn release(holder: Option<&str>) -> String {
    match holder {
        Some(holder) if holder.starts_with("ModemManager") => {
            "sudo systemctl disable --now ModemManager".to_owned()
        }
        Some(holder) if holder.starts_with("brltty") => {
            "sudo systemctl mask --now brltty-udev.service brltty.service".to_owned()
        }
        Some(holder) if holder.starts_with("encoder-agent") => {
            format!("nothing: the agent runs and has it; {STOP_SERVICE} to try it here")
        }
        Some(holder) => format!("stop {holder}"),
        None if cfg!(windows) => "close the program that has it".to_owned(),
        None => "sudo fuser -v on the port names the program that has it".to_owned(),
    }
}
