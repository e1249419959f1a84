//! What a decision says, in one word each.

use super::*;

pub(super) fn planned(decision: &Decision) -> bool {
    decision
        .messages
        .iter()
        .any(|sent| matches!(sent, Delivery::Plan { .. }))
}

pub(super) fn messages(decision: &Decision) -> impl Iterator<Item = &ServiceMessage> {
    decision.messages.iter().filter_map(|sent| {
        if let Delivery::Message(_, message) = sent {
            Some(message)
        } else {
            None
        }
    })
}

pub(super) fn refused(decision: &Decision) -> Option<ErrorCode> {
    messages(decision).find_map(|message| {
        if let ServiceMessage::CardPlan(plan) = message
            && let Plan::Refuse { code, .. } = plan.plan
        {
            Some(code)
        } else {
            None
        }
    })
}

pub(super) fn cancelled(decision: &Decision) -> Option<ErrorCode> {
    messages(decision).find_map(|message| {
        if let ServiceMessage::Cancel { code, .. } = message {
            Some(*code)
        } else {
            None
        }
    })
}

pub(super) fn jobs_sent(decision: &Decision) -> Vec<JobId> {
    let sent = messages(decision).filter_map(|message| {
        if let ServiceMessage::Job(Job { job_id, .. }) = message {
            Some(*job_id)
        } else {
            None
        }
    });
    sent.collect()
}

pub(super) fn issued(decision: &Decision) -> bool {
    decision
        .changes
        .iter()
        .any(|change| matches!(change, Change::Issue(_)))
}
