//! A key server's answer, looked through before any of it goes to an agent.

use encoder_protocols::{
    card::{CardDescription, CardError, CardImage, WriteRules, check_image},
    wire::ErrorCode,
};
use serde::Deserialize;
use serde_json::Value;

use crate::jobs::Refusal;

/// How many keys or passwords may be tried in one place: each wrong one costs the person at the desk time.
const MAX_KEYS: usize = 16;

/// The longest message of a refusal that is passed on, in characters.
const MAX_MESSAGE: usize = 500;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum BadAnswer {
    /// Not JSON, or not an image nor a refusal.
    #[error(
        "expected {{\"image\": {{…}}}} or {{\"refuse\": {{\"code\", \"message\"}}}}, got another answer: {0}"
    )]
    Malformed(String),
    /// Both, or neither.
    #[error("expected either an image or a refusal, got {0}")]
    NotOne(&'static str),
    /// A field that means nothing here, and so may have been meant for something.
    #[error("unknown field {0}: leave it out")]
    UnknownField(String),
    /// The image cannot or must not be written to this card.
    #[error("the image cannot be written to this card: {0}")]
    Unwritable(#[from] CardError),
    /// More keys than are tried.
    #[error("{place} has {got} keys to try: give at most {MAX_KEYS}")]
    TooManyKeys {
        /// Where.
        place: String,
        /// How many.
        got: usize,
    },
    /// A code that no refusal has.
    #[error(
        "expected the code uncategorized_error, incompatible_card_format or credential_cannot_be_reissued in a refusal, got {0:?}"
    )]
    UnknownCode(String),
    /// The key server refuses.
    #[error("{}", .0.message)]
    Refused(Refusal),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    image: Option<Value>,
    refuse: Option<Refuse>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refuse {
    code: String,
    message: String,
}

/// Reads an answer. An image that is returned fits the card, names nothing twice, and writes to no place that is never
/// written or could never be changed back.
///
/// # Errors
/// [`BadAnswer`].
pub fn read_answer(body: &[u8], card: &CardDescription) -> Result<CardImage, BadAnswer> {
    let body: Body = serde_json::from_slice(body).map_err(malformed)?;
    let given = match (body.image, body.refuse) {
        (Some(image), None) => image,
        (None, Some(refuse)) => return Err(refused(refuse)),
        (Some(_), Some(_)) => return Err(BadAnswer::NotOne("both")),
        (None, None) => return Err(BadAnswer::NotOne("neither")),
    };
    let image = CardImage::deserialize(&given).map_err(malformed)?;
    let known = serde_json::to_value(&image).map_err(malformed)?;
    if let Some(path) = unknown_field(&given, &known, "image") {
        return Err(BadAnswer::UnknownField(path));
    }
    check_keys(&image)?;
    check_image(&image, card.technology, WriteRules::default())?;
    Ok(image)
}

/// The error without the values that it quotes: they may be keys.
fn malformed(error: serde_json::Error) -> BadAnswer {
    const HARMLESS: [&str; 4] = [
        "missing field",
        "unknown field",
        "duplicate field",
        "unknown variant",
    ];
    let text = error.to_string();
    BadAnswer::Malformed(if HARMLESS.iter().any(|start| text.starts_with(start)) {
        text
    } else if error.is_syntax() || error.is_eof() {
        format!("no JSON at line {} column {}", error.line(), error.column())
    } else {
        "a value has the wrong type or length".to_owned()
    })
}

fn refused(refuse: Refuse) -> BadAnswer {
    let code = match refuse.code.as_str() {
        "incompatible_card_format" => ErrorCode::IncompatibleCardFormat,
        "credential_cannot_be_reissued" => ErrorCode::CredentialCannotBeReissued,
        "uncategorized_error" => ErrorCode::UncategorizedError,
        _ => return BadAnswer::UnknownCode(refuse.code.chars().take(MAX_MESSAGE).collect()),
    };
    BadAnswer::Refused(Refusal {
        code,
        message: refuse.message.chars().take(MAX_MESSAGE).collect(),
    })
}

/// The first field that was given and is not one of the image. What is null or empty asks for nothing.
fn unknown_field(given: &Value, known: &Value, path: &str) -> Option<String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match known.get(name) {
                Some(known) => unknown_field(value, known, &path),
                None if is_nothing(value) => None,
                None => Some(path),
            }
        }),
        (Value::Array(given), Value::Array(known)) => {
            let pairs = given.iter().zip(known).enumerate();
            pairs
                .filter_map(|(at, (given, known))| {
                    unknown_field(given, known, &format!("{path}.{at}"))
                })
                .next()
        }
        _ => None,
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn check_keys(image: &CardImage) -> Result<(), BadAnswer> {
    let counts: Vec<(String, usize)> = match image {
        CardImage::MifareClassic(image) => {
            let sectors = image.sectors.iter();
            let counts = sectors.map(|it| (format!("sector {}", it.sector), it.keys.len()));
            counts.collect()
        }
        CardImage::Type2(image) => vec![("the card".to_owned(), image.passwords.len())],
        CardImage::Magstripe(_) => Vec::new(),
    };
    match counts.into_iter().find(|(_, count)| *count > MAX_KEYS) {
        Some((place, got)) => Err(BadAnswer::TooManyKeys { place, got }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
