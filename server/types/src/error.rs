//! The closed set of error kinds. `api` and `web` turn them into HTTP statuses, transports into JSON-RPC codes; the core knows neither.

/// What kind of failure a service error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The thing asked for does not exist.
    NotFound,
    /// The thing to be made exists.
    AlreadyExists,
    /// The request is malformed or out of range.
    Invalid,
    /// The caller did not prove who it is.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// The state does not allow it now (locked, overridden, running).
    Conflict,
    /// Too many requests; try later.
    RateLimited,
    /// Something needed is not there now.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// A fault of ours.
    Internal,
}
