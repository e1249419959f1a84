use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc as blocking,
    },
    time::Duration,
};

use super::{
    super::{Port, PortKind},
    thread::ReportDevice,
    *,
};

const PATH: &str = "/dev/hidraw7";

/// What a scripted device does next.
enum Script {
    Say(Vec<u8>),
    Babble,
    Leave,
}

/// A device that a test scripts, driven by the very thread that drives a real one.
struct Scripted {
    script: blocking::Receiver<Script>,
    sent: blocking::Sender<(ReportKind, Vec<u8>)>,
    babbles: bool,
    closed: Arc<AtomicBool>,
}

impl ReportDevice for Scripted {
    fn send(&mut self, kind: ReportKind, report: &[u8]) -> Result<(), PortError> {
        if report == [0, 0xFF] {
            return Err(gone());
        }
        self.sent.send((kind, report.to_vec())).unwrap();
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], wait: Duration) -> Result<Option<usize>, PortError> {
        if self.babbles {
            buffer[..64].fill(0xAA);
            return Ok(Some(64));
        }
        match self.script.recv_timeout(wait) {
            Ok(Script::Say(report)) => {
                buffer[..report.len()].copy_from_slice(&report);
                Ok(Some(report.len()))
            }
            Ok(Script::Babble) => {
                self.babbles = true;
                Ok(None)
            }
            Ok(Script::Leave) => Err(gone()),
            Err(_) => Ok(None),
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
    }
}

struct Bench {
    port: Port,
    script: blocking::Sender<Script>,
    sent: blocking::Receiver<(ReportKind, Vec<u8>)>,
    closed: Arc<AtomicBool>,
}

fn bench() -> Bench {
    let (script, scripted) = blocking::channel();
    let (report, sent) = blocking::channel();
    let closed = Arc::new(AtomicBool::new(false));
    let device = Scripted {
        script: scripted,
        sent: report,
        babbles: false,
        closed: Arc::clone(&closed),
    };
    let (orders, ordered) = mpsc::unbounded_channel();
    let (heard, input) = mpsc::channel(REPORTS);
    thread::start(Path::new(PATH), device, ordered, heard).unwrap();
    Bench {
        port: Port::Hid(HidPort::new(Path::new(PATH), orders, input)),
        script,
        sent,
        closed,
    }
}

fn gone() -> PortError {
    PortError::Gone {
        path: PathBuf::from(PATH),
    }
}

#[tokio::test]
async fn reports_go_to_and_fro_one_at_a_time() {
    let mut bench = bench();
    assert_eq!(bench.port.kind(), PortKind::Hid);
    bench.port.write(&[0, 1, 2]).await.unwrap();
    let output = Control::SendAs(ReportKind::Output);
    bench.port.control(output).unwrap();
    bench.port.write(&[0, 3]).await.unwrap();
    let sent: Vec<_> = bench.sent.try_iter().collect();
    let expected = [
        (ReportKind::Feature, vec![0, 1, 2]),
        (ReportKind::Output, vec![0, 3]),
    ];
    assert_eq!(sent, expected);
    bench.script.send(Script::Say(vec![7; 64])).unwrap();
    bench.script.send(Script::Say(vec![8; 64])).unwrap();
    let mut buffer = [0; 512];
    for fill in [7, 8] {
        assert_eq!(bench.port.read(&mut buffer).await.unwrap(), 64);
        assert_eq!(buffer[..64], [fill; 64]);
    }
}

#[tokio::test]
async fn a_report_longer_than_the_buffer_comes_in_parts() {
    let mut bench = bench();
    bench.script.send(Script::Say((0..10).collect())).unwrap();
    let mut buffer = [0; 6];
    assert_eq!(bench.port.read(&mut buffer).await.unwrap(), 6);
    assert_eq!(bench.port.read(&mut buffer).await.unwrap(), 4);
    assert_eq!(buffer[..4], [6, 7, 8, 9]);
}

#[tokio::test]
async fn an_unplugged_device_is_gone_to_reader_and_writer() {
    let mut bench = bench();
    bench.script.send(Script::Leave).unwrap();
    assert_eq!(bench.port.closed().await, gone());
    assert_eq!(bench.port.write(&[0, 1]).await.unwrap_err(), gone());
    let mut other = self::bench();
    assert_eq!(other.port.write(&[0, 0xFF]).await.unwrap_err(), gone());
}

#[tokio::test]
async fn endless_reports_hold_up_neither_writing_nor_the_end() {
    let mut bench = bench();
    bench.script.send(Script::Babble).unwrap();
    let mut buffer = [0; 64];
    bench.port.read(&mut buffer).await.unwrap();
    bench.port.write(&[0, 1]).await.unwrap();
    bench.port.control(Control::Purge).unwrap();
    bench.port.close();
    while !bench.closed.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn stale_reports_are_thrown_away() {
    let (port, mut peer) = HidPort::memory(Path::new(PATH));
    let mut port = Port::Hid(port);
    assert!(peer.say(&[1; 64]).await);
    port.control(Control::Purge).unwrap();
    assert!(peer.say(&[2; 64]).await);
    let mut buffer = [0; 64];
    port.read(&mut buffer).await.unwrap();
    assert_eq!(buffer, [2; 64]);
}

#[tokio::test]
async fn a_memory_pair_carries_refuses_and_ends() {
    let (port, mut peer) = HidPort::memory(Path::new(PATH));
    let mut port = Port::Hid(port);
    let (written, sent) = tokio::join!(port.write(&[0, 9]), peer.sent());
    written.unwrap();
    let expected = SentReport {
        kind: ReportKind::Feature,
        bytes: vec![0, 9],
    };
    assert_eq!(sent, Some(expected));
    let (written, refused) = tokio::join!(port.write(&[0, 9]), peer.refuse());
    assert!(refused);
    assert!(matches!(written, Err(PortError::Io { .. })), "{written:?}");
    drop(peer);
    assert_eq!(port.write(&[0]).await.unwrap_err(), gone());
    assert_eq!(port.closed().await, gone());
}

#[test]
fn baud_and_lines_are_no_matter_of_a_hid_device() {
    let (mut port, _peer) = HidPort::memory(Path::new(PATH));
    for control in [Control::Baud(9_600), Control::Dtr(true), Control::Rts(true)] {
        let error = port.control(control).unwrap_err();
        assert!(matches!(error, PortError::Unsupported { .. }), "{error}");
    }
}
