//! Every way in which a device or its configuration can refuse, with the exception class and text that Python callers know.
//! Source: VOLTTRON `platform_driver/interfaces/{__init__,fakedriver,modbus}.py`.

use vt_types::{ErrorKind, RpcError};

use crate::registry::RegistryError;

/// Python class of a refused point: `DriverInterfaceError`.
const DRIVER_INTERFACE_ERROR: &str = "platform_driver.interfaces.DriverInterfaceError";

/// Which Python class a write to a read-only point raises; the text is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnlyClass {
    /// `RuntimeError`, as the fake interface does.
    Runtime,
    /// `OSError` (Python 2's `IOError`), as the Modbus interfaces do.
    Os,
}

/// Why a device operation gave no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DriverError {
    /// The registry has no such point.
    #[error("Point not configured on device: {0}")]
    PointNotConfigured(String),
    /// The registry says that the point is not writable.
    #[error("Trying to write to a point configured read only: {point}")]
    ReadOnly {
        /// Which point.
        point: String,
        /// Which class Python callers see.
        class: ReadOnlyClass,
    },
    /// The value does not fit the point.
    #[error("{got} is no value for point {point}: {expected} is expected")]
    BadValue {
        /// Which point.
        point: String,
        /// What fits, such as `an integer from 0 to 65535`.
        expected: String,
        /// What was given, shortened JSON.
        got: String,
    },
    /// The device did not answer in time.
    #[error("{device} did not answer within {timeout_ms} ms")]
    Timeout {
        /// `host:port` of the device.
        device: String,
        /// How long we waited, in milliseconds.
        timeout_ms: u64,
    },
    /// The device's host answered that nothing listens there.
    #[error("{device} refused the connection")]
    ConnectionRefused {
        /// `host:port` of the device.
        device: String,
    },
    /// No connection for another reason: name unknown, no route, no answer to the connection attempt.
    #[error("cannot connect to {device}: {reason}")]
    Unreachable {
        /// `host:port` of the device.
        device: String,
        /// What the network said.
        reason: String,
    },
    /// The connection ended while a request was under way.
    #[error("{device} closed the connection: {reason}")]
    ConnectionLost {
        /// `host:port` of the device.
        device: String,
        /// What the network said.
        reason: String,
    },
    /// The device failed before and is not tried again yet.
    #[error("{last}; the next attempt is in {retry_in_ms} ms")]
    BackingOff {
        /// The failure that started the wait.
        last: Box<DriverError>,
        /// Milliseconds until the next attempt.
        retry_in_ms: u64,
    },
    /// The device answered with a Modbus exception.
    #[error("{device} answered Modbus exception {code} ({name}) to {request}")]
    ModbusException {
        /// `host:port unit n` of the device.
        device: String,
        /// What was asked, such as `read of 2 holding registers at 100`.
        request: String,
        /// Exception code, 1 to 255.
        code: u8,
        /// Its name, such as `Illegal data address`.
        name: String,
    },
    /// The device's answer does not follow the protocol.
    #[error("{device} sent an answer that makes no sense: {reason}")]
    Protocol {
        /// `host:port` of the device.
        device: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The device sent something that is no value, such as a floating point NaN.
    #[error("point {point} holds {what}, which is no value")]
    NoValue {
        /// Which point.
        point: String,
        /// What the device sent.
        what: String,
    },
    /// Too many operations wait for this device, or too many sockets are open.
    #[error("{device} is busy: {reason}")]
    Busy {
        /// `host:port` of the device.
        device: String,
        /// What is waited for.
        reason: String,
    },
    /// A write failed; the cause is inside.
    #[error("Error encountered trying to write to point {point}: {cause}")]
    Write {
        /// Which point.
        point: String,
        /// Why.
        cause: Box<DriverError>,
    },
}

impl DriverError {
    /// The class a Python caller sees, `module.Class`.
    #[must_use]
    pub fn exc_type(&self) -> &'static str {
        match self {
            Self::PointNotConfigured(_) | Self::ModbusException { .. } | Self::Protocol { .. } | Self::NoValue { .. } => {
                DRIVER_INTERFACE_ERROR
            }
            Self::ReadOnly { class: ReadOnlyClass::Runtime, .. } => "builtins.RuntimeError",
            Self::ReadOnly { class: ReadOnlyClass::Os, .. } | Self::Write { .. } | Self::Unreachable { .. } | Self::Busy { .. } => {
                "builtins.OSError"
            }
            Self::BadValue { .. } => "builtins.ValueError",
            Self::Timeout { .. } => "builtins.TimeoutError",
            Self::ConnectionRefused { .. } => "builtins.ConnectionRefusedError",
            Self::ConnectionLost { .. } => "builtins.ConnectionResetError",
            Self::BackingOff { last, .. } => last.exc_type(),
        }
    }

    /// As Python's `repr()` writes it: `RuntimeError('text')`. Used where VOLTTRON returns error texts instead of raising.
    #[must_use]
    pub fn python_repr(&self) -> String {
        let class = self.exc_type().rsplit('.').next().unwrap_or_default();
        python_repr(class, &self.to_string())
    }

    /// The kind that edges translate.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::PointNotConfigured(_) => ErrorKind::NotFound,
            Self::ReadOnly { .. } => ErrorKind::Forbidden,
            Self::BadValue { .. } => ErrorKind::Invalid,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::ConnectionRefused { .. }
            | Self::Unreachable { .. }
            | Self::ConnectionLost { .. }
            | Self::ModbusException { .. }
            | Self::Protocol { .. }
            | Self::NoValue { .. }
            | Self::Busy { .. } => ErrorKind::Unavailable,
            Self::BackingOff { last: cause, .. } | Self::Write { cause, .. } => cause.kind(),
        }
    }

    /// Whether the device as a whole cannot be reached, so that asking for its other points is of no use now.
    #[must_use]
    pub fn is_device_down(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::ConnectionRefused { .. }
            | Self::Unreachable { .. }
            | Self::ConnectionLost { .. }
            | Self::BackingOff { .. }
            | Self::Protocol { .. }
            | Self::Busy { .. } => true,
            Self::Write { cause, .. } => cause.is_device_down(),
            Self::PointNotConfigured(_)
            | Self::ReadOnly { .. }
            | Self::BadValue { .. }
            | Self::ModbusException { .. }
            | Self::NoValue { .. } => false,
        }
    }
}

impl From<DriverError> for RpcError {
    fn from(error: DriverError) -> Self {
        Self::raised(error.exc_type(), error.to_string())
    }
}

/// `Class('text')` with the text quoted as Python does.
#[must_use]
pub fn python_repr(class: &str, text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(class.len() + text.len() + 4);
    out.push_str(class);
    out.push('(');
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out.push(')');
    out
}

/// Why a device cannot be built from its configuration. The text names the place and the field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// `driver_type` names no interface.
    #[error("driver_type {given:?} is unknown; this server has: {}", known.join(", "))]
    UnknownDriverType {
        /// What was given.
        given: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// A key of `driver_config`.
    #[error("driver_config, field {field}: {reason}")]
    Field {
        /// Which key.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry.
    #[error("registry_config, {0}")]
    Registry(#[from] RegistryError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_classes_are_those_of_volttron() {
        let unknown = DriverError::PointNotConfigured("x".into());
        assert_eq!(unknown.to_string(), "Point not configured on device: x");
        assert_eq!(unknown.python_repr(), "DriverInterfaceError('Point not configured on device: x')");
        let read_only = DriverError::ReadOnly { point: "t".into(), class: ReadOnlyClass::Runtime };
        assert_eq!(read_only.to_string(), "Trying to write to a point configured read only: t");
        assert_eq!(read_only.exc_type(), "builtins.RuntimeError");
        assert_eq!(DriverError::ReadOnly { point: "t".into(), class: ReadOnlyClass::Os }.exc_type(), "builtins.OSError");
        let rpc = RpcError::from(unknown);
        assert!(matches!(rpc, RpcError::Remote(e) if e.class() == "DriverInterfaceError"));
    }

    #[test]
    fn python_quotes() {
        assert_eq!(python_repr("E", "it's"), "E(\"it's\")");
        assert_eq!(python_repr("E", "a\\b\n"), "E('a\\\\b\\n')");
    }

    #[test]
    fn waiting_for_the_next_attempt_keeps_the_cause() {
        let last = DriverError::ConnectionRefused { device: "h:502".into() };
        let waiting = DriverError::BackingOff { last: Box::new(last), retry_in_ms: 900 };
        assert_eq!(waiting.exc_type(), "builtins.ConnectionRefusedError");
        assert_eq!(waiting.to_string(), "h:502 refused the connection; the next attempt is in 900 ms");
        assert!(waiting.is_device_down());
    }
}
