use std::{
    fs::File,
    io::{Read, Write},
    os::unix::fs::symlink,
    path::Path,
    time::Duration,
};

use encoder_protocols::pn532::frame::{ACK, Direction, Frame, FrameDecoder, encode_information};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::{super::one_line, *};

/// Reading a card may take its time on a busy machine; nothing here waits for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// The host's end of the line.
struct Host {
    port: File,
    decoder: FrameDecoder,
}

impl Host {
    fn open(path: &Path) -> Self {
        let port = File::options().read(true).write(true).open(path).unwrap();
        Self {
            port,
            decoder: FrameDecoder::new(),
        }
    }

    fn wake(&mut self) {
        self.port.write_all(&[0x55, 0x55, 0, 0, 0, 0]).unwrap();
        assert_eq!(self.ask(&[0x14, 0x01]), [0x15]);
    }

    /// Sends a command and answers the payload of its response.
    fn ask(&mut self, payload: &[u8]) -> Vec<u8> {
        let frame = encode_information(Direction::HostToChip, payload).unwrap();
        self.port.write_all(&frame).unwrap();
        assert_eq!(self.frame(), Frame::Ack);
        let Frame::Information { payload, .. } = self.frame() else {
            panic!("expected a response");
        };
        payload
    }

    fn frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.decoder.poll() {
                return frame.unwrap();
            }
            let mut buffer = [0; 512];
            let count = self.port.read(&mut buffer).unwrap();
            self.decoder.push(&buffer[..count]);
        }
    }

    fn list(&mut self) -> Vec<u8> {
        self.ask(&[0x32, 0x05, 0xFF, 0x01, 0x01]);
        self.ask(&[0x4A, 1, 0])
    }
}

fn start(pace: Pace) -> (PtyEncoder, PathBuf) {
    let encoder = PtyEncoder::start(&EmulationOptions { link: None, pace }).unwrap();
    let path = encoder.path().unwrap().unwrap();
    (encoder, path)
}

#[test]
fn a_host_lists_and_writes_a_card_through_the_terminal() {
    let (encoder, path) = start(Pace::INSTANT);
    encoder.place_new(CardKind::Ntag213, None).unwrap();
    let mut host = Host::open(&path);
    host.wake();
    assert_eq!(host.list()[..8], [0x4B, 1, 1, 0x00, 0x44, 0x00, 7, 0x04]);
    assert_eq!(host.ask(&[0x40, 1, 0xA2, 6, 1, 2, 3, 4]), [0x41, 0]);
    assert_eq!(encoder.memory(None).unwrap()[24..28], [1, 2, 3, 4]);
    assert_eq!(encoder.writes(None).unwrap(), 1);
    assert_eq!(encoder.stats().unwrap().commands, 4);
}

#[test]
fn a_port_can_be_closed_and_opened_again_and_again() {
    let (encoder, path) = start(Pace::INSTANT);
    encoder.place_new(CardKind::Classic1k, None).unwrap();
    Host::open(&path).wake();
    for _ in 0..20 {
        let mut host = Host::open(&path);
        assert_eq!(host.list()[1], 1);
    }
}

#[test]
fn the_link_is_made_and_goes_with_the_emulator() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("tty");
    symlink(directory.path().join("gone"), &link).unwrap();
    let options = EmulationOptions {
        link: Some(link.clone()),
        pace: Pace::INSTANT,
    };
    let encoder = PtyEncoder::start(&options).unwrap();
    assert_eq!(encoder.path().unwrap(), Some(link.clone()));
    Host::open(&link).wake();
    let taken = PtyEncoder::start(&options).unwrap_err();
    assert!(matches!(taken, EmulationError::LinkTaken(path) if path == link));
    drop(encoder);
    assert!(link.symlink_metadata().is_err());

    File::create(&link).unwrap();
    let taken = PtyEncoder::start(&options).unwrap_err();
    assert!(
        taken
            .to_string()
            .contains("is no left-over link; remove it"),
        "{taken}"
    );
    assert!(link.exists());
}

#[test]
fn unplugging_ends_the_port_and_plugging_brings_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("tty");
    let encoder = PtyEncoder::start(&EmulationOptions {
        link: Some(link.clone()),
        pace: Pace::INSTANT,
    })
    .unwrap();
    encoder.place_new(CardKind::Ntag213, None).unwrap();
    let mut host = Host::open(&link);
    host.wake();
    encoder.unplug().unwrap();
    assert_eq!(encoder.path().unwrap(), None);
    assert!(link.symlink_metadata().is_err());
    let gone = host.port.read(&mut [0; 8]).map_or(0, |count| count);
    assert_eq!(gone, 0, "no bytes come from a port that is gone");
    assert!(host.port.write_all(&ACK).is_err());

    encoder.plug().unwrap();
    encoder.plug().unwrap();
    let mut host = Host::open(&link);
    host.wake();
    assert_eq!(host.list()[1], 1, "the card still lies there");
}

#[test]
fn a_waiting_search_ends_when_a_card_is_placed() {
    let (encoder, path) = start(Pace::INSTANT);
    let mut host = Host::open(&path);
    host.wake();
    let waiting = std::thread::spawn(move || host.ask(&[0x4A, 1, 0]));
    encoder.place_new(CardKind::Classic1k, None).unwrap();
    assert_eq!(waiting.join().unwrap()[1], 1);
}

#[test]
fn cards_keep_their_memory_under_their_name() {
    let (encoder, _) = start(Pace::INSTANT);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("card.bin");
    let say = |line: &str| {
        encoder
            .command(line)
            .unwrap_or_else(|error| error.to_string())
    };
    assert_eq!(say("new red ntag213"), "red ntag213 uid 04a1b2c3d4e5f6");
    assert_eq!(say("new blue ntag213"), "blue ntag213 uid 04a1b2c3d4e5f7");
    assert_eq!(
        say("new fixed ntag213 uid 04000000000001"),
        "fixed ntag213 uid 04000000000001"
    );
    assert_eq!(say("card"), "none");
    assert_eq!(say("place red"), "red ntag213 uid 04a1b2c3d4e5f6");
    assert_eq!(say("place red"), "red ntag213 uid 04a1b2c3d4e5f6");
    assert_eq!(say(&format!("dump {}", file.display())), "180 bytes");
    let mut memory = std::fs::read(&file).unwrap();
    memory[16..20].copy_from_slice(b"room");
    std::fs::write(&file, &memory).unwrap();
    say(&format!("load {}", file.display()));
    assert_eq!(say("swap blue"), "blue ntag213 uid 04a1b2c3d4e5f7");
    assert!(say("memory red").contains("726f6f6d"));
    assert!(!say("memory").contains("726f6f6d"));
    assert_eq!(say("swap red"), "red ntag213 uid 04a1b2c3d4e5f6");
    assert!(say("memory").contains("726f6f6d"));
    assert_eq!(say("place ntag215"), "card-1 ntag215 uid 04a1b2c3d4e5f6");
    assert_eq!(
        say("card"),
        "red ntag213 uid 04a1b2c3d4e5f6; card-1 ntag215 uid 04a1b2c3d4e5f6"
    );
    assert_eq!(say("remove card-1"), "card-1 ntag215 uid 04a1b2c3d4e5f6");
    assert_eq!(say("remove"), "red ntag213 uid 04a1b2c3d4e5f6");
    assert_eq!(encoder.cards().unwrap(), []);
    assert_eq!(encoder.place("card-1").unwrap().kind, CardKind::Ntag215);
    assert_eq!(encoder.remove().unwrap().len(), 1);
}

#[test]
fn wrong_commands_say_what_is_wrong_and_change_nothing() {
    let (encoder, _) = start(Pace::INSTANT);
    encoder.place_new(CardKind::Classic1k, None).unwrap();
    for (line, expected) in [
        ("", "unknown command \"\"; `help` lists the commands"),
        ("dance", "unknown command \"dance\""),
        ("place green", "no card is named \"green\""),
        ("swap green", "no card is named \"green\""),
        (
            "place green uid 01020304",
            "unknown card \"green\"; known: classic-mini",
        ),
        (
            "place ntag213 uid 01020304",
            "a ntag213 has no uid of 4 bytes; give 7 bytes",
        ),
        (
            "place ntag213 uid xyz",
            "expected a uid of 4, 7 or 10 bytes",
        ),
        ("new ntag213 ntag213", "the name \"ntag213\" is taken"),
        ("new card-1 ntag213", "the name \"card-1\" is taken"),
        ("remove green", "no card is named \"green\""),
        ("memory green", "no card is named \"green\""),
        ("load /nowhere/file", "/nowhere/file: "),
        ("fault no", "unknown fault \"no\"; known:"),
    ] {
        let error = encoder.command(line).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{line}: {error}");
        assert_eq!(
            encoder.command("card").unwrap(),
            "card-1 classic-1k uid deadbeef"
        );
    }
    encoder.place_new(CardKind::Classic1k, None).unwrap();
    let error = encoder.command("memory").unwrap_err().to_string();
    assert_eq!(
        error,
        "expected one card in the field, found 2; name the card"
    );
}

#[test]
fn faults_come_through_and_a_lifted_card_can_be_placed_again() {
    let (encoder, path) = start(Pace::INSTANT);
    let card = encoder.place_new(CardKind::Ntag213, None).unwrap();
    let mut host = Host::open(&path);
    host.wake();
    host.list();
    encoder.command("fault remove-card 1").unwrap();
    assert_eq!(host.ask(&[0x40, 1, 0x30, 0]), [0x41, 0x01]);
    assert_eq!(encoder.cards().unwrap(), []);
    encoder.place(&card.name).unwrap();
    encoder.command("fault status 1 0b").unwrap();
    encoder.command("fault none").unwrap();
    assert_eq!(host.list()[1], 1);
    assert_eq!(host.ask(&[0x40, 1, 0x30, 0])[..2], [0x41, 0]);
}

#[test]
fn help_names_every_command_that_is_understood() {
    let (encoder, _) = start(Pace::INSTANT);
    assert_eq!(one_line(" a\n  b "), "a; b");
    for word in [
        "place",
        "swap",
        "new",
        "dump",
        "fault",
        "plug",
        "stats",
        "random-uid",
    ] {
        assert!(encoder.command("help").unwrap().contains(word));
    }
    assert!(
        encoder
            .command("fault help")
            .unwrap()
            .contains("tear N old|new|mixed")
    );
    assert!(
        encoder
            .command("stats")
            .unwrap()
            .starts_with("bytes_in 0 bytes_out 0")
    );
}

#[test]
fn paced_bytes_take_at_least_their_time_at_the_rate_that_the_host_sets() {
    let (encoder, path) = start(Pace {
        wire: true,
        rf: false,
    });
    encoder.place_new(CardKind::Ntag213, None).unwrap();
    let clock = crate::clock::Clock::start();
    let mut host = Host::open(&path);
    for (baud, bytes) in [(115_200, 17 + 6 + 26), (921_600, 17 + 6 + 26)] {
        let mut settings = tcgetattr(&host.port).unwrap();
        settings.set_speed(baud).unwrap();
        tcsetattr(&host.port, OptionalActions::Now, &settings).unwrap();
        host.wake();
        host.list();
        let before = clock.now();
        for _ in 0..20 {
            assert_eq!(host.ask(&[0x40, 1, 0x30, 4])[..2], [0x41, 0]);
        }
        let took = clock.now().since(before);
        let floor = Duration::from_secs_f64(20.0 * f64::from(bytes - 5) * 10.0 / f64::from(baud));
        // What the line itself was late by is made up for with the next bytes.
        let made_up = Duration::from_millis(5);
        assert!(took >= floor.saturating_sub(made_up), "{took:?} at {baud}");
        assert!(took < PATIENCE, "{took:?}");
    }
}
