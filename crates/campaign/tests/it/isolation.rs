//! Who may call what, and that nobody sees or changes anything of another tenant.
//!
//! Everything here is generated from the contract: the methods from its descriptors, the roles from `roles.yaml`, the tables from the
//! live catalogue. Two files are data: `data/methods.json` has a request for each method, `data/matrix.txt` the answer to each caller.

mod audited;
mod canaries;
mod contract;
mod cursors;
mod filters;
mod foreign;
mod inventory;
mod keys;
mod mass_assignment;
mod matrix;
mod objects;
mod people;
mod rows;
mod rules;
mod sql;
mod teeth;
mod wire;
mod witness;
mod world;

use world::World;

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_id_is_answered_like_an_id_of_nothing() {
    let world = World::start().await;
    let callers = world.callers().await;
    foreign::ids_of_another_tenant_are_ids_of_nothing(&world, &callers).await;
    foreign::the_header_opens_nothing_and_keys_stay_apart(&world, &callers).await;
    world.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_its_tenant_whatever_it_is_asked() {
    let world = World::start().await;
    keys::each_tenant_gets_its_own_answer_and_every_key_names_its_tenant(&world).await;
    filters::they_narrow_and_never_widen(&world).await;
    cursors::altered_and_foreign_ones_are_refused(&world).await;
    world.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_stores_what_it_declares_and_leaves_one_entry() {
    let world = World::start().await;
    mass_assignment::members_that_a_client_must_not_set_are_refused_by_name(&world).await;
    audited::every_audited_method_leaves_one_entry(&world).await;
    world.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn access_follows_what_is_given_and_taken_at_once() {
    let world = World::start().await;
    rules::who_belongs_to_two_tenants_is_in_one_of_them_at_a_time(&world).await;
    rules::a_list_is_no_way_around_the_permission_to_read_one(&world).await;
    rules::a_group_grants_its_actions_and_no_other(&world).await;
    rules::what_is_taken_away_is_gone_at_once(&world).await;
    world.platform.stop().await;
}
