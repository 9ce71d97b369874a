//! The contract of the interface to API Gateway, for every implementation.

macro_rules! contract {
    ($($case:ident)*) => {
        mod memory {
            use operator_testing::contract::{self, MemoryWorld};
            $(#[tokio::test]
            async fn $case() {
                contract::$case(&MemoryWorld::default()).await;
            })*
        }

        mod aws {
            use operator_testing::contract::{self, EmulatorWorld};
            $(#[tokio::test]
            async fn $case() {
                contract::$case(&EmulatorWorld::start().await).await;
            })*
        }
    };
}

contract! {
    a_certificate_has_all_six_elements
    the_pem_is_untouched
    a_missing_description_is_read_as_empty
    an_unknown_certificate_is_not_found
    regions_are_apart
    a_description_is_set_and_echoed
    a_description_is_cleared
    descriptions_of_every_kind_survive
    the_list_and_a_read_return_the_same
    a_long_list_has_full_pages
    a_list_survives_changes_between_its_pages
    the_stages_of_an_api_have_their_certificates
    stages_change_between_reads
    an_arn_is_presented_and_an_empty_id_is_not
    an_acm_certificate_has_its_chain
    a_chain_is_returned_as_it_was_imported
    a_reimport_returns_only_the_new_certificate
    every_status_of_acm_is_returned
    an_imported_certificate_has_its_chain
    a_re_import_keeps_the_arn
    acm_imports_nothing_that_it_cannot_use
    a_stage_presents_a_certificate_of_acm
    an_arn_of_another_account_or_region_is_not_found
    an_invalid_acm_arn_is_refused
    an_unknown_api_is_not_found
    an_api_without_stages_is_not_a_missing_one
    every_failure_has_its_error
    the_same_fault_has_the_same_error_every_time
    a_fault_does_not_affect_the_next_one
}
