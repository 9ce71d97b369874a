//! Gateways with a target: the real controller watches the control plane with the unchanged objects of `deploy/samples`
//! and a target of the operator, and its data plane answers the handshakes.

/// The tests that every gateway has to pass, each under its own name.
macro_rules! proves {
    ($form:ident) => {
        #[tokio::test]
        async fn only_the_right_certificate_is_accepted() {
            crate::gateways::stories::one_certificate(crate::gateways::world::Form::$form).await;
        }

        #[tokio::test]
        async fn of_two_certificates_the_server_accepts_those_of_the_guide() {
            crate::gateways::stories::two_certificates(crate::gateways::world::Form::$form).await;
        }

        #[tokio::test]
        async fn an_expired_certificate_is_refused() {
            crate::gateways::stories::expired(crate::gateways::world::Form::$form).await;
        }

        #[tokio::test]
        async fn a_renewal_under_load() {
            crate::gateways::stories::renewal(crate::gateways::world::Form::$form).await;
        }
    };
}

mod contour;
mod envoy_gateway;
mod f5_nginx;
mod ingress_nginx;
mod istio;
mod stories;
mod traefik;
mod world;
