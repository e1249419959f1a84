//! What a status amounts to, for monitors and for people.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// An agent where all is well: one encoder, connected, nothing to do.
pub(crate) fn well() -> Status {
    let since = at("2026-11-22T08:00:00Z");
    let mut status = Status {
        health: Health {
            state: HealthState::Down,
            problems: Vec::new(),
        },
        agent: AgentStatus {
            version: "1.2.3".to_owned(),
            os: "Debian".to_owned(),
            hostname: "desk".to_owned(),
            agent_id: Uuid::from_u128(1),
            process_id: 77,
            started_at: since,
            uptime_s: 3_725,
        },
        config: ConfigStatus {
            file: "/etc/encoder-agent/agent.toml".into(),
            read_at: since,
            refused: None,
            after_restart: Vec::new(),
        },
        coordinator: CoordinatorStatus {
            url: "wss://keys.example.com".to_owned(),
            proxy: None,
            token: "in /etc/encoder-agent/token".to_owned(),
            state: SessionState::Connected,
            since,
            sessions: 1,
            last_problem: None,
            view: None,
        },
        encoders: vec![encoder("Front Desk")],
        journal: JournalStatus {
            state_dir: "/var/lib/encoder-agent".into(),
            problem: None,
            found: Vec::new(),
            open_jobs: 0,
            owed_outcomes: 0,
            free_bytes: Some(4 << 30),
        },
        jobs: Tally::default(),
        problems: Vec::new(),
    };
    status.health = Health::of(&status);
    status
}

fn encoder(name: &str) -> EncoderStatus {
    EncoderStatus {
        key: EncoderKey(format!("port:/dev/{name}")),
        name: name.to_owned(),
        driver: "pn532".to_owned(),
        port: "/dev/ttyUSB0".into(),
        state: EncoderState::Ready,
        problem: None,
        model: Some("PN532".to_owned()),
        serial: None,
        firmware: Some("1.6".to_owned()),
        adopted: true,
        simulated: false,
        job: None,
        waiting: 0,
    }
}

fn health(change: impl FnOnce(&mut Status)) -> Health {
    let mut status = well();
    change(&mut status);
    Health::of(&status)
}

#[test]
fn all_is_well_when_the_whole_chain_works() {
    assert_eq!(well().health.state, HealthState::Ok);
    assert_eq!(well().health.problems, Vec::<String>::new());
}

#[test]
fn a_broken_link_of_the_chain_is_down_and_names_itself() {
    let cut = health(|status| {
        status.coordinator.state = SessionState::Waiting;
        status.coordinator.last_problem = Some(Told {
            at: at("2026-11-22T08:00:00Z"),
            text: "the token was refused".to_owned(),
        });
    });
    assert_eq!(cut.state, HealthState::Down);
    assert_eq!(
        cut.problems,
        ["not connected to wss://keys.example.com: the token was refused"]
    );
    let full = health(|status| status.journal.problem = Some("the disk is full".to_owned()));
    assert_eq!(full.state, HealthState::Down);
    let none = health(|status| status.encoders.clear());
    assert_eq!(none.state, HealthState::Down);
    assert!(none.problems[0].contains("no encoder is plugged in"));
    let silent = health(|status| {
        status.encoders[0].state = EncoderState::Fault;
        status.encoders[0].problem = Some("no such port".to_owned());
    });
    assert_eq!(silent.state, HealthState::Down);
    assert_eq!(silent.problems, ["encoder Front Desk: no such port"]);
}

#[test]
fn what_works_and_should_be_looked_at_is_degraded_and_stands_behind_what_does_not_work() {
    let one_of_two = |status: &mut Status| {
        status.encoders.push(EncoderStatus {
            state: EncoderState::Absent,
            ..encoder("Bar")
        });
    };
    let health_of = health(one_of_two);
    assert_eq!(health_of.state, HealthState::Degraded);
    assert_eq!(health_of.problems, ["encoder Bar: it does not answer"]);
    for change in [
        (|status: &mut Status| status.config.refused = Some("bad".to_owned())) as fn(&mut Status),
        |status| status.journal.found.push("set aside".to_owned()),
        |status| status.journal.free_bytes = Some(1024),
        |status| status.problems.push("two devices".to_owned()),
    ] {
        let told = health(change);
        assert_eq!(
            (told.state, told.problems.len()),
            (HealthState::Degraded, 1)
        );
    }
    let both = health(|status| {
        one_of_two(status);
        status.coordinator.state = SessionState::Connecting;
    });
    assert!(both.problems[0].starts_with("not connected"), "{both:?}");
    assert_eq!(both.problems.len(), 2);
}

#[test]
fn people_read_what_an_encoder_waits_for() {
    let mut status = well();
    status.encoders[0].state = EncoderState::Busy;
    status.encoders[0].waiting = 2;
    status.encoders[0].job = Some(JobStatus {
        job_id: JobId(Uuid::from_u128(9)),
        kind: JobKind::Encode,
        stage: JobStage::Waiting,
        waits_for: Some("a card".to_owned()),
        age_s: 12,
    });
    let text = lines(&status).join("\n");
    for expected in [
        "health       ok",
        "running for 1 h 2 min",
        "wss://keys.example.com: connected since 2026-11-22T08:00:00Z",
        "encoder      Front Desk: busy",
        "pn532 at /dev/ttyUSB0, key port:/dev/Front Desk: PN532, 1.6",
        "12 s old: waiting, waits for a card; 2 behind it",
        "4096 MiB free, 0 open jobs",
    ] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
}

#[test]
fn times_are_said_in_their_two_largest_units() {
    for (seconds, expected) in [
        (0, "0 s"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (3_600, "1 h 0 min"),
        (90_000, "1 d 1 h"),
    ] {
        let time = std::time::Duration::from_secs(seconds);
        assert_eq!(duration(time), expected);
    }
}

#[test]
fn metrics_are_whole_and_their_labels_escaped() {
    let mut status = well();
    status.encoders[0].name = "the \"bar\"\n\\".to_owned();
    let text = metrics(&status);
    assert!(text.contains("encoder_agent_info{version=\"1.2.3\"} 1\n"));
    assert!(text.contains("encoder_agent_healthy 1\n"));
    assert!(text.contains("name=\"the \\\"bar\\\"\\n\\\\\",driver=\"pn532\"} 1\n"));
    assert!(text.contains("encoder_agent_jobs_total{kind=\"encode\",outcome=\"error\"} 0\n"));
    // Each line is a comment, or a name, labels and a number; each name has its help and type before it.
    let mut families = Vec::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            families.push(family.split(' ').next().unwrap());
        } else if !line.starts_with('#') {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            assert_eq!(families.last(), Some(&name), "{line}");
            value.parse::<f64>().unwrap();
        }
    }
    let mut once = families.clone();
    once.dedup();
    assert_eq!(families, once);
}

#[test]
fn ended_jobs_are_counted_with_their_times() {
    use std::time::Duration;

    use encoder_protocols::wire::{ErrorCode, Touched};

    let end = crate::jobs::JobEnd {
        job_id: JobId(Uuid::from_u128(9)),
        encoder_key: EncoderKey("port:a".to_owned()),
        kind: JobKind::Scan,
        error: None,
        touched: Touched::Untouched,
        queued: Duration::from_secs(1),
        waited: Duration::from_secs(2),
        planned: Duration::ZERO,
        worked: Duration::from_millis(500),
    };
    let mut tally = Tally::default();
    tally.count(&end, at("2026-11-22T08:00:00Z"));
    let failed = crate::jobs::JobEnd {
        error: Some(ErrorCode::NoCardOnEncoder),
        ..end
    };
    tally.count(&failed, at("2026-11-22T08:00:01Z"));
    assert_eq!((tally.scans.succeeded, tally.scans.failed), (1, 1));
    assert_eq!(tally.scans.seconds.waited, 4.0);
    assert_eq!(tally.encodes, Counts::default());
    let last = tally.last_error.unwrap();
    assert_eq!(last.code, ErrorCode::NoCardOnEncoder);
    assert_eq!(last.at, at("2026-11-22T08:00:01Z"));
}

#[test]
fn a_status_passes_through_json_unchanged() {
    let text = serde_json::to_string(&well()).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), well());
}
