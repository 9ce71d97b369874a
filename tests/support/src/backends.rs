//! The backends that the operator is for, and what tests prove of each: the source of the tables of docs/guides/backends.md.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use client_certificate_operator::api::{ClientCertificateRef, VerifierClass};

/// The page, from the top of the tree.
const PAGE: &str = "docs/guides/backends.md";
/// What is between these lines is made.
const BACKENDS: [&str; 2] = [
    "<!-- Made by `make generate` from tests/support/src/backends.rs: the backends. -->",
    "<!-- The end of the backends. -->",
];
const GATEWAYS: [&str; 2] = [
    "<!-- Made by `make generate` from tests/support/src/backends.rs: bad targets. -->",
    "<!-- The end of bad targets. -->",
];

/// One backend, in the form of its sample.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// What it is called; of a gateway without its version.
    pub name: &'static str,
    /// The setting by which it verifies clients, where the name does not say that.
    pub setting: &'static str,
    /// The folder of its sample.
    pub sample: &'static str,
    /// What becomes of the second certificate of a target, as its tests show or, of one that was not run, as its TLS library has it.
    /// None of what has several implementations.
    pub class: Option<VerifierClass>,
    /// What proves it.
    pub proof: Proof,
}

/// What proves that a backend does what its row says.
#[derive(Clone, Copy, Debug)]
pub enum Proof {
    /// A server of its own that reads a mounted target was run.
    Server {
        /// The tests, or modules of them.
        tests: &'static [&'static str],
        /// How it distinguishes a certificate of ACM from others.
        acm: Acm,
    },
    /// A gateway was run against a control plane.
    Gateway(Gateway),
    /// It was not run. An API server takes the sample's own objects by the backend's definitions.
    Objects {
        /// Why it was not run.
        why: &'static str,
    },
    /// It was not run, and no schema knows the sample's settings.
    Target {
        /// Why it was not run.
        why: &'static str,
    },
}

/// How a server verifies a certificate of ACM.
#[derive(Clone, Copy, Debug)]
pub enum Acm {
    /// By its chain. In the guide of ACM certificates, the section with this heading id adds a check of the name.
    Chain(&'static str),
    /// By the pin of the certificate itself.
    Pin,
}

/// A gateway that was run, and what it does with a target that is not as it has to be.
#[derive(Clone, Copy, Debug)]
pub struct Gateway {
    /// The folder of `tests/gateways` that pins it, and so its module of tests.
    pub module: &'static str,
    /// In short: what becomes of clients without a target.
    pub without: &'static str,
    /// The target missing.
    pub missing: Claim,
    /// Its key empty.
    pub empty: Claim,
    /// A ConfigMap where the backend wants a Secret, or the reverse.
    pub wrong_kind: Claim,
    /// The target in another namespace.
    pub elsewhere: Claim,
}

/// What a gateway does, and the test of its module that shows it; no test where there is nothing to try.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// What it does.
    pub does: &'static str,
    /// The name of the test.
    pub test: Option<&'static str>,
}

const OVERLAP_SAFE: Option<VerifierClass> = Some(VerifierClass::OverlapSafe);
const FIRST_WINS: Option<VerifierClass> = Some(VerifierClass::FirstWins);
const NO_MODULE: &str = "not run, because the module proxy of the tests does not serve it";

const fn claim(does: &'static str, test: &'static str) -> Claim {
    Claim { does, test: Some(test) }
}

/// Every backend that has a sample, in the order of the page.
pub const ALL: [Backend; 19] = [
    Backend {
        name: "nginx",
        setting: "by pins",
        sample: "nginx",
        class: OVERLAP_SAFE,
        proof: Proof::Server { tests: &["servers::nginx::pins", "samples::programs::nginx"], acm: Acm::Pin },
    },
    Backend {
        name: "nginx",
        setting: "`ssl_client_certificate`",
        sample: "nginx-ca",
        class: FIRST_WINS,
        proof: Proof::Server {
            tests: &["servers::nginx::authorities", "samples::programs::nginx_ca"],
            acm: Acm::Chain("nginx"),
        },
    },
    Backend {
        name: "HAProxy",
        setting: "by pins",
        sample: "haproxy",
        class: OVERLAP_SAFE,
        proof: Proof::Server { tests: &["servers::haproxy::pins", "samples::programs::haproxy"], acm: Acm::Pin },
    },
    Backend {
        name: "HAProxy",
        setting: "`ca-file`",
        sample: "haproxy-ca",
        class: FIRST_WINS,
        proof: Proof::Server {
            tests: &["servers::haproxy::authorities", "samples::programs::haproxy_ca"],
            acm: Acm::Chain("haproxy"),
        },
    },
    Backend {
        name: "Envoy",
        setting: "by pins from SDS",
        sample: "envoy",
        class: OVERLAP_SAFE,
        proof: Proof::Server { tests: &["servers::envoy::hashes", "samples::programs::envoy"], acm: Acm::Pin },
    },
    Backend {
        name: "Envoy",
        setting: "`trusted_ca`",
        sample: "envoy-ca",
        class: FIRST_WINS,
        proof: Proof::Server {
            tests: &["servers::envoy::authorities", "samples::programs::envoy_ca"],
            acm: Acm::Chain("envoy"),
        },
    },
    Backend {
        name: "a Go service",
        setting: "",
        sample: "go",
        class: OVERLAP_SAFE,
        proof: Proof::Server { tests: &["servers::go", "samples::programs::go"], acm: Acm::Chain("go") },
    },
    Backend {
        name: "a Java service",
        setting: "PKCS#12",
        sample: "java",
        class: OVERLAP_SAFE,
        proof: Proof::Server { tests: &["servers::java::pkcs12", "samples::programs::java"], acm: Acm::Chain("java") },
    },
    Backend {
        name: "Gateway API",
        setting: "`frontend` validation",
        sample: "gateway-api",
        class: None,
        proof: Proof::Objects { why: "every implementation is another program" },
    },
    Backend {
        name: "NGINX Gateway Fabric",
        setting: "",
        sample: "nginx-gateway-fabric",
        class: FIRST_WINS,
        proof: Proof::Objects { why: NO_MODULE },
    },
    Backend {
        name: "Envoy Gateway",
        setting: "ClientTrafficPolicy",
        sample: "envoy-gateway",
        class: FIRST_WINS,
        proof: Proof::Gateway(Gateway {
            module: "envoy-gateway",
            without: "refuses every client, with HTTP 500",
            missing: claim("HTTP 500 for every client", "without_a_target_every_client_is_refused"),
            empty: claim("the same", "without_a_target_every_client_is_refused"),
            wrong_kind: claim("the same", "without_a_target_every_client_is_refused"),
            elsewhere: claim("the same without a ReferenceGrant", "a_config_map_of_another_namespace_requires_a_grant"),
        }),
    },
    Backend {
        name: "Istio",
        setting: "Gateway `MUTUAL`",
        sample: "istio",
        class: FIRST_WINS,
        proof: Proof::Gateway(Gateway {
            module: "istio",
            without: "keeps the last target; a new gateway pod refuses every client",
            missing: claim("keeps the last target", "without_a_target_the_last_one_applies"),
            empty: claim("keeps the last target", "without_a_target_the_last_one_applies"),
            wrong_kind: claim(
                "a new gateway pod refuses every client",
                "before_the_first_target_every_client_is_refused",
            ),
            elsewhere: Claim { does: "`credentialName` cannot name another namespace", test: None },
        }),
    },
    Backend {
        name: "Contour",
        setting: "HTTPProxy",
        sample: "contour",
        class: FIRST_WINS,
        proof: Proof::Gateway(Gateway {
            module: "contour",
            without: "refuses every client, because Contour removes the host",
            missing: claim("Contour removes the host", "without_a_target_every_client_is_refused"),
            empty: claim("the same", "without_a_target_every_client_is_refused"),
            wrong_kind: claim("the same", "without_a_target_every_client_is_refused"),
            elsewhere: claim("the same without a delegation", "a_secret_of_another_namespace_requires_a_delegation"),
        }),
    },
    Backend {
        name: "Emissary",
        setting: "Host",
        sample: "emissary",
        class: FIRST_WINS,
        proof: Proof::Objects {
            why: "not run, because the program that writes its Envoy configuration is in Python, and not on PyPI",
        },
    },
    Backend {
        name: "Traefik",
        setting: "TLSOption",
        sample: "traefik",
        class: OVERLAP_SAFE,
        proof: Proof::Gateway(Gateway {
            module: "traefik",
            without: "refuses every client: ends the handshake",
            missing: claim("ends every handshake", "without_a_target_every_client_is_refused"),
            empty: claim("the same", "without_a_target_every_client_is_refused"),
            wrong_kind: claim("the same", "without_a_target_every_client_is_refused"),
            elsewhere: claim("a route to this TLSOption responds 404", "a_route_to_another_namespace_responds_404"),
        }),
    },
    Backend {
        name: "F5 NGINX Ingress Controller",
        setting: "Policy",
        sample: "f5-nginx",
        class: FIRST_WINS,
        proof: Proof::Gateway(Gateway {
            module: "f5-nginx",
            without: "refuses every client, with HTTP 500",
            missing: claim("HTTP 500 for every client", "without_a_target_every_client_is_refused"),
            empty: claim("the same", "without_a_target_every_client_is_refused"),
            wrong_kind: claim("the same, also of a Secret of another type", "without_a_target_every_client_is_refused"),
            elsewhere: Claim { does: "a Policy cannot name another namespace", test: None },
        }),
    },
    Backend {
        name: "haproxytech kubernetes-ingress",
        setting: "",
        sample: "haproxytech",
        class: FIRST_WINS,
        proof: Proof::Target { why: NO_MODULE },
    },
    Backend {
        name: "HAProxy Ingress",
        setting: "",
        sample: "haproxy-ingress",
        class: FIRST_WINS,
        proof: Proof::Target { why: NO_MODULE },
    },
    Backend {
        name: "ingress-nginx (retired)",
        setting: "",
        sample: "ingress-nginx",
        class: FIRST_WINS,
        proof: Proof::Gateway(Gateway {
            module: "ingress-nginx",
            without: "refuses every client, with HTTP 403",
            missing: claim("HTTP 403 for every client", "without_a_target_every_client_is_refused"),
            empty: claim("the same", "without_a_target_every_client_is_refused"),
            wrong_kind: claim("the same", "without_a_target_every_client_is_refused"),
            elsewhere: claim(
                "the same, if the controller watches one namespace",
                "a_secret_of_another_namespace_is_not_read",
            ),
        }),
    },
];

impl Backend {
    /// Whether it was run.
    pub fn was_run(&self) -> bool {
        matches!(self.proof, Proof::Server { .. } | Proof::Gateway(_))
    }

    /// The tests that its rows name.
    pub fn tests(&self) -> Vec<String> {
        match &self.proof {
            Proof::Server { tests, .. } => tests.iter().map(|test| (*test).to_owned()).collect(),
            Proof::Gateway(gateway) => {
                let claimed = gateway.claims().into_iter().filter_map(|claim| claim.test);
                let claimed = claimed.map(|test| format!("{}::{test}", gateway.tests()));
                std::iter::once(gateway.tests()).chain(claimed).collect()
            }
            Proof::Objects { .. } | Proof::Target { .. } => vec!["samples::consumers".to_owned()],
        }
    }

    /// The resource of its sample.
    pub fn resource(&self) -> Result<ClientCertificateRef> {
        let path = top().join("deploy/samples").join(self.sample).join("clientcertificateref.yaml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(serde_saphyr::from_str(&text)?)
    }

    fn row(&self) -> Result<String> {
        let name = match self.proof {
            Proof::Gateway(gateway) => format!("{} {}", self.name, gateway.version()?),
            _ => self.name.to_owned(),
        };
        let name =
            [name.as_str(), self.setting].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
        let target = &self.resource()?.spec.target;
        let holds = match &target.keys {
            Some(keys) => {
                keys.iter().map(|(key, content)| format!("`{key}: {content:?}`")).collect::<Vec<_>>().join(", ")
            }
            None => format!("`{:?}`", target.preset.context("neither keys nor a preset")?),
        };
        let class = match self.class {
            Some(VerifierClass::OverlapSafe) => "overlap-safe",
            Some(VerifierClass::FirstWins) => "first-wins",
            None => "depends on the implementation",
        };
        let library = if self.was_run() || self.class.is_none() { "" } else { " †" };
        let named = |tests: &[String]| tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join(", ");
        let acm = match self.proof {
            Proof::Server { acm: Acm::Chain(heading), .. } => {
                format!("by its chain; [check the name](acm.md#{heading}) too")
            }
            Proof::Server { acm: Acm::Pin, .. } => "by its pin".to_owned(),
            Proof::Gateway(_) | Proof::Objects { .. } | Proof::Target { .. } => "not tested".to_owned(),
        };
        let (without, proof) = match self.proof {
            Proof::Server { .. } => ("keeps the last target ‡", named(&self.tests())),
            Proof::Gateway(gateway) => (gateway.without, named(&[gateway.tests()])),
            Proof::Objects { why } => ("not tested", format!("objects only, {}: {why}", named(&self.tests()))),
            Proof::Target { why } => ("not tested", format!("target only, {}: {why}", named(&self.tests()))),
        };
        let sample = self.sample;
        Ok(format!(
            "| [{name}](samples/{sample}.md) | {}, {holds} | {class}{library} | {acm} | {without} | {proof} |\n",
            target.kind.as_str()
        ))
    }
}

impl Gateway {
    fn claims(&self) -> [Claim; 4] {
        [self.missing, self.empty, self.wrong_kind, self.elsewhere]
    }

    /// The module of its tests.
    fn tests(&self) -> String {
        format!("gateways::{}", self.module.replace('-', "_"))
    }

    /// The version that its module pins.
    pub fn version(&self) -> Result<String> {
        let path = top().join("tests/gateways").join(self.module).join("go.mod");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let tool = text.lines().find_map(|line| line.strip_prefix("tool ")).context("it pins no tool")?;
        let mut versions = text.lines().filter_map(|line| {
            let (module, version) = line.trim().trim_start_matches("require ").split_once(' ')?;
            (tool.starts_with(&format!("{module}/")) && version.starts_with('v')).then(|| version.split(' ').next())?
        });
        let version = versions.next().with_context(|| format!("no version of {tool}"))?;
        // A commit that is no release is known by its day.
        Ok(match version.split('-').collect::<Vec<_>>().as_slice() {
            [_, time, _] if time.len() == 14 => format!("of {}-{}-{}", &time[..4], &time[4..6], &time[6..8]),
            _ => version.trim_start_matches('v').to_owned(),
        })
    }
}

/// The page, by its file, with new tables. `root` is the folder of the project.
pub fn page(root: &Path) -> Result<(PathBuf, String)> {
    let path = PathBuf::from(PAGE);
    let page = fs::read_to_string(root.join(&path)).with_context(|| format!("{PAGE} cannot be read"))?;
    Ok((path, render(&page)?))
}

fn render(page: &str) -> Result<String> {
    let mut backends =
        "| backend, with its sample | target | verifier class | ACM certificate | without its target | proven by |\n"
            .to_owned();
    backends += "|---|---|---|---|---|---|\n";
    let mut gateways =
        "| gateway | target missing | key empty | wrong kind | in another namespace | proven by |\n".to_owned();
    gateways += "|---|---|---|---|---|---|\n";
    for backend in ALL {
        backends += &backend.row()?;
        if let Proof::Gateway(gateway) = backend.proof {
            write!(gateways, "| {} {} |", backend.name, gateway.version()?)?;
            let module = gateway.tests().replace("gateways::", "");
            // One test tries several.
            let mut tests: Vec<String> = Vec::new();
            for Claim { does, test } in gateway.claims() {
                write!(gateways, " {does} |")?;
                tests.extend(test.map(|test| format!("`{module}::{test}`")));
            }
            tests.dedup();
            writeln!(gateways, " {} |", tests.join(", "))?;
        }
    }
    let page = replaced(page, BACKENDS, &backends)?;
    replaced(&page, GATEWAYS, &gateways)
}

/// The page with this between the two marks.
fn replaced(page: &str, [begin, end]: [&str; 2], table: &str) -> Result<String> {
    let (before, rest) = page.split_once(begin).with_context(|| format!("the page has no line {begin}"))?;
    let (former, after) = rest.split_once(end).with_context(|| format!("the page has no line {end}"))?;
    ensure!(!former.contains("<!--"), "the page's marks are not in order");
    Ok(format!("{before}{begin}\n\n{table}\n{end}{after}"))
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
