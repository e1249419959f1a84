//! What a case is: who is killed where, what the disk loses, and what lies on the encoder afterwards.

use std::{fmt, str::FromStr};

use super::HarnessError;

/// One case of the matrix.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Case {
    pub(super) at: KillAt,
    pub(super) disk: Disk,
    pub(super) then: Then,
}

/// Where the kill falls. Steps and bytes count from 1, from the moment at which the encode is asked for (those of
/// [`KillAt::Boot`] from the agent's start).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum KillAt {
    /// The agent, at a step of its journal, while it starts for the first time.
    Boot(Step),
    /// The agent, at a step of its journal.
    Journal(Step),
    /// The agent, when so many bytes have reached the device. The others that it had written are lost.
    ToDevice(u32),
    /// The agent, when it has taken so many bytes from the device.
    ToAgent(u32),
    /// The coordinator, at a step of its store.
    Store(Step),
}

/// A write, a truncation or a flush of a file of the database.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Step {
    pub(super) number: u32,
    /// After it, not before it.
    pub(super) after: bool,
}

/// What becomes of the bytes that the killed process had written and not flushed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Disk {
    /// All are there: only the process died.
    Kept,
    /// The power was cut, all are lost. The encoder, fed by the same PC, starts anew where the agent was killed.
    Cut,
    /// The power was cut: the first half of the writes is there, the next one up to the middle.
    Torn,
    /// The power was cut: every second write is there.
    Scattered,
}

/// What lies on the encoder afterwards.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Then {
    /// The card that lay there.
    Same,
    /// Another card.
    Other,
    /// No card.
    None,
}

impl KillAt {
    /// Whose process it is.
    pub(super) const fn is_coordinator(self) -> bool {
        matches!(self, Self::Store(_))
    }

    /// The step of the killed process's database, where the kill is one of those.
    pub(super) const fn step(self) -> Option<Step> {
        match self {
            Self::Boot(step) | Self::Journal(step) | Self::Store(step) => Some(step),
            Self::ToDevice(_) | Self::ToAgent(_) => None,
        }
    }
}

impl Disk {
    pub(super) const ALL: [Self; 4] = [Self::Kept, Self::Cut, Self::Torn, Self::Scattered];

    const fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Cut => "cut",
            Self::Torn => "torn",
            Self::Scattered => "scattered",
        }
    }
}

impl Then {
    pub(super) const ALL: [Self; 3] = [Self::Same, Self::Other, Self::None];

    const fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Other => "other",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            KillAt::Boot(step) => write!(f, "boot-{step}")?,
            KillAt::Journal(step) => write!(f, "journal-{step}")?,
            KillAt::Store(step) => write!(f, "store-{step}")?,
            KillAt::ToDevice(byte) => write!(f, "to-device-{byte:04}")?,
            KillAt::ToAgent(byte) => write!(f, "to-agent-{byte:04}")?,
        }
        write!(f, ".{}.{}", self.disk.name(), self.then.name())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.after { "after" } else { "before" };
        write!(f, "{:02}-{side}", self.number)
    }
}

impl FromStr for Case {
    type Err = HarnessError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        parse(name).ok_or_else(|| HarnessError::UnknownCase(name.to_owned()))
    }
}

fn parse(name: &str) -> Option<Case> {
    let mut parts = name.split('.');
    let at = kill_at(parts.next()?)?;
    let disk = parts.next()?;
    let then = parts.next()?;
    Some(Case {
        at,
        disk: Disk::ALL.into_iter().find(|known| known.name() == disk)?,
        then: Then::ALL.into_iter().find(|known| known.name() == then)?,
    })
    .filter(|_| parts.next().is_none())
}

fn kill_at(text: &str) -> Option<KillAt> {
    if let Some(byte) = text.strip_prefix("to-device-") {
        return byte.parse().ok().map(KillAt::ToDevice);
    }
    if let Some(byte) = text.strip_prefix("to-agent-") {
        return byte.parse().ok().map(KillAt::ToAgent);
    }
    let (kind, rest) = text.split_once('-')?;
    let (number, side) = rest.split_once('-')?;
    let after = match side {
        "before" => false,
        "after" => true,
        _ => return None,
    };
    let number = number.parse().ok()?;
    let step = Step { number, after };
    match kind {
        "boot" => Some(KillAt::Boot(step)),
        "journal" => Some(KillAt::Journal(step)),
        "store" => Some(KillAt::Store(step)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_found_again_by_its_name() {
        for (number, at) in [
            (KillAt::Boot as fn(Step) -> KillAt, 3),
            (KillAt::Journal, 17),
            (KillAt::Store, 101),
        ]
        .into_iter()
        .map(|(kind, number)| (number, kind))
        {
            for after in [false, true] {
                for disk in Disk::ALL {
                    let at = at(Step { number, after });
                    let then = Then::Other;
                    let case = Case { at, disk, then };
                    assert_eq!(case.to_string().parse::<Case>().unwrap(), case);
                }
            }
        }
        for at in [KillAt::ToDevice(7), KillAt::ToAgent(1234)] {
            for then in Then::ALL {
                let disk = Disk::Cut;
                let case = Case { at, disk, then };
                assert_eq!(case.to_string().parse::<Case>().unwrap(), case);
            }
        }
        for name in [
            "",
            "boot-1",
            "boot-1-before.kept.same.x",
            "x-1-after.cut.none",
        ] {
            assert!(name.parse::<Case>().is_err(), "{name}");
        }
    }
}
