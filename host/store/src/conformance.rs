//! The suite that every implementation of [`Store`] passes: one test body per promise, written
//! against the traits alone. An implementation's test file names how a store is opened and calls
//! [`store_conformance!`](crate::store_conformance); each body then is a test of its own.
//!
//! Test code: it panics where a promise is broken.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::too_many_lines,
    missing_docs,
    reason = "test code"
)]

use std::sync::Arc;

use async_trait::async_trait;

use crate::Store;

pub mod catalogue;
pub mod claims;
pub mod deliveries;
pub mod desk;
pub mod events;
pub mod keeping;
pub mod life;
pub mod model;
pub mod notices;
pub mod onces;
pub mod polls;
pub mod runs;
pub mod world;

/// Where a store under test lives.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens the one store at this place: empty at first, afterwards with what was stored before. Whoever had
    /// it open has dropped it.
    async fn open(&self) -> Arc<dyn Store>;
}

/// Makes a test of every body of the suite. `$place` is an expression that makes a new [`Place`].
#[macro_export]
macro_rules! store_conformance {
    ($place:expr) => {
        $crate::store_conformance! { @tests $place;
            catalogue: [
                names_are_unique_in_their_scope,
                what_is_configured_reads_back_as_it_was_stored,
                a_module_belongs_to_its_tenant_and_is_stored_once,
                keys_are_found_by_their_secret,
                lookup_rows_are_written_over_and_paged,
                lists_are_newest_first_and_paged,
                s11_another_scope_sees_nothing,
                s12_open_alerts_with_one_code_and_title_are_one,
                alerts_of_all_tenants_are_one_list_newest_first,
                a_row_cannot_refer_to_another_scope,
                s18_a_keyed_request_begins_once,
                s19_a_lookup_table_can_be_put_back,
                one_write_of_a_lookup_table_is_bounded_and_so_is_its_history,
            ];
            events: [
                s1_what_was_acknowledged_is_there_after_reopening,
                s3_a_repeat_gets_the_first_events_id,
                s3_of_many_offers_at_once_one_is_new,
                s4_an_event_is_stored_with_its_runs_or_not_at_all,
                events_are_listed_by_what_they_are_about,
            ];
            runs: [
                s4_a_plan_is_stored_whole_or_not_at_all,
                s5_a_late_owner_cannot_finish_a_lost_run,
                being_deferred_is_no_failure,
                to_be_postponed_is_no_failure_but_keeps_the_order,
                s6_an_ended_lease_makes_the_run_one_process_death_richer,
                s7_a_final_run_stays_final,
                s9_a_later_run_of_an_object_waits_for_the_earlier_one,
                s9_a_deferred_run_does_not_block_later_ones,
                s9_a_dead_or_held_run_blocks_later_ones_until_a_person_decides,
                a_plan_without_deliveries_is_delivered,
                a_held_plan_goes_out_on_approval_with_its_references,
                a_refused_plan_never_goes_out,
                a_redriven_run_begins_to_count_anew,
                a_postponed_run_is_claimed_when_its_time_has_come,
            ];
            deliveries: [
                s5_a_late_owner_cannot_finish_a_lost_delivery,
                s6_an_attempts_intent_is_stored_before_its_claim_is_returned,
                s6_an_ended_lease_leaves_the_delivery_in_doubt,
                s7_a_final_delivery_stays_final,
                s10_a_delivery_waits_for_those_it_comes_after,
                s10_a_later_events_delivery_waits_for_the_earlier_ones,
                s10_a_plan_that_comes_late_takes_its_place,
                a_claim_holds_the_responses_that_its_bindings_name,
                a_run_is_delivered_when_its_last_delivery_is,
                cancelling_takes_those_that_come_after_and_ends_the_run_as_refused,
                an_adopted_delivery_frees_what_waits_and_keeps_its_captures,
                a_redriven_delivery_keeps_its_doubt,
                numbers_keep_their_digits,
            ];
            claims: [
                s8_a_large_backlog_does_not_delay_another_tenant,
                s8_turns_go_on_from_claim_to_claim,
                claims_respect_the_room_of_each_lane,
                starting_ends_the_leases_of_the_dead,
                s6_a_death_counts_for_those_only_whose_module_was_being_executed,
                the_backlog_counts_what_is_not_final,
            ];
            onces: [
                s14_a_fact_told_twice_is_recorded_once,
                s14_doubt_about_a_fact_passes_to_who_records_it_next,
                s14_a_dead_delivery_leaves_the_fact_to_the_next,
                s14_a_fact_belongs_to_its_connection,
            ];
            desk: [
                s17_a_guard_holds_what_exceeds_it,
                s15_a_paused_connections_deliveries_are_not_claimed,
                s5_a_late_response_is_evidence_that_the_next_attempt_adopts,
                a_postponed_attempt_does_not_count,
                an_absence_counts_until_the_next_doubt,
                a_corrected_body_stands_beside_the_planned_one,
                what_is_mapped_again_is_sent_anew_and_the_rest_stays,
                dead_letters_are_found_assigned_and_redriven_by_filter,
                a_resolved_delivery_is_final_and_says_so,
                what_was_surely_not_carried_out_is_sent_as_if_for_the_first_time,
                s16_four_eyes_take_two_keys_that_say_the_same,
                an_alert_ends_when_what_it_told_of_is_over,
                a_tenant_takes_no_more_than_its_room,
            ];
            keeping: [
                a_tenant_and_its_first_key_are_stored_together,
                what_is_set_for_a_tenant_reads_back,
                s25_a_suspended_tenants_work_waits_until_it_is_resumed,
                s26_a_removed_tenant_leaves_nothing_and_touches_nobody,
                s26_nobody_is_removed_before_it_is_confirmed,
                s27_usage_is_what_counting_the_rows_says,
                s27_a_write_that_is_taken_back_counts_nothing,
                s28_after_a_sweep_a_repeat_is_a_repeat_and_a_fact_is_recorded,
                s28_what_is_not_finished_is_kept,
                s28_payloads_facts_and_bodies_go_before_their_event,
                an_audit_log_that_begins_later_is_still_whole,
                modules_that_a_mapping_names_are_kept,
            ];
            life: [
                s20_every_change_of_a_pin_is_kept_and_a_rollback_returns_to_the_one_before,
                s21_a_run_keeps_all_that_it_was_told,
                s21_a_canary_that_fails_too_often_returns,
                s22_what_is_paused_is_not_claimed_and_waits,
                s22_nothing_is_executed_again_for_who_is_stopped,
                s23_a_replay_goes_on_where_it_was_and_counts_nothing_twice,
                a_replay_that_gave_way_is_gone_at_once_and_its_items_are_removed_in_steps,
                a_shadow_sleeps_until_a_run_of_its_mapping_has_ended,
                grants_and_signatures_read_back_as_they_were_stored,
            ];
            polls: [
                a_source_is_asked_at_once_and_then_regularly,
                s5_a_late_owner_cannot_move_the_cursor,
                s11_another_scopes_source_is_not_scheduled,
                what_was_seen_of_an_object_is_remembered,
                a_source_and_how_often_it_is_asked_are_stored_as_one,
            ];
            notices: [
                s12_an_acknowledged_alert_counts_on_and_a_resolved_one_opens_anew,
                alerts_are_found_by_state_severity_code_and_time,
                an_event_knows_the_alerts_that_it_raised,
                alerts_of_other_scopes_end_when_what_they_told_of_is_over,
                s24_a_rule_tells_what_it_names_when_it_happens,
                s24_what_is_not_stored_is_not_told,
                s24_a_flood_becomes_its_bound_and_one_that_counts_the_rest,
                a_delivery_that_was_made_is_told_where_somebody_asked,
                s5_a_notice_is_leased_to_one_owner_at_a_time,
                s8_one_tenants_notices_do_not_delay_anothers,
                a_failed_notice_is_visible_and_not_told_by_its_own_rule,
                a_rule_that_is_switched_off_gives_up_what_it_has_not_told,
                a_deleted_rule_is_gone_at_once_and_its_notices_are_removed_in_steps,
                s11_another_scopes_rules_are_none,
            ];
            model: [a_random_history_agrees_with_the_model];
        }
    };
    (@tests $place:expr; $($module:ident: [$($name:ident),* $(,)?];)*) => {$(
        mod $module {
            $(
                #[tokio::test]
                async fn $name() {
                    $crate::conformance::$module::$name(&$place).await;
                }
            )*
        }
    )*};
}
