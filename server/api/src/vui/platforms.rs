//! `GET /vui`, `GET /vui/platforms`, `GET /vui/platforms/{p}`: next hops.

use super::{Answer, Cx, links};

/// `GET /vui`.
pub fn root(cx: &Cx) -> Answer {
    cx.only_get()?;
    Ok(links([("platforms".to_owned(), "/vui/platforms".to_owned())]))
}

/// `GET /vui/platforms`: this platform.
pub fn list(cx: &Cx) -> Answer {
    cx.only_get()?;
    Ok(links([(cx.services().instance.name.clone(), cx.path(""))]))
}

/// `GET /vui/platforms/{p}`.
pub fn platform(cx: &Cx) -> Answer {
    cx.only_get()?;
    Ok(links(["agents", "devices", "historians", "pubsub", "status"].map(|name| (name.to_owned(), cx.path(name)))))
}
