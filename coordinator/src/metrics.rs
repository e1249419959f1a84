//! `GET /metrics` on an address of its own, in the text format of Prometheus (version 0.0.4): counts of the whole service, and
//! nothing that names a guest, a card, a door, or an agent.

use std::fmt::{Display, Write as _};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{
    desk::Desk,
    state::AppState,
    store::{
        StoreError, agents,
        figures::{self, Figures},
    },
};

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the address answers.
pub(crate) fn router(state: AppState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .with_state(state)
}

async fn metrics(State(state): State<AppState>) -> Response {
    match read(&state).await {
        Ok((figures, awaited)) => {
            let text = text(&state.desk, figures, awaited);
            ([(CONTENT_TYPE, FORMAT)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "no metrics can be told");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

async fn read(state: &AppState) -> Result<(Figures, usize), StoreError> {
    let mut conn = state.store.read().await?;
    let awaited = agents::restored(&mut conn).await?.awaited.len();
    Ok((figures::count(&mut conn).await?, awaited))
}

fn text(desk: &Desk, figures: Figures, awaited: usize) -> String {
    let mut page = Page::default();
    let name = "info";
    page.head(name, "gauge", "The service's version.");
    page.line(
        name,
        concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"),
        1,
    );
    let writable = u8::from(desk.stores());
    page.gauge(
        "store_writable",
        "Whether decisions can be stored.",
        writable,
    );
    page.gauge("agents", "Agents whose token is valid.", figures.agents);
    let sessions = desk.tally().sessions();
    page.gauge("agents_connected", "Agents that are connected.", sessions);
    let troubled = desk.problems().len();
    page.gauge(
        "agents_with_problems",
        "Connected agents that report problems.",
        troubled,
    );
    page.gauge(
        "agents_awaited",
        "Agents that a restored store must hear first.",
        awaited,
    );
    page.gauge(
        "encoders",
        "Encoders that agents ever listed.",
        figures.encoders,
    );
    page.gauge(
        "encoders_listed",
        "Encoders that their agents listed last.",
        figures.encoders_listed,
    );
    page.gauge(
        "jobs_unsettled",
        "Jobs that have not ended or are not settled.",
        figures.jobs_unsettled,
    );
    page.gauge(
        "orphans_open",
        "Open jobs of agents that the store does not know.",
        figures.orphans_open,
    );
    let name = "webhook_deliveries";
    page.head(
        name,
        "gauge",
        "Deliveries to webhooks that wait, and that were given up.",
    );
    page.line(name, "{state=\"waiting\"}", figures.deliveries_waiting);
    page.line(name, "{state=\"failed\"}", figures.deliveries_failed);
    let name = "jobs_ended_total";
    page.head(
        name,
        "counter",
        "Jobs that ended since the service started, by success or the error's type.",
    );
    for ((kind, outcome), count) in desk.tally().ended() {
        // Both are names of this program.
        let labels = format!("{{kind=\"{kind}\",outcome=\"{outcome}\"}}");
        page.line(name, &labels, count);
    }
    page.0
}

/// The text as it grows.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.line(name, "", value);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "# HELP encoder_coordinator_{name} {help}");
        let _ = writeln!(self.0, "# TYPE encoder_coordinator_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "encoder_coordinator_{name}{labels} {value}");
    }
}
