//! Which deliveries may start: a pure account of what is under way, so that no endpoint delays another.
//!
//! An endpoint that has lately answered well and soon is *proven* and may have several deliveries under way, of
//! different objects. Any other endpoint, a new one too, may have one. Each kind has places of its own, so that at
//! worst dead and slow endpoints delay each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use uuid::Uuid;

/// How many deliveries to one proven endpoint may be under way.
pub const PER_PROVEN: usize = 4;

/// How many deliveries to one endpoint that is not proven may be under way.
pub const PER_UNPROVEN: usize = 1;

/// How many deliveries to all proven endpoints together may be under way.
pub const PROVEN_IN_ALL: usize = 128;

/// How many deliveries to all other endpoints together may be under way.
pub const UNPROVEN_IN_ALL: usize = 128;

/// An endpoint that takes longer than this to accept a delivery counts as slow.
pub const SOON: Duration = Duration::from_secs(2);

/// What is under way.
#[derive(Debug, Default)]
pub struct Dispatch {
    endpoints: BTreeMap<Uuid, Endpoint>,
    starts: u64,
}

#[derive(Debug, Default)]
struct Endpoint {
    is_proven: bool,
    /// The deliveries under way, by their ids.
    sending: BTreeSet<i64>,
    /// Counts up with every start of any endpoint: who started longest ago is next.
    last_start: u64,
}

impl Endpoint {
    /// How many places the endpoint may take, and how many all of its kind.
    fn places(&self) -> (usize, usize) {
        if self.is_proven {
            (PER_PROVEN, PROVEN_IN_ALL)
        } else {
            (PER_UNPROVEN, UNPROVEN_IN_ALL)
        }
    }
}

impl Dispatch {
    /// Forgets endpoints that are gone; what is under way to them ends by itself.
    pub fn retain(&mut self, webhooks: &BTreeSet<Uuid>) {
        self.endpoints
            .retain(|id, endpoint| webhooks.contains(id) || !endpoint.sending.is_empty());
    }

    /// In which order endpoints with due deliveries get their turn: the one that started longest ago first.
    pub fn order(&self, webhooks: &mut [Uuid]) {
        webhooks.sort_by_key(|id| (self.endpoints.get(id).map(|it| it.last_start), *id));
    }

    /// How many deliveries to this endpoint may start now.
    pub fn room(&self, webhook: Uuid) -> usize {
        let new = Endpoint::default();
        let endpoint = self.endpoints.get(&webhook).unwrap_or(&new);
        let like_it = self
            .endpoints
            .values()
            .filter(|other| other.is_proven == endpoint.is_proven);
        let taken: usize = like_it.map(|other| other.sending.len()).sum();
        let (own, in_all) = endpoint.places();
        let own = own.saturating_sub(endpoint.sending.len());
        own.min(in_all.saturating_sub(taken))
    }

    /// How many deliveries to this endpoint are under way.
    pub fn sending(&self, webhook: Uuid) -> usize {
        self.endpoints
            .get(&webhook)
            .map_or(0, |endpoint| endpoint.sending.len())
    }

    /// Notes that a delivery starts. False where it is under way already, or where there is no room.
    pub fn start(&mut self, webhook: Uuid, delivery: i64) -> bool {
        if self.room(webhook) == 0 {
            return false;
        }
        self.starts += 1;
        let endpoint = self.endpoints.entry(webhook).or_default();
        let is_new = endpoint.sending.insert(delivery);
        if is_new {
            endpoint.last_start = self.starts;
        }
        is_new
    }

    /// Notes that a delivery has ended: accepted after some time, or not accepted.
    pub fn end(&mut self, webhook: Uuid, delivery: i64, accepted_after: Option<Duration>) {
        if let Some(endpoint) = self.endpoints.get_mut(&webhook) {
            endpoint.sending.remove(&delivery);
            endpoint.is_proven = accepted_after.is_some_and(|took| took <= SOON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> Uuid {
        Uuid::from_u128(u128::try_from(number).unwrap())
    }

    /// Proves an endpoint.
    fn prove(dispatch: &mut Dispatch, webhook: Uuid) {
        assert!(dispatch.start(webhook, 0));
        dispatch.end(webhook, 0, Some(Duration::ZERO));
    }

    #[test]
    fn a_new_endpoint_has_one_place_and_a_proven_one_several() {
        let mut dispatch = Dispatch::default();
        assert_eq!(dispatch.room(id(1)), PER_UNPROVEN);
        assert!(dispatch.start(id(1), 7));
        assert!(!dispatch.start(id(1), 8));
        dispatch.end(id(1), 7, Some(SOON));
        assert_eq!(dispatch.room(id(1)), PER_PROVEN);
        assert!(dispatch.start(id(1), 8));
        assert!(!dispatch.start(id(1), 8), "it is under way already");
        assert_eq!(dispatch.room(id(1)), PER_PROVEN - 1);
    }

    #[test]
    fn a_failure_or_a_slow_answer_takes_the_places_away() {
        for ending in [None, Some(SOON + Duration::from_millis(1))] {
            let mut dispatch = Dispatch::default();
            prove(&mut dispatch, id(1));
            for delivery in 1..=4 {
                assert!(dispatch.start(id(1), delivery));
            }
            dispatch.end(id(1), 1, ending);
            assert_eq!(dispatch.room(id(1)), 0, "three are still under way");
            for delivery in 2..=4 {
                dispatch.end(id(1), delivery, ending);
            }
            assert_eq!(dispatch.room(id(1)), PER_UNPROVEN);
        }
    }

    #[test]
    fn any_number_of_dead_endpoints_leaves_places_for_proven_ones() {
        let mut dispatch = Dispatch::default();
        prove(&mut dispatch, id(0));
        let started = (1..=1000).filter(|n| dispatch.start(id(*n), 1)).count();
        assert_eq!(started, UNPROVEN_IN_ALL);
        assert_eq!(dispatch.room(id(0)), PER_PROVEN);
    }

    #[test]
    fn no_more_than_all_places_are_taken() {
        let mut dispatch = Dispatch::default();
        for n in 0..200 {
            prove(&mut dispatch, id(n));
        }
        let started = (0..400)
            .flat_map(|n| (1..=9).map(move |delivery| (n, delivery)))
            .filter(|(n, delivery)| dispatch.start(id(*n), *delivery))
            .count();
        assert_eq!(started, PROVEN_IN_ALL + UNPROVEN_IN_ALL);
    }

    #[test]
    fn who_started_longest_ago_is_next() {
        let mut dispatch = Dispatch::default();
        for n in [3, 1, 2] {
            prove(&mut dispatch, id(n));
        }
        let mut order = [id(1), id(2), id(3), id(4)];
        dispatch.order(&mut order);
        assert_eq!(order, [id(4), id(3), id(1), id(2)]);
    }

    #[test]
    fn an_endpoint_that_is_gone_is_forgotten_once_nothing_is_under_way() {
        let mut dispatch = Dispatch::default();
        prove(&mut dispatch, id(1));
        assert!(dispatch.start(id(1), 1));
        dispatch.retain(&BTreeSet::new());
        assert_eq!(dispatch.sending(id(1)), 1);
        dispatch.end(id(1), 1, None);
        dispatch.retain(&BTreeSet::new());
        assert!(dispatch.endpoints.is_empty());
    }
}
