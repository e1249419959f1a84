//! Which driver drives a device, and how sure that is: by what the system tells, without a byte to the device.

use std::fmt::Write as _;

use super::candidate::{Candidate, UsbFacts};
use crate::{
    drivers::{Claim, DRIVERS, Driver, HidSign, Sign},
    transport::PortKind,
};

/// What is known of a device before it is opened.
#[derive(Clone)]
pub struct Match {
    /// Whose it is.
    pub verdict: Verdict,
    /// Why, in words.
    pub why: String,
}

/// Whose a device is.
#[derive(Clone)]
pub enum Verdict {
    /// Surely of this driver's family.
    Exact(&'static dyn Driver),
    /// Perhaps of these drivers' families, in the order in which to ask: only asking tells.
    Possible(Vec<&'static dyn Driver>),
    /// No driver's.
    Foreign,
}

/// What a claim says of a device with its id.
enum Finding {
    Certain(String),
    Open(String),
    No(String),
}

impl Match {
    /// Looks the device up in every driver's claims.
    pub fn of(candidate: &Candidate) -> Self {
        Self::among(DRIVERS, candidate)
    }

    /// Looks the device up in the claims of `drivers`.
    pub fn among(drivers: &[&'static dyn Driver], candidate: &Candidate) -> Self {
        let Some(usb) = &candidate.usb else {
            return Self::foreign("no USB device: only a configured `port` makes it an encoder");
        };
        let mut possible = Vec::new();
        let mut why = String::new();
        for driver in drivers {
            let claims = driver.claims().iter().filter(|claim| claim.usb == usb.id);
            for claim in claims {
                match judge(claim, usb, candidate) {
                    Finding::Certain(reason) => {
                        return Self {
                            verdict: Verdict::Exact(*driver),
                            why: reason,
                        };
                    }
                    Finding::Open(reason) => {
                        possible.push(*driver);
                        why = reason;
                    }
                    Finding::No(reason) => why = reason,
                }
            }
        }
        if !possible.is_empty() {
            return Self {
                verdict: Verdict::Possible(possible),
                why,
            };
        }
        if why.is_empty() {
            let _ = write!(why, "no driver knows USB devices {}", usb.id);
        }
        Self::foreign(&why)
    }

    fn foreign(why: &str) -> Self {
        Self {
            verdict: Verdict::Foreign,
            why: why.to_owned(),
        }
    }
}

fn judge(claim: &Claim, usb: &UsbFacts, candidate: &Candidate) -> Finding {
    match (claim.sign, candidate.kind) {
        (Sign::Bridge(chip), PortKind::Serial) => Finding::Open(format!(
            "{} is a {chip}, which many other devices carry too",
            usb.id
        )),
        (Sign::Id, PortKind::Serial) => {
            Finding::Certain(format!("{} is this family's own", usb.id))
        }
        (Sign::Hid(sign), PortKind::Hid) => judge_hid(sign, usb, candidate),
        (Sign::Bridge(_) | Sign::Id, PortKind::Hid) | (Sign::Hid(_), PortKind::Serial) => {
            Finding::No(format!("{} is known on another kind of port only", usb.id))
        }
    }
}

fn judge_hid(sign: HidSign, usb: &UsbFacts, candidate: &Candidate) -> Finding {
    let texts = [&usb.manufacturer, &usb.product];
    let stranger = texts.into_iter().flatten().find(|text| {
        let text = text.to_lowercase();
        sign.strangers
            .iter()
            .any(|stranger| text.contains(stranger))
    });
    if let Some(text) = stranger {
        return Finding::No(format!(
            "{} calls itself \"{text}\", another maker's device",
            usb.id
        ));
    }
    let Some(reports) = candidate.reports else {
        return Finding::Open(format!(
            "{} is shared by several makers, and its reports are not known",
            usb.id
        ));
    };
    let length = sign.report_bytes;
    let fits_in = reports.is_vendor_defined() && !reports.numbered && reports.input_bytes == length;
    let fits_out = reports.feature_bytes == length || reports.output_bytes == length;
    let described = format!(
        "{} has reports of {} bytes in, {} out and {} feature, usage page {:04x}",
        usb.id,
        reports.input_bytes,
        reports.output_bytes,
        reports.feature_bytes,
        reports.usage_page
    );
    match (fits_in, fits_out) {
        (true, true) => Finding::Certain(described),
        (true, false) => Finding::Open(format!("{described}: not enough to tell")),
        (false, _) => Finding::No(format!("{described}: another device with this id")),
    }
}

#[cfg(test)]
mod tests;
