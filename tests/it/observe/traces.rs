//! Traces: the spans of a real run in a collector, and the independence of the operator from the collector.

use std::time::Duration;

use operator_testing::operator::{Builder, Operator};
use operator_testing::wait::{eventually, never};
use serde_json::{Value, json};

use super::collector::{Collector, Span};
use crate::fixture::{ID, SOON, World};
use crate::ground::started;

fn traced(world: &World<'_>, endpoint: &str) -> Builder {
    world.builder().env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "200")
}

/// Waits for a span with this name and these attributes.
async fn span(collector: &Collector, name: &str, attributes: &[(&str, &str)]) -> Span {
    eventually(SOON, &format!("a span {name} {attributes:?}"), async || {
        let spans = collector.spans();
        let found = spans.iter().find(|span| span.name == name && span.has(attributes)).cloned();
        found
            .ok_or_else(|| format!("{:?}", spans.iter().map(|span| (&span.name, &span.attributes)).collect::<Vec<_>>()))
    })
    .await
}

/// The log line with these words, as JSON.
async fn line(operator: &mut Operator, words: &str) -> Value {
    serde_json::from_str(&operator.wait_for_log(words).await.unwrap()).unwrap()
}

#[tokio::test]
async fn reconciles_and_calls_are_spans_and_the_log_has_their_trace() {
    let world = World::without_operator("traces").await;
    let collector = Collector::start().await;
    let builder = traced(&world, &format!("http://{}", collector.address));
    let mut operator = started(&builder.env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=ours")).await;
    world.create_ready("payments", json!({ "description": "mine" })).await;
    world.until("payments", "DescriptionSynced", "True", "Synced").await;

    let resource = [("namespace", world.namespace.as_str()), ("name", "payments")];
    let waiting = [&resource[..], &[("result", "waiting")]].concat();
    span(&collector, "reconcile", &waiting).await;
    let success = [&resource[..], &[("result", "success")]].concat();
    span(&collector, "reconcile", &success).await;

    // A read is a separate trace, because several resources may wait for it.
    let call = [("region", "eu-central-1"), ("id", ID), ("code", "200")];
    let region = world.resource("payments").await.status.unwrap().certificates[0].region.clone().unwrap();
    let call = call.map(|(name, value)| if name == "region" { (name, region.as_str()) } else { (name, value) });
    let read = span(&collector, "GetClientCertificate", &call).await;
    assert_eq!((read.parent.as_str(), read.kind, read.status), ("", 3, 0), "{read:?}");
    assert!(read.has(&[("operation", "GetClientCertificate")]), "{read:?}");
    // An update and the requests to the API server belong to the trace of their reconcile.
    let update = span(&collector, "UpdateClientCertificate", &call).await;
    let write = span(&collector, "create", &[("http.method", "POST"), ("http.status_code", "201")]).await;
    for child in [&update, &write] {
        let pass = eventually(SOON, "the pass is there too", async || {
            collector.spans().into_iter().find(|span| span.id == child.parent).ok_or("it is not")
        })
        .await;
        assert!(pass.name == "reconcile" && pass.has(&resource) && pass.trace == child.trace, "{pass:?}\n{child:?}");
    }
    for (name, value) in
        [("service.name", "client-certificate-operator"), ("service.version", env!("CARGO_PKG_VERSION"))]
    {
        assert_eq!(read.resource.get(name).map(String::as_str), Some(value), "{:?}", read.resource);
    }
    assert_eq!(read.headers["x-tenant"], "ours");
    // Watches, and the AWS SDK's work within a call, are not spans.
    for span in collector.spans() {
        let is_known = span.name == "reconcile" || span.attributes.contains_key("operation") || !span.parent.is_empty();
        assert!(is_known, "{span:?}");
    }

    let updated = line(&mut operator, "changed the description").await;
    assert_eq!(
        (updated["trace_id"].as_str(), updated["name"].as_str()),
        (Some(update.trace.as_str()), Some("payments"))
    );
    assert!(line(&mut operator, "caches synced").await.get("trace_id").is_none());
}

#[tokio::test]
async fn a_failed_call_is_a_failed_span() {
    let world = World::without_operator("traces-404").await;
    let collector = Collector::start().await;
    let builder = traced(&world, &format!("http://{}", collector.address));
    let _operator = started(&builder.env("OTEL_SERVICE_NAME", "mirror")).await;
    world.create("lost", json!({ "clientCertificateId": "lost" })).await;
    let read = span(&collector, "GetClientCertificate", &[("id", "lost"), ("code", "404")]).await;
    assert_eq!(read.status, 2, "{read:?}");
    assert_eq!(read.resource.get("service.name").map(String::as_str), Some("mirror"));
}

#[tokio::test]
async fn the_text_log_has_the_trace_too() {
    let world = World::without_operator("traces-text").await;
    let collector = Collector::start().await;
    // The test cannot find the address in a log of text, so it waits for a Ready resource instead.
    let builder = traced(&world, &format!("http://{}", collector.address)).env("CCR_LOG_FORMAT", "text");
    let mut operator = builder.spawn().unwrap();
    world.create_ready("payments", json!({})).await;
    let line = operator.wait_for_log("created Secret payments").await.unwrap();
    let trace = line.rsplit_once(" trace_id=").unwrap().1.to_owned();
    eventually(SOON, "a pass has that trace", async || {
        collector.spans().iter().any(|span| span.name == "reconcile" && span.trace == trace)
    })
    .await;
    // The line contains each field of its span once.
    assert_eq!(line.matches("payments").count(), 2, "{line}");
}

#[tokio::test]
async fn the_last_spans_are_sent_before_the_end() {
    let world = World::without_operator("traces-end").await;
    let collector = Collector::start().await;
    let builder = traced(&world, &format!("http://{}", collector.address));
    // With this delay, the spans are sent only at the end.
    let mut operator = started(&builder.env("OTEL_BSP_SCHEDULE_DELAY", "600000")).await;
    world.create_ready("payments", json!({})).await;
    assert_eq!(collector.spans().len(), 0);
    assert_eq!(operator.terminate(SOON).await.unwrap().code, Some(0));
    assert!(collector.spans().iter().any(|span| span.name == "reconcile"), "{:?}", collector.spans());
}

#[tokio::test]
async fn disabled_spans_are_not_sent() {
    let world = World::without_operator("traces-none").await;
    let collector = Collector::start().await;
    world.create("payments", json!({})).await;
    for (variable, value) in
        [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")]
    {
        let builder = traced(&world, &format!("http://{}", collector.address));
        let mut operator = started(&builder.env(variable, value)).await;
        world.until_ready("payments").await;
        assert_eq!(operator.terminate(SOON).await.unwrap().code, Some(0));
        assert_eq!(collector.spans().len(), 0, "{variable}: {:?}", collector.spans());
    }
}

#[tokio::test]
async fn a_collector_that_is_down_is_logged_once_and_delays_nothing() {
    let world = World::without_operator("traces-down").await;
    // The socket is bound but does not listen, so no other process gets this port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let mut operator = started(&traced(&world, &format!("http://{}", socket.local_addr().unwrap()))).await;
    let complaint = "could not export traces";
    for name in ["one", "two", "three"] {
        world.create_ready(name, json!({})).await;
        operator.wait_for_log(complaint).await.unwrap();
    }
    never(Duration::from_secs(3), "it is reported again", async || {
        let lines: Vec<_> = operator.logs().into_iter().filter(|line| line.contains("collector")).collect();
        // The lines contain the endpoint, and the failure to reach it.
        Some(lines).filter(|lines| lines.len() > 2)
    })
    .await;
    let exit = operator.terminate(SOON).await.unwrap();
    assert_eq!(exit.code, Some(0));
    assert!(exit.took < Duration::from_secs(4), "{exit:?}");
}

#[tokio::test]
async fn a_wrong_configuration_is_logged_and_the_operator_works() {
    let world = World::without_operator("traces-wrong").await;
    for (variable, value, says) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[", "OTEL_EXPORTER_OTLP_"),
    ] {
        let mut operator = started(&traced(&world, "http://127.0.0.1:9").env(variable, value)).await;
        let line = operator.wait_for_log("traces are disabled").await.unwrap();
        assert!(line.contains(says), "{line}");
    }
}

#[tokio::test]
async fn without_an_endpoint_no_line_has_a_trace_and_no_thread_sends_any() {
    let world = World::start("untraced").await;
    world.create_ready("payments", json!({})).await;
    let operator = world.operator.as_ref().unwrap();
    assert!(!operator.logs().iter().any(|line| line.contains("trace_id")), "{:?}", operator.logs());
    let threads = std::fs::read_dir(format!("/proc/{}/task", operator.pid())).unwrap();
    let names = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap());
    let names: Vec<_> = names.collect();
    assert!(!names.iter().any(|name| name.starts_with("OpenTelemetry")), "{names:?}");
}
