//! The lines that the guide of ACM certificates adds to the samples, so that a server checks the name of a certificate
//! in addition to the chain. The tests add these lines to the files of the sample, and present the right certificate
//! and other certificates of the CA.

use std::net::Ipv4Addr;
use std::path::Path;

use operator_testing::private_ca::{Leaf, NewLeaf};
use operator_testing::servers::{Sample, Server, Setup};

use super::issued::{ReImport, SOME, identity, issuing, said_to_another};
use super::stories::answers;
use super::world::{Mirrored, application, permit};
use crate::docs::page::Page;
use crate::samples::programs::sample;

/// The name that the lines of the guide accept.
const DOMAIN: &str = "payments.example.com";

/// A server: its heading in the guide, the sample that the lines extend, and the set-up that runs the sample.
struct Named {
    heading: &'static str,
    sample: &'static str,
    setup: Setup,
}

macro_rules! named {
    ($($module:ident: $heading:literal, $sample:literal, $setup:ident;)*) => {
        const ALL: &[Named] = &[$($module::NAMED),*];

        $(mod $module {
            use super::{Named, Setup};

            pub const NAMED: Named = Named { heading: $heading, sample: $sample, setup: Setup::$setup };

            #[tokio::test]
            async fn other_certificates_of_the_ca_are_refused_unless_they_have_the_name() {
                super::one_name(&NAMED).await;
            }
        })*
    };
}

named! {
    nginx: "nginx", "nginx-ca", NginxCa;
    haproxy: "HAProxy", "haproxy-ca", HaproxyCa;
    envoy: "Envoy", "envoy-ca", EnvoyCa;
    go: "Go", "go", Go;
    java: "Java", "java", JavaPkcs12;
}

async fn one_name(named: &Named) {
    let _permit = permit().await;
    let ca = issuing();
    let right = ca.issue(NewLeaf::domain(DOMAIN));
    let world = mirrored(named.setup, &right).await;
    let server = named.start(&world, &named.lines()).await;
    let said = said_to_another(&world, &server, &right, &ca, NewLeaf::domain(DOMAIN)).await;
    assert!(said.is_let_in(), "another one of its CA and its name: {said}");
    for name in [
        "orders.example.com",
        "payments.example.com.orders.example.com",
        "orders-payments.example.com",
        "paymentsXexample.com",
        "*.example.com",
        "orders.example.com/CN=payments.example.com",
        "orders.example.com,CN=payments.example.com",
    ] {
        let other = identity(&ca.issue(NewLeaf::domain(name)));
        let said = answers(&server, &[Some(&other)]).await.remove(0);
        assert!(said.is_refused(), "another one of its CA, of the name {name}: {said}");
    }
}

/// The reason for the regular expression in the guide.
#[tokio::test]
async fn envoy_accepts_a_wildcard_certificate_with_an_exact_matcher() {
    let _permit = permit().await;
    let (ca, named) = (issuing(), envoy::NAMED);
    let world = mirrored(named.setup, &ca.issue(NewLeaf::domain(DOMAIN))).await;
    let lines = named.lines();
    let exact: Vec<_> = lines
        .iter()
        .map(|hunk| hunk.replace(r"safe_regex: {regex: 'payments\.example\.com'}", &format!("exact: {DOMAIN}")))
        .collect();
    assert_ne!(exact, lines);
    let server = named.start(&world, &exact).await;
    let [wildcard, other] =
        ["*.example.com", "orders.example.com"].map(|name| identity(&ca.issue(NewLeaf::domain(name))));
    let said = answers(&server, &[Some(&wildcard), Some(&other)]).await;
    assert!(said[0].is_let_in(), "a wildcard: {}", said[0]);
    assert!(said[1].is_refused(), "another name: {}", said[1]);
}

/// The new certificate has the same name as the former one.
#[tokio::test]
async fn a_re_import_under_load_loses_no_call_if_names_are_checked() {
    let _permit = permit().await;
    let (ca, setups) = (issuing(), ALL.iter().map(|named| named.setup).collect::<Vec<_>>());
    let leaves = [(); 2].map(|()| ca.issue(NewLeaf::domain(DOMAIN)));
    let what = "a re-import into ACM under load, the name checked";
    let story = ReImport { what, leaves, requests: SOME, surprises: |_| false };
    let (mut world, arn) = story.begin("servers-named-import", &setups).await;
    world.swap().await;
    let mut servers = Vec::new();
    for named in ALL {
        servers.push(named.start(&world, &named.lines()).await);
    }
    story.tell(world, &arn, servers).await;
}

/// A world whose target holds the chain of this certificate.
async fn mirrored(setup: Setup, leaf: &Leaf) -> Mirrored {
    let mut world = Mirrored::start("servers-named", &[setup]).await;
    world.import(leaf).await;
    world.swap().await;
    world
}

impl Named {
    /// The hunks of the guide: the added lines with their context.
    fn lines(&self) -> Vec<String> {
        let page = Page::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides/acm.md"));
        let hunks = page.blocks(Some(self.heading), "diff");
        assert!(!hunks.is_empty(), "the guide has no lines for {}", self.heading);
        hunks
    }

    /// Starts a server with the sample and these hunks.
    async fn start(&self, world: &Mirrored, hunks: &[String]) -> Server {
        let mut sample = sample(self.sample, application(Ipv4Addr::LOCALHOST.into()).await);
        hunks.iter().for_each(|hunk| add(&mut sample, hunk));
        Server::start_sample(self.setup, &world.mount, &sample).await.unwrap()
    }
}

/// Applies a hunk: adds the lines that begin with `+`. The other lines must occur exactly once in the files of the
/// sample.
fn add(sample: &mut Sample, hunk: &str) {
    let without = |mark: char| -> String {
        let lines = hunk.lines().filter(|line| !line.starts_with(mark));
        lines.map(|line| format!("{}\n", line.get(1..).unwrap_or_default())).collect()
    };
    let (before, after) = (without('+'), without('-'));
    let times: usize = sample.files.values().map(|text| text.matches(&before).count()).sum();
    assert_eq!(times, 1, "the sample's files have these lines:\n{before}");
    for text in sample.files.values_mut() {
        *text = text.replace(&before, &after);
    }
}
