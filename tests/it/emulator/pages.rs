//! Lists that change between two pages, and faulty lists.

use std::collections::BTreeSet;

use operator_testing::emulator::{DEFAULT_REGION as REGION, Emulator, Fault};
use operator_testing::http::Answer;
use operator_testing::script::Operation;
use serde_json::Value;

use super::sts::sdk;
use super::{new, source};

async fn with(ids: &[&str]) -> Emulator {
    let emulator = Emulator::start().await.unwrap();
    for id in ids {
        emulator.generate(REGION, new().id(*id));
    }
    emulator
}

async fn raw_page(emulator: &Emulator, position: Option<&str>) -> Answer {
    let position = position.map(|position| format!("&position={position}")).unwrap_or_default();
    emulator.signed(REGION, "GET", &format!("/clientcertificates?limit=2{position}"), "").await.unwrap()
}

/// The ids of a page of two, and the next position.
async fn page(emulator: &Emulator, position: Option<&str>) -> (Vec<String>, Option<String>) {
    let answer = raw_page(emulator, position).await.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let ids = answer["item"].as_array().unwrap().iter().map(|item| text(&item["clientCertificateId"])).collect();
    (ids, answer.get("position").map(text))
}

#[tokio::test]
async fn changes_between_pages_do_not_move_other_items() {
    let emulator = with(&["b", "d", "f", "h"]).await;
    let (first, position) = page(&emulator, None).await;
    assert_eq!(first, ["b", "d"]);
    emulator.generate(REGION, new().id("a"));
    assert!(emulator.delete(&source("b")) && emulator.delete(&source("d")));
    emulator.generate(REGION, new().id("g"));
    let (second, position) = page(&emulator, position.as_deref()).await;
    assert_eq!(second, ["f", "g"]);
    assert_eq!(page(&emulator, position.as_deref()).await, (vec!["h".to_owned()], None));
}

#[tokio::test]
async fn an_item_of_a_list_can_have_no_pem() {
    let emulator = with(&["a", "b"]).await;
    emulator.inject(Fault::without_pem("b").times(2));
    let items = raw_page(&emulator, None).await.json()["item"].clone();
    assert!(items[0].get("pemEncodedCertificate").is_some());
    assert!(items[1]["clientCertificateId"] == "b" && items[1].get("pemEncodedCertificate").is_none());
    let get = async || emulator.signed(REGION, "GET", "/clientcertificates/b", "").await.unwrap().json();
    assert!(get().await.get("pemEncodedCertificate").is_none());
    assert!(get().await.get("pemEncodedCertificate").is_some());
}

#[tokio::test]
async fn a_position_can_lead_to_itself() {
    let emulator = with(&["a", "b", "c"]).await;
    emulator.inject(Fault::repeated_position().on(Operation::List));
    let (_, first) = page(&emulator, None).await;
    assert!(first.is_some());
    for _ in 0..3 {
        assert_eq!(page(&emulator, first.as_deref()).await, (vec!["c".to_owned()], first.clone()));
    }
}

#[tokio::test]
async fn a_list_can_be_endless() {
    let emulator = with(&["a", "b", "c"]).await;
    emulator.inject(Fault::endless_pages().on(Operation::List));
    let (mut seen, mut positions, mut position) = (Vec::new(), BTreeSet::new(), None);
    for _ in 0..6 {
        let (ids, next) = page(&emulator, position.as_deref()).await;
        seen.extend(ids);
        position = next;
        positions.insert(position.clone().unwrap());
    }
    assert_eq!(positions.len(), 6, "every page has a position of its own");
    assert_eq!(seen.concat(), "abcabcabc");
    emulator.clear_faults();
    assert_eq!(page(&emulator, position.as_deref()).await.1, None, "the positions stay good");
}

#[tokio::test]
async fn a_page_can_be_malformed() {
    let emulator = with(&["a", "b", "c"]).await;
    emulator.inject_all([Fault::pass().once(), Fault::without_items().once(), Fault::cut().once()]);
    let (_, position) = page(&emulator, None).await;
    assert_eq!(raw_page(&emulator, position.as_deref()).await.body, "{}");
    let cut = raw_page(&emulator, None).await;
    assert!(cut.status == 200 && serde_json::from_str::<Value>(&cut.body).is_err(), "{}", cut.body);
    assert_eq!(page(&emulator, None).await.0, ["a", "b"]);
}

/// The SDK ends a list at a repeated position, which is a trap: its result is then not the whole list.
#[tokio::test]
async fn the_sdk_reads_every_page_and_ends_at_a_repeated_position() {
    let emulator = with(&["a", "b", "c", "d", "e"]).await;
    let client = aws_sdk_apigateway::Client::new(&sdk(&emulator).await);
    let list = async || {
        let pages = client.get_client_certificates().limit(2).into_paginator().items().send();
        let items = pages.try_collect().await.unwrap();
        items.into_iter().map(|item| item.client_certificate_id.unwrap()).collect::<String>()
    };
    assert_eq!((list().await.as_str(), emulator.count(Operation::List)), ("abcde", 3));
    emulator.inject(Fault::repeated_position());
    assert_eq!((list().await.as_str(), emulator.count(Operation::List)), ("abcd", 5));
}
