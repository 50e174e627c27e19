use super::*;
use crate::resolve::{Told, Upstream};

const DID: &str = "did:plc:2a7ygipkrbh544aqhcav53oy";
const HOLDS: Verdict =
    Verdict { status: frame::verdict::Status::Ok, rule: None, notes: 0, key: None };

fn failed() -> Verdict {
    Verdict::refused(Rule::BAD_SIGNATURE)
}

fn identities(keys: Keys) -> Identities {
    let upstream = Upstream {
        url: "http://127.0.0.1:1".into(),
        hosts_at: None,
        allow_private: false,
        ca: None,
        patience: Duration::from_secs(1),
    };
    Identities::new(None, Some(Resolver::start(&upstream).unwrap()), keys)
}

/// Remembers an answer that came so long ago; false if this machine has not been up that long.
fn remember(identities: &mut Identities, history: bool, answer: Answer, ago: Duration) -> bool {
    let Some(at) = Instant::now().checked_sub(ago) else { return false };
    let question = Question { did: DID.into(), history };
    identities.plc.insert(Told { question, answer, asked_ns: ASKED_NS }, at);
    true
}

fn found() -> Answer {
    Answer::Found(Identity { key: Key::Missing, pds: None, periods: Vec::new() })
}

const FRESH: Duration = Duration::ZERO;

/// When all answers here were asked for, and a moment before and behind that.
const ASKED_NS: u64 = 1_000_000_000;
const BEFORE_NS: u64 = ASKED_NS - 1;
const BEHIND_NS: u64 = ASKED_NS + 1;

#[test]
fn what_is_not_known_is_asked_for_with_the_history_where_only_that_counts() {
    for (keys, history) in [(Keys::Current, false), (Keys::Auto, false), (Keys::History, true)] {
        let decision = identities(keys).decide(DID, BEFORE_NS, |_| HOLDS);
        assert_eq!(decision, Decision::Ask(Whom::Directory { history }));
    }
}

#[test]
fn a_key_that_fails_refuses_when_the_answer_is_fresh_and_asks_when_it_is_not() {
    let mut known = identities(Keys::Current);
    remember(&mut known, false, found(), FRESH);
    assert_eq!(known.decide(DID, BEFORE_NS, |_| HOLDS), Decision::Settled(HOLDS));
    assert_eq!(known.decide(DID, BEFORE_NS, |_| failed()), Decision::Settled(failed()));
    if remember(&mut known, false, found(), AGAIN) {
        assert_eq!(known.decide(DID, BEFORE_NS, |_| HOLDS), Decision::Settled(HOLDS));
        assert_eq!(
            known.decide(DID, BEFORE_NS, |_| failed()),
            Decision::Ask(Whom::Directory { history: false })
        );
    }
    if remember(&mut known, false, found(), PLC_BELIEVED) {
        assert_eq!(
            known.decide(DID, BEFORE_NS, |_| HOLDS),
            Decision::Ask(Whom::Directory { history: false })
        );
    }
}

#[test]
fn a_key_that_fails_is_tried_with_the_history_before_it_refuses() {
    let mut known = identities(Keys::Auto);
    remember(&mut known, false, found(), FRESH);
    assert_eq!(
        known.decide(DID, BEFORE_NS, |_| failed()),
        Decision::Ask(Whom::Directory { history: true })
    );
    remember(&mut known, true, found(), FRESH);
    assert_eq!(known.decide(DID, BEFORE_NS, |_| failed()), Decision::Settled(failed()));
}

#[test]
fn what_was_said_before_an_event_came_refuses_it_only_when_it_is_said_again() {
    let ask = |history| Whom::Directory { history };
    for (keys, history) in [(Keys::Current, false), (Keys::Auto, true), (Keys::History, true)] {
        let mut known = identities(keys);
        remember(&mut known, history, found(), FRESH);
        let decision = known.decide(DID, BEHIND_NS, |_| failed());
        assert!(
            matches!(decision, Decision::Later(_, whom) if whom == ask(history)),
            "{decision:?}"
        );
        assert_eq!(known.decide(DID, BEHIND_NS, |_| HOLDS), Decision::Settled(HOLDS));
        assert_eq!(known.decide(DID, BEFORE_NS, |_| failed()), Decision::Settled(failed()));
        if remember(&mut known, history, found(), AGAIN) {
            let decision = known.decide(DID, BEHIND_NS, |_| failed());
            assert_eq!(decision, Decision::Ask(ask(history)));
        }
    }
    // "No such account" too: it may have come to be meanwhile.
    let mut known = identities(Keys::Auto);
    remember(&mut known, false, Answer::Missing, FRESH);
    assert!(matches!(known.decide(DID, BEHIND_NS, |_| HOLDS), Decision::Later(..)));
}

#[test]
fn a_hosts_word_counts_when_the_account_is_known_to_live_there_since() {
    let ask = Some(Decision::Ask(Whom::Directory { history: false }));
    let mut known = identities(Keys::Auto);
    assert_eq!(known.confirm(DID, BEFORE_NS), ask);
    remember(&mut known, false, found(), FRESH);
    assert_eq!(known.confirm(DID, BEFORE_NS), None);
    assert!(matches!(known.confirm(DID, BEHIND_NS), Some(Decision::Later(..))));
    assert_eq!(known.home(DID), Home::Nowhere);
    remember(&mut known, false, Answer::Silence, FRESH);
    let not_known = Some(Decision::Settled(Verdict::unchecked(Rule::INACTIVE)));
    assert_eq!((known.confirm(DID, BEFORE_NS), known.home(DID)), (not_known, Home::Unknown));
    if remember(&mut known, false, found(), AGAIN) {
        assert_eq!((known.confirm(DID, BEHIND_NS), known.home(DID)), (ask, Home::Unknown));
    }
}

#[test]
fn an_account_that_changed_is_asked_about_once_more_unless_that_is_known() {
    for differs in [false, true] {
        let mut known = identities(Keys::Auto);
        remember(&mut known, false, Answer::Missing, FRESH);
        remember(&mut known, false, if differs { found() } else { Answer::Missing }, FRESH);
        known.moments.push_back((Instant::now(), DID.into()));
        known.ask_once_more();
        assert_eq!((known.is_asked(), known.moments.len()), (!differs, 0));
    }
}

#[test]
fn a_no_stands_for_a_minute() {
    let mut known = identities(Keys::Auto);
    remember(&mut known, false, Answer::Missing, FRESH);
    let refused = Decision::Settled(Verdict::refused(Rule::NO_IDENTITY));
    assert_eq!(known.decide(DID, BEFORE_NS, |_| HOLDS), refused);
    if remember(&mut known, false, Answer::Missing, AGAIN) {
        assert_eq!(
            known.decide(DID, BEFORE_NS, |_| HOLDS),
            Decision::Ask(Whom::Directory { history: false })
        );
    }
}

#[test]
fn silence_refuses_nothing_and_what_was_said_before_still_proves() {
    for keys in [Keys::Current, Keys::Auto, Keys::History] {
        let mut known = identities(keys);
        let unchecked = Decision::Settled(Verdict::unchecked(Rule::NO_ANSWER));
        remember(&mut known, false, Answer::Silence, FRESH);
        assert_eq!(known.decide(DID, BEFORE_NS, |_| HOLDS), unchecked);
        remember(&mut known, false, found(), FRESH);
        remember(&mut known, true, Answer::Silence, FRESH);
        assert_eq!(known.decide(DID, BEFORE_NS, |_| HOLDS), Decision::Settled(HOLDS));
        assert_eq!(known.decide(DID, BEFORE_NS, |_| failed()), unchecked);
    }
}

#[test]
fn what_no_directory_could_change_is_settled_without_asking() {
    let mut known = identities(Keys::Auto);
    remember(&mut known, false, found(), AGAIN);
    for rule in [Rule::HIGH_S, Rule::BAD_OP, Rule::MISSING_BLOCK] {
        let verdict = Verdict::refused(rule);
        assert_eq!(known.decide(DID, BEFORE_NS, |_| verdict), Decision::Settled(verdict));
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

const WEB: &str = "did:web:alice.example.com";

/// Remembers what a did:web's host said so long ago, and whether it was silent since.
fn said(identities: &mut Identities, ago: Duration, silent: Option<Duration>) -> bool {
    let question = Question { did: WEB.into(), history: false };
    let at = |ago| Instant::now().checked_sub(ago);
    let answers = [(Some(found()), Some(ago)), (silent.map(|_| Answer::Silence), silent)];
    for (answer, ago) in answers {
        if let (Some(answer), Some(ago)) = (answer, ago) {
            let Some(at) = at(ago) else { return false };
            let question = question.clone();
            identities.web.insert(Told { question, answer, asked_ns: ASKED_NS }, at);
        }
    }
    true
}

#[test]
fn what_a_did_web_host_said_expires_before_what_the_directory_said() {
    let mut known = identities(Keys::Auto);
    let ask = Decision::Ask(Whom::Directory { history: false });
    assert_eq!(known.decide(WEB, BEFORE_NS, |_| HOLDS), ask);
    for (ago, expected) in
        [(FRESH, Decision::Settled(HOLDS)), (AGAIN, Decision::Settled(HOLDS)), (WEB_BELIEVED, ask)]
    {
        if said(&mut known, ago, None) {
            assert_eq!(known.decide(WEB, BEFORE_NS, |_| HOLDS), expected, "{ago:?}");
        }
    }
}

#[test]
fn a_did_web_has_no_history_to_ask_for() {
    for keys in [Keys::Current, Keys::Auto, Keys::History] {
        let mut known = identities(keys);
        let ask = Decision::Ask(Whom::Directory { history: false });
        assert_eq!(known.decide(WEB, BEFORE_NS, |_| HOLDS), ask);
        said(&mut known, FRESH, None);
        assert_eq!(known.decide(WEB, BEFORE_NS, |_| failed()), Decision::Settled(failed()));
        if said(&mut known, AGAIN, None) {
            assert_eq!(known.decide(WEB, BEFORE_NS, |_| failed()), ask);
        }
    }
}

#[test]
fn a_silent_host_is_believed_for_a_day_and_nobody_waits_for_it_twice() {
    let mut known = identities(Keys::Auto);
    if said(&mut known, WEB_BELIEVED, Some(FRESH)) {
        assert_eq!(known.decide(WEB, BEFORE_NS, |_| HOLDS), Decision::Settled(HOLDS));
        let unchecked = Decision::Settled(Verdict::unchecked(Rule::NO_ANSWER));
        assert_eq!(known.decide(WEB, BEFORE_NS, |_| failed()), unchecked);
    }
    if said(&mut known, WEB_BELIEVED, Some(AGAIN)) {
        assert_eq!(known.decide(WEB, BEFORE_NS, |_| HOLDS), Decision::Settled(HOLDS));
        assert!(known.answer(Duration::from_secs(20)).is_some(), "it is asked again meanwhile");
    }
    if said(&mut known, KEPT, Some(FRESH)) {
        let unchecked = Decision::Settled(Verdict::unchecked(Rule::NO_ANSWER));
        assert_eq!(known.decide(WEB, BEFORE_NS, |_| HOLDS), unchecked);
    }
    if said(&mut known, KEPT, Some(AGAIN)) {
        assert_eq!(
            known.decide(WEB, BEFORE_NS, |_| HOLDS),
            Decision::Ask(Whom::Directory { history: false })
        );
    }
}

#[test]
fn an_identity_event_that_comes_too_soon_is_not_forgotten() {
    let mut known = identities(Keys::Auto);
    said(&mut known, FRESH, None);
    known.refresh(WEB);
    assert_eq!(known.decide(WEB, BEFORE_NS, |_| HOLDS), Decision::Settled(HOLDS), "once a minute");
    if let Some(at) = Instant::now().checked_sub(AGAIN) {
        known.web.get(WEB).unwrap().at = at;
        assert_eq!(
            known.decide(WEB, BEFORE_NS, |_| HOLDS),
            Decision::Ask(Whom::Directory { history: false })
        );
    }
}

#[test]
fn what_nobody_can_know_is_refused_and_not_remembered() {
    let mut known = identities(Keys::Auto);
    let refused = Decision::Settled(Verdict::refused(Rule::NO_IDENTITY));
    for did in ["did:other:abc", "did:web:a.example.com:path", "did:web:10.0.0.1", "did:plc:short"]
    {
        assert_eq!(known.decide(did, BEFORE_NS, |_| HOLDS), refused, "{did}");
    }
    // Names of strangers push out no account of the directory.
    remember(&mut known, false, found(), FRESH);
    for number in 0..3 * known::WEB_MAX {
        let question =
            Question { did: format!("did:web:{number}.example.com").into(), history: false };
        let told = Told { question, answer: Answer::Missing, asked_ns: ASKED_NS };
        known.web.insert(told, Instant::now());
    }
    assert_eq!(known.decide(DID, BEFORE_NS, |_| HOLDS), Decision::Settled(HOLDS));
}
