//! What monitors read.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::fake::Site;
use crate::metrics;

async fn read(site: &Site) -> String {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let page = metrics::router(site.bench.state.clone());
    let answer = page.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn assert_tells(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(
            text.contains(&format!("\nencoder_coordinator_{line}\n")),
            "{line}\n{text}"
        );
    }
}

#[tokio::test]
async fn jobs_are_counted_by_how_they_ended() {
    let site = Site::start().await;
    let (mut agent, encoder) = site.desk("desk").await;
    let before = read(&site).await;
    assert_tells(
        &before,
        &[
            "store_writable 1",
            "agents 1",
            "agents_connected 1",
            "encoders_listed 1",
        ],
    );
    assert!(!before.contains("jobs_ended_total{"), "{before}");
    for uid in ["aabbccdd", "bbccddee"] {
        let credential = site.credential().await;
        site.issue(&mut agent, &encoder, &credential, uid).await;
    }
    let others = agent.list(&site, &["other"]).await;
    site.scan(&encoder).await;
    let after = read(&site).await;
    let ended = [
        "encoders_listed 1",
        "encoders 2",
        "jobs_unsettled 0",
        "jobs_ended_total{kind=\"encode\",outcome=\"success\"} 2",
        "jobs_ended_total{kind=\"scan\",outcome=\"encoder_not_online\"} 1",
    ];
    assert_tells(&after, &ended);
    assert!(!after.contains(&encoder), "{after}");
    drop(agent);
    site.until_disconnected(&others[0]).await;
    assert_tells(&read(&site).await, &["agents_connected 0"]);
}

#[tokio::test]
async fn every_line_is_what_prometheus_reads() {
    let site = Site::start().await;
    let text = read(&site).await;
    let mut described = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(described.insert(name), "{name} twice");
            assert!(["gauge", "counter"].contains(&kind), "{line}");
        } else if !line.starts_with("# HELP ") {
            let (metric, value) = line.rsplit_once(' ').unwrap();
            let name = metric.split('{').next().unwrap();
            assert!(described.contains(name), "{line}");
            value.parse::<f64>().unwrap();
        }
    }
    assert!(described.len() > 10, "{text}");
}
