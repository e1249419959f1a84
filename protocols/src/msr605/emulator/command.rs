//! Commands as the device reads them, on its own.

/// What a host asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Command {
    Reset,
    /// What waits for a card.
    Card(CardCommand),
    /// What is answered at once, if at all.
    Plain(PlainCommand),
    /// A block that is none.
    IllFormed,
    Unknown,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum CardCommand {
    SensorTest,
    Erase(u8),
    ReadIso,
    WriteIso([Vec<u8>; 3]),
    ReadRaw,
    WriteRaw([Vec<u8>; 3]),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PlainCommand {
    CommunicationTest,
    Lights(u8),
    RamTest,
    SetZeros(u8, u8),
    Zeros,
    SetDensity(u8),
    Model,
    Firmware,
    SetBits([u8; 3]),
    SetCoercivity(bool),
    Coercivity,
}

/// What stands at the beginning of the input.
pub(super) enum Next {
    /// The rest of it is not there yet.
    More,
    /// A byte that begins no command.
    Noise,
    /// A command of so many bytes.
    Command(Command, usize),
}

/// Reads from the front; running out of bytes is `None`.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A block is not as it must be, from where the reader stands on.
struct IllFormed;

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, expected: &[u8]) -> Option<Result<(), IllFormed>> {
        for byte in expected {
            if self.bytes.get(self.at)? != byte {
                return Some(Err(IllFormed));
            }
            self.at += 1;
        }
        Some(Ok(()))
    }
}

pub(super) fn next(input: &[u8]) -> Next {
    let mut reader = Reader {
        bytes: input,
        at: 0,
    };
    match reader.next() {
        None => return Next::More,
        // An ESC begins anew.
        Some(0x1B) if input.get(1) != Some(&0x1B) => {}
        Some(_) => return Next::Noise,
    }
    match command(&mut reader) {
        Some(command) => Next::Command(command, reader.at),
        None => Next::More,
    }
}

fn command(reader: &mut Reader<'_>) -> Option<Command> {
    let plain = Command::Plain;
    let card = Command::Card;
    Some(match reader.next()? {
        0x61 => Command::Reset,
        0x65 => plain(PlainCommand::CommunicationTest),
        lights @ 0x81..=0x85 => plain(PlainCommand::Lights(lights)),
        0x86 => card(CardCommand::SensorTest),
        0x87 => plain(PlainCommand::RamTest),
        0x7A => plain(PlainCommand::SetZeros(reader.next()?, reader.next()?)),
        0x6C => plain(PlainCommand::Zeros),
        0x63 => card(CardCommand::Erase(reader.next()?)),
        0x62 => plain(PlainCommand::SetDensity(reader.next()?)),
        0x72 => card(CardCommand::ReadIso),
        0x77 => block(reader, text)?.map_or(Command::IllFormed, |tracks| {
            card(CardCommand::WriteIso(tracks))
        }),
        0x6D => card(CardCommand::ReadRaw),
        0x6E => block(reader, counted)?.map_or(Command::IllFormed, |tracks| {
            card(CardCommand::WriteRaw(tracks))
        }),
        0x74 => plain(PlainCommand::Model),
        0x76 => plain(PlainCommand::Firmware),
        0x6F => plain(PlainCommand::SetBits([
            reader.next()?,
            reader.next()?,
            reader.next()?,
        ])),
        0x78 => plain(PlainCommand::SetCoercivity(true)),
        0x79 => plain(PlainCommand::SetCoercivity(false)),
        0x64 => plain(PlainCommand::Coercivity),
        _ => Command::Unknown,
    })
}

type Field = fn(&mut Reader<'_>) -> Option<Result<Vec<u8>, IllFormed>>;

fn block(reader: &mut Reader<'_>, field: Field) -> Option<Option<[Vec<u8>; 3]>> {
    if reader.expect(&[0x1B, 0x73])?.is_err() {
        return Some(None);
    }
    let mut tracks: [Vec<u8>; 3] = Default::default();
    for (number, track) in (1..).zip(&mut tracks) {
        if reader.expect(&[0x1B, number])?.is_err() {
            return Some(None);
        }
        match field(reader)? {
            Ok(contents) => *track = contents,
            Err(IllFormed) => return Some(None),
        }
    }
    let end = reader.expect(&[0x3F, 0x1C])?;
    Some(end.is_ok().then_some(tracks))
}

/// Characters up to the next field, or to the `?` of the block's end.
fn text(reader: &mut Reader<'_>) -> Option<Result<Vec<u8>, IllFormed>> {
    let mut text = Vec::new();
    loop {
        match reader.bytes.get(reader.at)? {
            0x1B | 0x3F => return Some(Ok(text)),
            0x20..=0x7E => text.push(reader.next()?),
            _ => return Some(Err(IllFormed)),
        }
    }
}

/// A count and so many bytes.
fn counted(reader: &mut Reader<'_>) -> Option<Result<Vec<u8>, IllFormed>> {
    let count = reader.next()?.into();
    let mut bytes = Vec::new();
    while bytes.len() < count {
        bytes.push(reader.next()?);
    }
    Some(Ok(bytes))
}
