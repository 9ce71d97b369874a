//! Real servers with a target: the clients that they let in and refuse, and the requests that a renewal loses. The
//! operator mirrors certificates with the properties of API Gateway's, the target is mounted as by a kubelet, and every
//! request is real and uses the certificate's private key.

/// The tests that every set-up has to pass, each under its own name.
macro_rules! proves {
    ($setup:ident) => {
        #[tokio::test]
        async fn only_the_right_certificate_is_accepted() {
            crate::servers::stories::one_certificate(operator_testing::servers::Setup::$setup).await;
        }

        #[tokio::test]
        async fn of_two_certificates_the_server_accepts_those_of_the_guide() {
            crate::servers::stories::two_certificates(operator_testing::servers::Setup::$setup).await;
        }

        #[tokio::test]
        async fn a_renewal_under_load() {
            crate::servers::renewal::under_load(operator_testing::servers::Setup::$setup).await;
        }

        #[tokio::test]
        async fn a_renewal_by_tag_under_load() {
            crate::servers::tagged::under_load(operator_testing::servers::Setup::$setup).await;
        }

        #[tokio::test]
        async fn an_acm_certificate_and_others_of_its_ca_are_accepted_unless_there_are_pins() {
            crate::servers::issued::one_certificate(operator_testing::servers::Setup::$setup).await;
        }
    };
}

mod cert_manager;
mod envoy;
mod expired;
mod go;
mod haproxy;
mod issued;
mod java;
pub mod load;
mod named;
mod nginx;
mod presenter;
mod renewal;
mod staged;
mod stories;
mod tagged;
pub mod world;
