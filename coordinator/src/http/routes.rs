//! The paths of the API: which methods each takes, what it asks for and what it answers.
//!
//! Reads are taken as GET with a query or as POST with a JSON body, changes as POST or as the verb that names them.

use std::{fmt, future::Future};

use axum::{
    Router,
    extract::State,
    handler::Handler,
    http::Method,
    routing::{self, MethodRouter},
};
use futures_util::FutureExt as _;
use serde_json::Value;

use super::{
    Answer, Caller, Params,
    asked::{Asked, Notes},
};
use crate::state::AppState;

const READ: &[Method] = &[Method::GET, Method::POST];
const ACT: &[Method] = &[Method::POST];
const CHANGE: &[Method] = &[Method::PATCH, Method::POST];
const REPLACE: &[Method] = &[Method::PUT, Method::POST];
const REMOVE: &[Method] = &[Method::DELETE, Method::POST];

/// Calls the handler with parameters that note what is asked of them, and so end the call there.
type Play = Box<dyn Fn(AppState, Params) + Send + Sync>;

/// A path of the API, as the document tells it.
pub(super) struct Path {
    /// The path.
    pub(super) path: &'static str,
    /// What it does, in a sentence.
    pub(super) summary: &'static str,
    /// The methods it takes.
    pub(super) methods: &'static [Method],
    /// Its answer, where the published document has none.
    pub(super) answer: Option<fn() -> Value>,
    /// None where no key is needed, and nothing asked.
    play: Option<Play>,
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Path")
            .field("path", &self.path)
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}

impl Path {
    /// Whether a key is needed.
    pub(super) fn needs_key(&self) -> bool {
        self.play.is_some()
    }

    /// What the path asks for.
    pub(super) fn asked(&self, state: &AppState) -> Asked {
        let notes = Notes::default();
        match &self.play {
            Some(play) => play(state.clone(), Params::asking(notes.clone())),
            None => notes.finish(),
        }
        notes.take()
    }
}

/// What a path takes, and who answers it.
pub(super) struct Endpoint {
    methods: &'static [Method],
    router: MethodRouter<AppState>,
    answer: Option<fn() -> Value>,
    play: Option<Play>,
}

impl Endpoint {
    /// The same, with an answer that the published document does not have.
    pub(super) fn answers(self, schema: fn() -> Value) -> Self {
        Self {
            answer: Some(schema),
            ..self
        }
    }

    fn keyed<H, F>(methods: &'static [Method], router: MethodRouter<AppState>, handler: H) -> Self
    where
        H: Fn(State<AppState>, Caller, Params) -> F + Send + Sync + 'static,
        F: Future<Output = Answer>,
    {
        let play = move |state, params| {
            // It ends where the parameters are read, before there is anything to wait for.
            let _ = handler(State(state), Caller::nobody(), params).now_or_never();
        };
        Self {
            methods,
            router,
            answer: None,
            play: Some(Box::new(play)),
        }
    }
}

/// Paths, as one resource has them or all.
#[derive(Default)]
pub(super) struct Routes {
    router: Router<AppState>,
    paths: Vec<Path>,
}

impl Routes {
    /// No path yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// One more path; `summary` says in a sentence what it does.
    pub(super) fn route(
        mut self,
        path: &'static str,
        summary: &'static str,
        endpoint: Endpoint,
    ) -> Self {
        self.paths.push(Path {
            path,
            summary,
            methods: endpoint.methods,
            answer: endpoint.answer,
            play: endpoint.play,
        });
        self.router = self.router.route(path, endpoint.router);
        self
    }

    /// These paths and those.
    pub(super) fn merge(mut self, others: Self) -> Self {
        self.router = self.router.merge(others.router);
        self.paths.extend(others.paths);
        self
    }

    /// The router and what it has.
    pub(super) fn into_parts(self) -> (Router<AppState>, Vec<Path>) {
        (self.router, self.paths)
    }
}

/// A path that reads: GET with a query, POST with a JSON body.
pub(super) fn read<H, F>(handler: H) -> Endpoint
where
    H: Fn(State<AppState>, Caller, Params) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let router = routing::get(handler.clone()).post(handler.clone());
    Endpoint::keyed(READ, router, handler)
}

/// A path that acts or creates: POST.
pub(super) fn act<H, F>(handler: H) -> Endpoint
where
    H: Fn(State<AppState>, Caller, Params) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    Endpoint::keyed(ACT, routing::post(handler.clone()), handler)
}

/// A path that changes a resource: PATCH or POST.
pub(super) fn change<H, F>(handler: H) -> Endpoint
where
    H: Fn(State<AppState>, Caller, Params) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let router = routing::patch(handler.clone()).post(handler.clone());
    Endpoint::keyed(CHANGE, router, handler)
}

/// A path that replaces a part of a resource or adds to it: PUT or POST.
pub(super) fn replace<H, F>(handler: H) -> Endpoint
where
    H: Fn(State<AppState>, Caller, Params) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let router = routing::put(handler.clone()).post(handler.clone());
    Endpoint::keyed(REPLACE, router, handler)
}

/// A path that deletes a resource: DELETE with a query, POST with a JSON body.
pub(super) fn remove<H, F>(handler: H) -> Endpoint
where
    H: Fn(State<AppState>, Caller, Params) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let router = routing::delete(handler.clone()).post(handler.clone());
    Endpoint::keyed(REMOVE, router, handler)
}

/// A path that anybody may read and that asks for nothing.
pub(super) fn open<H, T>(handler: H) -> Endpoint
where
    H: Handler<T, AppState>,
    T: 'static,
{
    Endpoint {
        methods: READ,
        router: routing::get(handler.clone()).post(handler),
        answer: None,
        play: None,
    }
}
