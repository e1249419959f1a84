//! Ids of everything the store keeps: version 7 UUIDs, which sort by creation.

use std::{panic::AssertUnwindSafe, sync::Mutex};

use jiff::Timestamp;
use uuid::{ContextV7, Uuid};

/// Orders the ids that this process makes within one millisecond.
static ORDER: Mutex<AssertUnwindSafe<ContextV7>> = Mutex::new(AssertUnwindSafe(ContextV7::new()));

/// A new id. Ids that one process makes at the same or a later `now` sort after earlier ones.
pub fn new_id(now: Timestamp) -> Uuid {
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(&ORDER, seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_millisecond_sort_by_creation() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let ids: Vec<_> = (0..200).map(|_| new_id(now)).collect();
        assert!(ids.is_sorted());
        assert!(ids[0] < new_id("2026-11-21T10:00:00.002Z".parse().unwrap()));
    }
}
