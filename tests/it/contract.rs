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
    a_certificate_comes_with_all_six_elements
    the_pem_is_untouched
    a_missing_description_reads_as_empty
    an_unknown_certificate_is_not_found
    regions_are_apart
    a_description_is_set_and_echoed
    a_description_is_cleared
    descriptions_of_every_kind_survive
    the_list_shows_what_a_read_shows
    a_long_list_comes_in_full_pages
    a_list_survives_changes_between_its_pages
    the_stages_of_an_api_show_what_they_present
    stages_change_between_reads
    an_arn_is_presented_and_an_empty_id_is_not
    an_acm_certificate_comes_with_its_chain
    a_chain_comes_as_it_was_imported
    a_reimport_shows_the_new_certificate_alone
    every_status_of_acm_is_told
    what_is_imported_into_acm_comes_with_its_chain
    a_re_import_keeps_the_arn
    acm_imports_nothing_that_it_cannot_use
    a_stage_presents_what_acm_has
    an_arn_of_elsewhere_is_not_found
    what_is_no_acm_arn_is_refused
    an_unknown_api_is_not_found
    an_api_without_stages_is_not_a_missing_one
    every_trouble_has_its_error
    the_same_trouble_reads_the_same_every_time
    trouble_of_one_kind_does_not_colour_the_next
}
