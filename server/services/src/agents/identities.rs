//! Which identity a new agent gets. Source: agents.md §1.3.

use vt_types::Identity;
use vt_types::identity::known;

use crate::ServiceError;

/// What stands for the number in a template.
const NUMBER: &str = "{n}";
/// Highest number tried.
const NUMBER_MAX: u32 = 100_000;

/// The identity of `template`: itself, or with the first number that is not taken in place of `{n}`.
pub fn choose(template: &str, is_taken: impl Fn(&Identity) -> bool) -> Result<Identity, ServiceError> {
    if !template.contains(NUMBER) {
        return parse(template);
    }
    for n in 1..=NUMBER_MAX {
        let identity = parse(&template.replace(NUMBER, &n.to_string()))?;
        if !is_taken(&identity) {
            return Ok(identity);
        }
    }
    Err(ServiceError::Conflict(format!("all identities of the form {template} up to {NUMBER_MAX} are taken")))
}

fn parse(text: &str) -> Result<Identity, ServiceError> {
    let identity = Identity::parse(text).map_err(|error| ServiceError::Invalid(error.to_string()))?;
    // In an address these mean "any", "here" and "above".
    if ["-", ".", ".."].contains(&text) {
        return Err(ServiceError::Invalid(format!("the identity {identity} could not be addressed; use letters or digits")));
    }
    if known::SERVICES.contains(&text) {
        return Err(ServiceError::Invalid(format!("the identity {identity} belongs to a service of the platform")));
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_unused_number_wins() {
        let taken = ["listeneragent-3.3_1", "listeneragent-3.3_2"];
        let choose = |template| choose(template, |identity| taken.contains(&identity.as_str()));
        assert_eq!(choose("listeneragent-3.3_{n}").unwrap().as_str(), "listeneragent-3.3_3");
        assert_eq!(choose("platform.watcher{n}").unwrap().as_str(), "platform.watcher1");
        assert_eq!(choose("mine").unwrap().as_str(), "mine");
    }

    #[test]
    fn service_identities_and_hostile_ones_are_refused() {
        for bad in ["control", "platform.auth", "platform_web", "", "a b", "-", ".", "..", "../x", "<b>{n}"] {
            assert!(matches!(choose(bad, |_| false), Err(ServiceError::Invalid(_))), "{bad}");
        }
    }
}
