use std::path::PathBuf;

use encoder_protocols::hid::ReportLayout;

use super::*;
use crate::{
    clock::Clock,
    discovery::candidate::Access,
    drivers::{CommandCost, Encoder, EncoderError, Probing, UsbId},
    transport::Port,
};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

const SHARED: UsbId = UsbId {
    vendor: 0x0801,
    product: 3,
};

/// A family whose HID devices share their id with another maker's.
struct Swiper;

const CLAIMS: &[Claim] = &[Claim {
    usb: SHARED,
    sign: Sign::Hid(HidSign {
        report_bytes: 64,
        strangers: &["mag-tek", "magtek"],
    }),
}];

impl Driver for Swiper {
    fn name(&self) -> &'static str {
        "swiper"
    }

    fn claims(&self) -> &'static [Claim] {
        CLAIMS
    }

    fn probing(&self) -> Probing {
        Probing::Intrusive
    }

    fn baud(&self) -> u32 {
        9_600
    }

    fn command_cost(&self) -> CommandCost {
        CommandCost {
            framing: 0,
            pause: std::time::Duration::ZERO,
        }
    }

    fn start<'a>(
        &'a self,
        _port: Port,
        _clock: Clock,
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Box<dyn Encoder>, EncoderError>> {
        Box::pin(std::future::ready(Err(EncoderError::Cancelled)))
    }
}

fn hid(reports: Option<ReportLayout>, manufacturer: Option<&str>) -> Candidate {
    Candidate {
        port: PathBuf::from("/dev/hidraw0"),
        kind: PortKind::Hid,
        usb: Some(UsbFacts {
            id: SHARED,
            serial: None,
            manufacturer: manufacturer.map(str::to_owned),
            product: None,
            interface: 0,
        }),
        reports,
        socket: None,
        instance: String::new(),
        access: Access::Permitted,
    }
}

fn layout(input_bytes: u32, feature_bytes: u32) -> ReportLayout {
    ReportLayout {
        usage_page: 0xFF00,
        usage: 1,
        numbered: false,
        input_bytes,
        output_bytes: 0,
        feature_bytes,
    }
}

fn verdict(candidate: &Candidate) -> Verdict {
    Match::among(&[&Swiper], candidate).verdict
}

#[test]
fn a_shared_hid_id_is_told_by_reports_and_texts() {
    let exact = verdict(&hid(Some(layout(64, 64)), None));
    assert!(matches!(exact, Verdict::Exact(driver) if driver.name() == "swiper"));
    // A MagTek swipe reader: 337 bytes in, 24 feature.
    let reader = verdict(&hid(Some(layout(337, 24)), None));
    assert!(matches!(reader, Verdict::Foreign));
    let stranger = hid(Some(layout(64, 64)), Some("Mag-Tek Inc."));
    assert!(matches!(verdict(&stranger), Verdict::Foreign));
    assert!(
        Match::among(&[&Swiper], &stranger)
            .why
            .contains("Mag-Tek Inc.")
    );
}

#[test]
fn what_stays_open_is_only_possible() {
    for reports in [None, Some(layout(64, 8))] {
        let open = verdict(&hid(reports, None));
        assert!(matches!(open, Verdict::Possible(drivers) if drivers.len() == 1));
    }
    let mouse = ReportLayout {
        usage_page: 1,
        ..layout(64, 64)
    };
    assert!(matches!(verdict(&hid(Some(mouse), None)), Verdict::Foreign));
    let numbered = ReportLayout {
        numbered: true,
        ..layout(64, 64)
    };
    assert!(matches!(
        verdict(&hid(Some(numbered), None)),
        Verdict::Foreign
    ));
}

#[test]
fn a_bridge_chip_is_never_certain_and_a_strange_device_nobodys() {
    let mut serial = hid(None, None);
    serial.kind = PortKind::Serial;
    for (vendor, product) in [
        (0x1A86, 0x7523),
        (0x10C4, 0xEA60),
        (0x0403, 0x6001),
        (0x067B, 0x2303),
    ] {
        serial.usb.as_mut().unwrap().id = UsbId { vendor, product };
        let found = Match::of(&serial);
        assert!(
            matches!(found.verdict, Verdict::Possible(_)),
            "{}",
            found.why
        );
    }
    serial.usb.as_mut().unwrap().id = UsbId {
        vendor: 0x046D,
        product: 0xC31C,
    };
    let strange = Match::of(&serial);
    assert!(matches!(strange.verdict, Verdict::Foreign));
    assert_eq!(strange.why, "no driver knows USB devices 046d:c31c");
    serial.usb = None;
    assert!(matches!(Match::of(&serial).verdict, Verdict::Foreign));
}
