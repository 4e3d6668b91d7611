//! Statements of web.md §9, numbers 1 to 14, as far as they are decided here.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use vt_backends::memory::MemoryUsers;
use vt_backends::repositories::Stamp;
use vt_backends::{RepositoryError, UserRepository, Users};

use super::*;
use crate::bench::{Bench, PASSWORD, Running, admin, until, until_true, vui};

/// Services with the administrator dana.
async fn with_dana(bench: &Bench) -> Running {
    let running = bench.start().await;
    running.auth.add_user(&Caller::local("root"), "dana", PASSWORD, vec!["admin".into(), "vui".into()]).await.unwrap();
    running
}

fn claims(token: &str) -> Map<String, Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn address(last: u8) -> Option<IpAddr> {
    Some(IpAddr::from([10, 0, 0, last]))
}

fn is_unauthenticated<T>(result: Result<T, ServiceError>) -> bool {
    result.is_err_and(|error| matches!(error, ServiceError::Unauthenticated(_)))
}

#[tokio::test]
async fn tokens_carry_volttrons_claims_and_lifetimes() {
    let bench = Bench::default();
    let running = with_dana(&bench).await;
    let pair = running.auth.login("dana", PASSWORD, None).await.unwrap();
    let (access, refresh) = (claims(&pair.access_token), claims(&pair.refresh_token));
    let now = bench.clock.now().timestamp();
    for (claims, grant, lifetime) in [(&access, "access_token", 900), (&refresh, "refresh_token", 14400)] {
        assert_eq!(claims["grant_type"], grant);
        assert_eq!(claims["groups"], json!(["admin", "vui"]));
        assert_eq!((claims["iat"].as_i64(), claims["nbf"].as_i64(), claims["exp"].as_i64()), (Some(now), Some(now), Some(now + lifetime)));
        assert_eq!((&claims["sub"], &claims["iss"]), (&json!("dana"), &json!("harbor1")));
    }
    assert_eq!(access["sid"], refresh["sid"]);
    assert_ne!(access["jti"], refresh["jti"]);
    assert!(access.get("hashed_password").is_none());
    let session = running.auth.verify(&pair.access_token).unwrap();
    assert_eq!((session.user.as_str(), session.groups.len(), session.access_expires_at), ("dana", 2, pair.access_expires_at));
}

#[tokio::test]
async fn forged_swapped_and_expired_tokens_are_refused() {
    let bench = Bench::default();
    let running = with_dana(&bench).await;
    let pair = running.auth.login("dana", PASSWORD, None).await.unwrap();
    let [_, payload, signature] = pair.access_token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let hs512 = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS512","typ":"JWT"}"#);
    let rs256 = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
    let other = Tokens::new(&SigningKey::Hs256(b"another secret of some length".to_vec()), "harbor1").unwrap();
    let foreign = Tokens::new(&bench.signing, "another platform").unwrap();
    let claims: Claims = serde_json::from_value(Value::Object(claims(&pair.access_token))).unwrap();
    for forged in [
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        format!("{hs512}.{payload}.{signature}"),
        format!("{rs256}.{payload}.{signature}"),
        other.sign(&claims).unwrap(),
        foreign.sign(&Claims { iss: "another platform".into(), ..claims.clone() }).unwrap(),
        String::new(),
        "a.b.c".to_owned(),
        "x".repeat(100_000),
        pair.refresh_token.clone(),
    ] {
        assert!(is_unauthenticated(running.auth.verify(&forged)), "{forged:.80}");
    }
    bench.clock.advance(chrono::Duration::seconds(899));
    assert!(running.auth.verify(&pair.access_token).is_ok());
    bench.clock.advance(chrono::Duration::seconds(1));
    assert!(is_unauthenticated(running.auth.verify(&pair.access_token)));
    bench.clock.advance(chrono::Duration::seconds(-1000));
    assert!(is_unauthenticated(running.auth.verify(&pair.access_token)), "not before");
}

#[tokio::test]
async fn every_algorithm_signs_and_a_public_key_is_no_secret() {
    let (rsa_private, rsa_public) = (include_str!("testdata/rsa.pem"), include_str!("testdata/rsa_public.pem"));
    let (ec_private, ec_public) = (include_str!("testdata/ec.pem"), include_str!("testdata/ec_public.pem"));
    let rs256 = SigningKey::Rs256Pem { private: rsa_private.into(), public: rsa_public.into() };
    let es256 = SigningKey::Es256Pem { private: ec_private.into(), public: ec_public.into() };
    let now = Bench::default().clock.now();
    let claims = Claims {
        groups: vec!["admin".into()],
        grant_type: Grant::AccessToken,
        sub: "dana".into(),
        sid: "s".into(),
        jti: "j".into(),
        iss: "harbor1".into(),
        iat: now.timestamp(),
        nbf: now.timestamp(),
        exp: now.timestamp() + 900,
    };
    for (key, public) in [(&rs256, rsa_public), (&es256, ec_public)] {
        let tokens = Tokens::new(key, "harbor1").unwrap();
        assert_eq!(tokens.read(&tokens.sign(&claims).unwrap(), now).unwrap().sub, "dana");
        let with_public = Tokens::new(&SigningKey::Hs256(public.as_bytes().to_vec()), "harbor1").unwrap();
        assert_eq!(tokens.read(&with_public.sign(&claims).unwrap(), now).err(), Some(TokenError::NotOurs));
    }
    let mixed = SigningKey::Rs256Pem { private: rsa_private.into(), public: include_str!("testdata/rsa_other_public.pem").into() };
    assert!(Tokens::new(&mixed, "harbor1").is_err_and(|error| error.contains("does not belong")));
    assert!(Tokens::new(&SigningKey::Hs256(b"short".to_vec()), "harbor1").is_err());
    assert!(Tokens::new(&SigningKey::Es256Pem { private: rsa_private.into(), public: "x".into() }, "harbor1").is_err());
}

#[tokio::test]
async fn a_refresh_token_gives_a_new_access_token_and_nothing_else_does() {
    let bench = Bench::default();
    let running = with_dana(&bench).await;
    let pair = running.auth.login("dana", PASSWORD, None).await.unwrap();
    bench.clock.advance(chrono::Duration::seconds(1000));
    let renewed = running.auth.refresh(&pair.refresh_token).await.unwrap();
    assert_eq!((&renewed.refresh_token, renewed.refresh_expires_at), (&pair.refresh_token, pair.refresh_expires_at));
    assert_eq!(running.auth.verify(&renewed.access_token).unwrap().user, "dana");
    let error = running.auth.refresh(&renewed.access_token).await.unwrap_err();
    assert_eq!(error, ServiceError::Unauthenticated("Invalid refresh token.".into()));
    assert!(is_unauthenticated(running.auth.refresh("").await));
    bench.clock.advance(chrono::Duration::seconds(14_400));
    assert!(is_unauthenticated(running.auth.refresh(&pair.refresh_token).await));
}

#[tokio::test]
async fn a_removed_or_demoted_user_loses_its_rights_at_once() {
    let bench = Bench::default();
    let running = with_dana(&bench).await;
    running.auth.add_user(&admin(), "kiosk", PASSWORD, vec!["admin".into(), "vui".into()]).await.unwrap();
    let mut ended = running.auth.ended_sessions();
    let before = running.auth.login("kiosk", PASSWORD, None).await.unwrap();
    running.auth.set_groups(&admin(), "kiosk", vec!["vui".into()]).await.unwrap();
    assert_eq!(ended.recv().await.unwrap(), claims(&before.access_token)["sid"].as_str().unwrap());
    assert!(is_unauthenticated(running.auth.verify(&before.access_token)));
    // The tokens themselves give no more than what is left, not even where the session was never seen.
    let restarted = bench.start().await;
    assert_eq!(restarted.auth.verify(&before.access_token).unwrap().groups, ["vui"]);
    let renewed = restarted.auth.refresh(&before.refresh_token).await.unwrap();
    assert_eq!(claims(&renewed.access_token)["groups"], json!(["vui"]));

    let pair = running.auth.login("kiosk", PASSWORD, None).await.unwrap();
    running.auth.set_groups(&admin(), "kiosk", vec!["vui".into(), "admin".into()]).await.unwrap();
    assert!(running.auth.verify(&pair.access_token).is_ok(), "a group more ends nothing");
    running.auth.remove_user(&admin(), "kiosk").await.unwrap();
    assert_eq!(ended.recv().await.unwrap(), claims(&pair.access_token)["sid"].as_str().unwrap());
    assert!(is_unauthenticated(running.auth.verify(&pair.access_token)));
    assert!(is_unauthenticated(running.auth.refresh(&pair.refresh_token).await));
    bench.clock.advance(chrono::Duration::seconds(2));
    running.auth.add_user(&admin(), "kiosk", PASSWORD, vec!["vui".into()]).await.unwrap();
    assert!(is_unauthenticated(running.auth.refresh(&pair.refresh_token).await), "another person of the same name");
}

#[tokio::test]
async fn a_new_password_ends_sessions() {
    let bench = Bench::default();
    let running = with_dana(&bench).await;
    let pair = running.auth.login("dana", PASSWORD, None).await.unwrap();
    bench.clock.advance(chrono::Duration::seconds(2));
    running.auth.set_password(&admin(), "dana", "another-harbor").await.unwrap();
    assert!(is_unauthenticated(running.auth.verify(&pair.access_token)));
    assert!(is_unauthenticated(running.auth.login("dana", PASSWORD, None).await));
    assert!(running.auth.login("dana", "another-harbor", None).await.is_ok());
}

#[tokio::test]
async fn a_session_that_ended_stays_ended_after_a_restart() {
    let bench = Bench::default();
    let running = with_dana(&bench).await;
    let pair = running.auth.login("dana", PASSWORD, None).await.unwrap();
    let other = running.auth.login("dana", PASSWORD, None).await.unwrap();
    let mut ended = running.auth.ended_sessions();
    let session = running.auth.session_of_refresh(&pair.refresh_token).unwrap();
    assert!(running.auth.is_active(&session.id));
    running.auth.logout(&session).await.unwrap();
    assert_eq!(ended.recv().await.unwrap(), session.id);
    let restarted = bench.start().await;
    for auth in [&running.auth, &restarted.auth] {
        assert!(!auth.is_active(&session.id));
        assert!(is_unauthenticated(auth.verify(&pair.access_token)));
        assert!(is_unauthenticated(auth.refresh(&pair.refresh_token).await));
        assert!(auth.verify(&other.access_token).is_ok());
    }
}

#[tokio::test]
async fn ten_wrong_log_ins_in_a_row_are_told_to_wait() {
    let bench = Bench::default();
    let running = with_dana(&bench).await;
    for n in 0..10 {
        let name = if n % 2 == 0 { "dana" } else { "nobody" };
        assert!(is_unauthenticated(running.auth.login(name, "wrong", address(1)).await), "{n}");
    }
    let refused = running.auth.login("dana", PASSWORD, address(1)).await.unwrap_err();
    assert!(matches!(refused, ServiceError::RateLimited { retry_after_s: 1..=31 }), "{refused:?}");
    assert!(running.auth.login("dana", PASSWORD, address(2)).await.is_ok(), "others are not held up");
    bench.clock.advance(chrono::Duration::seconds(31));
    assert!(running.auth.login("dana", PASSWORD, address(1)).await.is_ok());

    for n in 0..10 {
        assert!(is_unauthenticated(running.auth.login("dana", "wrong", address(100 + n)).await));
    }
    assert!(matches!(running.auth.login("dana", PASSWORD, address(1)).await, Err(ServiceError::RateLimited { .. })), "per user, too");
}

#[tokio::test]
async fn unknown_and_known_users_fail_alike_and_cost_alike() {
    let bench = Bench::default();
    let running = with_dana(&bench).await;
    let known = running.auth.login("dana", "wrong-password", None).await.unwrap_err();
    for name in ["nobody", "", "local:root", "a\u{202e}b", &"x".repeat(65_536)] {
        assert_eq!(running.auth.login(name, "wrong-password", None).await.unwrap_err(), known, "{name:.20}");
    }
    assert_eq!(running.auth.login("dana", &"x".repeat(65_536), None).await.unwrap_err(), known);
    // The dummy costs what the dearest stored hash costs.
    let dear = PasswordPolicy { memory_kib: 256, passes: 2, lanes: 1 };
    let passwords = Passwords::new(dear).unwrap();
    let hash = passwords.hash(passwords.turn().await.unwrap(), PASSWORD).await.unwrap();
    let mut users = bench.users.load().await.unwrap();
    users.insert("dear".into(), UserRecord { hashed_password: hash, groups: vec![], extra: Map::new() });
    bench.users.save(&users).await.unwrap();
    until_true(|| running.auth.users.cost_alike(crate::bench::CHEAP) == dear).await;
}

#[tokio::test]
async fn a_hash_below_policy_is_renewed_at_log_in() {
    let bench = Bench::default();
    let weak = Passwords::new(PasswordPolicy { memory_kib: 8, ..crate::bench::CHEAP }).unwrap();
    let hash = weak.hash(weak.turn().await.unwrap(), PASSWORD).await.unwrap();
    let record =
        UserRecord { hashed_password: hash.clone(), groups: vec!["admin".into()], extra: Map::from_iter([("x".into(), json!(1))]) };
    bench.users.save(&Users::from([("dana".into(), record)])).await.unwrap();
    let running = bench.start().await;
    running.auth.login("dana", PASSWORD, None).await.unwrap();
    let stored = bench.users.load().await.unwrap().remove("dana").unwrap();
    assert!(stored.hashed_password.contains("m=64,"), "renewed");
    assert_eq!(stored.extra["x"], 1, "unknown keys stay");
    assert!(running.auth.login("dana", PASSWORD, None).await.is_ok());
}

#[tokio::test]
async fn a_hand_edited_file_counts_and_a_broken_one_keeps_the_old_users() {
    let users = Arc::new(EditedUsers::default());
    let bench = Bench { users: users.clone(), ..Bench::default() };
    let running = with_dana(&bench).await;
    let pair = running.auth.login("dana", PASSWORD, None).await.unwrap();
    let before = bench.users.load().await.unwrap();

    users.break_it("web-users.json:3: a comma is missing");
    let problem = until(|| std::future::ready(running.auth.users_problem())).await;
    assert!(problem.contains("web-users.json:3"), "{problem}");
    assert!(running.auth.verify(&pair.access_token).is_ok());
    let refused = running.auth.add_user(&admin(), "kiosk", PASSWORD, vec![]).await.unwrap_err();
    assert!(matches!(&refused, ServiceError::Conflict(text) if text.contains("web-users.json:3")), "{refused:?}");

    let mut edited = before.clone();
    edited.insert("kiosk".into(), before["dana"].clone());
    users.mend(&edited).await;
    until_true(|| running.auth.users().len() == 2).await;
    assert_eq!(running.auth.users_problem(), None);
    assert!(running.auth.login("kiosk", PASSWORD, None).await.is_ok());

    edited.remove("dana");
    users.mend(&edited).await;
    until_true(|| running.auth.verify(&pair.access_token).is_err()).await;
}

#[tokio::test]
async fn a_broken_file_at_start_does_not_open_the_first_run() {
    let users = Arc::new(EditedUsers::default());
    users.break_it("web-users.json:1: a pickle");
    let bench = Bench { users, setup_code: Some("ABCD-1234".into()), ..Bench::default() };
    let running = bench.start().await;
    assert!(running.auth.has_users());
    let refused = running.auth.create_first_administrator("ABCD-1234", "dana", PASSWORD, None).await;
    assert!(matches!(refused, Err(ServiceError::AlreadyExists(_))), "{refused:?}");
}

#[tokio::test]
async fn of_two_first_administrators_at_the_same_time_one_wins_and_the_code_is_used_up() {
    let bench = Bench { setup_code: Some("ABCD-1234".into()), ..Bench::default() };
    let running = bench.start().await;
    assert!(!running.auth.has_users());
    let wrong = running.auth.create_first_administrator("ABCD-1235", "eve", PASSWORD, address(1)).await;
    assert!(matches!(wrong, Err(ServiceError::Forbidden(_))), "{wrong:?}");
    let short = running.auth.create_first_administrator("abcd 1234", "dana", "short", address(1)).await;
    assert!(matches!(short, Err(ServiceError::Invalid(_))), "{short:?}");
    let (a, b) = tokio::join!(
        running.auth.create_first_administrator("ABCD-1234", "dana", PASSWORD, address(1)),
        running.auth.create_first_administrator(" abcd1234 ", "eve", PASSWORD, address(2)),
    );
    assert!(a.is_ok() != b.is_ok());
    assert!(matches!(a.err().or(b.err()), Some(ServiceError::AlreadyExists(_))));
    assert_eq!(running.auth.users().len(), 1);
    assert_eq!(running.auth.users()[0].groups, ["admin", "vui"]);
    assert_eq!(*running.auth.setup_code.lock(), None);
}

#[tokio::test]
async fn guessing_the_code_is_slowed_down_whatever_the_address() {
    let bench = Bench { setup_code: Some("ABCD-1234".into()), ..Bench::default() };
    let running = bench.start().await;
    for n in 0..10 {
        assert!(running.auth.create_first_administrator("nope", "dana", PASSWORD, address(n)).await.is_err());
    }
    let refused = running.auth.create_first_administrator("ABCD-1234", "dana", PASSWORD, address(99)).await;
    assert!(matches!(refused, Err(ServiceError::RateLimited { .. })), "{refused:?}");
    let no_code = Bench::default().start().await;
    assert!(matches!(no_code.auth.create_first_administrator("", "dana", PASSWORD, None).await, Err(ServiceError::Forbidden(_))));
}

#[tokio::test]
async fn users_are_changed_by_administrators_only_and_one_always_stays() {
    let bench = Bench::default();
    let running = with_dana(&bench).await;
    let auth = &running.auth;
    assert!(matches!(auth.add_user(&vui(), "eve", PASSWORD, vec![]).await, Err(ServiceError::Forbidden(_))));
    assert!(matches!(auth.set_password(&vui(), "dana", PASSWORD).await, Err(ServiceError::Forbidden(_))));
    assert!(matches!(auth.remove_user(&admin(), "dana").await, Err(ServiceError::Conflict(_))));
    assert!(matches!(auth.set_groups(&admin(), "dana", vec!["vui".into()]).await, Err(ServiceError::Conflict(_))));
    assert!(matches!(auth.add_user(&admin(), "dana", PASSWORD, vec![]).await, Err(ServiceError::AlreadyExists(_))));
    assert!(matches!(auth.add_user(&admin(), "a:b", PASSWORD, vec![]).await, Err(ServiceError::Invalid(_))));
    assert!(matches!(auth.remove_user(&admin(), "nobody").await, Err(ServiceError::NotFound(_))));
    assert_eq!(auth.users(), [UserView { name: "dana".into(), groups: vec!["admin".into(), "vui".into()] }]);
    assert_eq!(bench.users.load().await.unwrap().len(), 1, "nothing of this was stored");
}

#[tokio::test]
async fn no_secret_is_shown_or_written_down() {
    let bench = Bench { setup_code: Some("ABCD-1234".into()), ..Bench::default() };
    let running = bench.start().await;
    let pair = running.auth.create_first_administrator("ABCD-1234", "dana", PASSWORD, None).await.unwrap();
    running.auth.login("a-password-typed-as-name", PASSWORD, None).await.unwrap_err();
    running.auth.login("dana", PASSWORD, None).await.unwrap();
    let config = AuthConfig::new(SigningKey::Hs256(b"the-signing-secret".to_vec()), Some("ABCD-1234".into()));
    let shown = format!("{config:?} {pair:?} {:?}", bench.audited().await);
    for secret in [PASSWORD, "ABCD", "signing-secret", "argon2", "a-password-typed-as-name", pair.access_token.as_str()] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    let audited: Vec<_> = bench.audited().await.into_iter().map(|record| (record.action, record.user, record.success)).collect();
    let expected =
        [("user.create_first", "(first run)", true), ("session.login", "(unknown user)", false), ("session.login", "dana", true)];
    assert_eq!(audited, expected.map(|(action, user, success)| (action.to_owned(), user.to_owned(), success)));
}

#[tokio::test]
async fn platform_auth_tells_capabilities() {
    let bench = Bench::default();
    let running = bench.start().await;
    let (agent, _events) = running.agent("asker", vt_agent::MethodTable::new());
    let all = running.call(agent.peer(), "platform.auth", "get_user_to_capabilities", vec![]).await.unwrap();
    assert_eq!(all["config.store"], json!({"sync_agent_config": null}));
    assert_eq!(all["control.connection"]["edit_config_store"], json!({"identity": "/.*/"}));
    assert_eq!(all["control.connection"]["allow_auth_modifications"], Value::Null);
    let none = running.call(agent.peer(), "platform.auth", "get_authorizations", vec![json!("nobody")]).await.unwrap();
    assert_eq!(none, Value::Null);
    assert_eq!(running.call(agent.peer(), "platform.auth", "get_groups", vec![json!("x")]).await, Ok(json!([])));
}

/// Users whose file people break and mend.
#[derive(Default)]
struct EditedUsers {
    kept: MemoryUsers,
    broken: Mutex<Option<String>>,
}

impl EditedUsers {
    fn break_it(&self, place: &str) {
        *self.broken.lock() = Some(place.to_owned());
    }

    async fn mend(&self, users: &Users) {
        self.kept.save(users).await.unwrap();
        *self.broken.lock() = None;
    }
}

#[async_trait]
impl UserRepository for EditedUsers {
    async fn load(&self) -> Result<Users, RepositoryError> {
        let broken = self.broken.lock().clone();
        match broken {
            Some(place) => Err(RepositoryError::Corrupt { place, problem: "told to be broken".to_owned() }),
            None => self.kept.load().await,
        }
    }

    async fn save(&self, users: &Users) -> Result<(), RepositoryError> {
        assert!(self.broken.lock().is_none(), "a broken file is not overwritten");
        self.kept.save(users).await
    }

    async fn stamp(&self) -> Result<Option<Stamp>, RepositoryError> {
        let broken = self.broken.lock().clone();
        let stamp = self.kept.stamp().await?;
        Ok(if broken.is_some() { Some(format!("{broken:?}{stamp:?}")) } else { stamp })
    }
}
