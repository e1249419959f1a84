//! What fails, and how it is mended.

use encoder_coordinator::jobs::AgentId;

use super::{
    common::{LONGEST_OUTAGE, MILLISECOND, SECOND},
    desk::Input,
    disks::forget_all,
    network::{Frame, Side, Way},
    pc::Pc,
    table::lock,
    world::{AGENTS, CLONE, ENCODERS, Event, MOBILE, STRIPES, World},
};

impl World {
    /// Something fails, and the next thing a while later.
    pub(super) fn chaos(&mut self) {
        if self.common.calm {
            return;
        }
        let pause = self.common.up_to(3 * self.common.weather.pace);
        self.after(pause, Event::Chaos);
        let pc = self.common.dice.index(self.pcs.len());
        let encoder = self.common.dice.pick(&ENCODERS).unwrap_or(MOBILE);
        let weather = self.common.weather.clone();
        match self.common.dice.below(22) {
            0 if weather.kills => self.kill_agent(pc, false),
            1 if weather.kills => self.kill_agent(pc, true),
            2 if weather.kills => self.stop_agent(pc),
            3 if weather.coordinator_kills => self.kill_coordinator(),
            4 if weather.link_cuts => self.cut_link(pc),
            5 if weather.stalls => self.stall(pc),
            6 if weather.stalls => self.half_open(pc),
            7 if weather.unplugs => self.unplug(encoder),
            8 if weather.moves => self.carry_encoder(),
            9 if weather.freezes => self.freeze(pc),
            10 if weather.freezes => self.freeze_coordinator(),
            11 if weather.clock_jumps => self.jump_clock(),
            12 if weather.disk_full => self.fill_disk(pc),
            13 if weather.journal_losses => self.lose_journal(pc),
            14 if weather.old_images => self.image(pc),
            15 if weather.clones => self.clone_pc(),
            16 | 17 if weather.restores => self.copy_or_restore(),
            18 if weather.operator => self.release(),
            19 if weather.operator && self.common.dice.chance(150) => self.retire(),
            20 if weather.outages => self.stay_away(pc),
            21 if weather.breaks => self.break_encoder(encoder),
            _ => {}
        }
    }

    pub(super) fn aimed(&mut self, which: u8, whom: usize) {
        if self.common.calm {
            return;
        }
        match which {
            0 => self.kill_agent(whom, false),
            1 => self.kill_agent(whom, true),
            2 => self.kill_coordinator(),
            3 => self.cut_link(whom),
            4 => self.unplug(whom),
            5 => self.lift_all(whom),
            6 => self.swap(whom),
            7 => self.freeze(whom),
            8 => self.lose_journal(whom),
            9 => self.old_image(whom),
            _ => self.restore(),
        }
    }

    pub(super) fn connections_of(&self, pc: usize) -> Vec<usize> {
        let open = self.connections.iter();
        open.filter(|(_, connection)| connection.pc == pc)
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn kill_agent(&mut self, index: usize, power: bool) {
        let pause = 50 * MILLISECOND + self.common.up_to(12 * SECOND);
        let now = self.common.now;
        let Some(pc) = self.pcs.get_mut(index).filter(|pc| pc.process.is_some()) else {
            return;
        };
        self.common
            .note(|| format!("chaos: pc{index}: killed, power cut: {power}"));
        self.common
            .count(if power { "power cut" } else { "agent killed" });
        pc.kill(&mut self.common);
        pc.frozen_until = 0;
        pc.starts_at = Some(now + pause);
        let hardware = pc.hardware.clone();
        for id in self.connections_of(index) {
            if power {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.half_open = true;
                }
            } else {
                self.send(id, Way::ToCoordinator, Frame::End);
            }
            self.close_agent_side(id);
        }
        if power {
            for encoder in hardware {
                let mut table = lock(&self.common.table);
                let is_here = table
                    .encoders
                    .get(encoder)
                    .is_some_and(|at| at.pc == Some(index));
                if is_here && self.broken != Some(encoder) {
                    table.unplug(encoder);
                    table.plug(encoder, index);
                }
            }
        }
        self.wake(index);
    }

    /// The PC loses its power, and gets it back when every attempt of that time has long ended.
    pub(super) fn stay_away(&mut self, index: usize) {
        self.kill_agent(index, true);
        let longest = LONGEST_OUTAGE;
        let back = self.common.now + self.common.dice.between(longest / 2, longest);
        let away = |pc: &&mut Pc| pc.process.is_none() && !pc.gone;
        if let Some(pc) = self.pcs.get_mut(index).filter(away) {
            self.common.count("long outage");
            pc.starts_at = pc.starts_at.map(|at| at.max(back));
        }
    }

    /// The encoder is never plugged in again. The one that moves stays whole.
    pub(super) fn break_encoder(&mut self, encoder: usize) {
        if encoder == MOBILE || self.broken.is_some() {
            return;
        }
        let found = lock(&self.common.table).encoders.get(encoder).copied();
        let Some(pc) = found.and_then(|at| at.pc) else {
            return;
        };
        self.common
            .note(|| format!("chaos: encoder {encoder} breaks"));
        self.common.count("encoder broken");
        self.lift_all(encoder);
        lock(&self.common.table).unplug(encoder);
        self.broken = Some(encoder);
        self.wake(pc);
    }

    pub(super) fn stop_agent(&mut self, index: usize) {
        let now = self.common.now;
        if let Some(pc) = self.pcs.get_mut(index).filter(|pc| pc.frozen_until <= now) {
            pc.stop(&mut self.common);
            self.wake(index);
        }
    }

    pub(super) fn kill_coordinator(&mut self) {
        if self.coordinator.desk.is_none() {
            return;
        }
        self.common
            .note(|| "chaos: the coordinator is killed".to_owned());
        self.common.count("coordinator killed");
        self.coordinator.kill(&mut self.common);
        self.coordinator.frozen_until = 0;
        let pause = self.common.up_to(15 * SECOND);
        self.coordinator.starts_at = Some(self.common.now + pause);
        let all: Vec<usize> = self.connections.keys().copied().collect();
        for id in all {
            self.send(id, Way::ToAgent, Frame::End);
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.side = Side::Over;
            }
        }
        self.wake_coordinator();
    }

    /// The connection breaks; each side hears of it, or one of them does not until its pings go unanswered.
    pub(super) fn cut_link(&mut self, pc: usize) {
        for id in self.connections_of(pc) {
            self.common.count("link cut");
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            connection.cut();
            let (up, down) = (self.common.dice.chance(800), self.common.dice.chance(800));
            if up {
                self.send(id, Way::ToCoordinator, Frame::End);
            }
            if down {
                self.send(id, Way::ToAgent, Frame::End);
            }
            if !up
                && !down
                && let Some(connection) = self.connections.get_mut(&id)
            {
                connection.half_open = true;
            }
        }
    }

    /// Nothing passes for a while; then everything does.
    pub(super) fn stall(&mut self, pc: usize) {
        let until = self.common.now + self.common.up_to(60 * SECOND);
        for id in self.connections_of(pc) {
            self.common.count("link stalled");
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.stalled_until = until;
            }
        }
    }

    pub(super) fn half_open(&mut self, pc: usize) {
        for id in self.connections_of(pc) {
            self.common.count("link half-open");
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.half_open = true;
            }
        }
    }

    pub(super) fn unplug(&mut self, encoder: usize) {
        let mut table = lock(&self.common.table);
        let Some(pc) = table.encoders.get(encoder).and_then(|at| at.pc) else {
            return;
        };
        table.unplug(encoder);
        drop(table);
        self.common
            .note(|| format!("chaos: encoder {encoder} is unplugged from pc{pc}"));
        self.common.count("encoder unplugged");
        let after = self.common.up_to(8 * SECOND);
        self.after(after, Event::Plug(encoder, pc));
        self.wake(pc);
    }

    pub(super) fn plug(&mut self, encoder: usize, pc: usize) {
        if self.broken == Some(encoder) {
            return;
        }
        let mut table = lock(&self.common.table);
        if table
            .encoders
            .get(encoder)
            .is_some_and(|at| at.pc.is_none())
        {
            table.plug(encoder, pc);
        }
        drop(table);
        self.wake(pc);
    }

    /// The process stands still, alone or with its PC; time goes on.
    pub(super) fn freeze(&mut self, index: usize) {
        let time = self.common.up_to(90 * SECOND);
        let now = self.common.now;
        let Some(pc) = self.pcs.get_mut(index) else {
            return;
        };
        if pc.frozen_until > now || pc.process.is_none() {
            return;
        }
        self.common.count("agent suspended");
        self.common
            .note(|| format!("chaos: pc{index} stands still for {time} µs"));
        pc.frozen_until = now + time;
    }

    pub(super) fn freeze_coordinator(&mut self) {
        let time = self.common.up_to(60 * SECOND);
        if self.coordinator.desk.is_some() {
            self.common.count("coordinator suspended");
            self.coordinator.frozen_until = self.common.now + time;
        }
    }

    /// A wall clock is set, of one side.
    pub(super) fn jump_clock(&mut self) {
        let longest = 10 * 60 * SECOND;
        let by = i64::try_from(self.common.up_to(2 * longest)).unwrap_or(0);
        let by = by - i64::try_from(longest).unwrap_or(0);
        self.common.count("clock set");
        match self.common.dice.index(3) {
            2 => {
                self.coordinator.skew += by;
                self.wake_coordinator();
            }
            index => {
                if let Some(pc) = self.pcs.get_mut(index) {
                    pc.skew += by;
                }
            }
        }
    }

    pub(super) fn copy_or_restore(&mut self) {
        if self.common.dice.chance(500) {
            self.restore();
        } else {
            self.coordinator.take_copy();
        }
    }

    /// The store goes back to a copy.
    pub(super) fn restore(&mut self) {
        let at = self.common.dice.index(self.coordinator.copies.len());
        let Some(copy) = self.coordinator.copies.get(at).cloned() else {
            return;
        };
        self.kill_coordinator();
        self.common.count("store restored");
        self.common
            .note(|| "chaos: the store goes back to a copy".to_owned());
        let now = self.coordinator.utc(&self.common);
        self.coordinator.store.go_back(&mut self.common, copy);
        self.coordinator.store.note_restored(now);
        // What took the store with it may have taken a desk too.
        if self.common.dice.chance(300) {
            let pc = self.common.dice.index(2);
            self.stay_away(pc);
        }
    }

    /// An agent never comes back: its PC is out of service, now or soon.
    pub(super) fn retire(&mut self) {
        let index = self.common.dice.index(2);
        let Some(agent) = AGENTS.get(index).copied() else {
            return;
        };
        let is_one_gone = self.pcs.iter().take(2).any(|pc| pc.gone) || self.retired.is_some();
        if self.coordinator.desk.is_none() || is_one_gone {
            return;
        }
        self.common.count("agent retired");
        self.common.note(|| format!("operator: retires {agent}"));
        // Of one whose outcomes a restored store awaits, the operator vouches for the cards: it cannot come back.
        let is_vouched_for = self.coordinator.store.restored.awaited.contains(&agent);
        if self.common.dice.chance(700) || is_vouched_for {
            self.take_out_of_service(agent);
        } else {
            self.retired = Some(agent);
        }
        if let Some(desk) = &mut self.coordinator.desk {
            desk.inputs.push_back(Input::Retired(agent));
            self.wake_coordinator();
        }
    }

    /// The operator's word, given again where the store had lost it.
    pub(super) fn retire_for_good(&mut self, index: usize) {
        if let (Some(agent), Some(desk)) = (AGENTS.get(index), &mut self.coordinator.desk) {
            desk.inputs.push_back(Input::Retired(*agent));
            self.wake_coordinator();
        }
    }

    /// Whatever a retired PC's journal holds is never heard again.
    pub(super) fn take_out_of_service(&mut self, agent: AgentId) {
        for index in 0..self.pcs.len() {
            let is_its = |pc: &Pc| AGENTS.get(pc.agent) == Some(&agent) && !pc.gone;
            if !self.pcs.get(index).is_some_and(is_its) {
                continue;
            }
            self.kill_agent(index, true);
            if let Some(pc) = self.pcs.get_mut(index) {
                pc.gone = true;
                pc.starts_at = None;
                forget_all(&mut self.common, &pc.disk);
            }
        }
    }

    /// Everything is mended.
    pub(super) fn heal(&mut self) {
        self.common.note(|| "calm".to_owned());
        self.common.calm = true;
        let now = self.common.now;
        lock(&self.common.table).noise = 0;
        self.switch_clone_off();
        if let Some(clone) = self.pcs.get_mut(CLONE) {
            clone.gone = true;
        }
        for (id, agent) in self.coordinator.store.agents.clone() {
            if agent.retired || self.retired == Some(id) {
                self.take_out_of_service(id);
            }
        }
        for pc in &mut self.pcs {
            pc.disk.full = false;
            pc.frozen_until = pc.frozen_until.min(now);
            if pc.process.is_none() && !pc.gone {
                pc.starts_at = Some(now);
            }
        }
        self.coordinator.frozen_until = self.coordinator.frozen_until.min(now);
        if self.coordinator.desk.is_none() {
            self.coordinator.starts_at = Some(now);
        }
        for connection in self.connections.values_mut() {
            connection.stalled_until = connection.stalled_until.min(now);
        }
        for encoder in ENCODERS {
            self.lift_all(encoder);
        }
        self.plug_everything();
        for index in 0..AGENTS.len() {
            if self.pcs.get(index).is_some_and(|pc| pc.gone) {
                self.after(SECOND, Event::Retire(index));
            }
        }
        for node in 0..4 {
            self.wake(node);
        }
    }

    pub(super) fn plug_everything(&mut self) {
        let alive = self.pcs.iter().position(|pc| !pc.gone).unwrap_or(0);
        let mut table = lock(&self.common.table);
        for (encoder, home) in [(MOBILE, alive), (1, 0), (2, 1), (STRIPES, 1)] {
            if self.broken == Some(encoder) {
                continue;
            }
            let at = table.encoders.get(encoder).and_then(|at| at.pc);
            let is_alive = at.is_some_and(|pc| self.pcs.get(pc).is_some_and(|pc| !pc.gone));
            if at.is_none() || !is_alive {
                table.unplug(encoder);
                table.plug(encoder, home);
            }
        }
    }
}
