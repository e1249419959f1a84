//! The lines of text that steer an emulated MSR605.

use encoder_protocols::msr605::emulator::{Fault, Reading, StripeCard, StripeKind, StripeTrack};

use super::{
    super::{EmulationError, one_line},
    KnownStripe,
    bench::Bench,
};

/// The commands, for people.
pub const HELP: &str = "\
  place CARD                   keep a card at hand: it is drawn through each time that the encoder waits for one; CARD is hico or
                               loco (a new blank card) or the name of a known card
  remove                       take it away
  swipe CARD                   draw a known card through once; answers read, written, sensed, or ignored where the encoder waits
                               for none
  new NAME KIND                make a blank card, hico or loco, without keeping it at hand
  card                         the card at hand
  cards                        the cards beside the encoder
  waits                        whether the encoder waits for a card
  tracks [NAME]                the card's characters, with `|` between tracks; * for a track that is no text
  bits [NAME]                  the card's bits from the first one on, in hex, the first highest, behind the track's density
  encode NAME T1|T2|T3         put characters on a card as another encoder would: %…?|;…?|;…?
  encode-bits NAME H1|H2|H3    put bits on it, in hex
  wear NAME                    let its stripe be worn out: it takes nothing any more
  habit keeps-empty|blanks-empty|no-marks|marks
                               be a unit that leaves a track alone, or blanks it, when nothing is written to it; that says
                               nothing of a blank track, or marks it
  fault FAULT                  let something go wrong; fault help lists the faults, fault none ends them
  unplug                       close the port and remove its link; plug opens them again, the device as after power-up
  stats                        bytes, commands and swipes so far
  quit                         end the emulator";

/// Carries out a line and answers in words.
pub(super) fn run(bench: &mut Bench, line: &str) -> Result<String, EmulationError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let done = |()| String::new();
    match *words.as_slice() {
        ["help"] => Ok(one_line(HELP)),
        ["place", card] => match card.parse::<StripeKind>() {
            Ok(kind) => Ok(bench.place_new(kind).to_string()),
            Err(_) => bench.place(card).map(|card| card.to_string()),
        },
        ["remove"] => Ok(list(bench.remove().as_slice())),
        ["swipe", card] => bench.swipe(card).map(|swiped| swiped.name().to_owned()),
        ["new", name, kind] => bench
            .create(name, kind.parse()?)
            .map(|card| card.to_string()),
        ["card"] => Ok(list(bench.at_hand().as_slice())),
        ["cards"] => Ok(list(&bench.shelved())),
        ["waits"] => Ok(if bench.waits() { "yes" } else { "no" }.to_owned()),
        ["tracks"] => bench.card(None).map(characters),
        ["tracks", name] => bench.card(Some(name)).map(characters),
        ["bits"] => bench.card(None).map(bits),
        ["bits", name] => bench.card(Some(name)).map(bits),
        // The characters of a track may be spaces.
        ["encode", name, ..] => bench.set_texts(name, tracks(behind(line, 2))?).map(done),
        ["encode-bits", name, tracks_in_hex] => {
            bench.set_bits(name, tracks(tracks_in_hex)?).map(done)
        }
        ["wear", name] => bench.wear_out(name).map(done),
        ["habit", habit] => choose(bench, habit, line).map(done),
        ["fault", "help"] => Ok(one_line(Fault::HELP)),
        ["fault", "none"] => {
            bench.clear_faults();
            Ok(String::new())
        }
        ["fault", ref fault @ ..] => {
            bench.inject(fault.join(" ").parse()?);
            Ok(String::new())
        }
        ["unplug"] => {
            bench.unplug();
            Ok(String::new())
        }
        ["plug"] => {
            bench.plug()?;
            let path = bench.path().unwrap_or_default();
            Ok(path.display().to_string())
        }
        ["stats"] => Ok(stats(bench)),
        _ => Err(EmulationError::UnknownCommand(line.to_owned())),
    }
}

/// What stands behind the first `count` words.
fn behind(line: &str, count: usize) -> &str {
    (0..count).fold(line.trim(), |rest, _| {
        rest.split_once(char::is_whitespace)
            .map_or("", |(_, rest)| rest.trim_start())
    })
}

fn tracks(text: &str) -> Result<[&str; 3], EmulationError> {
    let tracks: Vec<&str> = text.split('|').collect();
    let expected = "as text";
    tracks
        .try_into()
        .map_err(|_| EmulationError::Tracks { expected })
}

fn choose(bench: &mut Bench, habit: &str, line: &str) -> Result<(), EmulationError> {
    let habits = bench.habits();
    match habit {
        "keeps-empty" => habits.empty_track_blanks = false,
        "blanks-empty" => habits.empty_track_blanks = true,
        "no-marks" => habits.marks_blank_tracks = false,
        "marks" => habits.marks_blank_tracks = true,
        _ => return Err(EmulationError::UnknownCommand(line.to_owned())),
    }
    bench.take_habits();
    Ok(())
}

fn characters(card: &StripeCard) -> String {
    let tracks = card.texts().map(|text| match text {
        Ok(text) => text,
        Err(Reading::Blank) => String::new(),
        Err(Reading::Unreadable) => "*".to_owned(),
    });
    tracks.join("|")
}

fn bits(card: &StripeCard) -> String {
    let track = |track: &StripeTrack| {
        let seen: Vec<bool> = track.bits.iter().copied().skip_while(|bit| !bit).collect();
        let digits = seen.chunks(4).map(|bits| {
            let places = bits.iter().zip((0..4).rev());
            let digit = places.fold(0, |digit, (bit, at)| digit | u32::from(*bit) << at);
            char::from_digit(digit, 16).unwrap_or_default()
        });
        format!("{} {}", track.bpi, digits.collect::<String>())
    };
    card.tracks().each_ref().map(track).join("|")
}

fn stats(bench: &Bench) -> String {
    let stats = bench.stats();
    format!(
        "bytes_in {} bytes_out {} commands {} resets {} aborted {} swipes {}",
        stats.bytes_in, stats.bytes_out, stats.commands, stats.resets, stats.aborted, stats.swipes,
    )
}

fn list(cards: &[KnownStripe]) -> String {
    if cards.is_empty() {
        return "none".to_owned();
    }
    let cards: Vec<String> = cards.iter().map(ToString::to_string).collect();
    cards.join("; ")
}
