//! The HTTP API: one file per resource, over a common frame.
//!
//! Reads are taken as GET with a query or as POST with a JSON body, changes as POST or as the verb that names them;
//! `read`, `act`, `change`, `replace` and `remove` of [`routes`](self) say which. Every answer of them is JSON and carries a
//! request id. What they ask for and answer is told in a document, see `openapi`.

mod access_grants;
mod access_methods;
mod action_attempts;
mod asked;
mod auth;
mod batch;
mod credentials;
mod encoders;
mod entrances;
mod error;
mod events;
mod frame;
mod health;
mod hosts;
mod openapi;
mod page;
mod params;
mod reader;
mod reply;
mod routes;
mod spaces;
mod systems;
mod user_identities;
mod users;
mod webhooks;
mod withdrawn;
mod workspaces;

pub use access_methods::access_method_json;
pub use auth::Caller;
pub use credentials::credential_json;
pub use error::{ApiError, Resource, ValidationErrors};
pub use events::event_json;
pub use hosts::Hosts;
pub use page::{decode_cursor, page_json};
pub use params::Params;
pub use reader::{Invalid, Reader};
pub use reply::{Answer, Reply, time_json};

use std::time::Duration;

use axum::{Router, extract::DefaultBodyLimit, middleware};

use self::routes::{Routes, act, change, open, read, remove, replace};
use crate::{agents, state::AppState};

/// The largest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// How long a request body may take to come.
pub const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// The whole API, ready to be served.
pub fn router(state: AppState) -> Router {
    let (router, paths) = routes().into_parts();
    router
        .merge(openapi::routes(paths))
        .merge(agents::routes())
        .method_not_allowed_fallback(frame::method_not_allowed)
        .fallback(frame::unknown_route)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), frame::frame))
        .with_state(state)
}

/// The paths that the document tells of.
fn routes() -> Routes {
    Routes::new()
        .merge(systems::routes())
        .merge(encoders::routes())
        .merge(entrances::routes())
        .merge(action_attempts::routes())
        .merge(user_identities::routes())
        .merge(spaces::routes())
        .merge(users::routes())
        .merge(credentials::routes())
        .merge(access_grants::routes())
        .merge(access_methods::routes())
        .merge(events::routes())
        .merge(webhooks::routes())
        .merge(workspaces::routes())
        .merge(health::routes())
}

#[cfg(test)]
pub(crate) mod bench;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod tests;
