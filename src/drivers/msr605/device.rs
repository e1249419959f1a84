//! The encoder behind its port: commands and answers over the link, and what makes it certain that it is one.

use std::time::Duration;

use encoder_protocols::{
    card::{
        CardError, CardLinkError,
        magstripe::{Coercivity, Density, Track},
    },
    link::Link,
    msr605::{
        command::{LeadingZeros, Leds, Model, Reply, Request},
        link::{Counters, LinkError, LinkTiming, Msr605Link, ReplyError},
        status::Status,
        track::BitsPerCharacter,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    drivers::EncoderError,
    transport::{Control, ExchangeError, Port, PortError, PortKind, ReportKind, Stop, exchange},
};

/// The device's name, for messages.
pub(super) const DEVICE: &str = "MSR encoder";

/// How often the device is asked for a sign before it counts as absent: what was under way on the line before may spoil the first.
const TRIES: u8 = 2;

/// Longer than anybody waits for a swipe: the end of a wait is its caller's affair.
const NO_DEADLINE: Duration = Duration::from_secs(7 * 86_400);

/// What a track must be set to before it is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Setting {
    pub(super) coercivity: Coercivity,
    pub(super) densities: [Density; 3],
    pub(super) bits: [BitsPerCharacter; 3],
}

/// What the device says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct About {
    pub(super) model: Model,
    pub(super) firmware: Option<String>,
}

/// The encoder on its port.
pub(super) struct Device {
    pub(super) port: Port,
    link: Msr605Link,
    clock: Clock,
    /// On which road reports go, where they do.
    road: ReportKind,
    /// False from the moment on at which it failed to answer, until it was brought up anew.
    pub(super) is_up: bool,
}

/// Why the device did not do as asked.
#[derive(Debug)]
pub(super) enum DeviceError {
    Port(PortError),
    Silent(Duration),
    Garbled(LinkError),
    /// It answered with an error.
    Refused(Status),
    Cancelled,
}

impl Device {
    /// A device that was not spoken to yet.
    pub(super) fn new(port: Port, clock: Clock) -> Self {
        let timing = LinkTiming::default();
        let link = match port.kind() {
            PortKind::Hid => Msr605Link::reports(timing),
            PortKind::Serial => Msr605Link::serial(timing),
        };
        Self {
            port,
            link,
            clock,
            road: ReportKind::Feature,
            is_up: false,
        }
    }

    /// Sends one command and waits for its answer, or for a swipe until `cancel`.
    pub(super) async fn ask(
        &mut self,
        request: Request,
        cancel: &CancellationToken,
    ) -> Result<Reply, DeviceError> {
        let longest = self.link.longest(&request);
        let wait = if request.awaits_swipe() {
            NO_DEADLINE
        } else {
            longest
        };
        let stop = Stop {
            deadline: self.clock.now() + wait,
            cancel,
        };
        let error = match exchange(&mut self.port, &mut self.link, self.clock, request, stop).await
        {
            Ok(reply) => return Ok(reply),
            Err(ExchangeError::Cancelled) => return Err(DeviceError::Cancelled),
            Err(ExchangeError::Link(LinkError::Reply(ReplyError::Refused { status, .. }))) => {
                return Err(DeviceError::Refused(status));
            }
            Err(ExchangeError::Port(error)) => DeviceError::Port(error),
            Err(ExchangeError::DeadlinePassed) => DeviceError::Silent(wait),
            Err(ExchangeError::Link(LinkError::Silent { waited, .. })) => {
                DeviceError::Silent(waited)
            }
            Err(ExchangeError::Link(error)) => DeviceError::Garbled(error),
        };
        self.is_up = false;
        Err(error)
    }

    /// Resets the device, makes sure that it is one of the family, and asks what it is.
    pub(super) async fn bring_up(
        &mut self,
        cancel: &CancellationToken,
    ) -> Result<About, EncoderError> {
        self.find(cancel).await?;
        let Reply::Model(model) = self.ask(Request::Model, cancel).await? else {
            return Err(unexpected().into());
        };
        // Some units say nothing of their firmware.
        let firmware = match self.ask(Request::Firmware, cancel).await {
            Ok(Reply::Firmware(firmware)) => Some(firmware),
            Ok(_) => return Err(unexpected().into()),
            Err(DeviceError::Silent(_) | DeviceError::Refused(_) | DeviceError::Garbled(_)) => None,
            Err(error @ (DeviceError::Port(_) | DeviceError::Cancelled)) => {
                return Err(error.into());
            }
        };
        self.is_up = true;
        Ok(About { model, firmware })
    }

    async fn find(&mut self, cancel: &CancellationToken) -> Result<(), EncoderError> {
        let mut tries = 0;
        let before = self.link.counters();
        loop {
            tries += 1;
            self.link.reset();
            self.choose_road(tries).map_err(DeviceError::Port)?;
            let error = match self.sign(cancel).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match error {
                // A report on the wrong road is refused like this, too.
                DeviceError::Port(PortError::Io { .. })
                    if self.port.kind() == PortKind::Hid && tries < TRIES => {}
                DeviceError::Port(_) | DeviceError::Cancelled => return Err(error.into()),
                DeviceError::Silent(_) | DeviceError::Garbled(_) | DeviceError::Refused(_) => {
                    if tries == TRIES {
                        return Err(self.absent(error, before));
                    }
                }
            }
        }
    }

    /// Takes the road on which reports reached the device last, then the other one. Three of the drivers of others send feature
    /// reports, one output reports.
    fn choose_road(&mut self, tries: u8) -> Result<(), PortError> {
        if self.port.kind() != PortKind::Hid {
            return Ok(());
        }
        if tries > 1 {
            self.road = match self.road {
                ReportKind::Feature => ReportKind::Output,
                ReportKind::Output => ReportKind::Feature,
            };
        }
        self.port.control(Control::SendAs(self.road))
    }

    async fn sign(&mut self, cancel: &CancellationToken) -> Result<(), DeviceError> {
        self.ask(Request::Reset, cancel).await?;
        self.ask(Request::CommunicationTest, cancel).await?;
        Ok(())
    }

    /// Why no device was found, judged by what else was heard since `before`.
    fn absent(&self, error: DeviceError, before: Counters) -> EncoderError {
        let now = self.link.counters();
        let noise = now.noise_bytes - before.noise_bytes;
        let reports = now.bad_reports - before.bad_reports;
        if noise + reports > 0 {
            return EncoderError::WrongDevice {
                expected: DEVICE,
                got: format!("{noise} bytes and {reports} reports that answer nothing"),
            };
        }
        error.into()
    }

    /// Sets everything that a reset or a power cut would have changed.
    pub(super) async fn set_up(
        &mut self,
        setting: &Setting,
        cancel: &CancellationToken,
    ) -> Result<(), DeviceError> {
        self.demand(Request::SetCoercivity(setting.coercivity), cancel)
            .await?;
        for (track, density) in Track::ALL.into_iter().zip(setting.densities) {
            self.demand(Request::SetDensity(track, density), cancel)
                .await?;
        }
        let zeros = Request::SetLeadingZeros(leading_zeros(&setting.densities));
        self.demand(zeros, cancel).await?;
        self.set_bits(setting.bits, cancel).await
    }

    pub(super) async fn set_bits(
        &mut self,
        bits: [BitsPerCharacter; 3],
        cancel: &CancellationToken,
    ) -> Result<(), DeviceError> {
        self.demand(Request::SetBitsPerCharacter(bits), cancel)
            .await
    }

    /// Sends a command that must be answered by *done*.
    pub(super) async fn demand(
        &mut self,
        request: Request,
        cancel: &CancellationToken,
    ) -> Result<(), DeviceError> {
        match self.ask(request, cancel).await? {
            Reply::Done | Reply::Status(Status::Ok) => Ok(()),
            Reply::Status(status) => Err(DeviceError::Refused(status)),
            Reply::LeadingZeros(_)
            | Reply::Coercivity(_)
            | Reply::Model(_)
            | Reply::Firmware(_)
            | Reply::Iso(_)
            | Reply::Raw(_) => Err(unexpected()),
        }
    }

    /// After a wait for a swipe was cut short by a reset: whether the device surely took no card. It did not where nothing came from it
    /// since `before`, and it answers well.
    pub(super) async fn took_no_card_since(&mut self, before: Counters) -> bool {
        let never = CancellationToken::new();
        let answers = self
            .demand(Request::CommunicationTest, &never)
            .await
            .is_ok();
        let now = self.link.counters();
        let heard = (now.noise_bytes, now.bad_reports) != (before.noise_bytes, before.bad_reports);
        answers && !heard
    }

    pub(super) fn counters(&self) -> Counters {
        self.link.counters()
    }

    pub(super) async fn show(&mut self, leds: Leds) -> Result<(), DeviceError> {
        let never = CancellationToken::new();
        self.demand(Request::Leds(leds), &never).await
    }
}

/// Zeros before a track's first character: as many as ISO/IEC 7811 wants at its own density. At 75 bits per inch 61 of them would take a quarter
/// of the stripe.
fn leading_zeros(densities: &[Density; 3]) -> LeadingZeros {
    let ordinary = LeadingZeros::default();
    let few = ordinary.track_2;
    let [one, _, three] = densities;
    LeadingZeros {
        tracks_1_and_3: if [one, three].contains(&&Density::Bpi75) {
            few
        } else {
            ordinary.tracks_1_and_3
        },
        track_2: few,
    }
}

impl DeviceError {
    /// The error of a procedure on a card in which this happened.
    pub(super) fn on_card(self) -> CardError {
        let source = match self {
            Self::Port(error) => CardLinkError::PortGone(error.to_string()),
            Self::Silent(waited) => CardLinkError::Silent(milliseconds(waited)),
            Self::Garbled(error) => CardLinkError::Faulty(error.fault()),
            Self::Refused(status) => refused(status),
            Self::Cancelled => CardLinkError::Cancelled,
        };
        CardError::Link { at: None, source }
    }
}

/// What a status says of the swipe or of the device.
pub(super) fn refused(status: Status) -> CardLinkError {
    match status {
        Status::ReadWrite | Status::Swipe | Status::Failed => {
            CardLinkError::BadSwipe(status.fault())
        }
        Status::Ok | Status::Format | Status::InvalidCommand | Status::Unlisted(_) => {
            CardLinkError::Faulty(status.fault())
        }
    }
}

impl From<DeviceError> for EncoderError {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Port(error) => Self::Port(error),
            DeviceError::Silent(waited) => Self::Silent {
                device: DEVICE,
                waited_ms: milliseconds(waited),
            },
            DeviceError::Garbled(error) => Self::Garbled {
                device: DEVICE,
                fault: error.fault(),
            },
            DeviceError::Refused(status) => Self::Faulty(status.fault()),
            DeviceError::Cancelled => Self::Cancelled,
        }
    }
}

/// The link answers each request with its own reply, so this is not met.
pub(super) fn unexpected() -> DeviceError {
    DeviceError::Garbled(LinkError::Endless { command: "last" })
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
