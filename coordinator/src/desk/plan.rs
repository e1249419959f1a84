//! The plan of a binding, made from what the binding fixed and the system's keys.

use encoder_protocols::wire::{CardPlan, ErrorCode, JobKind, Plan, PlanPurpose, ServiceMessage};
use sqlx::SqliteConnection;

use crate::{
    access_system::AccessSystem,
    jobs::{Binding, JobRecord},
    key_server,
    secrets::MasterKey,
    store::StoreError,
};

/// The message that carries the plan of a bound job.
pub(super) async fn plan_message(
    conn: &mut SqliteConnection,
    master_key: &MasterKey,
    job: &JobRecord,
    purpose: Option<PlanPurpose>,
) -> Result<ServiceMessage, StoreError> {
    let system = AccessSystem::load(conn, master_key, job.system.0).await?;
    let (n, uid) = job
        .binding
        .as_ref()
        .map_or((0, None), |binding| (binding.n, binding.uid));
    let plan = job.binding.as_ref().map_or_else(no_plan, |binding| {
        plan(master_key, &system, job, binding, purpose)
    });
    Ok(ServiceMessage::CardPlan(CardPlan {
        job_id: job.id,
        n,
        uid,
        plan,
    }))
}

fn plan(
    master_key: &MasterKey,
    system: &AccessSystem,
    job: &JobRecord,
    binding: &Binding,
    purpose: Option<PlanPurpose>,
) -> Plan {
    if job.kind == JobKind::Scan {
        let plan = system.read_plan(&binding.card);
        return Plan::Read { plan };
    }
    let (Some(credential), Some(content)) = (job.credential, &binding.content) else {
        return no_plan();
    };
    let image = match &content.image {
        None => system.image(&binding.card, credential.0, content),
        Some(sealed) => match key_server::open(master_key, job.id, binding.n, sealed) {
            Some(image) => Ok(image),
            None => return no_plan(),
        },
    };
    match image {
        Ok(image) => match purpose {
            Some(PlanPurpose::Verify) => Plan::Verify { image },
            None => Plan::Write { image },
        },
        Err(error) => Plan::Refuse {
            code: ErrorCode::UncategorizedError,
            message: error.to_string(),
        },
    }
}

/// A bound job always has its plan's content; a store that lost it makes no guess.
fn no_plan() -> Plan {
    Plan::Refuse {
        code: ErrorCode::UncategorizedError,
        message: "the store has lost what this plan is made of; make a new credential".to_owned(),
    }
}
