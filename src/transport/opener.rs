//! Who opens ports: the system, or a test that has ports of its own.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;

use super::{Port, PortError, PortSettings};

type Open = dyn Fn(PortSettings) -> BoxFuture<'static, Result<Port, PortError>> + Send + Sync;

/// Opens ports. Cheap to clone.
#[derive(Clone)]
pub struct Opener(Arc<Open>);

impl Opener {
    /// The ports of this PC.
    pub fn system() -> Self {
        Self::new(|settings| Box::pin(async move { Port::open(&settings).await }))
    }

    /// Ports that `open` gives.
    pub fn new(
        open: impl Fn(PortSettings) -> BoxFuture<'static, Result<Port, PortError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(open))
    }

    /// Opens a port for this process alone and throws away what had been received before.
    ///
    /// # Errors
    /// [`PortError`] says what to do about it.
    pub async fn open(&self, settings: PortSettings) -> Result<Port, PortError> {
        (self.0)(settings).await
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}
