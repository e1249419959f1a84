//! A store with webhooks, endpoints that behave as told, and time that passes only when it is told to.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    outbound::OutboundError,
    store::{
        Store,
        deliveries::{self, DeliveryFilter, DeliveryRow, DeliveryState},
        events::{self, EventSubject, EventType},
        webhooks, workspaces,
    },
    webhooks::{Courier, Post, Sealed},
};

/// What an endpoint does with a delivery.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// Answers with this status.
    Answer(u16),
    /// Answers 500 to events of this credential, 200 to others.
    Reject(u128),
    /// Never answers.
    Hang,
    /// Ends the connection.
    Break,
    /// Makes the task panic.
    Panic,
}

/// Endpoints by their URL, and what they got.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    acts: Mutex<BTreeMap<String, Act>>,
    got: Mutex<Vec<Got>>,
}

/// A message that an endpoint got.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) url: String,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Got {
    pub(super) fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn is_of(&self, credential: u128) -> bool {
        self.event()["acs_credential_id"] == Uuid::from_u128(credential).to_string()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl Post for Endpoints {
    fn post(&self, message: Sealed) -> BoxFuture<'static, Result<StatusCode, OutboundError>> {
        let act = self.acts.lock().unwrap()[&message.url];
        let got = Got {
            url: message.url,
            headers: message.headers,
            body: message.body.to_vec(),
        };
        self.got.lock().unwrap().push(got.clone());
        Box::pin(async move {
            match act {
                Act::Answer(status) => Ok(StatusCode::from_u16(status).unwrap()),
                Act::Reject(credential) if got.is_of(credential) => {
                    Ok(StatusCode::INTERNAL_SERVER_ERROR)
                }
                Act::Reject(_) => Ok(StatusCode::OK),
                Act::Hang => pending().await,
                Act::Break => Err(OutboundError::NoAnswer("connection closed".to_owned())),
                Act::Panic => panic!("told to"),
            }
        })
    }
}

pub(super) struct World {
    pub(super) store: Store,
    pub(super) workspace: Uuid,
    pub(super) now: Timestamp,
    pub(super) endpoints: Arc<Endpoints>,
    courier: Courier,
    _folder: TempDir,
}

impl World {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let key_file = folder.path().join("key");
        let store = Store::open(&folder.path().join("store.db"), &key_file, now)
            .await
            .unwrap();
        let mut conn = store.write().await.unwrap();
        let workspace = workspaces::create(&mut conn, "Hotel", true, now).await;
        conn.commit().await.unwrap();
        let endpoints = Arc::new(Endpoints::default());
        Self {
            courier: Courier::new(store.clone(), Arc::clone(&endpoints) as Arc<dyn Post>),
            workspace: workspace.unwrap().workspace_id,
            store,
            now,
            endpoints,
            _folder: folder,
        }
    }

    /// Starts again as after a crash: what was under way is lost.
    pub(super) fn restart(&mut self) {
        let post = Arc::clone(&self.endpoints) as Arc<dyn Post>;
        self.courier = Courier::new(self.store.clone(), post);
    }

    /// Makes a webhook whose endpoint does `act`.
    pub(super) async fn webhook(&self, url: &str, event_types: &[&str], act: Act) -> Uuid {
        self.behave(url, act);
        let event_types: Vec<_> = event_types.iter().map(|it| (*it).to_owned()).collect();
        let key = self.store.master_key();
        let mut conn = self.store.write().await.unwrap();
        let made = webhooks::create(&mut conn, key, self.workspace, url, &event_types, self.now);
        let made = made.await.unwrap();
        conn.commit().await.unwrap();
        made.webhook_id
    }

    /// What an endpoint does from now on.
    pub(super) fn behave(&self, url: &str, act: Act) {
        self.endpoints
            .acts
            .lock()
            .unwrap()
            .insert(url.to_owned(), act);
    }

    /// Something happens to a credential.
    pub(super) async fn issue(&self, credential: u128) -> Uuid {
        self.record(EventType::AcsCredentialIssued, credential)
            .await
    }

    pub(super) async fn record(&self, event_type: EventType, subject: u128) -> Uuid {
        let mut conn = self.store.write().await.unwrap();
        let id = Some(Uuid::from_u128(subject));
        let subject = EventSubject {
            acs_credential_id: id,
            acs_user_id: id,
            ..EventSubject::default()
        };
        let (workspace, now) = (self.workspace, self.now);
        let event = events::record(&mut conn, workspace, event_type, subject, now, now).await;
        conn.commit().await.unwrap();
        event.unwrap()
    }

    /// Lets the courier do everything that it can do now; returns when it next has something to do.
    pub(super) async fn settle(&mut self) -> Option<Timestamp> {
        loop {
            let before = self.progress().await;
            let next = self.courier.turn(self.now).await.unwrap();
            // The endpoints that answer do so at once: every task ends when it gets its turn.
            for _ in 0..300 {
                tokio::task::yield_now().await;
            }
            if self.progress().await == before {
                return next;
            }
        }
    }

    /// A number that grows with everything that happens.
    async fn progress(&self) -> (usize, i64) {
        let mut conn = self.store.read().await.unwrap();
        let attempts =
            sqlx::query_scalar("SELECT coalesce(sum(attempts), 0) FROM webhook_deliveries")
                .fetch_one(&mut *conn)
                .await
                .unwrap();
        (self.endpoints.got.lock().unwrap().len(), attempts)
    }

    /// Lets time pass, with everything that happens in it.
    pub(super) async fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            match self.settle().await {
                Some(next) if next <= end => self.now = next,
                Some(_) | None => break,
            }
        }
        self.now = end;
        self.settle().await;
    }

    /// What an endpoint got.
    pub(super) fn got(&self, url: &str) -> Vec<Got> {
        let got = self.endpoints.got.lock().unwrap();
        got.iter().filter(|got| got.url == url).cloned().collect()
    }

    /// The ids of the events that an endpoint got, repeats included.
    pub(super) fn got_events(&self, url: &str) -> Vec<Uuid> {
        let got = self.got(url);
        got.iter()
            .map(|got| got.header("svix-id").parse().unwrap())
            .collect()
    }

    /// The deliveries to a webhook, in the order of their events.
    pub(super) async fn deliveries(&self, webhook: Uuid) -> Vec<DeliveryRow> {
        let mut conn = self.store.read().await.unwrap();
        let filter = DeliveryFilter {
            webhook_id: Some(webhook),
            ..DeliveryFilter::default()
        };
        let mut found = deliveries::list(&mut conn, &filter, 10_000).await.unwrap();
        found.reverse();
        found
    }

    /// Where the deliveries to a webhook stand.
    pub(super) async fn states(&self, webhook: Uuid) -> Vec<DeliveryState> {
        let found = self.deliveries(webhook).await;
        found.iter().map(|delivery| delivery.state).collect()
    }
}
