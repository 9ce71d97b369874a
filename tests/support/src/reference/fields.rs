//! The fields of the custom resource, from its CustomResourceDefinition.

use anyhow::{Context, Result, ensure};
use client_certificate_operator::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::row;

/// The fields of `spec` or `status` that belong to a page, and the objects that admission rejects. The paths of fields and
/// the messages of admission decide.
pub fn tables(part: &str, is_of_page: fn(&str) -> bool) -> Result<String> {
    let crd = api::crd();
    let version = crd.spec.versions.into_iter().next().context("the CRD has no version")?;
    let schema = version.schema.and_then(|schema| schema.open_api_v3_schema).context("the CRD has no schema")?;
    let schema = schema.properties.as_ref().and_then(|parts| parts.get(part)).context("the schema has no such part")?;
    let mut found = Found { is_of_page, rows: String::new(), rules: String::new() };
    found.walk(schema, "")?;
    let mut text = format!("| field | takes | default | meaning |\n|---|---|---|---|\n{}", found.rows);
    if !found.rules.is_empty() {
        text += "\n## What the API server rejects\n\nThe API server also checks rules that a type does not express, and answers with these messages:\n\n";
        text += &found.rules;
    }
    Ok(text)
}

struct Found {
    is_of_page: fn(&str) -> bool,
    rows: String,
    rules: String,
}

impl Found {
    fn walk(&mut self, schema: &JSONSchemaProps, path: &str) -> Result<()> {
        for rule in schema.x_kubernetes_validations.iter().flatten() {
            let message = rule.message.as_ref().with_context(|| format!("a rule of {path} has no message"))?;
            if (self.is_of_page)(message) {
                self.rules += &format!("- {}\n", message.replace('<', "&lt;").replace("_+=", "\\_+="));
            }
        }
        let required = schema.required.clone().unwrap_or_default();
        for (name, child) in schema.properties.iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let meaning = child.description.clone().unwrap_or_default().replace('\n', " ");
            ensure!(!meaning.trim().is_empty(), "{path} has no description");
            let default = match &child.default {
                _ if required.contains(name) => "required".to_owned(),
                Some(default) => format!("`{}`", default.0),
                None => String::new(),
            };
            if (self.is_of_page)(&path) {
                self.rows += &row(&[&format!("`{path}`"), &takes(child), &default, &meaning])?;
            }
            self.walk(child, &path)?;
            if let Some(JSONSchemaPropsOrArray::Schema(items)) = &child.items {
                self.walk(items, &format!("{path}[]"))?;
            }
        }
        Ok(())
    }
}

/// The type and the limits of a field.
fn takes(schema: &JSONSchemaProps) -> String {
    let values = |schema: &JSONSchemaProps| {
        let values = schema.enum_.as_ref()?.iter().map(|value| format!("`{}`", value.0.as_str().unwrap_or_default()));
        Some(values.collect::<Vec<_>>().join(", "))
    };
    let mut takes = match (values(schema), schema.type_.as_deref(), schema.format.as_deref()) {
        (Some(values), _, _) => values,
        (None, Some("string"), Some("date-time")) => "time".to_owned(),
        (None, Some("object"), _) => match &schema.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(of)) => {
                values(of).map_or("map of strings".to_owned(), |of| format!("map to {of}"))
            }
            _ => "object".to_owned(),
        },
        (None, Some("array"), _) => match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(of)) => format!("list of {}s", of.type_.as_deref().unwrap_or("value")),
            _ => "list".to_owned(),
        },
        (None, type_, _) => type_.unwrap_or("anything").to_owned(),
    };
    let limits = [(schema.max_length, "characters"), (schema.max_items, "entries"), (schema.max_properties, "entries")];
    for (limit, unit) in limits {
        if let Some(limit) = limit {
            takes += &format!(", at most {limit} {unit}");
        }
    }
    takes
}
