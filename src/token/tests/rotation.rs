//! The life of the keys, as time goes by and brokers come and go.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// A broker and the store that outlives it.
struct World {
    settings: TokenSettings,
    ring: KeyRing,
    store: Vec<SealedKey>,
    now: Timestamp,
    /// When each key was first published.
    published: HashMap<String, Timestamp>,
    first: String,
    /// Every token that is not expired.
    alive: Vec<(AccessToken, Claims)>,
}

impl World {
    fn new(settings: TokenSettings) -> Self {
        let (ring, store) = KeyRing::open(settings.clone(), kek(), Vec::new(), random(), NOW).unwrap();
        let first = ring.signing_kid(NOW).unwrap();
        let published = HashMap::from([(first.clone(), NOW)]);
        Self { settings, ring, store, now: NOW, published, first, alive: Vec::new() }
    }

    /// What the broker does now and then.
    fn tick(&mut self) -> Rotation {
        let rotation = self.ring.due(self.now).unwrap();
        self.store.extend(rotation.add.clone());
        self.ring.adopt(rotation.clone()).unwrap();
        self.store.retain(|record| !rotation.remove.contains(&record.kid));
        self.publish();
        rotation
    }

    fn restart(&mut self, settings: TokenSettings) {
        let records = self.store.clone();
        let (ring, made) = KeyRing::open(settings.clone(), kek(), records, random(), self.now).unwrap();
        self.store.extend(made);
        (self.ring, self.settings) = (ring, settings);
        self.publish();
    }

    fn publish(&mut self) {
        for kid in kids(&self.ring) {
            self.published.entry(kid).or_insert(self.now);
        }
    }

    fn sign(&mut self, life: Duration) -> String {
        let claims = claims_at(self.now, life);
        let token = released(self.ring.sign(&claims, self.now));
        let kid = kid_of(token.expose());
        self.alive.push((token, claims));
        kid
    }

    /// What must hold at any instant.
    fn check(&mut self) {
        let now = self.now;
        self.alive.retain(|(_, claims)| NumericDate::from(now) < claims.exp);
        for (token, claims) in &self.alive {
            assert_eq!(self.ring.verify(token.expose(), ISSUER, now).as_deref(), Ok(claims));
        }
        let signing = self.ring.signing_kid(now).expect("one key signs");
        assert!(kids(&self.ring).contains(&signing), "it is published");
        let ahead = now.since(self.published[&signing]);
        assert!(
            signing == self.first || ahead >= self.settings.publish_ahead,
            "{signing} signs {ahead:?} after it was published"
        );
        // A broker that shares the records and knows nothing else agrees.
        let tokens = self.store.clone();
        let (other, _) = KeyRing::open(self.settings.clone(), kek(), tokens, random(), now).unwrap();
        assert_eq!(other.signing_kid(now), Some(signing));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Tick,
    Sign(u64),
    Restart(SigningAlgorithm),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..8 * 3_600_000).prop_map(Step::Wait),
        2 => (1u64..600_000).prop_map(Step::Wait),
        4 => Just(Step::Tick),
        4 => (1u64..=3_600).prop_map(Step::Sign),
        1 => prop::sample::select(vec![SigningAlgorithm::Es256, SigningAlgorithm::EdDsa]).prop_map(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn at_any_instant_one_key_signs_and_every_live_token_verifies(
        rotate_every in 1u64..40 * 3_600, publish_ahead in 1u64..3 * 3_600,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(TokenSettings {
            rotate_every: Duration::from_secs(rotate_every),
            publish_ahead: Duration::from_secs(publish_ahead),
            ..settings(SigningAlgorithm::Es256)
        });
        for step in steps {
            match step {
                Step::Wait(millis) => world.now = world.now + Duration::from_millis(millis),
                Step::Tick => {
                    world.tick();
                    let again = world.ring.due(world.now).unwrap();
                    prop_assert!(again.add.is_none(), "one key at a time");
                    prop_assert!(again.remove.is_empty(), "what is dead went at once");
                }
                Step::Sign(life) => {
                    let kid = world.sign(Duration::from_secs(life));
                    prop_assert_eq!(Some(kid), world.ring.signing_kid(world.now));
                }
                Step::Restart(algorithm) => {
                    let settings = TokenSettings { algorithm, ..world.settings.clone() };
                    world.restart(settings);
                }
            }
            world.check();
        }
    }
}

#[test]
fn a_rotation_from_day_to_day() {
    let mut world = World::new(settings(SigningAlgorithm::Es256));
    let first = world.first.clone();
    assert_eq!(world.ring.due(NOW).unwrap(), Rotation::default());
    assert_eq!(world.ring.age(NOW), Duration::ZERO);

    world.now = NOW + 30 * DAY - HOUR - Duration::from_millis(1);
    assert!(world.tick().is_empty(), "a millisecond too early");

    world.now = NOW + 30 * DAY - HOUR;
    let rotation = world.tick();
    let next = rotation.add.expect("the next key is published ahead");
    assert_eq!(next.signs_from, NOW + 30 * DAY);
    assert_eq!((rotation.remove.len(), rotation.signs), (0, None));
    assert_eq!(world.sign(HOUR), first);
    assert!(world.tick().is_empty());

    world.now = NOW + 30 * DAY;
    assert_eq!(world.sign(HOUR), next.kid);
    let rotation = world.tick();
    assert_eq!((rotation.add, rotation.signs), (None, Some(next.kid.clone())), "said once");
    assert!(world.tick().is_empty());
    assert_eq!(kids(&world.ring), [first.clone(), next.kid.clone()]);

    world.now = NOW + 30 * DAY + HOUR - Duration::from_millis(1);
    assert!(world.tick().is_empty(), "a token of the old key may still live");
    world.now = NOW + 30 * DAY + HOUR;
    let rotation = world.tick();
    assert_eq!(rotation.remove, std::slice::from_ref(&first));
    assert_eq!(kids(&world.ring), std::slice::from_ref(&next.kid));
    assert!(!world.store.iter().any(|record| record.kid == first));
    assert_eq!(world.ring.age(world.now), HOUR);
}

#[test]
fn after_a_long_sleep_the_next_key_is_still_published_first() {
    let mut world = World::new(settings(SigningAlgorithm::Es256));
    world.now = NOW + 90 * DAY;
    let rotation = world.tick();
    assert_eq!(rotation.add.unwrap().signs_from, world.now + HOUR);
    assert_eq!(world.sign(HOUR), world.first);
}

#[test]
fn a_clock_that_was_set_back_does_not_silence_the_broker() {
    let mut world = World::new(settings(SigningAlgorithm::EdDsa));
    world.now = NOW - DAY;
    assert_eq!(world.sign(HOUR), world.first);
    assert!(world.tick().is_empty());
}

#[test]
fn another_algorithm_is_published_ahead_and_old_tokens_verify() {
    let mut world = World::new(settings(SigningAlgorithm::Es256));
    world.now = NOW + DAY;
    world.sign(HOUR);
    world.restart(settings(SigningAlgorithm::Rs256));
    let both: Vec<_> = world.ring.algorithms().into_iter().collect();
    assert_eq!(both, [SigningAlgorithm::Es256, SigningAlgorithm::Rs256]);
    assert_eq!(world.sign(HOUR), world.first, "verifiers do not know the new key yet");
    world.now = world.now + HOUR - Duration::from_secs(1);
    world.check();
    world.now = world.now + Duration::from_secs(1);
    assert_ne!(world.sign(HOUR), world.first);
    world.check();
    assert_eq!(world.alive.len(), 1, "the older tokens are expired");
    world.now = world.now + HOUR;
    assert_eq!(world.tick().remove, std::slice::from_ref(&world.first));
}

/// The operator's key cannot be published ahead by a broker that no longer holds the former one; what
/// the former one signed verifies on, for its public half was kept.
#[test]
fn a_replaced_rsa_key_signs_at_once_and_its_forerunners_tokens_verify() {
    let mut world = World::new(settings(SigningAlgorithm::Rs256));
    let other = TokenSettings { rsa_key: Some(RSA_OTHER.into()), ..settings(SigningAlgorithm::Rs256) };
    world.now = NOW + DAY;
    world.sign(HOUR);
    world.restart(other);
    assert_ne!(world.sign(HOUR), world.first);
    for (token, claims) in &world.alive {
        assert_eq!(world.ring.verify(token.expose(), ISSUER, world.now).as_deref(), Ok(claims));
    }
    // The operator takes it back: the former key signs again, and is not removed while it does.
    world.restart(settings(SigningAlgorithm::Rs256));
    assert_eq!(world.sign(HOUR), world.first);
    world.now = world.now + 2 * HOUR;
    assert!(world.tick().remove.is_empty());
    assert_eq!(world.sign(HOUR), world.first);
    // To another algorithm: nothing that could sign is left, so its key signs at once.
    world.restart(settings(SigningAlgorithm::EdDsa));
    assert_eq!(world.ring.algorithms().len(), 2);
    assert_ne!(world.sign(HOUR), world.first);
}

/// Nor may an older key take its place: the time after which that one is removed is running already.
#[test]
fn a_retired_key_does_not_sign_again_for_a_replaced_rsa_key() {
    let mut world = World::new(settings(SigningAlgorithm::Es256));
    world.restart(settings(SigningAlgorithm::Rs256));
    world.now = NOW + HOUR;
    let rsa = world.sign(HOUR);
    assert_ne!(rsa, world.first);
    world.restart(TokenSettings { rsa_key: Some(RSA_OTHER.into()), ..settings(SigningAlgorithm::Rs256) });
    let other = world.sign(HOUR);
    assert!(other != world.first && other != rsa);
}

#[test]
fn an_rsa_key_that_returns_within_the_hour_waits_for_its_old_record_to_go() {
    let mut world = World::new(settings(SigningAlgorithm::Rs256));
    world.now = NOW + DAY;
    world.restart(settings(SigningAlgorithm::Es256));
    let es256 = world.sign(HOUR);
    assert_ne!(es256, world.first);
    world.restart(settings(SigningAlgorithm::Rs256));
    assert_eq!(world.sign(HOUR), es256);
    world.now = world.now + HOUR;
    assert_eq!(world.tick().remove, std::slice::from_ref(&world.first));
    let back = world.tick().add.expect("now it can be published again");
    assert_eq!((back.kid.clone(), back.signs_from), (world.first.clone(), world.now + HOUR));
    world.now = world.now + HOUR;
    assert_eq!(world.sign(HOUR), back.kid);
}

#[test]
fn a_rotation_that_was_not_stored_is_due_again() {
    let world = World::new(settings(SigningAlgorithm::Es256));
    let later = NOW + 30 * DAY;
    let lost = world.ring.due(later).unwrap().add.unwrap();
    let again = world.ring.due(later).unwrap().add.unwrap();
    assert_ne!(lost.kid, again.kid);
    assert_eq!(kids(&world.ring), [world.first], "nothing is published before it is adopted");
}

#[test]
fn two_checkpoint_keys_of_two_first_starts_are_decided_alike() {
    let settings = || settings(SigningAlgorithm::Es256);
    let of_two =
        |records: Vec<SealedKey>| KeyRing::open(settings(), kek(), records, random(), NOW).unwrap().0;
    let (_, mut both) = KeyRing::open(settings(), kek(), Vec::new(), random(), NOW).unwrap();
    both.extend(KeyRing::open(settings(), kek(), Vec::new(), random(), NOW).unwrap().1);
    let public =
        |ring: &KeyRing| ring::signature::KeyPair::public_key(ring.checkpoint_key()).as_ref().to_vec();
    let a = of_two(both.clone());
    both.reverse();
    let b = of_two(both);
    assert_eq!((public(&a), a.signing_kid(NOW), a.jwks()), (public(&b), b.signing_kid(NOW), b.jwks()));
}
