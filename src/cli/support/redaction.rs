//! Taking secrets out of a text: those that are known on this PC, wherever they turn up.

use std::{fs, path::Path};

use serde_json::Value;
use zeroize::Zeroizing;

use crate::{
    config::{ENVIRONMENT_PREFIX, MASK, Settings, TokenSetting, untyped},
    platform,
};

/// Texts that are shorter than this would tear holes into everything else; no token is.
const SHORTEST: usize = 4;

/// The variables of the environment that may name a proxy with a password.
const PROXY_VARIABLES: &[&str] = &["https_proxy", "http_proxy", "all_proxy"];

/// The secrets that are known on this PC, as far as this user may read them.
#[derive(Default)]
pub(super) struct Redaction {
    secrets: Vec<Zeroizing<String>>,
}

impl Redaction {
    /// Everything secret in settings, token files and environment.
    pub(super) fn gather(
        text: Option<&str>,
        settings: Option<&Settings>,
        environment: &[(String, String)],
    ) -> Self {
        let mut redaction = Self::default();
        if let Some(value) = text.and_then(untyped) {
            redaction.of_values("", &value);
        }
        for (name, value) in environment {
            redaction.of_variable(name, value);
        }
        let Some(settings) = settings else {
            return redaction;
        };
        if let Some(coordinator) = &settings.coordinator
            && let TokenSetting::File(path) = &coordinator.token
            && let Ok(token) = fs::read_to_string(path).map(Zeroizing::new)
        {
            redaction.add(token.trim());
        }
        if let Some(state_dir) = &settings.state_dir {
            redaction.of_state(state_dir);
        }
        redaction
    }

    /// The text without any of them.
    pub(super) fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // The longest first: one may be a part of another.
        let mut secrets: Vec<_> = self.secrets.iter().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        text
    }

    fn add(&mut self, secret: &str) {
        if secret.len() >= SHORTEST {
            self.secrets.push(Zeroizing::new(secret.to_owned()));
        }
    }

    fn of_variable(&mut self, name: &str, value: &str) {
        let lower = name.to_lowercase();
        let own = name
            .to_uppercase()
            .starts_with(ENVIRONMENT_PREFIX)
            .then_some(lower.as_str());
        if own.is_some_and(|name| name.ends_with("token")) {
            self.add(value.trim());
        } else if own.is_some() || PROXY_VARIABLES.contains(&lower.as_str()) {
            self.of_url(value);
        }
    }

    /// Files in the state directory that hold tokens, whatever their form: every text below a key that speaks of one.
    fn of_state(&mut self, state_dir: &Path) {
        let Ok(entries) = fs::read_dir(state_dir) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = fs::read_to_string(&path).map(Zeroizing::new);
            if let Ok(Ok(value)) = text.map(|text| serde_json::from_str::<Value>(&text)) {
                self.of_values("", &value);
            }
        }
    }

    fn of_values(&mut self, key: &str, value: &Value) {
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    self.of_values(key, value);
                }
            }
            Value::Array(values) => {
                for value in values {
                    self.of_values(key, value);
                }
            }
            Value::String(text) => {
                let is_secret = ["token", "replaces", "secret", "password", "code"];
                if is_secret.iter().any(|word| key.contains(word)) && !key.ends_with("_file") {
                    self.add(text.trim());
                    if let Ok(secret) = platform::unsealed(text.trim()) {
                        self.add(&secret);
                    }
                } else {
                    self.of_url(text);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// User name and password of a URL, as they are written and as they are meant.
    fn of_url(&mut self, url: &str) {
        let Some((before, _)) = url.rsplit_once('@') else {
            return;
        };
        let user_info = before.split_once("://").map_or(before, |(_, rest)| rest);
        self.add(user_info);
        let (_, password) = user_info.split_once(':').unwrap_or(("", user_info));
        self.add(password);
        if let Ok(decoded) = percent_encoding::percent_decode_str(password).decode_utf8() {
            self.add(&decoded);
        }
    }
}
