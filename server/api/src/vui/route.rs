//! The paths below `/vui`, taken apart. One place knows them all; whether a method is offered is each resource's own business.

/// A resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    Root,
    Socket,
    Kinds,
    Audit,
    Alerts,
    Introductions,
    Platforms,
    /// Something below a platform.
    Platform(String, Resource),
}

/// A resource of one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    Platform,
    Link,
    Agents,
    Installs,
    Install(u64),
    Agent(String, AgentResource),
    Devices(String),
    Historians,
    Historian(String),
    HistorianTopics(String, String),
    Pubsub,
    PubsubTopic(String),
    Status,
    Health,
    Statistics,
    Logs,
    Users,
    User(String),
    Auths,
    Auth(String),
    AuthsOf(Peers),
    AuthOf(Peers, String),
    PublicKeys(String),
    Groups,
    Group(String),
    Roles,
    Role(String),
    KnownHosts,
    KnownHost(String),
}

/// What was decided about peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers {
    Pending,
    Approved,
    Denied,
}

impl Peers {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "pending" => Some(Self::Pending),
            "approved" => Some(Self::Approved),
            "denied" => Some(Self::Denied),
            _ => None,
        }
    }
}

/// A resource of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentResource {
    Agent,
    Configs,
    Config(String),
    Enabled,
    Rpc,
    Method(String),
    Running,
    Status,
    Tag,
    Health,
    Logs,
}

impl Route {
    /// Takes apart a decoded path. One slash at the end makes no difference.
    pub fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix("/vui")?;
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() {
            return Some(Self::Root);
        }
        let path = path.strip_prefix('/')?;
        match split(path) {
            ("ws", None) => Some(Self::Socket),
            ("kinds", None) => Some(Self::Kinds),
            ("audit", None) => Some(Self::Audit),
            ("alerts", None) => Some(Self::Alerts),
            ("introductions", None) => Some(Self::Introductions),
            ("platforms", None) => Some(Self::Platforms),
            ("platforms", Some(rest)) => {
                let (platform, rest) = split(rest);
                Some(Self::Platform(name(platform)?, Resource::parse(rest)?))
            }
            _ => None,
        }
    }

    /// What the route is counted under.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Root => "/vui",
            Self::Socket => "/vui/ws",
            Self::Kinds => "/vui/kinds",
            Self::Audit => "/vui/audit",
            Self::Alerts => "/vui/alerts",
            Self::Introductions => "/vui/introductions",
            Self::Platforms => "/vui/platforms",
            Self::Platform(_, resource) => resource.label(),
        }
    }
}

impl Resource {
    fn parse(rest: Option<&str>) -> Option<Self> {
        let Some(rest) = rest else { return Some(Self::Platform) };
        match split(rest) {
            ("link", None) => Some(Self::Link),
            ("agents", None) => Some(Self::Agents),
            ("installs", None) => Some(Self::Installs),
            ("installs", Some(id)) => Some(Self::Install(id.parse().ok()?)),
            ("agents", Some(rest)) => {
                let (agent, rest) = split(rest);
                Some(Self::Agent(name(agent)?, AgentResource::parse(rest)?))
            }
            ("devices", topic) => Some(Self::Devices(topic.unwrap_or_default().to_owned())),
            ("historians", None) => Some(Self::Historians),
            ("historians", Some(rest)) => match split(rest) {
                (historian, None) => Some(Self::Historian(name(historian)?)),
                (historian, Some(rest)) => match split(rest) {
                    ("topics", topic) => Some(Self::HistorianTopics(name(historian)?, topic.unwrap_or_default().to_owned())),
                    _ => None,
                },
            },
            ("pubsub", None) => Some(Self::Pubsub),
            ("pubsub", Some(topic)) => Some(Self::PubsubTopic(name(topic)?)),
            ("status", None) => Some(Self::Status),
            ("health", None) => Some(Self::Health),
            ("statistics", None) => Some(Self::Statistics),
            ("logs", None) => Some(Self::Logs),
            ("auths", Some("users")) => Some(Self::Users),
            ("auths", None) => Some(Self::Auths),
            ("auths", Some(rest)) => Self::parse_auth(rest),
            ("groups", None) => Some(Self::Groups),
            ("groups", Some(group)) => Some(Self::Group(name(group)?)),
            ("roles", None) => Some(Self::Roles),
            ("roles", Some(role)) => Some(Self::Role(name(role)?)),
            ("known-hosts", None) => Some(Self::KnownHosts),
            ("known-hosts", Some(host)) => Some(Self::KnownHost(name(host)?)),
            _ => None,
        }
    }

    /// Below `auths`; user ids may hold slashes, and no user id hides the words before it.
    fn parse_auth(rest: &str) -> Option<Self> {
        match (split(rest), rest.strip_suffix("/publickeys")) {
            (("users", Some(user)), _) => Some(Self::User(name(user)?)),
            ((word, None), _) if Peers::parse(word).is_some() => Peers::parse(word).map(Self::AuthsOf),
            ((word, Some(user_id)), _) if Peers::parse(word).is_some() => Some(Self::AuthOf(Peers::parse(word)?, name(user_id)?)),
            (_, Some(identity)) => Some(Self::PublicKeys(name(identity)?)),
            _ => Some(Self::Auth(name(rest)?)),
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Platform => "/vui/platforms/{p}",
            Self::Link => "/vui/platforms/{p}/link",
            Self::Agents => "/vui/platforms/{p}/agents",
            Self::Installs => "/vui/platforms/{p}/installs",
            Self::Install(_) => "/vui/platforms/{p}/installs/{id}",
            Self::Agent(_, resource) => resource.label(),
            Self::Devices(_) => "/vui/platforms/{p}/devices/{topic}",
            Self::Historians => "/vui/platforms/{p}/historians",
            Self::Historian(_) => "/vui/platforms/{p}/historians/{h}",
            Self::HistorianTopics(..) => "/vui/platforms/{p}/historians/{h}/topics/{topic}",
            Self::Pubsub => "/vui/platforms/{p}/pubsub",
            Self::PubsubTopic(_) => "/vui/platforms/{p}/pubsub/{topic}",
            Self::Status => "/vui/platforms/{p}/status",
            Self::Health => "/vui/platforms/{p}/health",
            Self::Statistics => "/vui/platforms/{p}/statistics",
            Self::Logs => "/vui/platforms/{p}/logs",
            Self::Users => "/vui/platforms/{p}/auths/users",
            Self::User(_) => "/vui/platforms/{p}/auths/users/{user}",
            Self::Auths => "/vui/platforms/{p}/auths",
            Self::Auth(_) => "/vui/platforms/{p}/auths/{user_id}",
            Self::AuthsOf(_) => "/vui/platforms/{p}/auths/{decision}",
            Self::AuthOf(..) => "/vui/platforms/{p}/auths/{decision}/{user_id}",
            Self::PublicKeys(_) => "/vui/platforms/{p}/auths/{identity}/publickeys",
            Self::Groups => "/vui/platforms/{p}/groups",
            Self::Group(_) => "/vui/platforms/{p}/groups/{group}",
            Self::Roles => "/vui/platforms/{p}/roles",
            Self::Role(_) => "/vui/platforms/{p}/roles/{role}",
            Self::KnownHosts => "/vui/platforms/{p}/known-hosts",
            Self::KnownHost(_) => "/vui/platforms/{p}/known-hosts/{host}",
        }
    }
}

impl AgentResource {
    fn parse(rest: Option<&str>) -> Option<Self> {
        let Some(rest) = rest else { return Some(Self::Agent) };
        match split(rest) {
            ("configs", None) => Some(Self::Configs),
            ("configs", Some(config)) => Some(Self::Config(name(config)?)),
            ("enabled", None) => Some(Self::Enabled),
            ("rpc", None) => Some(Self::Rpc),
            ("rpc", Some(method)) => Some(Self::Method(name(method)?)),
            ("running", None) => Some(Self::Running),
            ("status", None) => Some(Self::Status),
            ("tag", None) => Some(Self::Tag),
            ("health", None) => Some(Self::Health),
            ("logs", None) => Some(Self::Logs),
            _ => None,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Agent => "/vui/platforms/{p}/agents/{a}",
            Self::Configs => "/vui/platforms/{p}/agents/{a}/configs",
            Self::Config(_) => "/vui/platforms/{p}/agents/{a}/configs/{name}",
            Self::Enabled => "/vui/platforms/{p}/agents/{a}/enabled",
            Self::Rpc => "/vui/platforms/{p}/agents/{a}/rpc",
            Self::Method(_) => "/vui/platforms/{p}/agents/{a}/rpc/{method}",
            Self::Running => "/vui/platforms/{p}/agents/{a}/running",
            Self::Status => "/vui/platforms/{p}/agents/{a}/status",
            Self::Tag => "/vui/platforms/{p}/agents/{a}/tag",
            Self::Health => "/vui/platforms/{p}/agents/{a}/health",
            Self::Logs => "/vui/platforms/{p}/agents/{a}/logs",
        }
    }
}

/// The first segment and what follows it.
fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    }
}

fn name(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(resource: AgentResource) -> Option<Route> {
        Some(Route::Platform("p".to_owned(), Resource::Agent("a".to_owned(), resource)))
    }

    #[test]
    fn paths_are_taken_apart_with_and_without_a_slash_at_the_end() {
        for end in ["", "/"] {
            let parse = |path: &str| Route::parse(&format!("{path}{end}"));
            assert_eq!(parse("/vui"), Some(Route::Root));
            assert_eq!(parse("/vui/platforms/p"), Some(Route::Platform("p".to_owned(), Resource::Platform)));
            assert_eq!(parse("/vui/platforms/p/agents/a/configs"), agent(AgentResource::Configs));
            assert_eq!(parse("/vui/platforms/p/agents/a/configs/devices/x"), agent(AgentResource::Config("devices/x".to_owned())));
            let topics = Resource::HistorianTopics("h".to_owned(), "a/b".to_owned());
            assert_eq!(parse("/vui/platforms/p/historians/h/topics/a/b"), Some(Route::Platform("p".to_owned(), topics)));
            let devices = |topic: &str| Some(Route::Platform("p".to_owned(), Resource::Devices(topic.to_owned())));
            assert_eq!(parse("/vui/platforms/p/devices"), devices(""));
            assert_eq!(parse("/vui/platforms/p/devices/a/-/c"), devices("a/-/c"));
            assert_eq!(
                parse("/vui/platforms/p/auths/users/dana"),
                Some(Route::Platform("p".to_owned(), Resource::User("dana".to_owned())))
            );
            for (path, resource) in [
                ("auths", Resource::Auths),
                ("auths/users", Resource::Users),
                ("auths/vip,127.0.0.1,NULL", Resource::Auth("vip,127.0.0.1,NULL".to_owned())),
                ("auths/pending", Resource::AuthsOf(Peers::Pending)),
                ("auths/denied/u/1", Resource::AuthOf(Peers::Denied, "u/1".to_owned())),
                ("auths/-/publickeys", Resource::PublicKeys("-".to_owned())),
                ("known-hosts/@", Resource::KnownHost("@".to_owned())),
                ("roles/r", Resource::Role("r".to_owned())),
                ("groups", Resource::Groups),
            ] {
                assert_eq!(parse(&format!("/vui/platforms/p/{path}")), Some(Route::Platform("p".to_owned(), resource)));
            }
        }
    }

    #[test]
    fn other_paths_are_none() {
        for path in ["/vuix", "/vui/nope", "/vui/platforms//agents", "/vui/platforms/p/agents/a/nope", "/vui/platforms/p/agents/a/tag/x"] {
            assert_eq!(Route::parse(path), None, "{path}");
        }
    }
}
