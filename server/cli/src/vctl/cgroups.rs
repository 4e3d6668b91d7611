//! `vctl create-cgroups`, which VOLTTRON has in its restricted package: nothing is to be made here, and the command says why. Exit code of
//! unknown names: VOLTTRON 6.0 `volttron/platform/control.py`.

use clap::Args;
use nix::unistd::{Group, User};

use super::failure::{Failure, Outcome};
use crate::output::complain;

/// Exit code for a user or group that does not exist (EX_NOUSER).
const NO_USER: u8 = 67;

/// For whom.
#[derive(Debug, Args)]
pub struct CreateCgroups {
    /// User who runs the platform
    #[arg(short, long)]
    user: Option<String>,
    /// Group of that user
    #[arg(short, long)]
    group: Option<String>,
}

pub fn create(options: &CreateCgroups) -> Outcome {
    let system = |error: nix::Error| Failure::new(1, error.to_string());
    if let Some(user) = &options.user
        && User::from_name(user).map_err(system)?.is_none()
    {
        return Err(Failure::new(NO_USER, format!("there is no user {user}")));
    }
    if let Some(group) = &options.group
        && Group::from_name(group).map_err(system)?.is_none()
    {
        return Err(Failure::new(NO_USER, format!("there is no group {group}")));
    }
    complain(
        "Nothing is to be created: where the platform's control group is delegated to it (Delegate=yes in its systemd unit), it makes one \
         for each agent by itself; elsewhere the kernel's limits per process hold.",
    );
    Ok(())
}
