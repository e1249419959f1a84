//! Lock bits: one-way switches that make pages, or other lock bits, read-only.

/// The first page that dynamic lock bits govern.
const FIRST_DYNAMIC_PAGE: u8 = 16;

/// How the dynamic lock bits are laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockLayout {
    /// Pages for each lock bit of the bytes 0 and 1, counted from page 16; 0 for a chip without such bits.
    pages_per_bit: u8,
    /// How many lock bits there are.
    bits: u8,
    /// The page after the last one that they govern.
    end: u8,
    /// Whether the layout is that of the Ultralight C, with its freezing bits in between.
    ultralight_c: bool,
}

impl LockLayout {
    pub(super) const NONE: Self = Self::even(0, 0, 0);
    /// MF0UL21, section 8.5.3: pages 16 to 35.
    pub(super) const UL21: Self = Self::even(2, 10, 36);
    /// NTAG213, section 8.5.3: pages 16 to 39.
    pub(super) const NTAG213: Self = Self::even(2, 12, 40);
    /// NTAG215, section 8.5.3: pages 16 to 129.
    pub(super) const NTAG215: Self = Self::even(16, 8, 130);
    /// NTAG216, section 8.5.3: pages 16 to 225.
    pub(super) const NTAG216: Self = Self::even(16, 14, 226);
    /// MF0ICU2, section 7.5.3: pages 16 to 47.
    pub(super) const ULTRALIGHT_C: Self = Self {
        pages_per_bit: 4,
        bits: 10,
        end: 48,
        ultralight_c: true,
    };

    const fn even(pages_per_bit: u8, bits: u8, end: u8) -> Self {
        Self {
            pages_per_bit,
            bits,
            end,
            ultralight_c: false,
        }
    }
}

/// Whether the static lock bytes make the page read-only (NTAG213/215/216, section 8.5.2): bit n of the 16 locks page
/// n from page 3 on.
pub(super) fn static_locked(locks: [u8; 2], page: u8) -> bool {
    (3..16).contains(&page) && u16::from_le_bytes(locks) >> page & 1 == 1
}

/// Page 2 after a write of `new` over `old`: its first two bytes stay, lock bits are only set, and the three lowest
/// bits of the first lock byte freeze the lock bits of page 3, pages 4 to 9 and pages 10 to 15.
pub(super) fn static_locks_after(old: [u8; 4], new: [u8; 4]) -> [u8; 4] {
    let [check, internal, old_low, old_high] = old;
    let [_, _, new_low, new_high] = new;
    let old = u16::from_le_bytes([old_low, old_high]);
    let new = u16::from_le_bytes([new_low, new_high]);
    let frozen = [(0x0001, 0x0008), (0x0002, 0x03F0), (0x0004, 0xFC00)]
        .into_iter()
        .filter(|(freezes, _)| old & freezes != 0)
        .fold(0, |frozen, (_, bits)| frozen | bits);
    let [low, high] = (old | new & !frozen).to_le_bytes();
    [check, internal, low, high]
}

/// Whether the dynamic lock bytes make the page read-only.
pub(super) fn dynamic_locked(layout: LockLayout, [low, high, ..]: [u8; 4], page: u8) -> bool {
    let bits = u16::from_le_bytes([low, high]);
    if layout.ultralight_c {
        return ultralight_c_bit(page).is_some_and(|bit| bits >> bit & 1 == 1);
    }
    let bit = page
        .checked_sub(FIRST_DYNAMIC_PAGE)
        .and_then(|page| page.checked_div(layout.pages_per_bit));
    page < layout.end && bit.is_some_and(|bit| bits >> bit & 1 == 1)
}

/// The dynamic lock page after a write of `new` over `old`: bits are only set, frozen ones stay. The last byte is
/// reserved and stays.
pub(super) fn dynamic_locks_after(layout: LockLayout, old: [u8; 4], new: [u8; 4]) -> [u8; 4] {
    let [old_low, old_high, old_freeze, reserved] = old;
    let [new_low, new_high, new_freeze, _] = new;
    let old_bits = u16::from_le_bytes([old_low, old_high]);
    let new_bits = u16::from_le_bytes([new_low, new_high]);
    if layout.ultralight_c {
        let frozen = ultralight_c_frozen(old_bits);
        let [low, high] = (old_bits | new_bits & !frozen).to_le_bytes();
        return [low, high, old_freeze, reserved];
    }
    let exist = (1_u32 << layout.bits) - 1;
    // Each freezing bit holds two neighbouring lock bits.
    let frozen = (0..8)
        .filter(|bit| old_freeze >> bit & 1 == 1)
        .fold(0_u32, |frozen, bit| frozen | 0b11 << (2 * bit));
    let bits = u32::from(old_bits) | u32::from(new_bits) & exist & !frozen;
    let [low, high, ..] = bits.to_le_bytes();
    let freezing_bits = u32::from(layout.bits).div_ceil(2);
    let [freeze_exist, ..] = ((1_u32 << freezing_bits) - 1).to_le_bytes();
    [low, high, old_freeze | new_freeze & freeze_exist, reserved]
}

/// The lock bit of a page of an Ultralight C (MF0ICU2, section 7.5.3). Bits 0 and 4 of the first byte and 0 to 3 of
/// the second freeze others.
fn ultralight_c_bit(page: u8) -> Option<u8> {
    match page {
        16..=27 => Some(1 + (page - 16) / 4),
        28..=39 => Some(5 + (page - 28) / 4),
        41..=43 => Some(12 + page - 41),
        44..=47 => Some(15),
        _ => None,
    }
}

fn ultralight_c_frozen(bits: u16) -> u16 {
    [
        (0x0001, 0x000E),
        (0x0010, 0x00E0),
        (0x0100, 0x1000),
        (0x0200, 0x2000),
        (0x0400, 0x4000),
        (0x0800, 0x8000),
    ]
    .into_iter()
    .filter(|(freezes, _)| bits & freezes != 0)
    .fold(0, |frozen, (_, locks)| frozen | locks)
}
