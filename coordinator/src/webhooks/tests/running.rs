//! The courier's task with the real client, over real sockets.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::world::{Act, World};
use crate::{
    clock::Clock,
    outbound::{Client, Reach, SystemResolver, client_config},
    state::StopSignal,
    store::deliveries::DeliveryState,
    webhooks::{Courier, Post},
};

/// Takes one request, answers 200, and returns what it got.
async fn take_one(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
    }
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    String::from_utf8(request).unwrap()
}

#[tokio::test]
async fn a_recorded_event_goes_out_at_once_and_the_task_ends_when_told() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let id = world.webhook(&url, &["*"], Act::Hang).await;
    let tls = client_config(None).unwrap();
    let client = Client::new(Reach::Private, Arc::new(SystemResolver), tls);
    let courier = Courier::new(world.store.clone(), Arc::new(client) as Arc<dyn Post>);
    let stop = StopSignal::default();
    let running = tokio::spawn(courier.run(Clock::start(), stop.clone()));
    let first = world.issue(1).await;
    let request = take_one(&listener).await;
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains(&format!("\r\nsvix-id: {first}\r\n")),
        "{request}"
    );
    let second = world.issue(1).await;
    assert!(
        take_one(&listener)
            .await
            .contains(&format!("\r\nsvix-id: {second}\r\n"))
    );
    let mut written = world.store.written();
    while world.states(id).await != [DeliveryState::Delivered; 2] {
        written.changed().await.unwrap();
    }
    stop.stop();
    running.await.unwrap();
}

#[tokio::test]
async fn stopping_does_not_wait_for_an_endpoint_that_hangs() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let id = world.webhook(&url, &["*"], Act::Hang).await;
    let client = Client::new(
        Reach::Private,
        Arc::new(SystemResolver),
        client_config(None).unwrap(),
    );
    let courier = Courier::new(world.store.clone(), Arc::new(client) as Arc<dyn Post>);
    let stop = StopSignal::default();
    let running = tokio::spawn(courier.run(Clock::start(), stop.clone()));
    world.issue(1).await;
    let (_open, _) = listener.accept().await.unwrap();
    stop.stop();
    tokio::time::timeout(Duration::from_secs(10), running)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(world.states(id).await, [DeliveryState::Pending]);
    assert_eq!(world.deliveries(id).await[0].attempts, 0);
}
