use super::*;
use crate::resolve::Upstream;

const DID: &str = "did:plc:2a7ygipkrbh544aqhcav53oy";
const HOLDS: Verdict =
    Verdict { status: frame::verdict::Status::Ok, rule: None, notes: 0, key: None };

fn failed() -> Verdict {
    Verdict::refused(Rule::BAD_SIGNATURE)
}

fn identities(keys: Keys) -> Identities {
    let upstream = Upstream {
        url: "http://127.0.0.1:1".into(),
        allow_private: false,
        ca: None,
        patience: Duration::from_secs(1),
    };
    Identities::new(None, Some(Resolver::start(&upstream).unwrap()), keys)
}

/// Remembers an answer that came so long ago; false if this machine has not been up that long.
fn remember(identities: &mut Identities, history: bool, answer: Answer, ago: Duration) -> bool {
    let Some(at) = Instant::now().checked_sub(ago) else { return false };
    identities.known.insert(&Question { did: DID.into(), history }, answer, at);
    true
}

fn found() -> Answer {
    Answer::Found(Identity { key: Key::Missing, pds: None, periods: Vec::new() })
}

const FRESH: Duration = Duration::ZERO;

#[test]
fn what_is_not_known_is_asked_for_with_the_history_where_only_that_counts() {
    for (keys, history) in [(Keys::Current, false), (Keys::Auto, false), (Keys::History, true)] {
        let decision = identities(keys).decide(DID, |_| HOLDS);
        assert_eq!(decision, Decision::Ask { history });
    }
}

#[test]
fn a_key_that_fails_refuses_when_the_answer_is_fresh_and_asks_when_it_is_not() {
    let mut known = identities(Keys::Current);
    remember(&mut known, false, found(), FRESH);
    assert_eq!(known.decide(DID, |_| HOLDS), Decision::Settled(HOLDS));
    assert_eq!(known.decide(DID, |_| failed()), Decision::Settled(failed()));
    if remember(&mut known, false, found(), AGAIN) {
        assert_eq!(known.decide(DID, |_| HOLDS), Decision::Settled(HOLDS));
        assert_eq!(known.decide(DID, |_| failed()), Decision::Ask { history: false });
    }
    if remember(&mut known, false, found(), BELIEVED) {
        assert_eq!(known.decide(DID, |_| HOLDS), Decision::Ask { history: false });
    }
}

#[test]
fn a_key_that_fails_is_tried_with_the_history_before_it_refuses() {
    let mut known = identities(Keys::Auto);
    remember(&mut known, false, found(), FRESH);
    assert_eq!(known.decide(DID, |_| failed()), Decision::Ask { history: true });
    remember(&mut known, true, found(), FRESH);
    assert_eq!(known.decide(DID, |_| failed()), Decision::Settled(failed()));
}

#[test]
fn a_no_stands_for_a_minute() {
    let mut known = identities(Keys::Auto);
    remember(&mut known, false, Answer::Missing, FRESH);
    let refused = Decision::Settled(Verdict::refused(Rule::NO_IDENTITY));
    assert_eq!(known.decide(DID, |_| HOLDS), refused);
    if remember(&mut known, false, Answer::Missing, AGAIN) {
        assert_eq!(known.decide(DID, |_| HOLDS), Decision::Ask { history: false });
    }
}

#[test]
fn silence_refuses_nothing_and_what_was_said_before_still_proves() {
    for keys in [Keys::Current, Keys::Auto, Keys::History] {
        let mut known = identities(keys);
        let unchecked = Decision::Settled(Verdict::unchecked(Rule::NO_ANSWER));
        remember(&mut known, false, Answer::Silence, FRESH);
        assert_eq!(known.decide(DID, |_| HOLDS), unchecked);
        remember(&mut known, false, found(), FRESH);
        remember(&mut known, true, Answer::Silence, FRESH);
        assert_eq!(known.decide(DID, |_| HOLDS), Decision::Settled(HOLDS));
        assert_eq!(known.decide(DID, |_| failed()), unchecked);
    }
}

#[test]
fn what_no_directory_could_change_is_settled_without_asking() {
    let mut known = identities(Keys::Auto);
    remember(&mut known, false, found(), AGAIN);
    for rule in [Rule::HIGH_S, Rule::BAD_OP, Rule::MISSING_BLOCK] {
        let verdict = Verdict::refused(rule);
        assert_eq!(known.decide(DID, |_| verdict), Decision::Settled(verdict));
    }
}

#[test]
fn a_changed_identity_is_asked_for_again_if_an_old_answer_is_remembered() {
    let mut known = identities(Keys::Auto);
    let mut asked = |answer: Option<Duration>| {
        if let Some(ago) = answer
            && !remember(&mut known, false, found(), ago)
        {
            return None;
        }
        known.refresh(DID);
        Some(known.answer(Duration::from_secs(20)).is_some())
    };
    assert_eq!(asked(None), Some(false), "nothing would be believed for longer");
    assert_eq!(asked(Some(FRESH)), Some(false), "once a minute");
    assert_ne!(asked(Some(AGAIN)), Some(false));
}
