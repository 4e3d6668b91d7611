//! Moves file work to the threads that may block, and turns what went wrong there into repository errors.

use std::io;
use std::path::Path;

use vt_backends::RepositoryError;

/// Runs `work` on a blocking thread.
pub(crate) async fn run<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, RepositoryError> + Send + 'static,
) -> Result<T, RepositoryError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(RepositoryError::Unavailable { what: what.to_owned(), source: Box::new(error) }),
    }
}

/// The error for a file that could not be read or written.
pub(crate) fn unavailable(path: &Path) -> impl FnOnce(io::Error) -> RepositoryError + '_ {
    move |source| RepositoryError::Unavailable { what: path.display().to_string(), source: Box::new(source) }
}
