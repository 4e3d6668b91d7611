//! Websockets: VOLTTRON's own form (one topic prefix, frames are bodies alone) and ours (`volttron.v2`, many subscriptions in envelopes).
//! Both verify the token before the upgrade, end with the session, ping every 30 s and cut off who does not answer or does not read.
//!
//! Close codes: 4401 the session ended or expired, 1013 too slow (legacy), 1000 ended by request, 1001 the platform stops or the client is silent.

mod envelope;
mod legacy;
mod line;
mod open_topics;

pub use self::envelope::serve as envelope;
pub use self::legacy::serve as legacy;
pub use self::open_topics::OpenTopics;

/// Frames that may wait for one client; when full, the oldest go and the client is told.
const QUEUE_MAX: usize = 1024;
