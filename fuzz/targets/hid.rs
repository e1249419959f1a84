//! Report descriptors, as any device may show one: they decide whose device it is before a byte is written to it.

use std::{collections::BTreeMap, path::PathBuf};

use encoder_agent::{
    discovery::{Access, Candidate, Match, UsbFacts, Verdict},
    drivers::UsbId,
    transport::PortKind,
};
use encoder_protocols::hid::{BadDescriptor, ReportLayout};

use super::input::Input;

/// The longest descriptor that is read whole for each of its beginnings.
const LONGEST: usize = 512;

/// The length of an MSR605X's reports in bytes, and its id, which a swipe reader of another make bears too.
const REPORT_BYTES: u32 = 64;
const SHARED_ID: UsbId = UsbId {
    vendor: 0x0801,
    product: 0x0003,
};

/// The first byte of an item that holds up to 255 bytes of anything (USB HID 1.11, section 6.2.2.3).
const LONG_ITEM: u8 = 0xFE;

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(2) {
        0 => any(input.rest()),
        _ => built(&mut input),
    }
}

fn any(descriptor: &[u8]) {
    let descriptor = &descriptor[..descriptor.len().min(LONGEST)];
    let whole = ReportLayout::parse(descriptor);
    let mut before = ReportLayout::default();
    let mut end = 0;
    for cut in 0..=descriptor.len() {
        match ReportLayout::parse(&descriptor[..cut]) {
            Ok(now) => {
                grows(before, now);
                (before, end) = (now, cut);
            }
            // What breaks off is refused where its last item begins.
            Err(BadDescriptor { offset }) => assert_eq!(offset, end, "cut at {cut}"),
        }
    }
    match whole {
        Ok(layout) => {
            passed_over(descriptor, layout);
            judged(layout);
        }
        Err(BadDescriptor { offset }) => assert!(offset < descriptor.len()),
    }
}

/// More items make no report shorter, and what the first collection is for stays.
fn grows(before: ReportLayout, now: ReportLayout) {
    assert!(now.input_bytes >= before.input_bytes);
    assert!(now.output_bytes >= before.output_bytes);
    assert!(now.feature_bytes >= before.feature_bytes);
    assert!(now.numbered || !before.numbered);
    let purpose = |layout: ReportLayout| (layout.usage_page, layout.usage);
    assert!(purpose(before) == (0, 0) || purpose(before) == purpose(now));
}

/// Items that say nothing of reports change nothing.
fn passed_over(descriptor: &[u8], layout: ReportLayout) {
    let item = [LONG_ITEM, 3, 0x42, 0x81, 0x91, 0xB1];
    for descriptor in [
        [item.as_slice(), descriptor].concat(),
        [descriptor, item.as_slice()].concat(),
    ] {
        assert_eq!(ReportLayout::parse(&descriptor), Ok(layout));
    }
}

/// A device with a shared id is an encoder for sure only where its reports are those of one.
fn judged(layout: ReportLayout) {
    let candidate = Candidate {
        port: PathBuf::from("/dev/hidraw0"),
        kind: PortKind::Hid,
        usb: Some(UsbFacts {
            id: SHARED_ID,
            serial: None,
            manufacturer: None,
            product: None,
            interface: 0,
        }),
        reports: Some(layout),
        socket: None,
        instance: String::new(),
        access: Access::Permitted,
    };
    if let Verdict::Exact(driver) = Match::of(&candidate).verdict {
        assert_eq!(driver.name(), "msr605");
        assert!(
            layout.usage_page >= 0xFF00 && !layout.numbered,
            "{layout:?}"
        );
        assert_eq!(layout.input_bytes, REPORT_BYTES);
        assert!([layout.output_bytes, layout.feature_bytes].contains(&REPORT_BYTES));
    }
}

/// Reports that a descriptor was made of are measured as they were made.
fn built(input: &mut Input<'_>) {
    const MAIN: [u8; 3] = [0x80, 0x90, 0xB0];
    let page = u16::from_le_bytes(input.array());
    let usage = u16::from_le_bytes(input.array());
    let mut descriptor = Vec::new();
    item(&mut descriptor, 0x04, page.into(), 2);
    item(&mut descriptor, 0x08, usage.into(), 2);
    item(&mut descriptor, 0xA0, 1, 1);
    let mut bits = BTreeMap::<(usize, u8), u64>::new();
    let (mut id, mut numbered) = (0, false);
    while !input.is_empty() {
        if input.flag() {
            id = input.byte();
            numbered = true;
            item(&mut descriptor, 0x84, id.into(), 1);
        }
        let kind = usize::from(input.below(3));
        let (size, count) = (input.byte(), u16::from_le_bytes(input.array()));
        let pushed = input.flag();
        item(&mut descriptor, 0x74, size.into(), 1 + input.below(2));
        item(&mut descriptor, 0x94, count.into(), 2);
        if pushed {
            // What is set between does not count once it is popped.
            descriptor.push(0xA4);
            item(&mut descriptor, 0x94, u32::MAX, 4);
            descriptor.push(0xB4);
        }
        item(&mut descriptor, MAIN[kind], 2, 1);
        *bits.entry((kind, id)).or_default() += u64::from(size) * u64::from(count);
    }
    let longest = |kind: usize| {
        let of_kind = bits.iter().filter(|((other, _), _)| *other == kind);
        let most = of_kind.map(|(_, bits)| *bits).max().unwrap_or_default();
        u32::try_from(most.div_ceil(8)).unwrap_or(u32::MAX)
    };
    let expected = ReportLayout {
        usage_page: page,
        usage,
        numbered,
        input_bytes: longest(0),
        output_bytes: longest(1),
        feature_bytes: longest(2),
    };
    assert_eq!(ReportLayout::parse(&descriptor), Ok(expected));
}

/// A short item: its tag with the length in the two low bits, and as many bytes of the value, the lowest first.
fn item(descriptor: &mut Vec<u8>, tag: u8, value: u32, length: u8) {
    descriptor.push(tag | length.min(3));
    descriptor.extend(&value.to_le_bytes()[..usize::from(length)]);
}
