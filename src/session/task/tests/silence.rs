//! Lines that carry nothing any more.

use super::*;

#[tokio::test]
async fn silence_is_a_dead_link_and_pings_keep_it_alive() {
    let mut bench = Bench::new().await;
    let (mut coordinator, connection) = bench.open(400).await;
    for _ in 0..4 {
        let ping = soon(coordinator.stream.next()).await.unwrap().unwrap();
        assert!(matches!(ping, Message::Ping(_)), "{ping:?}");
        coordinator.stream.flush().await.unwrap();
    }
    assert!(bench.events.is_empty());
    assert_eq!(bench.disconnected().await, connection);
    bench.open(10_000).await;
}

#[tokio::test]
async fn a_half_open_link_is_found_within_45_seconds() {
    let mut bench = Bench::new().await;
    let (coordinator, _) = bench.open(600_000).await;
    // The other end takes every byte and never answers; from here on the timers alone move time.
    let mut line = coordinator.stream.into_inner();
    tokio::time::pause();
    let silent_since = tokio::time::Instant::now();
    let mut heard = Vec::new();
    line.read_to_end(&mut heard).await.unwrap();
    let found = silent_since.elapsed();
    assert!(!heard.is_empty(), "it never pinged");
    assert!(found <= Duration::from_secs(45), "{found:?}");
    let event = bench.events.recv().await;
    assert!(matches!(event, Some(SessionEvent::Disconnected { .. })));
}

#[tokio::test]
async fn our_pings_are_answered_while_nothing_else_happens() {
    let mut bench = Bench::new().await;
    let (mut coordinator, _) = bench.open(60_000).await;
    coordinator.send(Message::Ping(vec![7].into())).await;
    let pong = soon(coordinator.stream.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong(vec![7].into()));
}

#[tokio::test]
async fn a_coordinator_that_takes_nothing_is_given_up() {
    let mut bench = Bench::new().await;
    let (mut coordinator, connection) = bench.open(300).await;
    let outgoing = bench.outgoing.clone();
    let flood = tokio::spawn(async move {
        let message = AgentMessage::Unsupported {
            message_type: "x".repeat(100_000),
        };
        while outgoing
            .send(Outgoing {
                connection,
                message: message.clone(),
            })
            .await
            .is_ok()
        {}
    });
    let ended = async {
        loop {
            tokio::select! {
                connection = bench.disconnected() => return connection,
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    let ping = Message::Ping(Vec::new().into());
                    let _ = coordinator.stream.send(ping).await;
                }
            }
        }
    };
    assert_eq!(soon(ended).await, connection);
    flood.abort();
}
