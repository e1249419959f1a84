//! The `batch` of resources that the `get_related` paths answer with.

use serde_json::{Map, Value};

use super::{Invalid, Reader};

/// Resources by the name of their kind, as far as they were asked for.
#[derive(Debug)]
pub(super) struct Batch {
    wanted: Vec<&'static str>,
    found: Map<String, Value>,
}

impl Batch {
    /// Reads `include` and `exclude`: without them, every kind is wanted.
    pub(super) fn read(reader: &mut Reader<'_>, kinds: &[&'static str]) -> Result<Self, Invalid> {
        let include = reader.optional_choices("include", kinds);
        let exclude = reader.optional_choices("exclude", kinds);
        let (include, exclude) = (include?, exclude?.unwrap_or_default());
        let mut wanted = include.unwrap_or_else(|| kinds.to_vec());
        wanted.retain(|kind| !exclude.contains(kind));
        Ok(Self {
            wanted,
            found: Map::new(),
        })
    }

    /// Whether this kind was asked for.
    pub(super) fn wants(&self, kind: &str) -> bool {
        self.wanted.contains(&kind)
    }

    /// Adds the resources of a kind, unless they were not asked for.
    pub(super) fn put(&mut self, kind: &str, resources: impl IntoIterator<Item = Value>) {
        if self.wants(kind) {
            let resources = resources.into_iter().collect();
            self.found.insert(kind.to_owned(), Value::Array(resources));
        }
    }
}

impl From<Batch> for Value {
    fn from(batch: Batch) -> Self {
        Self::Object(batch.found)
    }
}
