//! API Gateway as a client of a backend. It presents the certificate of a stage and, for a while after a switch or a
//! re-import into ACM, also the former one.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Emulator;
use super::access::HOME_ACCOUNT;
use super::state::{Location, State};
use crate::private_ca::Leaf;
use crate::servers::{Answer, Caller, Client, Identity, Peer};

/// The default seed, which makes every run the same.
const SEED: u64 = 1;

/// A client of one server, with the certificate of a stage. Clones share all state.
#[derive(Clone)]
pub struct Presenter {
    shared: Arc<Shared>,
}

struct Shared {
    state: Arc<State>,
    api: Location,
    stage: String,
    server: Known,
    propagation: Duration,
    drawn: Mutex<Drawn>,
}

struct Drawn {
    chance: fastrand::Rng,
    /// The clients by the PEM that they present.
    clients: HashMap<Option<String>, Client>,
    presented: BTreeMap<String, Presented>,
}

/// A certificate that a request can present, or none.
struct Choice {
    /// The name in the counts.
    name: String,
    /// The certificate with its chain, and its key, as PEM; `None` for no certificate.
    identity: Option<(String, String)>,
}

/// The number of requests with a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presented {
    /// All requests.
    pub requests: usize,
    /// The requests during a propagation, in which another certificate was presented too.
    pub propagating: usize,
}

impl Emulator {
    /// API Gateway for a stage of the home account with this server as its backend. For the time `propagation` after a
    /// switch of the stage, and after a re-import into ACM under the stage's ARN, a request presents the former
    /// certificate or the new one with equal probability. An ACM certificate is presented with its chain.
    pub fn presenter(
        &self,
        region: &str,
        rest_api_id: &str,
        stage: &str,
        server: &impl Peer,
        propagation: Duration,
    ) -> Presenter {
        let api = Location { account: HOME_ACCOUNT.into(), region: region.into(), id: rest_api_id.into() };
        let server = Known {
            address: server.address(),
            host: server.host().to_owned(),
            authority_pem: server.authority_pem().to_owned(),
        };
        let drawn =
            Drawn { chance: fastrand::Rng::with_seed(SEED), clients: HashMap::new(), presented: BTreeMap::new() };
        let (state, stage) = (self.state.clone(), stage.to_owned());
        Presenter { shared: Arc::new(Shared { state, api, stage, server, propagation, drawn: Mutex::new(drawn) }) }
    }
}

impl Presenter {
    /// The name of no certificate in the counts.
    pub const NOTHING: &str = "nothing";

    /// Seeds the choice of certificates.
    pub fn seed(&self, seed: u64) {
        self.shared.lock().chance.seed(seed);
    }

    /// The counts of each certificate, by id. An ACM certificate is counted by its serial number, because one ARN can
    /// have several certificates over time.
    fn presented(&self) -> BTreeMap<String, Presented> {
        self.shared.lock().presented.clone()
    }

    /// The counts of one certificate.
    pub fn presented_of(&self, name: &str) -> Presented {
        self.shared.lock().presented.get(name).copied().unwrap_or_default()
    }
}

impl Caller for Presenter {
    /// Makes one call. The answer is `Failed` if the stage, or the key of its certificate, does not exist.
    async fn call(&self) -> Answer {
        match self.shared.draw() {
            Ok(client) => client.get().await,
            Err(error) => Answer::Failed(format!("{error:#}")),
        }
    }
}

impl fmt::Display for Presenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let presented = self.presented();
        let figures = presented.iter().map(|(name, Presented { requests, propagating })| {
            format!("{name} {requests} times, {propagating} of them while propagating")
        });
        f.write_str(&figures.collect::<Vec<_>>().join("; "))
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chooses the certificate to present.
    fn draw(&self) -> Result<Client> {
        let choices = self.choices()?;
        let mut drawn = self.lock();
        let Choice { name, identity } = &choices[drawn.chance.usize(..choices.len())];
        let presented = drawn.presented.entry(name.clone()).or_default();
        presented.requests += 1;
        presented.propagating += usize::from(choices.len() > 1);
        // The key is the PEM, because a renewed certificate has the same id.
        let pem = identity.as_ref().map(|(pem, _)| pem.clone());
        if let Some(client) = drawn.clients.get(&pem) {
            return Ok(client.clone());
        }
        let identity = identity.as_ref().map(|(pem, key)| Identity::new(pem, key)).transpose()?;
        let client = Client::new(&self.server, identity.as_ref())?;
        drawn.clients.insert(pem, client.clone());
        Ok(client)
    }

    /// The certificate of the stage first, then those that are still presented.
    fn choices(&self) -> Result<Vec<Choice>> {
        let presented = self.state.presented_within(&self.api, &self.stage, self.propagation);
        let presented = presented.with_context(|| format!("there is no stage {} of {}", self.stage, self.api.id))?;
        let mut choices = Vec::new();
        for presented in presented {
            match presented {
                None => choices.push(Choice { name: Presenter::NOTHING.to_owned(), identity: None }),
                Some(id) => choices.extend(self.known_as(&id).with_context(|| format!("nobody has the key of {id}"))?),
            }
        }
        Ok(choices)
    }

    /// The certificate of an id or an ARN. For an ARN, also the former certificates within the propagation. A stage
    /// keeps presenting a deleted certificate of API Gateway.
    fn known_as(&self, id: &str) -> Option<Vec<Choice>> {
        let inner = self.state.lock();
        if let Some(leaves) = inner.acm.presented_within(id, self.propagation) {
            let choice = |leaf: Leaf| Choice {
                identity: Some((leaf.certificate + &leaf.chain.unwrap_or_default(), leaf.private_key)),
                name: leaf.serial_number,
            };
            return Some(leaves.into_iter().map(choice).collect());
        }
        let at = Location { id: id.to_owned(), ..self.api.clone() };
        let issued = inner.certificates.get(&at).or_else(|| inner.deleted.get(&at))?;
        let identity = Some((issued.certificate.pem.clone(), issued.private_key_pem.clone()));
        Some(vec![Choice { name: id.to_owned(), identity }])
    }
}

/// The address of a server, and the data that its clients need.
struct Known {
    address: SocketAddr,
    host: String,
    authority_pem: String,
}

impl Peer for Known {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn authority_pem(&self) -> &str {
        &self.authority_pem
    }
}
