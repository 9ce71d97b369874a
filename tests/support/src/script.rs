//! Faults that come in an order: which calls they hit, and how often.

use serde::{Deserialize, Serialize};

/// The client certificate operations of API Gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
}

/// One line of a script.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault<Kind> {
    /// The operation it hits; every one without.
    #[serde(default)]
    pub operation: Option<Operation>,
    /// The certificate it hits; every one without.
    #[serde(default)]
    pub id: Option<String>,
    /// How many calls it hits; without, it stays until faults are cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// What happens.
    #[serde(flatten)]
    pub kind: Kind,
}

impl<Kind> Fault<Kind> {
    /// Hits every call until cleared.
    pub fn new(kind: Kind) -> Self {
        Self { operation: None, id: None, times: None, kind }
    }

    /// Hits this operation only.
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Hits calls about this certificate only.
    pub fn of(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Hits so many calls.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Hits one call.
    pub fn once(self) -> Self {
        self.times(1)
    }
}

/// Faults in the order in which they were given. A call meets the first that fits it.
#[derive(Clone, Debug)]
pub struct Script<Kind>(Vec<Fault<Kind>>);

impl<Kind> Default for Script<Kind> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<Kind: Clone> Script<Kind> {
    /// Adds a fault at the end.
    pub fn push(&mut self, fault: Fault<Kind>) {
        if fault.times != Some(0) {
            self.0.push(fault);
        }
    }

    /// Forgets every fault.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets the faults that hit this certificate alone.
    pub fn clear_of(&mut self, id: &str) {
        self.0.retain(|fault| fault.id.as_deref() != Some(id));
    }

    /// What is still to come.
    pub fn remaining(&self) -> &[Fault<Kind>] {
        &self.0
    }

    /// The fault that a call meets, which is one fewer from then on.
    pub fn next(&mut self, operation: Operation, id: Option<&str>) -> Option<Kind> {
        let fits = |fault: &Fault<Kind>| {
            fault.operation.is_none_or(|wanted| wanted == operation)
                && fault.id.as_deref().is_none_or(|wanted| Some(wanted) == id)
        };
        let place = self.0.iter().position(fits)?;
        let fault = &mut self.0[place];
        let kind = fault.kind.clone();
        if let Some(times) = &mut fault.times {
            *times -= 1;
            if *times == 0 {
                self.0.remove(place);
            }
        }
        Some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_order_and_run_out() {
        let mut script = Script::default();
        script.push(Fault::new("first").once());
        script.push(Fault::new("second").times(2));
        let met: Vec<_> = (0..4).map(|_| script.next(Operation::Get, None)).collect();
        assert_eq!(met, [Some("first"), Some("second"), Some("second"), None]);
    }

    #[test]
    fn a_call_meets_the_first_fault_that_fits_it() {
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
}
