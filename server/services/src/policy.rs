//! Who may publish and call what: the bus's interceptor.
