//! The procedures on virtual cards.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test names the arms it means; all others are failures"
)]

mod away;
mod classic;
mod extension;
mod protection;
mod random;
mod reader;
mod record;
mod tears;
mod type2;

use super::{
    CardError, CardImage, Prepared, WriteError, WriteRules, WriteStage, prepare, verify, write,
};
use reader::{Reader, run};

/// An encode from its selection to its end.
#[derive(Debug, Eq, PartialEq)]
enum Failed {
    Preparing(CardError),
    Writing(WriteError),
}

impl Failed {
    fn changed(&self) -> bool {
        match self {
            Self::Preparing(_) => false,
            Self::Writing(failed) => failed.changed,
        }
    }

    fn error(&self) -> &CardError {
        match self {
            Self::Preparing(error) => error,
            Self::Writing(failed) => &failed.error,
        }
    }
}

const ALLOWED: WriteRules = WriteRules {
    allow_irreversible: true,
};

fn prepared(reader: &mut Reader, image: &CardImage) -> Result<Prepared, CardError> {
    run(prepare(reader, image, WriteRules::default()))
}

fn encode(reader: &mut Reader, image: &CardImage) -> Result<(), Failed> {
    encode_under(reader, image, WriteRules::default())
}

fn encode_under(reader: &mut Reader, image: &CardImage, rules: WriteRules) -> Result<(), Failed> {
    let prepared = run(prepare(reader, image, rules)).map_err(Failed::Preparing)?;
    let mut stages = Vec::new();
    let mut progress = |stage| stages.push(stage);
    let written = run(write(reader, &prepared, &mut progress));
    if written.is_ok() {
        assert_eq!(stages, [WriteStage::Verifying]);
    }
    written.map_err(Failed::Writing)
}

fn verified(reader: &mut Reader, image: &CardImage) -> Result<(), CardError> {
    run(verify(reader, image))
}

fn read(reader: &mut Reader, plan: &super::ReadPlan) -> Result<super::CardContents, CardError> {
    run(super::read(reader, plan))
}
