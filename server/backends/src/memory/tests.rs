//! The fakes pass the suites that the real ones pass, and fail when told to.

use super::*;
use crate::contract;

/// Opening again: clones share what they hold.
macro_rules! passes {
    ($name:ident, $suite:path, $fake:ty) => {
        #[tokio::test]
        async fn $name() {
            let fake = <$fake>::default();
            $suite(async || fake.clone()).await;
        }
    };
}

passes!(alerts_pass_their_suite, contract::alerts, MemoryAlerts);
passes!(audit_passes_its_suite, contract::audit, MemoryAudit);
passes!(configs_pass_their_suite, contract::configs, MemoryConfigs);
passes!(installations_pass_their_suite, contract::installations, MemoryInstallations);
passes!(keys_pass_their_suite, contract::peers::keys, peers::MemoryKeys);
passes!(peer_auth_passes_its_suite, contract::peers::peer_auth, peers::MemoryPeerAuth);
passes!(revocations_pass_their_suite, contract::revocations, MemoryRevocations);
passes!(users_pass_their_suite, contract::users, MemoryUsers);

#[tokio::test]
async fn packages_in_python_pass_their_suite() {
    let fake = MemoryInstallations::default();
    let prepare = |_: &str, generation| crate::PythonSource {
        directory: "/nonexistent/prepared".into(),
        generation,
        entry: crate::EntryPoint::parse("listener.agent:main").unwrap(),
    };
    contract::python_installations(async || fake.clone(), prepare).await;
}

#[tokio::test]
async fn only_the_newest_alerts_are_kept() {
    let alerts = MemoryAlerts::default();
    for number in 0..ALERTS_MAX + 5 {
        alerts.append(contract::alert(number)).await.unwrap();
    }
    let kept = alerts.newest(usize::MAX).await.unwrap();
    assert_eq!((kept.len(), &kept[0].key), (ALERTS_MAX, &contract::alert(ALERTS_MAX + 4).key));
}

#[tokio::test]
async fn a_fake_fails_on_request_and_recovers() {
    let users = MemoryUsers::default();
    users.set_failing(true);
    assert!(matches!(users.load().await, Err(RepositoryError::Unavailable { .. })));
    assert!(users.save(&Users::new()).await.is_err());
    users.set_failing(false);
    assert!(users.load().await.unwrap().is_empty());
    assert_eq!(users.stamp().await.unwrap(), None, "a failed save changes nothing");
}

#[tokio::test]
async fn a_policy_that_is_set_has_another_stamp() {
    let policy = MemoryPolicy::default();
    assert_eq!(policy.stamp().await.unwrap(), None);
    policy.set(vec![ProtectedTopic { topic: "a".to_owned(), capabilities: vec!["b".to_owned()] }]).unwrap();
    let stamp = policy.stamp().await.unwrap();
    assert_eq!(policy.protected_topics().await.unwrap().len(), 1);
    policy.set(Vec::new()).unwrap();
    assert_ne!(policy.stamp().await.unwrap(), stamp);
}
