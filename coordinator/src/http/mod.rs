//! The HTTP API: one file per resource, over a common frame.
//!
//! Reads are taken as GET with a query or as POST with a JSON body, changes as POST or as the verb that names them;
//! `read`, `act`, `change`, `replace` and `remove` say which. Every answer is JSON and carries a request id.

mod access_grants;
mod access_methods;
mod action_attempts;
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
mod page;
mod params;
mod reader;
mod reply;
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

use axum::{
    Router,
    extract::DefaultBodyLimit,
    handler::Handler,
    middleware,
    routing::{self, MethodRouter},
};

use crate::{agents, state::AppState};

/// The largest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The whole API, ready to be served.
pub fn router(state: AppState) -> Router {
    Router::new()
        .merge(systems::routes())
        .merge(encoders::routes())
        .merge(entrances::routes())
        .merge(action_attempts::routes())
        .merge(agents::routes())
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
        .method_not_allowed_fallback(frame::method_not_allowed)
        .fallback(frame::unknown_route)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), frame::frame))
        .with_state(state)
}

/// A path that reads: GET with a query, POST with a JSON body.
fn read<H, T>(handler: H) -> MethodRouter<AppState>
where
    H: Handler<T, AppState>,
    T: 'static,
{
    routing::get(handler.clone()).post(handler)
}

/// A path that acts or creates: POST.
fn act<H, T>(handler: H) -> MethodRouter<AppState>
where
    H: Handler<T, AppState>,
    T: 'static,
{
    routing::post(handler)
}

/// A path that changes a resource: PATCH or POST.
fn change<H, T>(handler: H) -> MethodRouter<AppState>
where
    H: Handler<T, AppState>,
    T: 'static,
{
    routing::patch(handler.clone()).post(handler)
}

/// A path that replaces a part of a resource or adds to it: PUT or POST.
fn replace<H, T>(handler: H) -> MethodRouter<AppState>
where
    H: Handler<T, AppState>,
    T: 'static,
{
    routing::put(handler.clone()).post(handler)
}

/// A path that deletes a resource: DELETE with a query, POST with a JSON body.
fn remove<H, T>(handler: H) -> MethodRouter<AppState>
where
    H: Handler<T, AppState>,
    T: 'static,
{
    routing::delete(handler.clone()).post(handler)
}

#[cfg(test)]
pub(crate) mod bench;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod tests;
