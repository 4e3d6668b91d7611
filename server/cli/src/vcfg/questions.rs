//! Questions in VOLTTRON's form: `text [default]: `.

use std::io::BufRead;

use crate::output::{line, print};

/// Asks yes or no until the answer is one; no answer at all takes the default.
pub fn yes_or_no(question: &str, default: bool) -> bool {
    loop {
        print(&format!("{question} [{}]: ", if default { "Y" } else { "N" }));
        let mut answer = String::new();
        match std::io::stdin().lock().read_line(&mut answer) {
            Ok(0) | Err(_) => {
                line("");
                return default;
            }
            Ok(_) => {}
        }
        match answer.trim() {
            "" => return default,
            "Y" | "y" => return true,
            "N" | "n" => return false,
            _ => line("Invalid response. Proper responses are:\n('y', 'Y', 'n', 'N')"),
        }
    }
}
