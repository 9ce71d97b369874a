//! Open connections without data: no request waits for ever.

use std::time::{Duration, Instant};

use futures::join;
use kube::api::Patch;
use operator_testing::operator::Operator;
use operator_testing::proxy::{Fault, FaultProxy, Rule};
use operator_testing::script::Operation;
use operator_testing::wait::eventually;
use serde_json::json;

use crate::faults::{World, started};
use crate::show::show;

/// The time limit of a request, with all its retries.
const DEADLINE: Duration = Duration::from_secs(10);
/// The time after which a silent watch ends.
const SILENT_WATCH: Duration = Duration::from_secs(55);
/// The longest wait before a watch is tried again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// Ten minutes: longer than each limit of `/healthz`, and than each backoff.
const OUTAGE: Duration = Duration::from_secs(600);
/// The margin on a machine that is busy with other tests.
const MARGIN: Duration = Duration::from_secs(20);

async fn edit(world: &World<'_>, name: &str) {
    let patch = Patch::Merge(json!({ "stringData": { "ca.crt": "edited" } }));
    world.secrets().patch(name, &Default::default(), &patch).await.unwrap();
}

async fn until_repaired(world: &World<'_>, name: &str, limit: Duration) -> Duration {
    let (start, pem) = (Instant::now(), world.pem(name));
    eventually(limit, &format!("the Secret {name} is right"), async || match world.target(name).await {
        Some((text, _)) if text == pem => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    start.elapsed()
}

#[tokio::test]
async fn as_many_silent_requests_as_the_concurrency_do_not_block_others_permanently() {
    let world = World::new("silent-get").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let operator = world.builder_through(&proxy).await.arg("--concurrency=2");
    let mut operator = started(&operator).await;
    for id in ["one", "two", "three"] {
        world.mirrored(id, true).await;
    }
    let injected = proxy.inject(Rule::new(Fault::Silence).verb("get").resource("secrets").times(2));
    edit(&world, "one").await;
    edit(&world, "two").await;
    eventually(MARGIN, "both requests are silent", async || injected.hits() == 2).await;
    edit(&world, "three").await;
    let limit = DEADLINE + MARGIN;
    let waits = join!(
        until_repaired(&world, "one", limit),
        until_repaired(&world, "two", limit),
        until_repaired(&world, "three", limit),
    );
    println!("repaired after {waits:?}");
    assert_eq!(operator.get("/healthz").await.unwrap().0, 200);
}

#[tokio::test]
async fn completed_writes_without_an_answer_time_out_and_are_found_later() {
    let world = World::new("hang-write").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let _operator = started(&world.builder_through(&proxy).await).await;
    let hang = |verb, resource| proxy.inject(Rule::new(Fault::Hang).verb(verb).resource(resource));
    let faults = [hang("create", "secrets"), hang("update", "clientcertificaterefs/status")];
    let start = Instant::now();
    world.mirrored("one", false).await;
    eventually(DEADLINE * 2 + MARGIN, "it is ready", async || {
        let conditions = world.conditions("one").await;
        let is_ready = conditions.get("Ready").is_some_and(|ready| ready.status == "True");
        if is_ready && faults.iter().all(|fault| fault.hits() == 1) { Ok(()) } else { Err(format!("{conditions:?}")) }
    })
    .await;
    println!("ready after {:?}", start.elapsed());
    world.wait_for_target("one", "one").await;
}

#[tokio::test]
async fn silent_watches_are_detected() {
    let world = World::new("silent-watch").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    world.mirrored("one", false).await;
    let silent = |resource| proxy.inject(Rule::new(Fault::HeadOnly).verb("watch").resource(resource));
    let faults = [silent("clientcertificaterefs"), silent("secrets")];
    let _operator = started(&world.builder_through(&proxy).await).await;
    world.wait_ready("one", 1).await;
    eventually(MARGIN, "both watches are silent", async || faults.iter().all(|fault| fault.hits() == 1)).await;
    edit(&world, "one").await;
    world.mirrored("late", false).await;
    let limit = SILENT_WATCH + MARGIN;
    let waits = join!(until_repaired(&world, "one", limit), until_repaired(&world, "late", limit));
    println!("noticed after {waits:?}");
}

#[tokio::test]
async fn silent_connections_are_closed() {
    let world = World::new("all-silent").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let mut operator = started(&world.builder_through(&proxy).await).await;
    world.mirrored("one", true).await;
    proxy.silence_connections();
    let silence = proxy.inject(Rule::new(Fault::Silence).always());
    edit(&world, "one").await;
    world.mirrored("late", false).await;
    // The wait is longer than twice the time limit of a request.
    let start = Instant::now();
    while start.elapsed() < DEADLINE * 2 + Duration::from_secs(5) {
        assert_eq!(operator.get("/healthz").await.unwrap().0, 200);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    println!("{} requests were swallowed", silence.hits());
    proxy.clear();
    let limit = SILENT_WATCH + MARGIN;
    let waits = join!(until_repaired(&world, "one", limit), until_repaired(&world, "late", limit));
    println!("right again {waits:?} after the network");
    world.mirrored("after", true).await;
}

/// Neither the API server nor AWS is reachable for minutes. The operator stays healthy, and continues with the targets as
/// soon as the API server is back, whatever AWS does.
async fn an_outage_of_both(prefix: &str, of_api_server: Fault) {
    let world = World::new(prefix).await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let mut operator = started(&world.builder_through(&proxy).await).await;
    world.certificate("one");
    let spec = json!({ "clientCertificateId": "one", "refreshInterval": "30s" });
    world.create("one", spec).await;
    world.wait_ready("one", 1).await;
    let (pid, logs) = (operator.pid(), operator.logs().len());
    let late = world.emulator.count(Operation::Get);
    world.emulator.set_latency(Duration::from_secs(600));
    proxy.silence_connections();
    let outage = proxy.inject(Rule::new(of_api_server).always());
    edit(&world, "one").await;
    world.mirrored("late", false).await;
    let start = Instant::now();
    while start.elapsed() < OUTAGE {
        assert_eq!(operator.get("/healthz").await.unwrap().0, 200, "after {:?}", start.elapsed());
        assert_eq!(operator.get("/readyz").await.unwrap().0, 200);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let calls = world.emulator.count(Operation::Get) - late;
    show(&format!("{prefix}: {} requests to the API server and {calls} to AWS failed", outage.hits()));
    assert!(outage.hits() > 0 && calls > 0);
    proxy.clear();
    // The API server no longer has the versions from before the outage.
    let watches = ["clientcertificaterefs", "secrets"];
    let outdated = watches.map(|of| proxy.inject(Rule::new(Fault::Outdated).verb("watch").resource(of)));
    until_repaired(&world, "one", LONGEST_BACKOFF + MARGIN).await;
    eventually(LONGEST_BACKOFF + MARGIN, "each watch was outdated", async || {
        outdated.iter().all(|outdated| outdated.hits() == 1)
    })
    .await;
    world.emulator.set_latency(Duration::ZERO);
    until_repaired(&world, "late", LONGEST_BACKOFF + MARGIN).await;
    assert_eq!(operator.pid(), pid);
    let panicked = operator.logs().split_off(logs).into_iter().find(|line| line.contains("panicked"));
    assert_eq!(panicked, None);
}

#[tokio::test]
async fn minutes_of_a_silent_api_server_while_aws_is_silent_restart_nothing() {
    an_outage_of_both("minutes-silent", Fault::Silence).await;
}

#[tokio::test]
async fn minutes_without_an_api_server_while_aws_is_silent_restart_nothing() {
    an_outage_of_both("minutes-away", Fault::CutBefore).await;
}

#[tokio::test]
async fn an_api_server_that_is_silent_at_the_start_is_waited_for() {
    let world = World::new("silent-start").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    world.mirrored("one", false).await;
    let silent = |resource| proxy.inject(Rule::new(Fault::Silence).verb("list").resource(resource));
    let faults = [silent("clientcertificaterefs"), silent("secrets")];
    let mut operator: Operator = world.builder_through(&proxy).await.spawn().unwrap();
    let line = operator.wait_for_log("is unreachable").await.unwrap();
    assert!(line.contains("no response within 10 s") && line.contains("clientcertificaterefs"), "{line}");
    assert_eq!(operator.get("/healthz").await.unwrap().0, 200);
    assert_eq!(operator.get("/readyz").await.unwrap().0, 503);
    until_repaired(&world, "one", DEADLINE * 2 + MARGIN).await;
    assert!(faults.iter().all(|fault| fault.hits() == 1));
    operator.wait_ready().await.unwrap();
    operator.wait_for_log("watch on clientcertificaterefs in the namespace").await.unwrap();
}

#[tokio::test]
async fn a_write_that_hangs_does_not_delay_the_stop() {
    let world = World::new("hang-stop").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let mut operator = started(&world.builder_through(&proxy).await).await;
    let hanging = proxy.inject(Rule::new(Fault::Hang).writes().always());
    world.mirrored("one", false).await;
    eventually(MARGIN, "a write hangs", async || hanging.hits() > 0).await;
    let exit = operator.terminate(Duration::from_secs(15)).await.unwrap();
    println!("{exit:?}");
    assert_eq!(exit.code, Some(0), "{:?}", operator.logs());
    assert!(exit.took < Duration::from_millis(12_500), "{exit:?}");
    operator.wait_for_log("stopped").await.unwrap();
}

#[tokio::test]
async fn an_idle_watch_continues_from_a_recent_version_without_a_list() {
    let world = World::new("bookmark").await;
    let proxy = FaultProxy::start(world.control_plane).await.unwrap();
    let _operator = started(&world.builder_through(&proxy).await).await;
    let versions = || {
        let watches = proxy.seen().into_iter().map(|seen| seen.request);
        let watches = watches.filter(|request| request.verb == "watch" && request.resource == "secrets");
        let version = |path: &str| path.split("resourceVersion=").nth(1)?.split('&').next()?.parse::<u64>().ok();
        watches.filter_map(|request| version(&request.path)).collect::<Vec<_>>()
    };
    let lists = || proxy.seen().iter().filter(|seen| seen.request.verb == "list").count();
    eventually(MARGIN, "the watch begins", async || versions().len() == 1).await;
    let before = lists();
    // The object is not a target, so the watch does not report it.
    let other = json!({ "metadata": { "name": "unrelated" } });
    let other = world.secrets().create(&Default::default(), &serde_json::from_value(other).unwrap()).await.unwrap();
    let written: u64 = other.metadata.resource_version.unwrap().parse().unwrap();
    eventually(SILENT_WATCH + MARGIN, "the watch begins again", async || versions().len() == 2).await;
    let versions = versions();
    println!("written {written}, watched from {versions:?}");
    assert!(versions[0] < written && versions[1] >= written, "{versions:?}");
    assert_eq!(lists(), before);
}
