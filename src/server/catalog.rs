//! When the server's catalog of functions is loaded again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Server, TargetRuntime};
use crate::upstream::{ConnectError, ServerCatalog};

/// How often the server's catalog is loaded again.
const CATALOG_REFRESH: Duration = Duration::from_secs(60);

/// Who has asked for the catalog, and up to whom it was loaded.
#[derive(Debug, Default)]
pub(super) struct CatalogLoads {
    asked: AtomicU64,
    done: AtomicU64,
    loading: tokio::sync::Mutex<()>,
}

impl CatalogLoads {
    pub(super) fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::AcqRel) + 1
    }

    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    pub(super) fn done(&self, ticket: u64) {
        self.done.fetch_max(ticket, Ordering::AcqRel);
    }

    pub(super) fn are_done(&self, ticket: u64) -> bool {
        self.done.load(Ordering::Acquire) >= ticket
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.are_done(self.asked())
    }
}

impl TargetRuntime {
    /// Asks for the catalog as it is from now on; it is loaded within a second. The number tells when it has been.
    pub fn ask_for_catalog(&self) -> u64 {
        self.catalog_loads.ask()
    }

    /// Whether the catalog was loaded since this number was given.
    pub fn has_catalog(&self, ticket: u64) -> bool {
        self.catalog_loads.are_done(ticket)
    }

    /// Loads the catalog, unless it has been loaded before.
    pub async fn ensure_catalog(&self, server: &Server) -> Result<(), ConnectError> {
        if self.catalog.load().age().is_some() { Ok(()) } else { self.refresh_catalog(server, 0).await }
    }

    /// Loads the catalog at once, unless it was loaded since `ticket` was given. False when that failed, which is logged.
    pub async fn load_catalog(&self, server: &Server, ticket: u64) -> bool {
        let outcome = self.refresh_catalog(server, ticket).await;
        if let Err(error) = &outcome {
            self.metrics.upstream_error(error.kind());
            tracing::warn!(target = %self.name, %error, "the catalog of functions could not be loaded");
        }
        outcome.is_ok()
    }

    pub(super) async fn refresh_catalog(&self, server: &Server, ticket: u64) -> Result<(), ConnectError> {
        // Whoever waits here finds that the load before him has answered him, too.
        let _loading = self.catalog_loads.loading.lock().await;
        if !self.is_catalog_due() && self.catalog_loads.are_done(ticket) {
            return Ok(());
        }
        let answered = self.catalog_loads.asked();
        let catalog = ServerCatalog::load(&self.catalog_source).await?;
        let is_news = !self.catalog.load().knows_the_same(&catalog);
        self.catalog.store(Arc::new(catalog));
        if is_news {
            server.runtime().forget_judgements(&self.name);
        }
        self.catalog_loads.done(answered);
        // The server's own parameters may have changed with its configuration.
        self.forget_greetings();
        for own in self.own_pools.all() {
            own.forget_greetings();
        }
        Ok(())
    }

    pub(super) fn is_catalog_due(&self) -> bool {
        self.catalog.load().age().is_none_or(|age| age >= CATALOG_REFRESH)
    }

    fn forget_greetings(&self) {
        self.greetings.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
