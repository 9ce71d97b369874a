//! The password of a truststore. Certificates are public, so it protects no secret, but Java requires a password. It is
//! never printed, because a user may use the same password elsewhere.

use std::fmt;

use super::{PasswordWanted, TargetContent, password_wanted};
use crate::api::ClientCertificateRef;
use crate::error::ClusterFailure;

/// The greatest length of a password.
const MOST: usize = 128;

/// A password that Java accepts.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    text: Box<str>,
    is_made: bool,
}

impl Password {
    /// A user's password. `None` if Java would reject it: Java accepts printable ASCII.
    pub fn given(text: &[u8]) -> Option<Self> {
        Self::of(text, false)
    }

    /// A password that the operator generated, or found in a target under the key for generated passwords.
    pub fn made(text: &[u8]) -> Option<Self> {
        Self::of(text, true)
    }

    fn of(text: &[u8], is_made: bool) -> Option<Self> {
        let is_one = (1..=MOST).contains(&text.len()) && text.iter().all(|byte| (b' '..=b'~').contains(byte));
        let text = std::str::from_utf8(text).ok().filter(|_| is_one)?;
        Some(Password { text: text.into(), is_made })
    }

    /// The text of the password.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Whether the operator generated the password, so that it may be written into a target.
    pub fn is_made(&self) -> bool {
        self.is_made
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Password({})", if self.is_made { "made" } else { "given" })
    }
}

/// The reason for which there is no password.
#[derive(Clone, Debug, PartialEq)]
pub enum NoPassword {
    /// The password does not exist. The message contains the action for the user.
    Absent(String),
    /// The password could not be read.
    Unseen(ClusterFailure),
}

/// The password of a truststore; `None` if the resource has no truststore. `offered` is the user's password, or else a
/// new one. A user's password takes precedence, then the last `written` password of this process, then the password in
/// the target, then the new one.
pub fn settle(
    resource: &ClientCertificateRef,
    offered: Option<&Result<Password, NoPassword>>,
    written: Option<&Password>,
    target: Option<&TargetContent>,
) -> Result<Option<Password>, NoPassword> {
    let Some(offered) = offered else { return Ok(None) };
    let Some(PasswordWanted::Made(key)) = password_wanted(resource) else { return offered.clone().map(Some) };
    match written.or_else(|| target.and_then(|target| target.password(key))) {
        Some(password) => Ok(Some(password.clone())),
        None => offered.clone().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Pkcs12, Preset, SecretKeyRef};
    use crate::certificate::Certificate;
    use crate::fixtures::{PEM, resource, secret_of};
    use crate::target::{Desired, TargetObject, Trusted, TruststoreInput, render};

    fn of_java(pkcs12: Option<Pkcs12>) -> ClientCertificateRef {
        let mut resource = resource("payments");
        resource.spec.target.preset = Some(Preset::Pkcs12);
        resource.spec.target.pkcs12 = pkcs12;
        resource
    }

    fn sealed(resource: &ClientCertificateRef, password: Password) -> Desired {
        let certificate = Certificate::parse(PEM).unwrap();
        let trusted = Trusted { main: Some(&certificate), additional: vec![] };
        let input = TruststoreInput { password: Some(password), last: None };
        render(resource, &trusted, &input, "2026-11-24T07:16:00Z".parse().unwrap()).unwrap()
    }

    #[test]
    fn the_password_in_the_target_takes_precedence_over_a_new_one() {
        let made = |text: &str| Password::made(text.as_bytes()).unwrap();
        let resource = of_java(None);
        let new = Some(Ok(made("new")));
        let found = secret_of(&sealed(&resource, made("found"))).content();
        let written = made("written");
        let settled = |written, target| settle(&resource, new.as_ref(), written, target).unwrap().unwrap();
        assert_eq!(settled(Some(&written), Some(&found)).expose(), "written");
        assert_eq!(settled(None, Some(&found)).expose(), "found");
        assert_eq!(settled(None, None).expose(), "new");

        let place = SecretKeyRef { name: "java".into(), key: "password".into() };
        let resource = of_java(Some(Pkcs12 { password_secret_ref: Some(place), ..Pkcs12::default() }));
        let given = Password::given(b"given").unwrap();
        assert_eq!(settle(&resource, Some(&Ok(given.clone())), Some(&written), Some(&found)), Ok(Some(given)));
        let absent = Err(NoPassword::Absent("not there".into()));
        assert_eq!(
            settle(&resource, Some(&absent), Some(&written), Some(&found)),
            absent.map(Some),
            "not even a former one"
        );
        assert_eq!(settle(&resource, None, Some(&written), Some(&found)), Ok(None));
    }

    #[test]
    fn a_password_is_accepted_by_java_and_is_not_printed() {
        for text in ["", "two\nlines", "newline\n", "tab\t", "ümlaut", &"p".repeat(129)] {
            assert_eq!(Password::given(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Password::given(&[0xff]), None);
        for text in ["p", " with space ~", &"p".repeat(128)] {
            let password = Password::given(text.as_bytes()).unwrap();
            assert_eq!(password.expose(), text);
            assert_eq!(format!("{password:?}"), "Password(given)");
        }
    }
}
