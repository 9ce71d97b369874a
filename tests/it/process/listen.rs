//! The addresses of metrics and probes: both IP families, or the existing one if one is missing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use operator_testing::operator::{Builder, Operator};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::faults::SOON;

const BINARY: &str = env!("CARGO_BIN_EXE_client-certificate-operator");
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A library that simulates a kernel without IPv6: the creation of such a socket fails with the same error.
const NO_IPV6: &str = "
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>
int socket(int domain, int type, int protocol) {
  if (domain == AF_INET6) { errno = EAFNOSUPPORT; return -1; }
  return ((int (*)(int, int, int))dlsym(RTLD_NEXT, \"socket\"))(domain, type, protocol);
}
";

/// An operator that listens and waits for a cluster that does not answer.
struct Listening {
    operator: Operator,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Listening {
    async fn start(listen: &str, edit: impl FnOnce(Builder) -> Builder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut operator = edit(waiting(folder.path()).env("CCR_LISTEN", listen)).spawn().unwrap();
        let line = operator.wait_for_log("serving metrics and probes").await.unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        Listening { operator, address: line["address"].as_str().unwrap().parse().unwrap(), _folder: folder }
    }

    /// Whether the probe returns 200 at this address of the host.
    async fn answers(&self, ip: IpAddr) -> bool {
        let Ok(mut stream) = TcpStream::connect((ip, self.address.port())).await else { return false };
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.starts_with("HTTP/1.1 200")
    }
}

/// An operator whose kubeconfig names a port without a listener.
fn waiting(folder: &Path) -> Builder {
    let path = folder.join("kubeconfig");
    let text = "apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]
users: [{name: u, user: {token: x}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
";
    std::fs::write(&path, text).unwrap();
    Operator::builder(BINARY).kubeconfig(path)
}

fn without_ipv6(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("socket.c"), folder.join("socket.so"));
    std::fs::write(&source, NO_IPV6).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    assert!(built.unwrap().success());
    library
}

#[tokio::test]
async fn probes_respond_on_both_ip_families() {
    let listening = Listening::start("[::]:0", |builder| builder).await;
    assert_eq!(listening.address.ip(), Ipv6Addr::UNSPECIFIED);
    assert!(listening.answers(V4).await && listening.answers(V6).await);
    // The request of `helm test` in a cluster with only IPv6.
    for host in ["[::1]", "127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}/healthz", listening.address.port());
        let output = Command::new(BINARY).args(["probe", "--url", &url]).output().unwrap();
        assert!(output.status.success(), "{url}: {output:?}");
    }
}

#[tokio::test]
async fn one_address_listens_only_on_that_address() {
    for (listen, v4, v6) in [("127.0.0.1:0", true, false), ("0.0.0.0:0", true, false), ("[::1]:0", false, true)] {
        let listening = Listening::start(listen, |builder| builder).await;
        assert_eq!((listening.answers(V4).await, listening.answers(V6).await), (v4, v6), "{listen}");
    }
}

#[tokio::test]
async fn without_ipv6_probes_respond_on_ipv4() {
    let folder = tempfile::tempdir().unwrap();
    let library = without_ipv6(folder.path());
    let listening = Listening::start("[::]:0", |builder| builder.env("LD_PRELOAD", &library)).await;
    assert_eq!(listening.address.ip(), Ipv4Addr::UNSPECIFIED, "{:?}", listening.operator.logs());
    assert!(listening.answers(V4).await && !listening.answers(V6).await);

    // The operator does not replace an address that the user chose.
    let chosen = waiting(folder.path()).env("CCR_LISTEN", "[::1]:0").env("LD_PRELOAD", &library);
    let mut operator = chosen.spawn().unwrap();
    assert_eq!(operator.wait(SOON).await.unwrap().code, Some(1));
    operator.wait_for_log("cannot listen on [::1]:0").await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_on_one_ip_family_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let holder = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let mut operator = waiting(folder.path()).env("CCR_LISTEN", format!("[::]:{port}")).spawn().unwrap();
    assert_eq!(operator.wait(SOON).await.unwrap().code, Some(1));
    operator.wait_for_log(&format!("cannot listen on [::]:{port}")).await.unwrap();
}
