//! A script of faults: their order, the calls that they hit, and their number of times.

use serde::{Deserialize, Serialize};

/// The AWS service of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// API Gateway.
    ApiGateway,
    /// AWS Certificate Manager.
    Acm,
    /// The Security Token Service.
    Sts,
}

/// The operations of API Gateway on client certificates and on the stages that present them, those of ACM on its
/// certificates, and those of STS for roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Operation {
    /// GetClientCertificate
    #[serde(rename = "GetClientCertificate", alias = "Get")]
    Get,
    /// GetClientCertificates
    #[serde(rename = "GetClientCertificates", alias = "List")]
    List,
    /// UpdateClientCertificate
    #[serde(rename = "UpdateClientCertificate", alias = "Update")]
    Update,
    /// GenerateClientCertificate
    #[serde(rename = "GenerateClientCertificate", alias = "Generate")]
    Generate,
    /// DeleteClientCertificate
    #[serde(rename = "DeleteClientCertificate", alias = "Delete")]
    Delete,
    /// GetRestApis
    GetRestApis,
    /// GetStages
    GetStages,
    /// GetStage
    GetStage,
    /// UpdateStage
    UpdateStage,
    /// CreateRestApi
    CreateRestApi,
    /// PutRestApi
    PutRestApi,
    /// DeleteRestApi
    DeleteRestApi,
    /// CreateDeployment
    CreateDeployment,
    /// CreateStage
    CreateStage,
    /// DeleteStage
    DeleteStage,
    /// ACM's DescribeCertificate
    DescribeCertificate,
    /// ACM's GetCertificate
    GetCertificate,
    /// ACM's ImportCertificate
    ImportCertificate,
    /// ACM's DeleteCertificate
    DeleteCertificate,
    /// ACM's ListCertificates
    ListCertificates,
    /// ACM's ListTagsForCertificate
    ListTagsForCertificate,
    /// STS's AssumeRole
    AssumeRole,
    /// STS's GetCallerIdentity
    GetCallerIdentity,
}

impl Operation {
    /// The service that has the operation.
    pub fn service(self) -> Service {
        match self {
            Self::AssumeRole | Self::GetCallerIdentity => Service::Sts,
            Self::DescribeCertificate
            | Self::GetCertificate
            | Self::ImportCertificate
            | Self::DeleteCertificate
            | Self::ListCertificates
            | Self::ListTagsForCertificate => Service::Acm,
            _ => Service::ApiGateway,
        }
    }
}

/// The properties of a call by which a script selects calls.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The operation.
    pub operation: Operation,
    /// The caller's account.
    pub account: Option<&'a str>,
    /// The region.
    pub region: Option<&'a str>,
    /// The certificate or REST API of the call; for ACM, the ARN.
    pub id: Option<&'a str>,
}

/// A fault of a script.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault<Kind> {
    /// The operation of the calls; without it, every operation of API Gateway, and none of ACM and STS.
    #[serde(default)]
    pub operation: Option<Operation>,
    /// The account of the calls; without it, every account.
    #[serde(default)]
    pub account: Option<String>,
    /// The region of the calls; without it, every region.
    #[serde(default)]
    pub region: Option<String>,
    /// The certificate or REST API of the calls; without it, every one.
    #[serde(default)]
    pub id: Option<String>,
    /// The number of calls that the fault hits; without it, the fault stays until faults are cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// The share of the selected calls, from 0 to 1, that the fault hits at random; without it, all of them.
    #[serde(default)]
    pub share: Option<f64>,
    /// The effect of the fault.
    #[serde(flatten)]
    pub kind: Kind,
}

impl<Kind> Fault<Kind> {
    /// A fault that hits every call to API Gateway until faults are cleared.
    pub fn new(kind: Kind) -> Self {
        Self { operation: None, account: None, region: None, id: None, times: None, share: None, kind }
    }

    /// Selects calls of this operation.
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Selects calls for this certificate or REST API.
    pub fn of(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Selects calls of this account.
    pub fn in_account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Selects calls to this region.
    pub fn in_region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Hits this share of the selected calls, from 0 to 1, at random.
    pub fn share(mut self, share: f64) -> Self {
        self.share = Some(share);
        self
    }

    /// Limits the number of calls that the fault hits.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Hits one call.
    pub fn once(self) -> Self {
        self.times(1)
    }

    fn fits(&self, call: Incoming<'_>) -> bool {
        let same = |wanted: &Option<String>, is: Option<&str>| wanted.is_none() || wanted.as_deref() == is;
        let operation = match self.operation {
            Some(wanted) => wanted == call.operation,
            None => call.operation.service() == Service::ApiGateway,
        };
        operation && same(&self.account, call.account) && same(&self.region, call.region) && same(&self.id, call.id)
    }
}

/// Faults in order. A call meets the first fault that selects it.
#[derive(Clone, Debug)]
pub struct Script<Kind> {
    faults: Vec<Fault<Kind>>,
    chance: fastrand::Rng,
}

impl<Kind> Default for Script<Kind> {
    fn default() -> Self {
        Self { faults: Vec::new(), chance: fastrand::Rng::new() }
    }
}

impl<Kind: Clone> Script<Kind> {
    /// Adds a fault at the end.
    pub fn push(&mut self, fault: Fault<Kind>) {
        if fault.times != Some(0) {
            self.faults.push(fault);
        }
    }

    /// Removes every fault.
    pub fn clear(&mut self) {
        self.faults.clear();
    }

    /// Removes the faults for this certificate.
    pub fn clear_of(&mut self, id: &str) {
        self.faults.retain(|fault| fault.id.as_deref() != Some(id));
    }

    /// The remaining faults.
    pub fn remaining(&self) -> &[Fault<Kind>] {
        &self.faults
    }

    /// Seeds the choice of calls for faults with a share, so that it is repeatable.
    pub fn seed(&mut self, seed: u64) {
        self.chance.seed(seed);
    }

    /// The fault that a call meets. It counts as one use of the fault.
    pub fn next(&mut self, operation: Operation, id: Option<&str>) -> Option<Kind> {
        self.next_for(Incoming { operation, account: None, region: None, id })
    }

    /// The fault that a call with more properties meets.
    pub fn next_for(&mut self, call: Incoming<'_>) -> Option<Kind> {
        let chance = &mut self.chance;
        let mut hits = |fault: &Fault<Kind>| fault.fits(call) && fault.share.is_none_or(|share| chance.f64() < share);
        let place = self.faults.iter().position(&mut hits)?;
        let fault = &mut self.faults[place];
        let kind = fault.kind.clone();
        if let Some(times) = &mut fault.times {
            *times -= 1;
            if *times == 0 {
                self.faults.remove(place);
            }
        }
        Some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_apply_in_order_and_end() {
        let mut script = Script::default();
        script.push(Fault::new("first").once());
        script.push(Fault::new("second").times(2));
        let met: Vec<_> = (0..4).map(|_| script.next(Operation::Get, None)).collect();
        assert_eq!(met, [Some("first"), Some("second"), Some("second"), None]);
    }

    #[test]
    fn the_first_matching_fault_applies_to_a_call() {
        let mut script = Script::default();
        script.push(Fault::new("updates").on(Operation::Update));
        script.push(Fault::new("one").of("a1"));
        assert_eq!(script.next(Operation::Get, Some("b2")), None);
        assert_eq!(script.next(Operation::Get, Some("a1")), Some("one"));
        assert_eq!(script.next(Operation::Update, Some("a1")), Some("updates"));
        script.clear_of("a1");
        assert_eq!(script.next(Operation::Get, Some("a1")), None);
        assert_eq!(script.next(Operation::Update, Some("a1")), Some("updates"));
        script.clear();
        assert_eq!(script.next(Operation::Update, Some("a1")), None);
    }
    #[test]
    fn a_fault_can_apply_to_one_account_and_one_region() {
        let mut script = Script::default();
        script.push(Fault::new("down").in_region("eu-west-1").in_account("444455556666"));
        let mut met = |account, region| {
            script.next_for(Incoming {
                operation: Operation::List,
                account: Some(account),
                region: Some(region),
                id: None,
            })
        };
        assert_eq!(met("444455556666", "eu-west-1"), Some("down"));
        assert_eq!(met("444455556666", "us-east-1"), None);
        assert_eq!(met("111122223333", "eu-west-1"), None);
    }

    #[test]
    fn a_fault_applies_to_acm_and_sts_only_if_it_names_them() {
        let mut script = Script::default();
        script.push(Fault::new("any"));
        assert_eq!(script.next(Operation::GetCertificate, None), None);
        assert_eq!(script.next(Operation::AssumeRole, None), None);
        script.push(Fault::new("role").on(Operation::AssumeRole));
        assert_eq!(script.next(Operation::AssumeRole, None), Some("role"));
    }

    #[test]
    fn a_share_applies_to_about_that_part_and_to_the_same_calls_with_the_same_seed() {
        let hits = |seed| {
            let mut script = Script::default();
            script.push(Fault::new(()).share(0.5));
            script.seed(seed);
            (0..1000).map(|_| script.next(Operation::Get, None).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(hits(7), hits(7));
        assert_ne!(hits(7), hits(8));
        let part = hits(7).into_iter().filter(|hit| *hit).count();
        assert!((400..600).contains(&part), "{part}");
    }
}
