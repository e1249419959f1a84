//! The lines of text that steer an emulated encoder.

use std::{fs, path::Path};

use encoder_protocols::{
    card::{
        Uid,
        virtual_card::{CardKind, UnknownCardKind},
    },
    pn532::emulator::Fault,
};

use super::{
    super::{EmulationError, file_error, one_line},
    KnownCard,
    bench::Bench,
};

/// The commands, for people.
pub const HELP: &str = "\
  place CARD [uid HEX]         lay a card down, beside those that lie there; CARD is a kind (a new card) or the name of a
                               known card, which comes back with its memory
  remove [NAME]                take the card, or all cards, away
  swap CARD [uid HEX]          remove all, then place
  new NAME KIND [uid HEX]      make a card without placing it
  card                         the cards that lie there
  cards                        the cards that lie beside the encoder
  memory [NAME]                the card's memory in hex, keys in clear
  dump FILE [NAME]             write the memory to a file (.mfd, .bin); save is the same
  load FILE [NAME]             replace the memory by a file's bytes
  fault FAULT                  let something go wrong; fault help lists the faults, fault none ends them
  unplug                       close the port and remove its link; plug opens them again, the chip as after power-up
  stats                        bytes, commands and writes so far
  quit                         end the emulator
Kinds: classic-mini, classic-1k, classic-4k, ultralight, ultralight-c, ultralight-ev1-ul11, ultralight-ev1-ul21, ntag213,
ntag215, ntag216, desfire, random-uid. Without uid the first card of a kind has the kind's fixed UID, each further one the next.";

/// Carries out a line and answers in words.
pub(super) fn run(bench: &mut Bench, line: &str) -> Result<String, EmulationError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match *words.as_slice() {
        ["help"] => Ok(one_line(HELP)),
        ["place", card] => place(bench, card, None),
        ["place", card, "uid", uid] => place(bench, card, Some(uid.parse()?)),
        ["remove"] => Ok(list(&bench.remove_all())),
        ["remove", name] => bench.remove(name).map(|card| card.to_string()),
        ["swap", card] => swap(bench, card, None),
        ["swap", card, "uid", uid] => swap(bench, card, Some(uid.parse()?)),
        ["new", name, kind] => create(bench, name, kind, None),
        ["new", name, kind, "uid", uid] => create(bench, name, kind, Some(uid.parse()?)),
        ["card"] => Ok(list(&bench.placed())),
        ["cards"] => Ok(list(&bench.shelved())),
        ["memory"] => bench.memory(None).map(|memory| hex(&memory)),
        ["memory", name] => bench.memory(Some(name)).map(|memory| hex(&memory)),
        ["dump" | "save", file] => dump(bench, Path::new(file), None),
        ["dump" | "save", file, name] => dump(bench, Path::new(file), Some(name)),
        ["load", file] => load(bench, Path::new(file), None),
        ["load", file, name] => load(bench, Path::new(file), Some(name)),
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

fn place(bench: &mut Bench, card: &str, uid: Option<Uid>) -> Result<String, EmulationError> {
    let kind: Result<CardKind, UnknownCardKind> = card.parse();
    let placed = match (kind, uid) {
        (Ok(kind), uid) => bench.place_new(kind, uid)?,
        (Err(_), None) => bench.place(card)?,
        (Err(unknown), Some(_)) => return Err(unknown.into()),
    };
    Ok(placed.to_string())
}

fn swap(bench: &mut Bench, card: &str, uid: Option<Uid>) -> Result<String, EmulationError> {
    let before = bench.remove_all();
    place(bench, card, uid).inspect_err(|_| {
        // What lay there lies there again.
        for card in before {
            let _ = bench.place(&card.name);
        }
    })
}

fn create(
    bench: &mut Bench,
    name: &str,
    kind: &str,
    uid: Option<Uid>,
) -> Result<String, EmulationError> {
    let made = bench.create(name, kind.parse()?, uid)?;
    Ok(made.to_string())
}

fn dump(bench: &Bench, file: &Path, name: Option<&str>) -> Result<String, EmulationError> {
    let memory = bench.memory(name)?;
    fs::write(file, &memory).map_err(file_error(file))?;
    Ok(format!("{} bytes", memory.len()))
}

fn load(bench: &mut Bench, file: &Path, name: Option<&str>) -> Result<String, EmulationError> {
    let memory = fs::read(file).map_err(file_error(file))?;
    let loaded = bench.load(name, &memory)?;
    Ok(loaded.to_string())
}

fn stats(bench: &Bench) -> String {
    let stats = bench.stats();
    let writes: u64 = bench
        .placed()
        .iter()
        .filter_map(|card| bench.writes(Some(&card.name)).ok())
        .sum();
    format!(
        "bytes_in {} bytes_out {} commands {} aborted {} exchanged {} card_writes {writes}",
        stats.bytes_in,
        stats.bytes_out,
        stats.commands,
        stats.aborted,
        bench.exchanged(),
    )
}

fn list(cards: &[KnownCard]) -> String {
    if cards.is_empty() {
        return "none".to_owned();
    }
    let cards: Vec<String> = cards.iter().map(ToString::to_string).collect();
    cards.join("; ")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
