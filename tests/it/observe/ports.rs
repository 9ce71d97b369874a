//! The open ports of the process.

use std::collections::BTreeSet;

use operator_testing::operator::Operator;
use serde_json::json;

use crate::fixture::World;

/// The ports on which a process listens, in IPv4 and IPv6: from the inodes of its sockets, in the kernel's table.
fn listening(pid: u32) -> Vec<u16> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
    let inodes: BTreeSet<String> =
        links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            // 0A is LISTEN, and 07 is a UDP socket that receives from every sender.
            let is_open = words[3] == if table.starts_with("tcp") { "0A" } else { "07" };
            if is_open && inodes.contains(words[9]) {
                ports.push(u16::from_str_radix(words[1].rsplit_once(':').unwrap().1, 16).unwrap());
            }
        }
    }
    ports
}

async fn code(operator: &mut Operator, path: &str) -> u16 {
    operator.get(path).await.unwrap().0
}

#[tokio::test]
async fn one_port_is_open_and_serves_only_metrics_and_probes() {
    let mut world = World::start("ports").await;
    world.create_ready("payments", json!({ "description": "mine" })).await;
    let operator = world.operator.as_mut().unwrap();
    let port: u16 = operator.address().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
    assert_eq!(listening(operator.pid()), [port]);
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(code(operator, path).await, 200, "{path}");
    }
    for path in ["/", "/debug", "/debug/pprof", "/debug/pprof/heap", "/metrics/", "/metrics/debug", "/config", "/env"] {
        assert_eq!(code(operator, path).await, 404, "{path}");
    }
}
