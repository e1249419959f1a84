//! What a path asks for, written down by the very functions that read it.
//!
//! A [`super::Params`] that is *asking* hands out readers without any values. Each function of such a reader notes the
//! field that it would have read, and [`super::Reader::finish`] ends the request there, so no handler gets further. What
//! was noted becomes the request's part of the API document, which for that reason cannot say anything else than what is
//! read.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use utoipa::openapi::{
    AllOf, Array, ArrayBuilder, Object, ObjectBuilder, OneOf, Ref, RefOr, Schema, SchemaFormat,
    Type,
    schema::{AdditionalProperties, AnyOf, SchemaType},
};

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

/// An id.
pub(super) fn id() -> Schema {
    formatted("uuid").into()
}

/// A text of so many characters.
pub(super) fn text(least: usize, most: usize) -> Schema {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(most));
    if least == 0 {
        return text.into();
    }
    // White space alone counts as nothing.
    text.min_length(Some(least)).pattern(Some(r"\S")).into()
}

/// A time with its offset, or a date.
pub(super) fn time() -> Schema {
    AnyOf::builder()
        .item(formatted("date-time"))
        .item(formatted("date"))
        .description(Some(
            "RFC 3339 with an offset, or a date, which begins at midnight UTC",
        ))
        .build()
        .into()
}

/// An e-mail address.
pub(super) fn email(most: usize) -> Schema {
    formatted("email")
        .pattern(Some(r"^[^@\s]+@[^@\s]+$"))
        .max_length(Some(most))
        .into()
}

/// An address of a web service.
pub(super) fn url(most: usize) -> Schema {
    formatted("uri").max_length(Some(most)).into()
}

/// Yes or no.
pub(super) fn flag() -> Schema {
    ObjectBuilder::new().schema_type(Type::Boolean).into()
}

/// A whole number of at least this.
pub(super) fn whole(least: u32, default: Option<u32>) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least))
        .maximum(Some(u32::MAX))
        .default(default.map(Value::from))
        .into()
}

/// One of these names.
pub(super) fn choice(choices: &[&str]) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(choices.iter().copied()))
        .into()
}

/// A list of at most so many.
pub(super) fn list(of: Schema, most: usize) -> Schema {
    ArrayBuilder::new()
        .items(RefOr::T(of))
        .max_items(Some(most))
        .into()
}

/// Two times, the first before the second.
pub(super) fn interval() -> Schema {
    ArrayBuilder::new()
        .items(RefOr::T(time()))
        .min_items(Some(2))
        .max_items(Some(2))
        .into()
}

/// An object of texts and nulls.
pub(super) fn texts_by_name(most: usize, longest: usize) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .max_properties(Some(most))
        .additional_properties(Some(RefOr::T(or_null(text(0, longest)))))
        .into()
}

/// A field that the API has and this service cannot act on.
pub(super) fn nothing(why: &str) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Null)
        .description(Some(format!("Must be null or absent: {why}")))
        .into()
}

/// A list that must be empty.
pub(super) fn empty_list(why: &str) -> Schema {
    ArrayBuilder::new()
        .items(RefOr::T(any()))
        .max_items(Some(0))
        .description(Some(format!("Must be empty or absent: {why}")))
        .into()
}

fn any() -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .into()
}

fn formatted(format: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom(format.to_owned())))
}

fn is_nothing(schema: &Schema) -> bool {
    matches!(
        schema,
        Schema::Object(Object {
            schema_type: SchemaType::Type(Type::Null),
            ..
        }) | Schema::Array(Array {
            max_items: Some(0),
            ..
        })
    )
}

/// The same, but null too.
fn or_null(schema: Schema) -> Schema {
    if let Schema::Object(mut object) = schema {
        object.schema_type = type_or_null(object.schema_type);
        if let Some(values) = &mut object.enum_values {
            values.push(Value::Null);
        }
        return object.into();
    }
    if let Schema::Array(mut list) = schema {
        list.schema_type = type_or_null(list.schema_type);
        return list.into();
    }
    let null = ObjectBuilder::new().schema_type(Type::Null);
    if let Schema::AnyOf(mut any) = schema {
        any.items.push(RefOr::T(null.into()));
        return any.into();
    }
    AnyOf::builder().item(schema).item(null).build().into()
}

/// The same as a query gives it, where null is an empty text.
fn or_empty(schema: Schema) -> Schema {
    if matches!(schema, Schema::Array(_)) {
        return schema;
    }
    let empty = ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(0));
    AnyOf::builder().item(schema).item(empty).build().into()
}

fn type_or_null(schema_type: SchemaType) -> SchemaType {
    match schema_type {
        SchemaType::Type(Type::Null) => SchemaType::Type(Type::Null),
        SchemaType::Type(one) => SchemaType::Array(vec![one, Type::Null]),
        several @ (SchemaType::Array(_) | SchemaType::AnyValue) => several,
    }
}

/// A reference to one of the document's schemas.
pub(super) fn schema_ref(name: &str) -> Ref {
    Ref::from_schema_name(name)
}

/// The schema as JSON.
pub(super) fn schema_json(schema: &Schema) -> Value {
    // The types of a schema have text keys only, so they can be written as JSON.
    serde_json::to_value(schema).unwrap_or_else(|_| json!({}))
}
