//! What differs between the settings in use and those that were read anew, and what of it can count at once.

use super::{LogLevel, Settings};
use crate::{discovery::DiscoverySettings, encoder::EncoderSettings};

/// What differs between the settings in use and those that were read anew.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Another level for the log.
    pub level: Option<LogLevel>,
    /// How encoders are found from now on.
    pub discovery: Option<DiscoverySettings>,
    /// Encoders that are listed by a port and were not before.
    pub added: Vec<EncoderSettings>,
    /// Encoders with another name.
    pub renamed: Vec<EncoderSettings>,
    /// What counts only after a restart, as the file names it.
    pub after_restart: Vec<String>,
}

impl Settings {
    /// What differs in `fresh` from these settings, which are in use.
    pub fn changes(&self, fresh: &Self) -> Changes {
        let mut changes = Changes {
            level: (self.log.level != fresh.log.level).then_some(fresh.log.level),
            ..Changes::default()
        };
        changes.of_tables(self, fresh);
        changes.of_discovery(&self.discovery, &fresh.discovery);
        changes.of_ports(&self.encoders, &fresh.encoders);
        changes.of_keys(&self.discovery.listed, &fresh.discovery.listed);
        changes
    }

    /// Takes what counts at once from `fresh`; what needs a restart stays, so that it goes on being told.
    pub fn take(&mut self, fresh: &Self, changes: &Changes) {
        self.log.level = fresh.log.level;
        if let Some(discovery) = &changes.discovery {
            self.discovery = discovery.clone();
        }
        self.encoders.extend(changes.added.iter().cloned());
        for renamed in &changes.renamed {
            let mut listed = self.encoders.iter_mut();
            if let Some(encoder) = listed.find(|encoder| encoder.key == renamed.key) {
                encoder.name.clone_from(&renamed.name);
            }
        }
    }
}

impl Changes {
    fn of_tables(&mut self, used: &Settings, fresh: &Settings) {
        let compared = [
            ("state_dir", used.state_dir != fresh.state_dir),
            ("coordinator", used.coordinator != fresh.coordinator),
            ("local", used.local != fresh.local),
            ("log.format", used.log.format != fresh.log.format),
        ];
        let differing = compared.into_iter().filter(|(_, differs)| *differs);
        self.after_restart
            .extend(differing.map(|(name, _)| name.to_owned()));
    }

    fn of_discovery(&mut self, used: &DiscoverySettings, fresh: &DiscoverySettings) {
        if used.enabled != fresh.enabled {
            self.after_restart.push("discovery.enabled".to_owned());
        }
        let live = DiscoverySettings {
            enabled: used.enabled,
            #[cfg(target_os = "linux")]
            sysfs: used.sysfs.clone(),
            ..fresh.clone()
        };
        #[cfg(target_os = "linux")]
        if used.sysfs != fresh.sysfs {
            self.after_restart
                .push("discovery.sys, discovery.dev".to_owned());
        }
        self.discovery = (live != *used).then_some(live);
    }

    /// Encoders that have a port are there for as long as the agent runs.
    fn of_ports(&mut self, used: &[EncoderSettings], fresh: &[EncoderSettings]) {
        for encoder in fresh {
            match used.iter().find(|other| other.key == encoder.key) {
                None => self.added.push(encoder.clone()),
                Some(other) => self.of_encoder(other, encoder),
            }
        }
        let is_left_out = |encoder: &&EncoderSettings| {
            let mut fresh = fresh.iter();
            !fresh.any(|other| other.key == encoder.key)
        };
        for encoder in used.iter().filter(is_left_out) {
            self.after_restart.push(format!(
                "[[encoder]] \"{}\", which was left out",
                encoder.name
            ));
        }
    }

    /// Encoders that are found: the next that is plugged in is taken as it is listed then.
    fn of_keys(&mut self, used: &[EncoderSettings], fresh: &[EncoderSettings]) {
        for encoder in fresh {
            match used.iter().find(|other| other.key == encoder.key) {
                None => self.renamed.push(encoder.clone()),
                Some(other) => self.of_encoder(other, encoder),
            }
        }
    }

    fn of_encoder(&mut self, used: &EncoderSettings, fresh: &EncoderSettings) {
        if used.name != fresh.name {
            self.renamed.push(fresh.clone());
        }
        let but_for_its_name = EncoderSettings {
            name: used.name.clone(),
            ..fresh.clone()
        };
        if but_for_its_name != *used {
            self.after_restart
                .push(format!("[[encoder]] \"{}\"", fresh.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    const LEAST: &str =
        "state_dir = \"/s\"\n[coordinator]\nurl = \"ws://127.0.0.1:1\"\ntoken = \"t\"\n";
    const ENCODER: &str =
        "[[encoder]]\nname = \"Front Desk\"\ndriver = \"pn532\"\nport = \"/dev/a\"\n";

    fn settings(text: &str) -> Settings {
        Settings::parse(text, &Layers::default()).unwrap()
    }

    fn changes(before: &str, after: &str) -> Changes {
        settings(before).changes(&settings(after))
    }

    #[test]
    fn nothing_differs_in_the_same_settings() {
        let text = format!("{LEAST}{ENCODER}");
        assert_eq!(changes(&text, &text), Changes::default());
    }

    #[test]
    fn what_can_count_at_once_does() {
        let before = format!("{LEAST}{ENCODER}");
        let renamed = before.replace("Front Desk", "Reception");
        let found = changes(&before, &renamed);
        assert_eq!(found.renamed[0].name, "Reception");
        let bar = "[[encoder]]\nname = \"Bar\"\ndriver = \"msr605\"\nport = \"/dev/b\"\n";
        let added = changes(&before, &format!("{before}{bar}"));
        assert_eq!(added.added[0].name, "Bar");
        let more = "[discovery]\nprobe = true\nadopt = \"listed\"\n[log]\nlevel = \"debug\"\n";
        let other = changes(&before, &format!("{before}{more}"));
        assert_eq!(other.level, Some(LogLevel::Debug));
        assert!(other.discovery.as_ref().unwrap().probe);
        for changes in [found, added, other] {
            assert_eq!(changes.after_restart, Vec::<String>::new());
        }
    }

    #[test]
    fn a_key_that_is_listed_names_the_encoder_that_is_found_by_it() {
        let before = LEAST.to_owned();
        let listed =
            "[[encoder]]\nname = \"Bar\"\ndriver = \"pn532\"\nkey = \"usb:0403:6001:A9XK01\"\n";
        let found = changes(&before, &format!("{before}{listed}"));
        assert_eq!(found.renamed[0].name, "Bar");
        assert_eq!(found.discovery.unwrap().listed.len(), 1);
        assert_eq!((found.added, found.after_restart), (vec![], vec![]));
    }

    #[test]
    fn what_needs_a_restart_is_named_and_nothing_of_it_is_quoted() {
        let before = format!("{LEAST}{ENCODER}");
        for (from, to, expected) in [
            ("\"/s\"", "\"/other\"", "state_dir"),
            ("\"t\"", "\"another\"", "coordinator"),
            ("127.0.0.1:1", "127.0.0.1:2", "coordinator"),
            (
                "/dev/a\"",
                "/dev/a\"\nbaud = 9600",
                "[[encoder]] \"Front Desk\"",
            ),
            (
                "[coordinator]",
                "[local]\nhttp = \"127.0.0.1:1\"\n[coordinator]",
                "local",
            ),
            (
                "[coordinator]",
                "[log]\nformat = \"json\"\n[coordinator]",
                "log.format",
            ),
            (
                "[coordinator]",
                "[discovery]\nenabled = false\n[coordinator]",
                "discovery.enabled",
            ),
            (
                ENCODER,
                "",
                "[[encoder]] \"Front Desk\", which was left out",
            ),
        ] {
            let found = changes(&before, &before.replace(from, to));
            assert_eq!(found.after_restart, [expected], "{to}");
            assert!(!format!("{found:?}").contains("another"));
        }
    }

    #[test]
    fn what_was_taken_is_no_change_any_more_and_the_rest_still_is() {
        let mut used = settings(&format!("{LEAST}{ENCODER}"));
        let bar = "[[encoder]]\nname = \"Bar\"\ndriver = \"msr605\"\nport = \"/dev/b\"\n[log]\nlevel = \"warn\"\nformat = \"json\"\n";
        let fresh = settings(&format!("{LEAST}{ENCODER}{bar}").replace("Front Desk", "Reception"));
        let changes = used.changes(&fresh);
        used.take(&fresh, &changes);
        let again = used.changes(&fresh);
        let rest = Changes {
            after_restart: vec!["log.format".to_owned()],
            ..Changes::default()
        };
        assert_eq!(again, rest);
    }
}
