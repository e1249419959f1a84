//! Ids that must not be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// An agent, which is one token of one access system.
    AgentId
}
id! {
    /// A start of an agent's process.
    BootId
}
id! {
    /// A credential, `acs_credential_id`.
    CredentialId
}
id! {
    /// An encoder, `acs_encoder_id`.
    EncoderId
}
id! {
    /// One websocket conversation with an agent.
    SessionId
}
id! {
    /// An access system, `acs_system_id`.
    SystemId
}
