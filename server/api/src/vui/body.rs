//! Bodies of requests: read to a limit, then as JSON.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::error::ApiError;

/// Reads all of a body.
///
/// # Errors
/// 413 beyond `bytes_max`, 400 if the sender breaks off.
pub async fn read(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The body is larger than the {bytes_max} bytes allowed here.")))
        }
        Err(_) => Err(ApiError::invalid("The body ended early.")),
    }
}

/// Reads JSON.
///
/// # Errors
/// 400 with line and column.
pub fn json(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| ApiError::invalid(format!("The body is not JSON: {error}")))
}
