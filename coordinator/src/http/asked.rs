//! What a path asks for, written down by the very functions that read it.
//!
//! A [`super::Params`] that is *asking* hands out readers without any values. Each function of such a reader notes the
//! field that it would have read, and [`super::Reader::finish`] ends the request there, so no handler gets further. What
//! was noted becomes the request's part of the API document, which for that reason cannot say anything else than what is
//! read.

mod schemas;

pub(super) use schemas::{
    choice, email, empty_list, flag, id, interval, list, nothing, schema_json, schema_ref, text,
    texts_by_name, time, url, whole,
};

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use utoipa::openapi::{
    AllOf, ArrayBuilder, Object, ObjectBuilder, OneOf, Schema,
    schema::{AdditionalProperties, AnyOf},
};

use schemas::{any, is_nothing, or_empty, or_null};

/// The notes of one request that is made to learn what a path asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<Asked>>);

impl Notes {
    /// Notes a field that may be absent.
    pub(super) fn field(&self, path: &str, schema: impl Into<Schema>) {
        let schema = schema.into();
        self.with(|asked| asked.fields.at(path).shape = Shape::Value(Box::new(schema)));
    }

    /// Notes that a field is required.
    pub(super) fn required(&self, path: &str) {
        self.with(|asked| asked.fields.at(path).is_required = true);
    }

    /// Notes an object whose fields are noted one by one.
    pub(super) fn object(&self, path: &str) {
        self.with(|asked| asked.fields.at(path).shape = Shape::Object);
    }

    /// Notes a list of objects whose fields are noted as those of its first one.
    pub(super) fn objects(&self, path: &str, most: usize) {
        self.with(|asked| asked.fields.at(path).shape = Shape::Objects { most });
    }

    /// Notes that some of several fields must be given.
    pub(super) fn need(&self, need: Need) {
        self.with(|asked| asked.needs.push(need));
    }

    /// Notes that other fields are refused.
    pub(super) fn only(&self) {
        self.with(|asked| asked.is_closed = true);
    }

    /// Notes that everything was read.
    pub(super) fn finish(&self) {
        self.with(|asked| asked.is_finished = true);
    }

    /// What was noted.
    pub(super) fn take(&self) -> Asked {
        self.with(std::mem::take)
    }

    fn with<T>(&self, note: impl FnOnce(&mut Asked) -> T) -> T {
        // A panic elsewhere leaves the notes as good as they were.
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Which of several fields a request must give.
#[derive(Clone, Debug)]
pub(super) struct Need {
    /// The fields.
    pub(super) names: Vec<String>,
    /// Whether it must be one alone.
    pub(super) one_only: bool,
    /// Whether an empty list counts as absent.
    pub(super) filled: bool,
}

impl Need {
    /// The need in words.
    pub(super) fn words(&self) -> String {
        let (which, names) = (
            if self.one_only {
                "Exactly one of"
            } else {
                "At least one of"
            },
            self.names.join(", "),
        );
        format!("{which} {names} must be given.")
    }
}

/// What a path asks for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    fields: Fields,
    /// Whether other fields are refused.
    is_closed: bool,
    /// Which fields need each other's absence.
    pub(super) needs: Vec<Need>,
    /// Whether the path read all its parameters before it did anything.
    pub(super) is_finished: bool,
}

/// A field as a query gives it: objects are parted by dots.
#[derive(Debug)]
pub(super) struct QueryField {
    pub(super) name: String,
    pub(super) is_required: bool,
    pub(super) schema: Schema,
}

impl Asked {
    /// The schema of the JSON body.
    pub(super) fn body(&self) -> Schema {
        let mut object = ObjectBuilder::from(self.fields.schema());
        if self.is_closed {
            object = object.additional_properties(Some(AdditionalProperties::FreeForm(false)));
        }
        let object: Schema = object.into();
        if self.needs.is_empty() {
            return object;
        }
        let mut all = AllOf::builder().item(object);
        for need in &self.needs {
            let variants = need.names.iter().map(|name| self.given(name, need.filled));
            all = if need.one_only {
                all.item(variants.fold(OneOf::builder(), |one, it| one.item(it)))
            } else {
                all.item(variants.fold(AnyOf::builder(), |any, it| any.item(it)))
            };
        }
        all.build().into()
    }

    /// The parameters of a query.
    pub(super) fn query(&self) -> Vec<QueryField> {
        let mut listed = Vec::new();
        self.fields.list("", true, &mut listed);
        listed
    }

    /// An object that has this field, and not as null.
    fn given(&self, name: &str, filled: bool) -> Schema {
        let field = self.fields.0.get(name).map(Field::schema);
        let field = match field {
            Some(Schema::Array(list)) if filled => {
                ArrayBuilder::from(list).min_items(Some(1)).into()
            }
            Some(schema) => schema,
            None => any(),
        };
        ObjectBuilder::new()
            .property(name, field)
            .required(name)
            .into()
    }
}

#[derive(Debug, Default)]
struct Fields(BTreeMap<String, Field>);

#[derive(Debug, Default)]
struct Field {
    is_required: bool,
    shape: Shape,
    fields: Fields,
}

#[derive(Debug, Default)]
enum Shape {
    #[default]
    Object,
    Objects {
        most: usize,
    },
    Value(Box<Schema>),
}

impl Fields {
    /// The field at this path, made where it is not there.
    fn at(&mut self, path: &str) -> &mut Field {
        let (name, rest) = path.split_once('.').unwrap_or((path, ""));
        let field = self.0.entry(name.to_owned()).or_default();
        // The first object of a list stands for all of them.
        let rest = match field.shape {
            Shape::Objects { .. } => rest.split_once('.').map_or("", |(_, rest)| rest),
            Shape::Object | Shape::Value(_) => rest,
        };
        if rest.is_empty() {
            field
        } else {
            field.fields.at(rest)
        }
    }

    fn schema(&self) -> Object {
        let mut object = ObjectBuilder::new();
        for (name, field) in &self.0 {
            object = if field.is_required {
                object.property(name, field.schema()).required(name)
            } else {
                object.property(name, or_null(field.schema()))
            };
        }
        object.build()
    }

    fn list(&self, prefix: &str, is_required: bool, listed: &mut Vec<QueryField>) {
        for (name, field) in &self.0 {
            let name = format!("{prefix}{name}");
            let is_required = is_required && field.is_required;
            match &field.shape {
                Shape::Object => field.fields.list(&format!("{name}."), is_required, listed),
                Shape::Value(schema) if !is_nothing(schema) => listed.push(QueryField {
                    name,
                    is_required,
                    schema: if is_required {
                        Schema::clone(schema)
                    } else {
                        or_empty(Schema::clone(schema))
                    },
                }),
                // Lists of objects cannot be told in a query; what must be null need not be told.
                Shape::Value(_) | Shape::Objects { .. } => {}
            }
        }
    }
}

impl Field {
    fn schema(&self) -> Schema {
        match &self.shape {
            Shape::Object => self.fields.schema().into(),
            Shape::Objects { most } => ArrayBuilder::new()
                .items(self.fields.schema())
                .min_items(Some(1))
                .max_items(Some(*most))
                .into(),
            Shape::Value(schema) => Schema::clone(schema),
        }
    }
}
