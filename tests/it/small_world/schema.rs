//! The check of a status by the CRD's schema, without CEL.

use std::sync::LazyLock;

use client_certificate_operator::api::{ClientCertificateRefStatus, crd};
use serde_json::Value;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"].clone()
});

/// Panics if the API server would refuse the status.
pub fn check(status: &ClientCertificateRefStatus) {
    if let Err(refusal) = walk("status", &SCHEMA, &serde_json::to_value(status).unwrap()) {
        panic!("{refusal}: {status:#?}");
    }
}

fn walk(path: &str, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = schema.as_object().unwrap();
    for (keyword, says) in schema {
        let is_met = match keyword.as_str() {
            "description" | "default" | "nullable" => true,
            "type" => match says.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_i64() || value.is_u64(),
                "boolean" => value.is_boolean(),
                other => panic!("{path}: the type {other}"),
            },
            "maxLength" => value.as_str().unwrap().chars().count() as u64 <= says.as_u64().unwrap(),
            "minLength" => value.as_str().unwrap().chars().count() as u64 >= says.as_u64().unwrap(),
            "maxItems" => value.as_array().unwrap().len() as u64 <= says.as_u64().unwrap(),
            "maxProperties" => value.as_object().unwrap().len() as u64 <= says.as_u64().unwrap(),
            "minimum" => value.as_f64().unwrap() >= says.as_f64().unwrap(),
            "enum" => says.as_array().unwrap().contains(value),
            "format" => match says.as_str().unwrap() {
                "date-time" => value.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(),
                "int64" => value.is_i64(),
                other => panic!("{path}: the format {other}"),
            },
            "required" => says.as_array().unwrap().iter().all(|key| !value[key.as_str().unwrap()].is_null()),
            "properties" => {
                for (key, value) in value.as_object().unwrap() {
                    let schema = says.get(key).ok_or_else(|| format!("{path}.{key} is not in the schema"))?;
                    walk(&format!("{path}.{key}"), schema, value)?;
                }
                true
            }
            "additionalProperties" => {
                value.as_object().unwrap().iter().try_for_each(|(key, it)| walk(&format!("{path}.{key}"), says, it))?;
                true
            }
            "items" => {
                let mut items = value.as_array().unwrap().iter().enumerate();
                items.try_for_each(|(at, item)| walk(&format!("{path}[{at}]"), says, item))?;
                true
            }
            "x-kubernetes-list-type" => match says.as_str().unwrap() {
                "map" => {
                    let keys: Vec<_> = schema["x-kubernetes-list-map-keys"].as_array().unwrap().iter().collect();
                    let key_of = |item: &Value| keys.iter().map(|key| item[key.as_str().unwrap()].clone()).collect();
                    let all: Vec<Vec<Value>> = value.as_array().unwrap().iter().map(key_of).collect();
                    all.iter().enumerate().all(|(at, key)| !all[..at].contains(key))
                }
                "atomic" => true,
                other => panic!("{path}: the list type {other}"),
            },
            "x-kubernetes-list-map-keys" => true,
            other => panic!("{path}: the keyword {other} is not known here"),
        };
        if !is_met {
            return Err(format!("{path} does not meet {keyword}: {says}"));
        }
    }
    Ok(())
}

#[test]
fn invalid_specs_are_refused() {
    let status = |change: fn(&mut ClientCertificateRefStatus)| {
        let mut status = ClientCertificateRefStatus::default();
        change(&mut status);
        walk("status", &SCHEMA, &serde_json::to_value(status).unwrap())
    };
    assert_eq!(status(|_| {}), Ok(()));
    assert!(status(|status| status.last_handled_refresh = Some("x".repeat(1025))).is_err());
    assert!(status(|status| status.certificates = vec![Default::default(); 65]).is_err());
    assert!(status(|status| status.client_certificate_id = Some("x".repeat(257))).is_err());
    assert!(status(|status| drop(status.unknown.insert("more".to_owned(), Value::from(1)))).is_err());
}
