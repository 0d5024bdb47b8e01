//! An operator's PAUSE: while it is on, nobody uses the connections of a database tier.

use tokio::sync::watch;

/// Whether a database tier is paused. Its pools share it, and it outlives a reload.
#[derive(Debug)]
pub struct Pause(watch::Sender<bool>);

impl Default for Pause {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Pause {
    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    /// Turns it on or off. Turning it off wakes those that wait.
    pub fn set(&self, is_on: bool) {
        self.0.send_replace(is_on);
    }

    /// Resolves once it is off. Cancel safe.
    pub(super) async fn over(&self) {
        let mut changes = self.0.subscribe();
        // The sender lives as long as `self`.
        let _over = changes.wait_for(|is_on| !is_on).await;
    }
}
