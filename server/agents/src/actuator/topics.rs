//! Topics and headers of the actuator's protocol. Source: VOLTTRON `volttron/platform/messaging/topics.py`.

use vt_types::Headers;
use vt_types::headers::{REQUESTER_ID, TASK_ID};
use vt_types::timestamp::{self, Timestamp};

pub const GET: &str = "devices/actuators/get/";
pub const SET: &str = "devices/actuators/set/";
pub const REVERT_POINT: &str = "devices/actuators/revert/point/";
pub const REVERT_DEVICE: &str = "devices/actuators/revert/device/";
pub const REQUEST: &str = "devices/actuators/schedule/request";

pub const VALUE: &str = "devices/actuators/value";
pub const WRITE: &str = "devices/actuators/write";
pub const ERROR: &str = "devices/actuators/error";
pub const REVERTED_POINT: &str = "devices/actuators/reverted/point";
pub const REVERTED_DEVICE: &str = "devices/actuators/reverted/device";
pub const RESULT: &str = "devices/actuators/schedule/result";
pub const ANNOUNCE: &str = "devices/actuators/schedule/announce";

/// Header of a request and its result: which sort of request.
pub const TYPE: &str = "type";
pub const PRIORITY: &str = "priority";
pub const TIME: &str = "time";
/// Header of an announcement: seconds left.
pub const WINDOW: &str = "window";

pub const NEW_SCHEDULE: &str = "NEW_SCHEDULE";
pub const CANCEL_SCHEDULE: &str = "CANCEL_SCHEDULE";

/// Who asked.
pub fn requested_by(requester: &str) -> Headers {
    Headers::new().with(REQUESTER_ID, requester)
}

/// Who asked, and the time.
pub fn timed(now: Timestamp, requester: &str) -> Headers {
    Headers::new().with(TIME, timestamp::format(now)).with(REQUESTER_ID, requester)
}

/// Whose task, and the time.
pub fn about_task(now: Timestamp, requester: &str, task: &str) -> Headers {
    timed(now, requester).with(TASK_ID, task)
}
