//! Why a service could not do what it was asked. One closed set for all services; edges translate [`ServiceError::kind`] into statuses.
//! Display is one readable sentence for the caller and never carries a secret or an inner detail of the platform.

use vt_backends::{LaunchError, RepositoryError};
use vt_types::{ErrorKind, RpcError};

/// Why a service could not do what it was asked. The texts are for the caller.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ServiceError {
    /// The thing asked for does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The thing to be made exists.
    #[error("{0}")]
    AlreadyExists(String),
    /// The request is malformed or out of range; names the field, line or column.
    #[error("{0}")]
    Invalid(String),
    /// The caller did not prove who it is.
    #[error("{0}")]
    Unauthenticated(String),
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The state does not allow it now.
    #[error("{0}")]
    Conflict(String),
    /// Too many requests.
    #[error("too many attempts; try again in {retry_after_s} s")]
    RateLimited {
        /// When to try again, seconds from now.
        retry_after_s: u64,
    },
    /// Something needed is not there now.
    #[error("{0}")]
    Unavailable(String),
    /// No answer in time.
    #[error("{0}")]
    Timeout(String),
    /// A call to a peer failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// A fault of ours. The text is for the log; the caller sees a neutral sentence.
    #[error("the platform could not do this because of a fault of its own; its log tells more")]
    Internal(String),
}

impl ServiceError {
    /// The kind that edges translate.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::AlreadyExists(_) => ErrorKind::AlreadyExists,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Unauthenticated(_) => ErrorKind::Unauthenticated,
            Self::Forbidden(_) => ErrorKind::Forbidden,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::RateLimited { .. } => ErrorKind::RateLimited,
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Timeout(_) => ErrorKind::Timeout,
            Self::Rpc(error) => error.kind(),
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// As a peer that called over RPC sees it.
    #[must_use]
    pub fn into_rpc(self) -> RpcError {
        let text = self.to_string();
        match self {
            Self::Rpc(error) => error,
            Self::NotFound(_) => RpcError::key_error(text),
            Self::AlreadyExists(_) | Self::Invalid(_) | Self::Conflict(_) => RpcError::value_error(text),
            Self::Unauthenticated(_) | Self::Forbidden(_) => RpcError::Refused(text),
            Self::RateLimited { .. } | Self::Unavailable(_) | Self::Internal(_) => RpcError::runtime_error(text),
            Self::Timeout(_) => RpcError::raised("builtins.TimeoutError", text),
        }
    }
}

impl From<RepositoryError> for ServiceError {
    fn from(error: RepositoryError) -> Self {
        match error {
            RepositoryError::Unavailable { what, source } => {
                tracing::error!(what, %source, "a store could not be read or written");
                Self::Unavailable("this could not be stored or read; the platform's log tells why".to_owned())
            }
            RepositoryError::Corrupt { .. } => {
                tracing::error!(%error, "a store cannot be understood");
                Self::Unavailable("what is stored cannot be understood; the platform's log tells where".to_owned())
            }
            RepositoryError::AlreadyExists(_) => Self::AlreadyExists(error.to_string()),
            RepositoryError::NotFound(_) => Self::NotFound(error.to_string()),
        }
    }
}

impl From<LaunchError> for ServiceError {
    fn from(error: LaunchError) -> Self {
        let text = error.to_string();
        match error {
            LaunchError::AlreadyRunning | LaunchError::IdentityInUse(_) => Self::Conflict(text),
            LaunchError::UnknownKind(_) | LaunchError::Configuration { .. } => Self::Invalid(text),
            LaunchError::Unresponsive => Self::Timeout(text),
            LaunchError::System(_) => Self::Unavailable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_detail_is_not_shown_to_callers() {
        let error = ServiceError::Internal("/secret/path: permission denied".to_owned());
        assert!(!error.to_string().contains("secret"), "{error}");
        let error = ServiceError::from(RepositoryError::Unavailable { what: "/secret/path".to_owned(), source: "disk full".into() });
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
