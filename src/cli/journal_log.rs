//! The journal of systemd as the log: each entry with its priority, and all that it tells by name as fields of their own, so
//! that `journalctl AGENT_JOB=…` finds what belongs to a job (systemd's "Native Journal Protocol").

use std::{fmt, io, os::unix::net::UnixDatagram, path::Path};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format::Writer},
    registry::LookupSpan,
};

/// Where the journal takes entries.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// What the names of fields begin with: without it `job_id` would be a field of systemd's own.
const PREFIX: &str = "AGENT_";

/// The longest name that the journal takes.
const LONGEST_NAME: usize = 64;

/// What the line stands behind; it ends the entry.
const MESSAGE: &str = "MESSAGE=";

const PRIORITY: &str = "PRIORITY=";

/// Makes an entry of what would else be a line.
pub(super) struct Entries<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for Entries<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let priority = priority(*event.metadata().level());
        writeln!(writer, "{PRIORITY}{priority}")?;
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        writeln!(writer, "{}{MESSAGE}{}", fields.0, one_line(line.trim_end()))
    }
}

/// The priority of syslog(3).
fn priority(level: Level) -> u8 {
    if level == Level::ERROR {
        3
    } else if level == Level::WARN {
        4
    } else if level == Level::INFO {
        6
    } else {
        7
    }
}

/// Each field a line, `AGENT_NAME=value`.
struct Fields(String);

impl Fields {
    fn add(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            return;
        }
        let name = field.name().chars().map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter.to_ascii_uppercase()
            } else {
                '_'
            }
        });
        let name = PREFIX.chars().chain(name).take(LONGEST_NAME);
        self.0.extend(name);
        self.0.push('=');
        self.0.push_str(&one_line(value));
        self.0.push('\n');
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }
}

/// An end of line would end the field.
fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}

/// The journal's socket, or standard error where it takes nothing.
#[derive(Debug)]
pub(super) struct Journal(Option<UnixDatagram>);

impl Journal {
    pub(super) fn connect(path: &Path) -> Self {
        let connected = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            // The agent's only thread does not wait for the journal.
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        Self(connected().ok())
    }
}

impl<'w> MakeWriter<'w> for Journal {
    type Writer = &'w Self;

    fn make_writer(&'w self) -> Self::Writer {
        self
    }
}

impl io::Write for &Journal {
    /// An entry is written at once, and so is this.
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        let socket = self.0.as_ref();
        if socket.is_none_or(|socket| socket.send(entry).is_err()) {
            // No socket, more than fits into it, or too long for a datagram: the line alone.
            io::stderr().lock().write_all(&line_alone(entry))?;
        }
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An entry as a line with its priority before it (sd-daemon(3)).
fn line_alone(entry: &[u8]) -> Vec<u8> {
    let entry = String::from_utf8_lossy(entry);
    let of = |name| entry.lines().find_map(|line| line.strip_prefix(name));
    let (priority, message) = (of(PRIORITY), of(MESSAGE));
    let (priority, message) = (priority.unwrap_or("6"), message.unwrap_or_default());
    format!("<{priority}>{message}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tracing_subscriber::{fmt, layer::SubscriberExt as _};

    use super::*;

    #[test]
    fn an_entry_has_its_priority_its_fields_and_the_whole_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let lines = fmt::layer()
            .with_writer(Journal::connect(&path))
            .with_ansi(false)
            .without_time()
            .with_level(false)
            .with_target(false)
            .map_event_format(Entries);
        let log = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(log, || {
            let _within = tracing::info_span!("encoder", name = "Front Desk").entered();
            tracing::warn!(job = %"0-1", worked_ms = 1.5, end = "no\ncard", "job ended");
            tracing::debug!("two\nlines");
        });
        let mut entry = [0; 1024];
        let mut heard = || {
            let length = journal.recv(&mut entry).unwrap();
            String::from_utf8(entry[..length].to_vec()).unwrap()
        };
        assert_eq!(
            heard(),
            "PRIORITY=4\nAGENT_JOB=0-1\nAGENT_WORKED_MS=1.5\nAGENT_END=no\\ncard\n\
             MESSAGE=encoder{name=\"Front Desk\"}: job ended job=0-1 worked_ms=1.5 end=\"no\\ncard\"\n"
        );
        assert_eq!(
            heard(),
            "PRIORITY=7\nMESSAGE=encoder{name=\"Front Desk\"}: two\\nlines\n"
        );
    }

    #[test]
    fn what_the_journal_does_not_take_is_a_line() {
        let entry = b"PRIORITY=3\nAGENT_MESSAGE=x\nMESSAGE=it is broken MESSAGE=\n";
        assert_eq!(line_alone(entry), b"<3>it is broken MESSAGE=\n");
        assert_eq!(line_alone(b""), b"<6>\n");
        let directory = tempfile::tempdir().unwrap();
        let nowhere = Journal::connect(&directory.path().join("none"));
        assert_eq!((&nowhere).write(entry).unwrap(), entry.len());
    }
}
