//! The vendor's suite in the store: who may use it, and whose accounts a person of it is offered.

use super::*;
use crate::directory::{SuiteAccess, SuiteCompany, SuiteMode};
use crate::sso::{Audience, Issuer, Proof, Subject};

fn access(mode: SuiteMode, company: Option<&str>) -> SuiteAccess {
    SuiteAccess { mode, company: company.map(|text| text.parse().unwrap()), provisioning: false }
}

async fn set(world: &World, tenant: TenantId, access: &SuiteAccess) -> bool {
    world.store.set_suite(tenant, access, &event(EventKind::SuiteChanged)).await.unwrap()
}

/// The usernames that a person is offered.
async fn offered(world: &World, company: &str, subject: &str, email: Option<&str>) -> Vec<String> {
    let zone = "a.example".parse().unwrap();
    let company: SuiteCompany = company.parse().unwrap();
    let (issuer, subject) = (Issuer::parse("https://one.example").unwrap(), Subject::parse(subject).unwrap());
    let person = SuitePerson { zone: &zone, company: &company, issuer: &issuer, subject: &subject, email };
    let accounts = world.store.suite_accounts(person).await.unwrap();
    accounts.into_iter().map(|account| account.user.username.to_string()).collect()
}

async fn link(world: &World, user: UserId, subject: &str) -> Linked {
    let (issuer, subject) = (Issuer::parse("https://one.example").unwrap(), Subject::parse(subject).unwrap());
    let linked = event(EventKind::AccountLinked);
    world.store.link(ACME, &issuer, &subject, user, Audience::Suite, &linked).await.unwrap()
}

async fn with_email(world: &World, name: &str, email: &str) -> UserId {
    let new = NewUser { email: Some(email.into()), ..user(name) };
    world.store.create_user(ACME, &new, &event(EventKind::UserCreated)).await.unwrap()
}

#[tokio::test]
async fn r92_a_person_of_the_suite_is_offered_what_their_company_and_primary_address_give() {
    let world = World::new().await;
    let ada = with_email(&world, "ada@acme.example", "Ada@Mail.example").await;
    let mail = Some("ada@mail.example");
    assert_eq!(offered(&world, "c-1", "s-ada", mail).await, Vec::<String>::new(), "the suite is off");
    assert!(set(&world, ACME, &access(SuiteMode::Allowed, Some("c-1"))).await);
    assert_eq!(offered(&world, "c-1", "s-ada", mail).await, ["ada@acme.example"]);
    assert_eq!(offered(&world, "c-2", "s-ada", mail).await, Vec::<String>::new(), "another company's");
    assert_eq!(offered(&world, "c-1", "s-ada", Some("a@mail.example")).await, Vec::<String>::new());
    assert_eq!(offered(&world, "c-1", "s-ada", None).await, Vec::<String>::new(), "not verified");

    // From here on the subject is who they are (D20): a changed address moves nothing, and nobody else gets in by it.
    assert_eq!(link(&world, ada, "s-ada").await, Linked::Yes);
    assert_eq!(offered(&world, "c-1", "s-ada", Some("new@mail.example")).await, ["ada@acme.example"]);
    assert_eq!(offered(&world, "c-1", "s-eve", mail).await, Vec::<String>::new());
    assert_eq!(link(&world, ada, "s-eve").await, Linked::UserHasAnother);

    // A second account of the same address, and of the same person.
    let second = with_email(&world, "ada.admin@acme.example", "ada@mail.example").await;
    assert_eq!(offered(&world, "c-1", "s-ada", mail).await, ["ada.admin@acme.example", "ada@acme.example"]);
    assert_eq!(link(&world, second, "s-ada").await, Linked::Yes);
    assert!(set(&world, ACME, &access(SuiteMode::Off, Some("c-1"))).await);
    assert_eq!(
        offered(&world, "c-1", "s-ada", mail).await,
        Vec::<String>::new(),
        "off is off for the linked too (R93)"
    );
}

#[tokio::test]
async fn d34_what_is_set_reads_back_and_log_ins_under_way_start_again() {
    let world = World::new().await;
    let name = "alice@acme.example";
    let before = world.account(name).await.unwrap();
    assert_eq!((&before.tenant.suite, before.user.suite_exempt), (&SuiteAccess::default(), false));
    assert!(!set(&world, ACME, &access(SuiteMode::Allowed, None)).await, "nobody could log in so");
    assert_eq!(world.account(name).await.unwrap().user.flow_epoch, before.user.flow_epoch);
    let required = SuiteAccess { provisioning: true, ..access(SuiteMode::Required, Some("c-1")) };
    assert!(set(&world, ACME, &required).await);
    let after = world.account(name).await.unwrap();
    assert_eq!((&after.tenant.suite, after.user.epoch), (&required, before.user.epoch));
    assert!(after.user.flow_epoch > before.user.flow_epoch);
    let owner = async || world.store.owner(&name.parse().unwrap()).await.unwrap().unwrap();
    assert!(owner().await.must_use_suite, "their password is not evaluated");
    let changed = event(EventKind::SuiteChanged);
    world.store.set_suite_exempt(world.alice, true, &changed).await.unwrap();
    assert!(!owner().await.must_use_suite && world.account(name).await.unwrap().user.suite_exempt);
    let nobody = world.store.set_suite_exempt(UserId::from_bytes([9; 16]), true, &changed).await;
    assert!(matches!(nobody, Err(StoreFault::Missing(_))), "{nobody:?}");
}

#[tokio::test]
async fn r6_who_was_unlinked_is_not_linked_again_by_a_log_in_that_was_under_way() {
    let world = World::new().await;
    let ada = with_email(&world, "ada@acme.example", "ada@mail.example").await;
    assert_eq!(link(&world, ada, "s-eve").await, Linked::Yes);
    let epoch = world.account("ada@acme.example").await.unwrap().user.flow_epoch;
    let said = serde_json::json!({
        "audience": "suite", "issuer": "https://one.example", "subject": "s-eve", "sid": null, "hint": null,
    });
    let proof: Proof = serde_json::from_value(said).unwrap();
    let linked = async |epoch| {
        let linked = event(EventKind::AccountLinked);
        world.store.link_claimant(ACME, &proof, (ada, epoch), &linked).await.unwrap()
    };
    assert_eq!(linked(epoch).await, Some(Linked::Yes), "as before");
    let unlinked = event(EventKind::AccountUnlinked);
    assert!(world.store.unlink(ada, Audience::Suite, proof.issuer(), &unlinked).await.unwrap());
    assert_eq!(linked(epoch).await, None);
    assert!(world.store.links_of(ada).await.unwrap().is_empty());
    let epoch = world.account("ada@acme.example").await.unwrap().user.flow_epoch;
    assert_eq!(linked(epoch).await, Some(Linked::Yes), "one that began since");
}

#[tokio::test]
async fn v9_whoever_changes_a_part_takes_nothing_back_that_somebody_else_has_set_meanwhile() {
    let world = World::new().await;
    let seen = access(SuiteMode::Allowed, Some("c-1"));
    assert!(set(&world, ACME, &seen).await);
    let rebound = access(SuiteMode::Allowed, Some("c-2"));
    assert!(set(&world, ACME, &rebound).await);
    let change = async |before: &SuiteAccess, after: &SuiteAccess| {
        world.store.change_suite(ACME, (before, after), &event(EventKind::SuiteChanged)).await.unwrap()
    };
    let wanted = SuiteAccess { provisioning: true, ..seen.clone() };
    assert_eq!(change(&seen, &wanted).await, SuiteSet::Overtaken);
    let now = async || world.store.tenant_by_slug("acme").await.unwrap().unwrap().suite;
    assert_eq!(now().await, rebound);
    let wanted = SuiteAccess { provisioning: true, ..rebound.clone() };
    assert_eq!(change(&rebound, &wanted).await, SuiteSet::Yes);
    assert_eq!(now().await, wanted);
    let nobody = SuiteAccess { company: None, ..wanted.clone() };
    assert_eq!(change(&wanted, &nobody).await, SuiteSet::NoCompany);
    assert_eq!(now().await, wanted);
}

#[tokio::test]
async fn d23_who_is_entered_from_the_suite_is_linked_in_the_same_step_or_not_entered() {
    let world = World::new().await;
    let proof: Proof = serde_json::from_value(
        serde_json::json!({ "audience": "suite", "issuer": "https://one.example", "subject": "s-nora" }),
    )
    .unwrap();
    let events = (&event(EventKind::UserCreated), &event(EventKind::AccountLinked));
    world.store.enter_from_suite(ACME, &user("nora@acme.example"), &proof, events).await.unwrap();
    let nora = world.account("nora@acme.example").await.unwrap();
    let links = world.store.links_of(nora.user.id).await.unwrap();
    assert_eq!(links.iter().map(|link| link.subject.as_str()).collect::<Vec<_>>(), ["s-nora"]);
    world
        .by_hand("CREATE TRIGGER no_link BEFORE INSERT ON link BEGIN SELECT RAISE(ABORT, 'no link'); END")
        .await
        .unwrap();
    assert!(world.store.enter_from_suite(ACME, &user("olga@acme.example"), &proof, events).await.is_err());
    assert!(world.account("olga@acme.example").await.is_none());
}
