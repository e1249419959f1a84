//! What an integrator does, step by step, over HTTP.

#![allow(clippy::print_stdout, reason = "the demo talks to a person")]

use std::{
    error::Error,
    io::{self, BufRead},
    time::Duration,
};

use encoder_agent::platform::StopSignals;
use encoder_protocols::card::virtual_card::CardKind;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::desk::Desk;

const POLL_INTERVAL: Duration = Duration::from_millis(50);
const PATIENCE: u32 = 600;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Shows one encode and one scan; with `stay` it then takes commands for the encoder until `quit`.
pub(crate) fn run(stay: bool) -> Fallible<()> {
    println!("starting coordinator, agent and an emulated PN532 on a pseudo-terminal …");
    let desk = Desk::open_in(&std::env::temp_dir(), "")?;
    let api = Api {
        endpoint: desk.endpoint.clone(),
        key: desk.demo.api_key.clone(),
    };
    println!("coordinator listens on {}", api.endpoint);

    let system = desk.demo.acs_system_id;
    let encoder = api.encoder(&json!({ "acs_system_id": system }))?;
    println!(
        "encoder: {} ({})",
        text(&encoder["display_name"]),
        text(&encoder["acs_encoder_id"])
    );

    let user = api.post(
        "/acs/users/create",
        &json!({ "acs_system_id": system, "full_name": "Jane Doe" }),
    )?;
    println!("user: {}", text(&user["acs_user"]["full_name"]));
    let created = api.post(
        "/acs/credentials/create",
        &json!({
            "acs_user_id": user["acs_user"]["acs_user_id"],
            "access_method": "card",
            "allowed_acs_entrance_ids": desk.demo.acs_entrance_ids,
            "starts_at": "2026-12-01T15:00:00.000Z",
            "ends_at": "2026-12-04T12:00:00.000Z",
        }),
    )?;
    let credential = &created["acs_credential"];
    println!(
        "credential: {} (issued: {})",
        text(&credential["acs_credential_id"]),
        credential["is_issued"]
    );

    let card = desk.encoder.place_new(CardKind::Classic1k, None)?;
    println!("card on the encoder: {card}");
    let encoded = api.attempt(
        "/acs/encoders/encode_credential",
        &json!({
            "acs_encoder_id": encoder["acs_encoder_id"],
            "acs_credential_id": credential["acs_credential_id"],
        }),
    )?;
    let scanned = api.attempt(
        "/acs/encoders/scan_credential",
        &json!({ "acs_encoder_id": encoder["acs_encoder_id"] }),
    )?;

    let number = &encoded["result"]["card_number"];
    println!(
        "encoded: card_number {}, issued_at {}",
        text(number),
        text(&encoded["result"]["issued_at"])
    );
    let on_card = &scanned["result"]["acs_credential_on_encoder"];
    println!(
        "scanned: card_number {}, valid {} to {}, warnings {}",
        text(&on_card["card_number"]),
        text(&on_card["starts_at"]),
        text(&on_card["ends_at"]),
        scanned["result"]["warnings"],
    );
    if on_card["card_number"] != *number || *number != json!(card.uid.to_string()) {
        return Err("the card that was scanned is not the one that was encoded".into());
    }
    if stay {
        keep_running(&desk, &api)?;
    }
    println!("stopping");
    Ok(())
}

/// Takes commands for the encoder from the person at the terminal.
fn keep_running(desk: &Desk, api: &Api) -> Fallible<()> {
    println!();
    println!("endpoint:      {}", api.endpoint);
    println!("api key:       {}", api.key);
    println!("acs_system_id: {}", desk.demo.acs_system_id);
    println!("entrances:     {}", json!(desk.demo.acs_entrance_ids));
    println!(
        "Type `remove` to take the card away, `place classic-1k` to put a new one down, `help` for more, `quit` to end."
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(until_quit(desk))
}

/// Carries out lines of standard input until `quit` or a signal. The end of standard input ends nothing, so that the demo
/// can run in the background.
async fn until_quit(desk: &Desk) -> Fallible<()> {
    let mut signals = StopSignals::listen()?;
    let (typed, mut lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if typed.blocking_send(line).is_err() {
                return;
            }
        }
    });
    loop {
        let line: String = tokio::select! {
            () = signals.next() => return Ok(()),
            Some(line) = lines.recv() => line,
        };
        match line.trim() {
            "" => {}
            "quit" => return Ok(()),
            "help" => println!("{}", encoder_agent::emulation::HELP),
            command => match desk.encoder.command(command) {
                Ok(answer) => println!("ok {answer}"),
                Err(error) => println!("error {error}"),
            },
        }
    }
}

/// The HTTP API with a key to it.
struct Api {
    endpoint: String,
    key: String,
}

impl Api {
    fn post(&self, path: &str, body: &Value) -> Fallible<Value> {
        let mut answer = ureq::post(format!("{}{path}", self.endpoint))
            .header("authorization", format!("Bearer {}", self.key))
            .config()
            .http_status_as_error(false)
            .build()
            .send_json(body)?;
        let body: Value = answer.body_mut().read_json()?;
        if body["ok"] == json!(true) {
            Ok(body)
        } else {
            Err(format!("{path} answered {}: {}", answer.status(), body["error"]).into())
        }
    }

    /// The system's encoder, once the agent has brought it.
    fn encoder(&self, body: &Value) -> Fallible<Value> {
        for _ in 0..PATIENCE {
            let listed = self.post("/acs/encoders/list", body)?;
            if let Some(encoder) = listed["acs_encoders"].get(0) {
                return Ok(encoder.clone());
            }
            pause();
        }
        Err("the agent brought no encoder".into())
    }

    /// Asks for something that takes its time, and polls its action attempt to the end, printing each change.
    fn attempt(&self, path: &str, body: &Value) -> Fallible<Value> {
        let mut attempt = self.post(path, body)?["action_attempt"].clone();
        println!("POST {path}\n  {attempt}");
        for _ in 0..PATIENCE {
            if attempt["status"] != json!("pending") {
                println!("  {attempt}");
                return match attempt["status"].as_str() {
                    Some("success") => Ok(attempt),
                    _ => Err(format!("the attempt failed: {}", attempt["error"]).into()),
                };
            }
            pause();
            let asked = json!({ "action_attempt_id": attempt["action_attempt_id"] });
            attempt = self.post("/action_attempts/get", &asked)?["action_attempt"].clone();
        }
        Err("the attempt did not end".into())
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a person's program that polls, as SDKs do"
)]
fn pause() {
    std::thread::sleep(POLL_INTERVAL);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("(none)")
}
