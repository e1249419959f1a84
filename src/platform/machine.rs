//! What tells this machine from others: derived from the id that the system gave it at its installation, so that the id
//! itself, which other programs know the machine by, stays here.

use ring::hmac;

/// Names this program in what it derives (`sd_id128_get_machine_app_specific(3)`).
const APPLICATION_ID: [u8; 16] = [
    0x6e, 0x0c, 0x5b, 0x1d, 0x94, 0x2a, 0x4f, 0x83, 0xa7, 0x35, 0x0f, 0x61, 0xc8, 0xd2, 0x49, 0xbe,
];

/// The length of what is derived, in bytes.
const FACT_BYTES: usize = 16;

/// What tells this machine from others; none where the system has given it no id.
pub fn machine_fact() -> Option<String> {
    machine_id().map(|id| derived(&id))
}

/// The machine's id (`machine-id(5)`): 16 bytes in hexadecimal digits.
#[cfg(target_os = "linux")]
fn machine_id() -> Option<Vec<u8>> {
    let text = std::fs::read_to_string("/etc/machine-id").ok()?;
    let id = u128::from_str_radix(text.trim(), 16).ok()?;
    (text.trim().len() == 2 * FACT_BYTES && id != 0).then(|| id.to_be_bytes().to_vec())
}

/// The id that Windows got at its installation, a UUID as text.
#[cfg(windows)]
fn machine_id() -> Option<Vec<u8>> {
    let place = windows_registry::LOCAL_MACHINE.open(r"SOFTWARE\Microsoft\Cryptography");
    let text = place.ok()?.get_string("MachineGuid").ok()?;
    let id = uuid::Uuid::parse_str(text.trim()).ok()?;
    (!id.is_nil()).then(|| id.as_bytes().to_vec())
}

/// Not known here yet.
#[cfg(not(any(target_os = "linux", windows)))]
fn machine_id() -> Option<Vec<u8>> {
    None
}

/// HMAC-SHA256 of the application's id under the machine's, cut to the form of a UUID of version 4, as systemd does it.
fn derived(machine_id: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, machine_id);
    let tag = hmac::sign(&key, &APPLICATION_ID);
    let bytes = tag.as_ref().iter().take(FACT_BYTES).enumerate();
    let bytes: Vec<u8> = bytes
        .map(|(place, byte)| match place {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        })
        .collect();
    crate::pairing::hex(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `systemd-id128 --app-specific=6e0c5b1d942a4f83a7350f61c8d249be machine-id` tells it.
    #[test]
    fn it_is_derived_as_systemd_does() {
        let id = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128;
        assert_eq!(
            derived(&id.to_be_bytes()),
            "5dc4c2d14a4a4dfe926c02c91f75270b"
        );
    }
}
