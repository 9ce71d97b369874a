//! The administration of any account, for tests with more than the home account.

use client_certificate_operator::aws::gateway::ClientCertificate;

use super::Emulator;
use super::state::{Location, State};
use crate::certificates::NewCertificate;

/// An account of the emulator, with the changes that a user of the account can make.
pub struct Account<'a> {
    pub(super) state: &'a State,
    name: String,
}

impl Emulator {
    /// An account, by its twelve-digit id.
    pub fn account(&self, name: impl Into<String>) -> Account<'_> {
        Account { state: &self.state, name: name.into() }
    }
}

impl Account<'_> {
    pub(super) fn at(&self, region: &str, id: &str) -> Location {
        Location { account: self.name.clone(), region: region.to_owned(), id: id.to_owned() }
    }

    /// Makes a certificate in a region.
    pub fn generate(&self, region: &str, new: NewCertificate) -> ClientCertificate {
        self.state.generate(&self.name, region, new).certificate
    }

    /// A certificate of the account, if it exists.
    pub fn certificate(&self, region: &str, id: &str) -> Option<ClientCertificate> {
        self.state.lock().certificates.get(&self.at(region, id)).map(|issued| issued.certificate.clone())
    }

    /// Replaces a certificate under its id. The description and the tags stay unless `new` has others.
    pub fn renew(&self, region: &str, id: &str, new: NewCertificate) -> Option<ClientCertificate> {
        self.state.replace(&self.at(region, id), new).map(|issued| issued.certificate)
    }

    /// Deletes a certificate; returns whether it existed.
    pub fn delete(&self, region: &str, id: &str) -> bool {
        self.state.delete(&self.at(region, id))
    }

    /// Restores a deleted certificate; returns whether there was one.
    pub fn restore(&self, region: &str, id: &str) -> bool {
        self.state.restore(&self.at(region, id))
    }

    /// Changes a description as another writer would; answers whether the certificate is there.
    pub fn set_description(&self, region: &str, id: &str, description: &str) -> bool {
        self.state.change(&self.at(region, id), |issued| issued.certificate.description = description.to_owned())
    }

    /// Replaces the PEM in responses by any text; returns whether it exists.
    pub fn set_pem(&self, region: &str, id: &str, pem: &str) -> bool {
        self.state.change(&self.at(region, id), |issued| issued.certificate.pem = pem.to_owned())
    }
}
