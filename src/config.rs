//! The command line and the environment as one typed configuration. No other code reads them, except the AWS SDK and
//! the Kubernetes client, which read their standard variables.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use http::uri::{Authority, PathAndQuery};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::api::{ResourceName, parse_duration};
use crate::settings::TargetKinds;

/// Mirrors Amazon API Gateway client certificates into Kubernetes Secrets and ConfigMaps and keeps them up to date.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "\
AWS is configured by its standard environment: AWS_REGION, AWS_PROFILE, web identity (IRSA), EKS Pod Identity, AWS_ENDPOINT_URL, HTTPS_PROXY and NO_PROXY.
The cluster is configured by KUBECONFIG, or by the ServiceAccount of the pod.
Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failure, 2 wrong usage; for `verify`, see its own help."
)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // there is one value, and it is consumed at once
pub enum Command {
    /// Run the operator until SIGTERM or SIGINT.
    Run(RunArgs),
    /// Send one request to a URL, and succeed if the response is 200. `helm test` runs this command, because the image has no shell.
    Probe(ProbeArgs),
    /// Check whether a backend verifies client certificates: call it without a certificate, and with another certificate of the same name.
    Verify(VerifyArgs),
    /// Print the CustomResourceDefinition as YAML, for `kubectl apply --server-side -f -`.
    Crd,
}

/// The request to send.
#[derive(Clone, Debug, Args)]
pub struct ProbeArgs {
    /// URL to request, for example http://client-certificate-operator:8080/readyz. Plain HTTP only.
    #[arg(long, value_name = "URL")]
    pub url: http::Uri,

    /// Time limit of the request.
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,
}

/// The backend to call, and the resource that it should trust.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The command makes two calls: one without a certificate, and one with a new self-signed certificate that has the name of all of API Gateway's certificates. A backend that verifies client certificates rejects both, in the handshake or with HTTP status 400, 401, 403, 495 or 496; any other response counts as accepted. The command cannot try the right certificate, because AWS keeps its private key. The command does not check the backend's own certificate, because API Gateway checks it.
An application that returns 401 or 403 to every caller looks like an application that verifies certificates: set --path to a path that the application serves to API Gateway. A server that requests the certificate only after the first handshake (renegotiation) counts as a server that does not request a certificate.
The cluster is configured by KUBECONFIG, or by the ServiceAccount of the pod; the command needs the right to `get` clientcertificaterefs in the namespace of --ref. deploy/samples/verify-job runs the command as a Job.
Exit codes: 0 on: the backend requests a client certificate and rejects others (with --handshake-only: requests one), 1 unknown, 2 wrong usage, 3 off.")]
pub struct VerifyArgs {
    /// Address of the backend, as API Gateway reaches it, for example backend.example.com:443 or [::1]:8443.
    #[arg(long, value_parser = endpoint, value_name = "HOST:PORT")]
    pub connect: Endpoint,

    /// Server name to send (SNI and the header Host). Default: the host of --connect.
    #[arg(long, value_parser = server_name, value_name = "NAME")]
    pub server_name: Option<ServerName<'static>>,

    /// The ClientCertificateRef whose certificates the backend should trust.
    #[arg(long = "ref", value_parser = resource_name, value_name = "NAMESPACE/NAME")]
    pub resource: ResourceName,

    /// Path to request.
    #[arg(long, default_value = "/", value_parser = path, value_name = "PATH")]
    pub path: PathAndQuery,

    /// Send no request: check only whether the server requests a client certificate in the handshake.
    #[arg(long)]
    pub handshake_only: bool,

    /// Time limit of each step: API server, connection, handshake, response.
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,
}

impl VerifyArgs {
    /// The server name to send.
    pub fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone().unwrap_or_else(|| self.connect.name.clone())
    }
}

/// A host and a port.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    name: ServerName<'static>,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Configuration of the operator. Every flag can also be set as an environment variable.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Address of /metrics, /healthz and /readyz; port 0 selects a free port, which the log shows. [::] listens on every IPv6 and IPv4 address; on a host without IPv6, it means 0.0.0.0.
    #[arg(long, env = "CCR_LISTEN", default_value = "[::]:8080", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,

    /// Namespaces to watch, separated by commas. Default: all.
    #[arg(long, env = "CCR_NAMESPACES", value_parser = namespaces, value_name = "NAMESPACE")]
    pub namespaces: Vec<Vec<String>>,

    /// Kinds of objects to write certificates into: Secret, ConfigMap or both, separated by commas. The operator sends no requests for the other kind and needs no rights on it.
    #[arg(long, env = "CCR_TARGET_KINDS", default_value = "Secret,ConfigMap", value_name = "KIND")]
    pub target_kinds: TargetKinds,

    /// Elect a leader among several replicas by a Lease; only the leader calls API Gateway and writes.
    #[arg(long, env = "CCR_LEADER_ELECT", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub leader_elect: bool,

    /// Name of the Lease. Its namespace and name identify the installation in every status.
    #[arg(long, env = "CCR_LEASE_NAME", default_value = "client-certificate-operator", value_name = "NAME")]
    pub lease_name: String,

    /// Namespace of the Lease. Default: the namespace of the pod, or of the kubeconfig's context.
    #[arg(long, env = "CCR_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// Name of this process in the Lease, for example the name of the pod. Default: the host name and a random number.
    #[arg(long, env = "CCR_HOLDER", value_name = "NAME")]
    pub holder: Option<String>,

    /// Number of resources that are reconciled at the same time.
    #[arg(long, env = "CCR_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "COUNT")]
    pub concurrency: u16,

    /// Rate limit: calls to API Gateway per second, for each AWS account and region. AWS allows 10 per account in total, including those of deployments.
    #[arg(long, env = "CCR_RATE", default_value = "5", value_parser = rate, value_name = "CALLS")]
    pub rate: f64,

    /// Burst of the rate limit: calls to API Gateway at once, for each AWS account and region. AWS allows 40 per account in total.
    #[arg(long, env = "CCR_BURST", default_value = "20", value_name = "CALLS")]
    pub burst: NonZeroU32,

    /// File with the roles, regions, certificates and descriptions that each namespace may use. The operator reloads the file when it changes. Default: each namespace may use everything except roles.
    #[arg(long, env = "CCR_RULES_FILE", value_name = "PATH")]
    pub rules_file: Option<PathBuf>,

    /// How long before its expiry a certificate counts as expiring, for example 720h (30 days).
    #[arg(long, env = "CCR_EXPIRING_WITHIN", default_value = "720h", value_parser = duration, value_name = "DURATION")]
    pub expiring_within: Duration,

    /// Write spec.description of resources to API Gateway. With false, the operator never sends a PATCH.
    #[arg(long, env = "CCR_MANAGE_DESCRIPTIONS", default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub manage_descriptions: bool,

    /// Export the conditions of each resource and the expiry of each certificate as metrics: three series per resource and one per certificate.
    #[arg(long, env = "CCR_PER_RESOURCE_METRICS", default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub per_resource_metrics: bool,

    /// Format of the log on standard error; RUST_LOG filters it.
    #[arg(long, env = "CCR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Human-readable lines.
    Text,
    /// One JSON object per line.
    Json,
}

/// The names in a list. An empty variable means all namespaces, like an unset one. A list of commas alone is an error,
/// because it must not make the operator watch all namespaces.
fn namespaces(text: &str) -> Result<Vec<String>, String> {
    let is_name = |name: &str| {
        let is_edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = name.as_bytes();
        name.len() <= 63
            && bytes.iter().all(|byte| is_edge(byte) || *byte == b'-')
            && bytes.first().is_some_and(is_edge)
            && bytes.last().is_some_and(is_edge)
    };
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        return Err(format!(
            "{name:?} is not a name of a namespace; expected names separated by commas, for example backends,payments; omit the flag for all namespaces"
        ));
    }
    if names.is_empty() && !text.trim().is_empty() {
        return Err(format!(
            "{text:?} contains no name of a namespace; expected names separated by commas; omit the flag for all namespaces"
        ));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=1000.0).contains(rate));
    rate.ok_or_else(|| "expected a number of calls per second from 0.01 to 1000, for example 5 or 0.5".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a duration in s, m and h, for example 720h or 1h30m".to_owned())
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let wanted = || "expected host:port, for example backend.example.com:443 or [::1]:8443".to_owned();
    let authority: Authority = text.parse().map_err(|_| wanted())?;
    let (host, port) = (authority.host(), authority.port_u16().filter(|port| *port != 0));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match (port, ServerName::try_from(host)) {
        (Some(port), Ok(name)) if !text.contains('@') => {
            Ok(Endpoint { host: host.to_owned(), port, name: name.to_owned() })
        }
        _ => Err(wanted()),
    }
}

fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(text).map(|name| name.to_owned());
    name.map_err(|_| "expected a host name, for example backend.example.com".to_owned())
}

fn resource_name(text: &str) -> Result<ResourceName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ResourceName::new(namespace, name))
        }
        _ => Err("expected namespace/name, for example backends/payments".to_owned()),
    }
}

fn path(text: &str) -> Result<PathAndQuery, String> {
    let path = text.parse().ok().filter(|_| text.starts_with('/'));
    path.ok_or_else(|| "expected a path that begins with '/', for example /healthz?full=1".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::TargetKind;

    fn parse(args: &[&str]) -> Result<RunArgs, clap::Error> {
        let cli = Cli::try_parse_from([&["client-certificate-operator", "run"], args].concat())?;
        match cli.command {
            Command::Run(args) => Ok(args),
            other => unreachable!("run was asked for, not {other:?}"),
        }
    }

    #[test]
    fn the_defaults() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.listen, "[::]:8080".parse().unwrap());
        assert_eq!((args.concurrency, args.manage_descriptions), (32, true));
        assert_eq!(args.expiring_within, Duration::from_secs(30 * 24 * 3600));
        assert!(args.namespaces.is_empty());
        assert_eq!(args.target_kinds, TargetKinds::default());
        assert_eq!((args.rate, args.burst.get(), args.rules_file), (5.0, 20, None));
    }

    #[test]
    fn flags_are_read() {
        let args =
            parse(&["--namespaces", "a,b", "--manage-descriptions=false", "--expiring-within", "1h30m"]).unwrap();
        assert_eq!(args.namespaces.concat(), ["a", "b"]);
        assert!(!args.manage_descriptions);
        assert_eq!(args.expiring_within, Duration::from_secs(5400));
        let kinds = parse(&["--target-kinds", "ConfigMap"]).unwrap().target_kinds;
        assert_eq!(kinds.iter().collect::<Vec<_>>(), [TargetKind::ConfigMap]);
        assert_eq!(parse(&["--target-kinds", ""]).unwrap().target_kinds, TargetKinds::default());
    }

    #[test]
    fn lists_of_namespaces_are_trimmed_and_contain_only_names() {
        let namespaces = |text: &str| parse(&[&format!("--namespaces={text}")]).map(|args| args.namespaces.concat());
        let longest = "a".repeat(63);
        for (text, names) in [
            ("a, b", &["a", "b"][..]),
            (" a\t,\nb ,", &["a", "b"]),
            (",a,,b-2", &["a", "b-2"]),
            ("", &[]),
            ("  ", &[]),
            ("0", &["0"]),
            (&longest, &[&longest]),
        ] {
            assert_eq!(namespaces(text).unwrap(), names, "{text:?}");
        }
        let too_long = "a".repeat(64);
        for text in ["a;b", "a b", "A", "a.b", "-a", "a-", "a,*", "all\u{e9}", "'a'", &too_long, "a/b"] {
            let error = namespaces(text).unwrap_err();
            let name = text.strip_prefix("a,").unwrap_or(text);
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(&format!("{name:?} is not a name of a namespace")), "{error}");
        }
        for text in [",", ",,", " , "] {
            let error = namespaces(text).unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?} contains no name of a namespace")), "{error}");
        }
        let twice = parse(&["--namespaces", "a", "--namespaces", "b,c"]).unwrap();
        assert_eq!(twice.namespaces.concat(), ["a", "b", "c"]);
    }

    #[test]
    fn a_backend_to_verify_is_named_in_full() {
        let parse = |args: &[&str]| -> Result<VerifyArgs, clap::Error> {
            let cli = Cli::try_parse_from([&["client-certificate-operator", "verify"], args].concat())?;
            match cli.command {
                Command::Verify(args) => Ok(args),
                other => unreachable!("verify was asked for, not {other:?}"),
            }
        };
        let args = parse(&["--connect", "backend.example.com:8443", "--ref", "backends/payments"]).unwrap();
        assert_eq!(args.connect.to_string(), "backend.example.com:8443");
        assert_eq!(args.server_name().to_str(), "backend.example.com");
        assert_eq!((args.path.as_str(), args.timeout, args.handshake_only), ("/", Duration::from_secs(10), false));
        assert_eq!(args.resource, ResourceName::new("backends", "payments"));
        let args = parse(&["--connect", "[::1]:443", "--server-name", "a.test", "--ref", "b/p"]).unwrap();
        assert_eq!(
            (args.connect.to_string(), args.server_name().to_str().as_ref()),
            ("[::1]:443".to_owned(), "a.test")
        );
        for (flag, value) in [
            ("--connect", "backend.example.com"),
            ("--connect", "backend.example.com:0"),
            ("--connect", "https://backend.example.com:443"),
            ("--connect", "me@backend.example.com:443"),
            ("--ref", "payments"),
            ("--ref", "a/b/c"),
            ("--path", "healthz"),
            ("--path", "/a b"),
            ("--server-name", "not a name"),
            ("--timeout", "soon"),
        ] {
            let mut whole = BTreeMap::from([("--connect", "a.test:443"), ("--ref", "b/p")]);
            whole.insert(flag, value);
            let args: Vec<&str> = whole.into_iter().flat_map(|(flag, value)| [flag, value]).collect();
            assert_eq!(parse(&args).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }

    #[test]
    fn wrong_values_have_a_message_with_the_expected_form() {
        for args in [
            &["--concurrency", "0"][..],
            &["--expiring-within", "soon"],
            &["--listen", "8080"],
            &["--rate", "0"],
            &["--rate", "NaN"],
            &["--burst", "0"],
            &["--log-format", "xml"],
            &["--target-kinds", "Pod"],
        ] {
            assert_eq!(parse(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }
}
