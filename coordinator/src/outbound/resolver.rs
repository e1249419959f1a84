//! Names to addresses.

use std::{fmt, io, net::IpAddr};

use futures_util::future::BoxFuture;

/// Resolves host names.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// The addresses of a host, the preferred one first.
    ///
    /// # Errors
    /// What the system says.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// Resolves as the operating system does.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}
