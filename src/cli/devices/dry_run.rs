//! What a driver would send to a device, found out without one: the driver is started on a port within this process, and
//! the first thing that it writes there is what it would write.

use std::{fmt::Write as _, time::Duration};

use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    drivers::{self, Driver},
    encoder::EncoderSettings,
    transport::{HidPort, Port, PortKind},
};

/// A driver that has written nothing by then listens first.
const PATIENCE: Duration = Duration::from_secs(2);

/// Room for what is shown of it.
const SHOWN_BYTES: usize = 80;

/// What would be written to the port first, in the way of each driver.
pub(super) async fn first_words(wanted: &[EncoderSettings]) -> Vec<String> {
    let mut said = Vec::new();
    for settings in wanted {
        if let Some(driver) = drivers::driver(&settings.driver) {
            said.push(first_word(driver, settings).await);
        }
    }
    said
}

async fn first_word(driver: &'static dyn Driver, settings: &EncoderSettings) -> String {
    let kind = PortKind::of(&settings.port);
    let heard = async {
        match kind {
            PortKind::Serial => serial(driver).await,
            PortKind::Hid => hid(driver, settings).await,
        }
    };
    let bytes = tokio::time::timeout(PATIENCE, heard).await;
    let mut said = match kind {
        PortKind::Serial => {
            let baud = settings.baud.unwrap_or(driver.baud());
            format!("{} at {baud} baud:", driver.name())
        }
        PortKind::Hid => format!("{} as a report:", driver.name()),
    };
    match bytes {
        Ok(bytes) if !bytes.is_empty() => {
            // What fills a report up to its length is not worth a line.
            let end = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(1, |last| last + 1);
            for byte in bytes.iter().take(end.max(2)) {
                let _ = write!(said, " {byte:02x}");
            }
        }
        Ok(_) | Err(_) => said.push_str(" nothing before the device speaks"),
    }
    said
}

async fn serial(driver: &'static dyn Driver) -> Vec<u8> {
    let (port, mut far) = Port::memory();
    let cancel = CancellationToken::new();
    let mut buffer = [0; SHOWN_BYTES];
    tokio::select! {
        _ = driver.start(port, Clock::start(), &cancel) => Vec::new(),
        read = far.read(&mut buffer) => {
            buffer.get(..read.unwrap_or_default()).unwrap_or_default().to_vec()
        }
    }
}

async fn hid(driver: &'static dyn Driver, settings: &EncoderSettings) -> Vec<u8> {
    let (port, mut peer) = HidPort::memory(&settings.port);
    let cancel = CancellationToken::new();
    tokio::select! {
        _ = driver.start(Port::Hid(port), Clock::start(), &cancel) => Vec::new(),
        sent = peer.sent() => sent.map(|report| report.bytes).unwrap_or_default(),
    }
}
