//! What an agent says is wrong with itself, as `/health` shows it.

use encoder_protocols::wire::AgentMessage;
use serde_json::{Value, json};

use super::fake::Site;

async fn shown(site: &Site) -> (Value, Value) {
    let answer = site.bench.get("/health").await;
    let services = answer.ok("service_health_statuses").as_array().unwrap();
    let agents = services.iter().find(|row| row["service"] == "agents");
    let status = agents.unwrap()["status"].clone();
    (status, answer.ok("agents_with_problems").clone())
}

/// The service takes an inventory in its own time.
async fn shown_once(site: &Site, is_so: impl Fn(&Value) -> bool) -> (Value, Value) {
    let mut commits = site.bench.state.desk.commits();
    loop {
        commits.mark_unchanged();
        let (status, agents) = shown(site).await;
        if is_so(&agents) {
            return (status, agents);
        }
        tokio::select! {
            _ = commits.changed() => {}
            () = tokio::task::yield_now() => {}
        }
    }
}

#[tokio::test]
async fn a_connected_agents_problems_are_shown_until_it_says_otherwise_or_leaves() {
    let site = Site::start().await;
    let (mut agent, _) = site.desk("desk").await;
    assert_eq!(shown(&site).await, (json!("healthy"), json!([])));
    let say = |problems: &[&str]| AgentMessage::Inventory {
        encoders: vec![],
        problems: problems.iter().map(ToString::to_string).collect(),
    };
    let long = "x".repeat(10_000);
    agent
        .say(say(&["a damaged journal was set aside", &long]))
        .await;
    let (status, agents) = shown_once(&site, |agents| *agents != json!([])).await;
    assert_eq!(status, "degraded");
    assert_eq!(agents[0]["name"], "desk");
    let problems = agents[0]["problems"].as_array().unwrap();
    assert_eq!(problems[0], "a damaged journal was set aside");
    assert_eq!(problems[1].as_str().unwrap().len(), 300);

    agent.say(say(&[])).await;
    let (status, _) = shown_once(&site, |agents| *agents == json!([])).await;
    assert_eq!(status, "healthy");

    agent.say(say(&["the disk is full"])).await;
    shown_once(&site, |agents| *agents != json!([])).await;
    drop(agent);
    let (status, _) = shown_once(&site, |agents| *agents == json!([])).await;
    assert_eq!(status, "healthy");
}
