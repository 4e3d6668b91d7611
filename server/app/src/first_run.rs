//! The one-time code with which the first administrator is made. It is printed and kept in `first-run-code` (0600) until a user exists,
//! so that somebody who missed the line can read it on the machine; it never leaves the machine otherwise.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::RngExt;

/// Letters and digits that cannot be mistaken for each other.
const LETTERS: &[u8] = b"ABCDEFGHJKMNPQRSTUVWXYZ23456789";

/// The code's file below `home`.
pub fn file(home: &Path) -> PathBuf {
    home.join("first-run-code")
}

/// The code of this home: the one in the file, or a new one that is written there.
///
/// # Errors
/// If the file cannot be written.
pub fn code(home: &Path) -> std::io::Result<String> {
    let path = file(home);
    if let Ok(text) = std::fs::read_to_string(&path)
        && is_code(text.trim())
    {
        return Ok(text.trim().to_owned());
    }
    let mut rng = rand::rng();
    let group =
        |rng: &mut rand::rngs::ThreadRng| (0..4).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect::<String>();
    let code = [group(&mut rng), group(&mut rng), group(&mut rng)].join("-");
    remove(home)?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    writeln!(file, "{code}")?;
    file.sync_all()?;
    Ok(code)
}

/// Removes the file once it has served.
///
/// # Errors
/// If it is there and cannot be removed.
pub fn remove(home: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(file(home)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_code(text: &str) -> bool {
    text.len() == 14 && text.bytes().enumerate().all(|(at, byte)| if at % 5 == 4 { byte == b'-' } else { LETTERS.contains(&byte) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_code_stays_until_it_is_removed_and_only_its_owner_may_read_it() {
        let home = tempfile::tempdir().unwrap();
        let first = code(home.path()).unwrap();
        assert!(is_code(&first), "{first}");
        assert_eq!(code(home.path()).unwrap(), first);
        assert_eq!(std::fs::metadata(file(home.path())).unwrap().permissions().mode() & 0o777, 0o600);
        remove(home.path()).unwrap();
        remove(home.path()).unwrap();
        assert_ne!(code(home.path()).unwrap(), first);
        std::fs::write(file(home.path()), "nonsense").unwrap();
        assert!(is_code(&code(home.path()).unwrap()), "a spoilt file is replaced");
    }
}
