//! The schemas of single fields.

use serde_json::{Value, json};
use utoipa::openapi::{
    Array, ArrayBuilder, Object, ObjectBuilder, Ref, RefOr, Schema, SchemaFormat, Type,
    schema::{AnyOf, SchemaType},
};

/// An id.
pub(in crate::http) fn id() -> Schema {
    formatted("uuid").into()
}

/// A text of so many characters.
pub(in crate::http) fn text(least: usize, most: usize) -> Schema {
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
pub(in crate::http) fn time() -> Schema {
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
pub(in crate::http) fn email(most: usize) -> Schema {
    formatted("email")
        .pattern(Some(r"^[^@\s]+@[^@\s]+$"))
        .max_length(Some(most))
        .into()
}

/// An address of a web service.
pub(in crate::http) fn url(most: usize) -> Schema {
    formatted("uri").max_length(Some(most)).into()
}

/// Yes or no.
pub(in crate::http) fn flag() -> Schema {
    ObjectBuilder::new().schema_type(Type::Boolean).into()
}

/// A whole number of at least this.
pub(in crate::http) fn whole(least: u32, default: Option<u32>) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least))
        .maximum(Some(u32::MAX))
        .default(default.map(Value::from))
        .into()
}

/// One of these names.
pub(in crate::http) fn choice(choices: &[&str]) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(choices.iter().copied()))
        .into()
}

/// A list of at most so many.
pub(in crate::http) fn list(of: Schema, most: usize) -> Schema {
    ArrayBuilder::new()
        .items(RefOr::T(of))
        .max_items(Some(most))
        .into()
}

/// Two times, the first before the second.
pub(in crate::http) fn interval() -> Schema {
    ArrayBuilder::new()
        .items(RefOr::T(time()))
        .min_items(Some(2))
        .max_items(Some(2))
        .into()
}

/// An object of texts and nulls.
pub(in crate::http) fn texts_by_name(most: usize, longest: usize) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .max_properties(Some(most))
        .additional_properties(Some(RefOr::T(or_null(text(0, longest)))))
        .into()
}

/// A field that the API has and this service cannot act on.
pub(in crate::http) fn nothing(why: &str) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Null)
        .description(Some(format!("Must be null or absent: {why}")))
        .into()
}

/// A list that must be empty.
pub(in crate::http) fn empty_list(why: &str) -> Schema {
    ArrayBuilder::new()
        .items(RefOr::T(any()))
        .max_items(Some(0))
        .description(Some(format!("Must be empty or absent: {why}")))
        .into()
}

pub(super) fn any() -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .into()
}

fn formatted(format: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom(format.to_owned())))
}

pub(super) fn is_nothing(schema: &Schema) -> bool {
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
pub(super) fn or_null(schema: Schema) -> Schema {
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
pub(super) fn or_empty(schema: Schema) -> Schema {
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
pub(in crate::http) fn schema_ref(name: &str) -> Ref {
    Ref::from_schema_name(name)
}

/// The schema as JSON.
pub(in crate::http) fn schema_json(schema: &Schema) -> Value {
    // The types of a schema have text keys only, so they can be written as JSON.
    serde_json::to_value(schema).unwrap_or_else(|_| json!({}))
}
