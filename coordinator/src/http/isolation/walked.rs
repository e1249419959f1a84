//! No endpoint is left out: each one is asked with the other workspace's ids, or stands here with the reason why not.

use std::{collections::BTreeSet, fs, path::Path};

use super::*;

/// Endpoints that take nothing of anybody.
const NAMES_NOTHING: &[(&str, &str)] = &[
    (
        "/health",
        "needs no key, and tells of agents by their names alone",
    ),
    (
        "/metrics",
        "stands on an address of its own, and names nothing of anybody",
    ),
    ("/workspaces/get", "answers with the key's own workspace"),
    ("/webhooks/create", "takes an URL and types of events"),
    ("/openapi.json", "is the same for everybody"),
    ("/docs", "is the same for everybody"),
];

#[tokio::test]
async fn every_endpoint_is_walked() {
    let bench = Bench::start().await;
    let theirs = Neighbour::of(&bench).await;
    let requests = theirs.requests();
    let mut walked: BTreeSet<&str> = requests.iter().map(|(path, ..)| *path).collect();
    walked.extend(LISTS);
    walked.extend(["/events/list"]);
    walked.extend(NAMES_NOTHING.iter().map(|(path, _)| *path));
    let routes = routes();
    assert!(routes.len() > 50, "{} routes", routes.len());
    let missing: Vec<_> = routes
        .iter()
        .filter(|path| !walked.contains(path.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "ask these with the other workspace's ids in `Neighbour::requests`: {missing:?}"
    );
}

/// Every path that the sources route.
fn routes() -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    collect(&sources, &mut routes);
    routes
}

fn collect(folder: &Path, routes: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, routes);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let source = fs::read_to_string(&path).unwrap();
            for part in source.split(".route(").skip(1) {
                let path = part.trim_start().strip_prefix('"');
                let path = path.and_then(|rest| rest.split('"').next());
                routes.extend(path.filter(|path| path.starts_with('/')).map(str::to_owned));
            }
        }
    }
}
