//! The inventory: every encoder as it is now, sent in full whenever something of it changed.

use encoder_protocols::wire::AgentMessage;

use super::{attached::Attached, machine::Jobs};

impl Jobs {
    /// Sends the inventory if anything in it changed since the last time.
    pub(super) fn refresh_inventory(&mut self) {
        if self.inventory_changed {
            self.send_inventory();
        }
    }

    /// Sends the inventory. Without a session it is sent after the next `welcome` anyway.
    pub(super) fn send_inventory(&mut self) {
        self.inventory_changed = false;
        let present = self.encoders.iter().filter(|encoder| encoder.present);
        let encoders = present.map(Attached::description).collect();
        let problems = self.problems.iter().chain(&self.journal_problem);
        let problems = problems.chain(&self.device_problems);
        let message = AgentMessage::Inventory {
            encoders,
            problems: problems.cloned().collect(),
        };
        self.send(message);
    }
}
