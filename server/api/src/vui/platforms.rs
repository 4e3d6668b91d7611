//! `GET /vui`, `GET /vui/platforms`, `GET /vui/platforms/{p}`: next hops.

use super::{Answer, Cx, links};
use crate::query;

/// `GET /vui`.
pub fn root(cx: &Cx) -> Answer {
    cx.only_get()?;
    Ok(links([("platforms".to_owned(), "/vui/platforms".to_owned())]))
}

/// `GET /vui/platforms`: this platform, and then those that it is linked to, whether they answer or not.
pub fn list(cx: &Cx) -> Answer {
    cx.only_get()?;
    let others = cx.services().instances.list().into_iter().map(|instance| instance.link.platform.name);
    let others = others.map(|name| {
        let path = format!("/vui/platforms/{}", query::encode(&name));
        (name, path)
    });
    Ok(links([(cx.services().instance.name.clone(), cx.path(""))].into_iter().chain(others)))
}

/// `GET /vui/platforms/{p}`.
pub fn platform(cx: &Cx) -> Answer {
    cx.only_get()?;
    Ok(links(["agents", "devices", "historians", "pubsub", "status"].map(|name| (name.to_owned(), cx.path(name)))))
}
