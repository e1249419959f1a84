//! What makers of access systems add to a credential: options that say how its card is made. They are kept as they were
//! given, shown again, and handed on to whoever makes the card: a key server, or an encoder that makes keys itself.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::store::systems::SystemKind;

/// The options of a credential, in the words of its system's maker.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum ProviderMetadata {
    /// `visionline_metadata`.
    Visionline(Visionline),
    /// `assa_abloy_vostio_metadata`.
    Vostio(Vostio),
    /// `salto_space_metadata`.
    SaltoSpace(SaltoSpace),
    /// `hotek_metadata`.
    Hotek(Hotek),
}

/// The options of a Visionline card.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Visionline {
    /// How the card's data is laid out; none for the system's own choice.
    pub card_format: Option<CardFormat>,
    /// Whose card it is.
    pub card_function_type: CardFunction,
    /// The card makes every earlier one of its rooms invalid.
    #[serde(rename = "override")]
    pub overrides: bool,
    /// It joins the cards that its rooms have already, and overrides where they have none.
    pub auto_join: bool,
    /// It joins these credentials' cards.
    pub joiner_acs_credential_ids: Vec<Uuid>,
}

/// How a Visionline card's data is laid out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum CardFormat {
    /// For whatever needs more than 48 bytes.
    #[serde(rename = "TLCode")]
    TlCode,
    /// 48 bytes.
    #[serde(rename = "rfid48")]
    Rfid48,
}

/// Whose card a Visionline card is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CardFunction {
    /// A guest's.
    #[default]
    Guest,
    /// An employee's.
    Staff,
}

/// The options of a Vostio card.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Vostio {
    /// It joins the cards that its rooms have already, and overrides where they have none.
    pub auto_join: bool,
    /// It joins the cards of all its rooms.
    pub join_all_guest_acs_entrances: bool,
    /// It makes every earlier card of all its rooms invalid.
    pub override_all_guest_acs_entrances: bool,
    /// It makes every earlier card of these rooms invalid.
    pub override_guest_acs_entrance_ids: Vec<Uuid>,
}

/// The options of a Salto Space card.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SaltoSpace {
    /// It is the user's first card, or takes the place of a lost one.
    pub assign_new_key: bool,
    /// The user's card is written anew.
    pub update_current_key: bool,
}

/// The options of a Hotek card.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hotek {
    /// It joins the cards that its rooms have already.
    pub auto_join: bool,
    /// It makes every earlier card of its rooms invalid.
    #[serde(rename = "override")]
    pub overrides: bool,
}

impl ProviderMetadata {
    /// The parameter that it came in.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Visionline(_) => "visionline_metadata",
            Self::Vostio(_) => "assa_abloy_vostio_metadata",
            Self::SaltoSpace(_) => "salto_space_metadata",
            Self::Hotek(_) => "hotek_metadata",
        }
    }

    /// The only kind of system whose credentials take it.
    pub const fn kind(&self) -> SystemKind {
        match self {
            Self::Visionline(_) => SystemKind::Visionline,
            Self::Vostio(_) => SystemKind::Vostio,
            Self::SaltoSpace(_) => SystemKind::SaltoSpace,
            Self::Hotek(_) => SystemKind::Hotek,
        }
    }

    /// What a credential of this kind of system has where nothing was given; none where there are no options.
    pub fn of_kind(kind: SystemKind) -> Option<Self> {
        match kind {
            SystemKind::Visionline => Some(Self::Visionline(Visionline::default())),
            SystemKind::Vostio => Some(Self::Vostio(Vostio::default())),
            SystemKind::SaltoSpace => Some(Self::SaltoSpace(SaltoSpace::default())),
            SystemKind::Hotek => Some(Self::Hotek(Hotek::default())),
            SystemKind::Embedded
            | SystemKind::Brivo
            | SystemKind::SaltoKs
            | SystemKind::External => None,
        }
    }

    /// The options by their names.
    pub fn options(&self) -> Map<String, Value> {
        let options = match self {
            Self::Visionline(it) => serde_json::to_value(it),
            Self::Vostio(it) => serde_json::to_value(it),
            Self::SaltoSpace(it) => serde_json::to_value(it),
            Self::Hotek(it) => serde_json::to_value(it),
        };
        // Structs of flags and names always become objects.
        let mut options = match options {
            Ok(Value::Object(options)) => options,
            Ok(_) | Err(_) => Map::new(),
        };
        options.retain(|_, value| !value.is_null());
        options
    }

    /// The options under their parameter's name, as they are handed on.
    pub fn named(&self) -> Value {
        json!({ self.field(): self.options() })
    }
}
