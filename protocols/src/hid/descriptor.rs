//! Report descriptors: which reports a device has, how long they are, and what they are for.
//!
//! Items and their tags are those of USB HID 1.11, section 6.2.2. Only what tells devices apart is kept.

use std::collections::BTreeMap;

// The type and tag of short items, section 6.2.2.4 to 6.2.2.8; the two low bits are the length of the data.
const INPUT: u8 = 0x80;
const OUTPUT: u8 = 0x90;
const COLLECTION: u8 = 0xA0;
const FEATURE: u8 = 0xB0;
const USAGE_PAGE: u8 = 0x04;
const REPORT_SIZE: u8 = 0x74;
const REPORT_ID: u8 = 0x84;
const REPORT_COUNT: u8 = 0x94;
const PUSH: u8 = 0xA4;
const POP: u8 = 0xB4;
const USAGE: u8 = 0x08;

/// The prefix of a long item, section 6.2.2.3: a length and a tag follow, then the data.
const LONG_ITEM: u8 = 0xFE;

/// The type and tag within a short item's prefix.
const TAG: u8 = 0xFC;

/// How deep pushed states are kept; devices use one or two.
const DEEPEST: usize = 16;

/// The reports of a device.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ReportLayout {
    /// The usage page of the first collection; from 0xFF00 on it is the vendor's own.
    pub usage_page: u16,
    /// The usage of the first collection.
    pub usage: u16,
    /// Whether reports carry an id.
    pub numbered: bool,
    /// The length of the longest input report, without id, in bytes.
    pub input_bytes: u32,
    /// The length of the longest output report, without id, in bytes.
    pub output_bytes: u32,
    /// The length of the longest feature report, without id, in bytes.
    pub feature_bytes: u32,
}

/// A report descriptor that ends in the middle of an item.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the report descriptor ends within the item at byte {offset}")]
pub struct BadDescriptor {
    /// Where that item begins.
    pub offset: usize,
}

/// The state that main items are described by, section 6.2.2.7.
#[derive(Clone, Copy, Default)]
struct Globals {
    usage_page: u16,
    report_size: u32,
    report_count: u32,
    report_id: u8,
}

/// The bits of each report, by its id.
type Bits = BTreeMap<u8, u64>;

#[derive(Default)]
struct Reading {
    globals: Globals,
    pushed: Vec<Globals>,
    usage: Option<u32>,
    collection: Option<(u16, u16)>,
    numbered: bool,
    input: Bits,
    output: Bits,
    feature: Bits,
}

impl ReportLayout {
    /// Reads a report descriptor. Items that tell nothing of lengths are passed over.
    ///
    /// # Errors
    /// [`BadDescriptor`] when it ends too early.
    pub fn parse(descriptor: &[u8]) -> Result<Self, BadDescriptor> {
        let mut reading = Reading::default();
        let mut offset = 0;
        while let Some(&prefix) = descriptor.get(offset) {
            let bad = BadDescriptor { offset };
            let (head, length) = if prefix == LONG_ITEM {
                (3, descriptor.get(offset + 1).copied().ok_or(bad)?.into())
            } else {
                (1, short_length(prefix))
            };
            let data = descriptor
                .get(offset + head..offset + head + length)
                .ok_or(bad)?;
            if prefix != LONG_ITEM {
                reading.item(prefix & TAG, number(data), length);
            }
            offset += head + length;
        }
        Ok(reading.layout())
    }

    /// Whether the reports are of the vendor's own making.
    pub fn is_vendor_defined(&self) -> bool {
        self.usage_page >= 0xFF00
    }
}

impl Reading {
    fn item(&mut self, tag: u8, value: u32, length: usize) {
        match tag {
            USAGE_PAGE => self.globals.usage_page = low(value),
            REPORT_SIZE => self.globals.report_size = value,
            REPORT_COUNT => self.globals.report_count = value,
            REPORT_ID => {
                self.numbered = true;
                self.globals.report_id = value.to_le_bytes()[0];
            }
            PUSH if self.pushed.len() < DEEPEST => self.pushed.push(self.globals),
            POP => self.globals = self.pushed.pop().unwrap_or(self.globals),
            USAGE => {
                // Four bytes hold the usage page too, section 6.2.2.8.
                let page = if length == 4 { value >> 16 } else { 0 };
                let page = if page == 0 {
                    self.globals.usage_page.into()
                } else {
                    page
                };
                self.usage.get_or_insert(page << 16 | value & 0xFFFF);
            }
            COLLECTION => {
                if let Some(usage) = self.usage.take() {
                    self.collection
                        .get_or_insert((low(usage >> 16), low(usage)));
                }
            }
            INPUT => Self::count(&mut self.input, self.globals, &mut self.usage),
            OUTPUT => Self::count(&mut self.output, self.globals, &mut self.usage),
            FEATURE => Self::count(&mut self.feature, self.globals, &mut self.usage),
            _ => {}
        }
    }

    /// Adds the fields of a main item to its report. Local items end with it.
    fn count(bits: &mut Bits, globals: Globals, usage: &mut Option<u32>) {
        let more = u64::from(globals.report_size) * u64::from(globals.report_count);
        let sum = bits.entry(globals.report_id).or_default();
        *sum = sum.saturating_add(more);
        *usage = None;
    }

    fn layout(&self) -> ReportLayout {
        let (usage_page, usage) = self.collection.unwrap_or_default();
        ReportLayout {
            usage_page,
            usage,
            numbered: self.numbered,
            input_bytes: longest(&self.input),
            output_bytes: longest(&self.output),
            feature_bytes: longest(&self.feature),
        }
    }
}

fn short_length(prefix: u8) -> usize {
    match prefix & 0x03 {
        3 => 4,
        length => length.into(),
    }
}

/// Data is little-endian.
fn number(data: &[u8]) -> u32 {
    data.iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn low(value: u32) -> u16 {
    let [first, second, ..] = value.to_le_bytes();
    u16::from_le_bytes([first, second])
}

fn longest(bits: &Bits) -> u32 {
    let most = bits.values().copied().max().unwrap_or_default();
    u32::try_from(most.div_ceil(8)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One vendor-defined collection with 64-byte input, output and feature reports.
    const SIXTY_FOUR: &[u8] = &[
        0x06, 0x00, 0xFF, // Usage Page (Vendor Defined 0xFF00)
        0x09, 0x01, // Usage (0x01)
        0xA1, 0x01, // Collection (Application)
        0x15, 0x00, 0x26, 0xFF, 0x00, // Logical Minimum (0), Maximum (255)
        0x75, 0x08, 0x95, 0x40, // Report Size (8), Report Count (64)
        0x09, 0x01, 0x81, 0x02, // Input
        0x09, 0x01, 0x91, 0x02, // Output
        0x09, 0x01, 0xB1, 0x02, // Feature
        0xC0,
    ];

    /// The boot mouse of USB HID 1.11, appendix E.10.
    const MOUSE: &[u8] = &[
        0x05, 0x01, 0x09, 0x02, 0xA1, 0x01, 0x09, 0x01, 0xA1, 0x00, 0x05, 0x09, 0x19, 0x01, 0x29,
        0x03, 0x15, 0x00, 0x25, 0x01, 0x95, 0x03, 0x75, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 0x05,
        0x81, 0x01, 0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x81, 0x25, 0x7F, 0x75, 0x08, 0x95,
        0x02, 0x81, 0x06, 0xC0, 0xC0,
    ];

    /// The boot keyboard of USB HID 1.11, appendix E.6.
    const KEYBOARD: &[u8] = &[
        0x05, 0x01, 0x09, 0x06, 0xA1, 0x01, 0x05, 0x07, 0x19, 0xE0, 0x29, 0xE7, 0x15, 0x00, 0x25,
        0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02, 0x95, 0x01, 0x75, 0x08, 0x81, 0x01, 0x95, 0x05,
        0x75, 0x01, 0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x91, 0x02, 0x95, 0x01, 0x75, 0x03, 0x91,
        0x01, 0x95, 0x06, 0x75, 0x08, 0x15, 0x00, 0x25, 0x65, 0x05, 0x07, 0x19, 0x00, 0x29, 0x65,
        0x81, 0x00, 0xC0,
    ];

    #[test]
    fn a_vendors_reports_are_measured() {
        let layout = ReportLayout::parse(SIXTY_FOUR).unwrap();
        let expected = ReportLayout {
            usage_page: 0xFF00,
            usage: 1,
            numbered: false,
            input_bytes: 64,
            output_bytes: 64,
            feature_bytes: 64,
        };
        assert_eq!(layout, expected);
        assert!(layout.is_vendor_defined());
    }

    #[test]
    fn the_specifications_examples_are_measured() {
        for (descriptor, usage, input_bytes, output_bytes) in
            [(MOUSE, 2, 3, 0), (KEYBOARD, 6, 8, 1)]
        {
            let expected = ReportLayout {
                usage_page: 1,
                usage,
                numbered: false,
                input_bytes,
                output_bytes,
                feature_bytes: 0,
            };
            assert_eq!(ReportLayout::parse(descriptor), Ok(expected));
        }
    }

    #[test]
    fn numbered_reports_are_measured_apart_and_pushed_states_come_back() {
        let layout = ReportLayout::parse(&[
            0x0B, 0x05, 0x00, 0x8C, 0xFF, // Usage (0xFF8C, 0x0005)
            0xA1, 0x01, 0x75, 0x08, 0xA4, // Report Size (8), Push
            0x85, 0x01, 0x95, 0x02, 0x81, 0x02, // id 1: 2 bytes
            0x85, 0x02, 0x95, 0x09, 0x81, 0x02, // id 2: 9 bytes
            0xB4, 0x95, 0x04, 0xB1, 0x02, // Pop; id 0: 4 bytes
            0xC0,
        ]);
        let expected = ReportLayout {
            usage_page: 0xFF8C,
            usage: 5,
            numbered: true,
            input_bytes: 9,
            output_bytes: 0,
            feature_bytes: 4,
        };
        assert_eq!(layout, Ok(expected));
    }

    #[test]
    fn a_descriptor_that_breaks_off_is_refused_where_it_does() {
        assert_eq!(
            ReportLayout::parse(&[0x75, 0x08, 0x26, 0xFF]),
            Err(BadDescriptor { offset: 2 })
        );
        assert_eq!(
            ReportLayout::parse(&[LONG_ITEM, 9, 0, 1]),
            Err(BadDescriptor { offset: 0 })
        );
        assert_eq!(ReportLayout::parse(&[]), Ok(ReportLayout::default()));
    }

    #[test]
    fn lying_lengths_saturate() {
        let huge = [
            0x77, 0xFF, 0xFF, 0xFF, 0xFF, 0x97, 0xFF, 0xFF, 0xFF, 0xFF, 0x81, 0x02, 0x81, 0x02,
        ];
        assert_eq!(ReportLayout::parse(&huge).unwrap().input_bytes, u32::MAX);
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = ReportLayout::parse(&noise);
        }
    }
}
