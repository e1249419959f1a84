//! What a HID device tells of its reports (USB HID 1.11, section 6.2.2).

mod descriptor;

pub use descriptor::{BadDescriptor, ReportLayout};
