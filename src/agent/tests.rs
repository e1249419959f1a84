#[cfg(unix)]
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../tests/desk/coordinator.rs"]
mod coordinator;

use std::path::Path;

use super::*;
use crate::{config::Layers, pulse::tests::beats};

/// How long a test waits before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

fn agent(state_dir: &Path, stop: &CancellationToken) -> Agent {
    let text = format!(
        "state_dir = '{}'\n[coordinator]\nurl = \"ws://127.0.0.1:1\"\ntoken = \"t\"\n\
         [discovery]\nenabled = false\n\
         [[encoder]]\nname = \"One\"\ndriver = \"pn532\"\nport = \"/dev/no-such-port\"\n",
        state_dir.display()
    );
    let settings = Settings::parse(&text, &Layers::default()).unwrap();
    Agent::prepare(&settings, stop.clone()).unwrap()
}

#[tokio::test]
async fn it_stops_when_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(agent(directory.path(), &stop).run());
    stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, running).await;
    ended.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_part_that_ends_by_itself_ends_the_agent_with_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let mut agent = agent(directory.path(), &stop);
    // An encoder's task ends when nobody commands it.
    agent.runner.encoders.clear();
    let ended = tokio::time::timeout(PATIENCE, agent.run()).await;
    assert!(matches!(ended.unwrap(), Err(AgentError::Died)));
    assert!(stop.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn neither_a_lost_link_nor_a_silent_encoder_is_a_want_of_life() {
    let directory = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let agent = agent(directory.path(), &stop);
    let pulse = agent.pulse();
    let running = tokio::spawn(agent.run());
    let time = Duration::from_secs(605);
    assert_eq!(beats(&pulse, time).await, 60);
    assert!(pulse.silent().borrow().is_empty());
    let stuck = pulse.task("stuck");
    assert_eq!(beats(&pulse, time).await, 0);
    assert_eq!(*pulse.silent().borrow(), ["stuck"]);
    drop(stuck);
    // The journal's thread knows nothing of the runtime's time.
    tokio::time::resume();
    stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, running).await;
    ended.unwrap().unwrap().unwrap();
}

#[cfg(unix)]
mod stripes {
    use encoder_protocols::msr605::emulator::{Pace, StripeKind, Swiped};

    use super::{coordinator::Coordinator, *};
    use crate::emulation::PtyMsr605;

    /// How often the test looks at the encoder.
    const LOOK: Duration = Duration::from_millis(2);

    /// As long as a swipe is awaited, and a little longer.
    const TOO_LONG: Duration = Duration::from_secs(31);

    fn settings(coordinator: &Coordinator, port: &Path, state_dir: &Path) -> Settings {
        let text = format!(
            "state_dir = {state_dir:?}\n[coordinator]\nurl = {:?}\ntoken = {:?}\n[discovery]\nenabled = false\n\
             [[encoder]]\nname = \"One\"\ndriver = \"msr605\"\nport = {port:?}\n",
            coordinator.endpoint, coordinator.demo.agent_token
        );
        Settings::parse(&text, &Layers::default()).unwrap()
    }

    async fn waits(encoder: &PtyMsr605) {
        let waits = async {
            while !encoder.waits().unwrap() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, waits).await.unwrap();
    }

    /// Lets the agent's time jump, as that of a PC that slept.
    async fn pass(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    #[tokio::test]
    async fn without_a_second_swipe_in_time_a_stripe_is_interrupted_and_its_credential_spent() {
        let directory = tempfile::tempdir().unwrap();
        let port = directory.path().join("encoder");
        let encoder = PtyMsr605::start(Some(&port), Pace::INSTANT).unwrap();
        encoder.create("key", StripeKind::HiCo).unwrap();
        let coordinator = Coordinator::start();
        let stop = CancellationToken::new();
        let settings = settings(&coordinator, &port, directory.path());
        let agent = Agent::prepare(&settings, stop.clone()).unwrap();
        let running = tokio::spawn(agent.run());
        let id = coordinator.encoder().await;
        let credential = coordinator.credential().await;

        // Nobody swipes at all: nothing was written, and the credential stays free.
        let attempt = coordinator.encode(&id, &credential).await;
        waits(&encoder).await;
        pass(TOO_LONG).await;
        let ended = coordinator.ended(&attempt).await;
        assert_eq!(ended["error"]["type"], "no_card_on_encoder", "{ended}");
        assert_eq!(ended["error"]["touched"], "untouched", "{ended}");

        let attempt = coordinator.encode(&id, &credential).await;
        waits(&encoder).await;
        assert_eq!(encoder.swipe("key").unwrap(), Swiped::Written);
        waits(&encoder).await;
        pass(TOO_LONG).await;
        let ended = coordinator.ended(&attempt).await;
        assert_eq!(ended["error"]["type"], "encoding_interrupted", "{ended}");
        assert_eq!(ended["error"]["touched"], "unknown", "{ended}");
        let message = ended["error"]["message"].as_str().unwrap();
        assert!(message.contains("create a new credential"), "{message}");
        let again = coordinator.encode(&id, &credential).await;
        assert_eq!(
            again["error"]["type"], "credential_cannot_be_reissued",
            "{again}"
        );
        stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, running).await;
        ended.unwrap().unwrap().unwrap();
    }
}
