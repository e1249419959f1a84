//! A configuration file as strangers may see it: for bundles that are sent to whoever supports the agent.

use config::{Config, File, FileFormat};
use serde_json::{Map, Value};

use super::{ROOT_KEYS, coordinator, discovery, encoder, local, log};

/// What stands in the place of a secret.
pub const MASK: &str = "[secret]";

/// What stands in the place of what nobody knows: it may be a secret under a mistyped name.
const UNKNOWN: &str = "[not shown: unknown key]";

/// The settings of a file's text as JSON, without tokens and passwords, and without the values of unknown keys. None where the
/// text is no TOML.
pub fn shown(text: &str) -> Option<Value> {
    Some(masked("", untyped(text)?))
}

/// A file's text as it stands there, secrets and all. None where it is no TOML.
pub fn untyped(text: &str) -> Option<Value> {
    let file = File::from_str(text, FileFormat::Toml);
    let read = Config::builder().add_source(file).build().ok()?;
    read.try_deserialize().ok()
}

fn masked(key: &str, value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let entries = entries.into_iter();
            let shown = entries.map(|(key, value)| {
                let value = if is_known(&key) {
                    masked(&key, value)
                } else {
                    UNKNOWN.into()
                };
                (key, value)
            });
            Value::Object(shown.collect::<Map<_, _>>())
        }
        Value::Array(values) => {
            let values = values.into_iter();
            Value::Array(values.map(|value| masked(key, value)).collect())
        }
        Value::String(text) => Value::String(match key {
            "token" => MASK.to_owned(),
            "proxy" | "url" => without_user(&text),
            _ => text,
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn is_known(key: &str) -> bool {
    let lists = [
        ROOT_KEYS,
        coordinator::KEYS,
        log::KEYS,
        discovery::KEYS,
        encoder::KEYS,
        local::KEYS,
    ];
    lists.iter().any(|known| known.contains(&key))
}

/// A URL without user name and password.
fn without_user(url: &str) -> String {
    match url.rsplit_once('@') {
        None => url.to_owned(),
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://{MASK}@{host}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_unknown_keys_are_masked_and_the_rest_is_shown() {
        let text = "state_dir = \"/s\" # hush-comment\ntokn = \"hush-0\"\n\
                    [coordinator]\nurl = \"wss://hush-1:hush-2@keys.example\"\ntoken = \"hush-3\"\n\
                    proxy = \"http://hush-4:hush-5@proxy.example:3128\"\npassword = [\"hush-6\"]\n\
                    [[encoder]]\nname = \"Bar\"\nsecret = { key = \"hush-7\" }\nbaud = 9600\n";
        let shown = shown(text).unwrap();
        let told = shown.to_string();
        assert!(!told.contains("hush"), "{told}");
        assert_eq!(shown["state_dir"], "/s");
        assert_eq!(shown["coordinator"]["token"], MASK);
        assert_eq!(
            shown["coordinator"]["proxy"],
            "http://[secret]@proxy.example:3128"
        );
        assert_eq!(shown["encoder"][0]["name"], "Bar");
        assert_eq!(shown["encoder"][0]["baud"], 9600);
    }

    #[test]
    fn what_is_no_toml_is_not_shown() {
        assert_eq!(super::shown("token = hush"), None);
    }
}
