//! What a user name, a password and a group may be.

use vt_types::topic::is_control;

use crate::ServiceError;

/// Longest user name and group name, in characters.
pub const NAME_CHARS_MAX: usize = 64;
/// Shortest password for new users, in characters. Length is the only rule, as NIST SP 800-63B advises.
pub const PASSWORD_CHARS_MIN: usize = 10;
/// Longest password, in bytes, so that hashing has a bound.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Most groups of a user.
const GROUPS_MAX: usize = 32;

/// What holds for every user, also one that was written into the file by hand.
///
/// # Errors
/// `Invalid` tells what is wrong with the name.
pub fn check_user_name(name: &str) -> Result<(), ServiceError> {
    check_word("a user name", name)?;
    // It marks callers that are no users.
    if name.contains(':') { Err(ServiceError::Invalid("a user name may not contain ':'".to_owned())) } else { Ok(()) }
}

/// What also holds for users that are made here: they have an address of their own, and do not look like another one.
///
/// # Errors
/// `Invalid` tells what is wrong with the name.
pub fn check_new_user_name(name: &str) -> Result<(), ServiceError> {
    check_user_name(name)?;
    let problem = if name.contains(['/', '\\']) || matches!(name, "." | "..") {
        "a user name may not contain '/' or '\\', nor consist of dots"
    } else if name.chars().any(is_invisible) {
        "a user name may not contain invisible characters, it would look like another"
    } else {
        return Ok(());
    };
    Err(ServiceError::Invalid(problem.to_owned()))
}

/// # Errors
/// `Invalid` tells what is wrong; never repeats the password.
pub fn check_password(password: &str) -> Result<(), ServiceError> {
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(ServiceError::Invalid(format!("a password needs at least {PASSWORD_CHARS_MIN} characters")));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(ServiceError::Invalid(format!("a password may have at most {PASSWORD_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// The groups without repetitions.
///
/// # Errors
/// `Invalid` tells what is wrong.
pub fn checked_groups(groups: Vec<String>) -> Result<Vec<String>, ServiceError> {
    if groups.len() > GROUPS_MAX {
        return Err(ServiceError::Invalid(format!("a user may be in at most {GROUPS_MAX} groups")));
    }
    let mut checked: Vec<String> = Vec::with_capacity(groups.len());
    for group in groups {
        check_word("a group", &group)?;
        if !checked.contains(&group) {
            checked.push(group);
        }
    }
    Ok(checked)
}

fn check_word(what: &str, word: &str) -> Result<(), ServiceError> {
    if word.is_empty() || word.chars().count() > NAME_CHARS_MAX {
        return Err(ServiceError::Invalid(format!("{what} has 1 to {NAME_CHARS_MAX} characters")));
    }
    if word.chars().any(is_control) {
        return Err(ServiceError::Invalid(format!("{what} may not contain control characters or marks that turn text around")));
    }
    if word.trim() != word {
        return Err(ServiceError::Invalid(format!("{what} may not begin or end with blanks")));
    }
    Ok(())
}

/// Characters without width that are no control characters.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_user_names_are_refused_with_the_reason() {
        for bad in ["", "a\nb", "a\u{202e}b", "local:root", " dana", "dana ", &"x".repeat(65)] {
            assert!(matches!(check_user_name(bad), Err(ServiceError::Invalid(_))), "{bad:?}");
        }
        for good in ["dana", "é", "<img onerror=1>", "../x", &"é".repeat(64)] {
            assert_eq!(check_user_name(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn new_users_have_an_address_and_a_look_of_their_own() {
        for bad in ["", "local:root", "../x", "a\\b", ".", "..", "admin\u{200b}", "ad\u{ad}min"] {
            assert!(matches!(check_new_user_name(bad), Err(ServiceError::Invalid(_))), "{bad:?}");
        }
        for good in ["dana", "é", "<img onerror=1>", "a.b", "...x"] {
            assert_eq!(check_new_user_name(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn only_the_length_of_a_password_counts() {
        assert!(check_password("ninechars").is_err());
        assert!(check_password("          ").is_ok());
        assert!(check_password(&"é".repeat(512)).is_ok());
        assert!(check_password(&"é".repeat(513)).is_err());
    }
}
