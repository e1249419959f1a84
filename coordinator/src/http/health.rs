//! `/health`: whether the service works; needs no key, so it names no guest, card or door.

use axum::extract::State;
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::{Answer, Reply, Routes, open, time_json};
use crate::{
    jobs::AgentId,
    state::AppState,
    store::{StoreError, agents},
};

/// How many problems of an agent are shown: it says what it likes.
const MOST_PROBLEMS: usize = 8;

/// How much of a problem is shown, in characters.
const LONGEST_PROBLEM: usize = 300;

pub(super) fn routes() -> Routes {
    Routes::new().route(
        "/health",
        "Tells whether the service works.",
        open(get).answers(schema),
    )
}

/// What [`get`] answers.
fn schema() -> Value {
    let agent = json!({
        "type": "object",
        "properties": {
            "agent_id": {"type": "string", "format": "uuid"},
            "name": {"type": ["string", "null"]},
        },
        "required": ["agent_id", "name"],
    });
    let mut troubled = agent.clone();
    troubled["properties"]["problems"] = json!({"type": "array", "items": {"type": "string"}});
    let state = json!({"type": "string", "enum": ["healthy", "degraded", "down"]});
    json!({
        "type": "object",
        "properties": {
            "ok": {"type": "boolean"},
            "msg": {"type": "string"},
            "last_service_evaluation_at": {"type": "string", "format": "date-time"},
            "service_health_statuses": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "service": {"type": "string"},
                    "status": state,
                    "description": {"type": "string"},
                },
                "required": ["service", "status", "description"],
            }},
            "agents_with_problems": {"type": "array", "items": troubled},
            "awaited_agents": {"type": "array", "items": agent},
        },
        "required": [
            "ok", "msg", "last_service_evaluation_at", "service_health_statuses", "agents_with_problems",
            "awaited_agents",
        ],
    })
}

/// Reads from the store, so that an answer means that it can be open, and tells whether the last decision could be
/// stored. After a restore it names the agents that must be heard before credentials of the backup go onto cards, and at all
/// times those that say that something is wrong with themselves.
async fn get(State(state): State<AppState>) -> Answer {
    let awaited = awaited_agents(&state).await?;
    let troubled = troubled_agents(&state).await?;
    let (status, description) = if !state.desk.stores() {
        (
            "down",
            "The store cannot be written, so nothing is encoded or scanned: the log says why. It is tried again all the time.",
        )
    } else if !awaited.is_empty() {
        (
            "degraded",
            "The store was restored from a backup: connect the awaited agents.",
        )
    } else {
        ("healthy", "The store answers.")
    };
    let (agents, words) = if troubled.is_empty() {
        ("healthy", "No agent reports a problem.")
    } else {
        (
            "degraded",
            "Agents report problems: agents_with_problems names them.",
        )
    };
    Ok(Reply::done()
        .with("msg", "the service works")
        .with("last_service_evaluation_at", time_json(state.clock.utc()))
        .with(
            "service_health_statuses",
            json!([
                {"service": "store", "status": status, "description": description},
                {"service": "agents", "status": agents, "description": words},
            ]),
        )
        .with("agents_with_problems", troubled)
        .with("awaited_agents", awaited))
}

async fn awaited_agents(state: &AppState) -> Result<Vec<Value>, StoreError> {
    let mut conn = state.store.read().await?;
    let mut awaited = Vec::new();
    for id in agents::restored(&mut conn).await?.awaited {
        let name = name_of(&mut conn, id).await?;
        awaited.push(json!({"agent_id": id.0, "name": name}));
    }
    Ok(awaited)
}

async fn troubled_agents(state: &AppState) -> Result<Vec<Value>, StoreError> {
    let mut troubled = Vec::new();
    let problems = state.desk.problems();
    if problems.is_empty() {
        return Ok(troubled);
    }
    let mut conn = state.store.read().await?;
    for (id, problems) in problems {
        let name = name_of(&mut conn, id).await?;
        let problems: Vec<String> = problems
            .iter()
            .take(MOST_PROBLEMS)
            .map(|problem| shorten(problem))
            .collect();
        troubled.push(json!({"agent_id": id.0, "name": name, "problems": problems}));
    }
    Ok(troubled)
}

fn shorten(problem: &str) -> String {
    problem.chars().take(LONGEST_PROBLEM).collect()
}

async fn name_of(conn: &mut SqliteConnection, id: AgentId) -> Result<Option<String>, StoreError> {
    let agent = agents::by_id(conn, id.0).await?;
    Ok(agent.map(|agent| agent.name))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};

    use super::*;
    use crate::http::bench::Bench;

    async fn health(bench: &Bench) -> crate::http::bench::Answered {
        let request = Request::get("/health").header("host", "localhost:8480");
        bench.send(request.body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn it_needs_no_key() {
        let bench = Bench::start().await;
        let answer = health(&bench).await;
        assert_eq!(answer.ok("msg"), &json!("the service works"));
        assert_eq!(answer.ok("awaited_agents"), &json!([]));
    }

    #[tokio::test]
    async fn it_names_the_agents_that_a_restored_store_awaits() {
        let bench = Bench::start().await;
        let now = bench.state.clock.utc();
        let mut conn = bench.state.store.write().await.unwrap();
        let (agent, _) = agents::create(&mut conn, bench.system, "Front desk", now)
            .await
            .unwrap();
        agents::note_restored(&mut conn, true, now).await.unwrap();
        conn.commit().await.unwrap();
        let answer = health(&bench).await;
        assert_eq!(
            answer.ok("awaited_agents"),
            &json!([{"agent_id": agent.agent_id, "name": "Front desk"}])
        );
        assert_eq!(
            answer.ok("service_health_statuses")[0]["status"],
            json!("degraded")
        );
    }
}
