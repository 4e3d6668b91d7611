//! The scheduler: who may use which device when. A pure state machine; the present comes in as an argument.
//! Source: VOLTTRON `services/core/ActuatorAgent/actuator/scheduler.py`.
//!
//! A task waits until the start of its first slot, runs until the end of its last one, and is gone then. A pre-empted task that runs keeps
//! the slots that are active for a grace time and loses the others.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use vt_types::DevicePath;
use vt_types::timestamp::Timestamp;

use super::request::Refusal;

/// Tasks that may be known at the same time; further requests are refused as malformed.
pub const TASKS_MAX: usize = 10_000;

/// How important a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Pre-empts others, is never pre-empted.
    High,
    /// Can be pre-empted until it starts.
    Low,
    /// Can be pre-empted at any time.
    LowPreempt,
}

impl Priority {
    /// Reads the text exactly.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "HIGH" => Some(Self::High),
            "LOW" => Some(Self::Low),
            "LOW_PREEMPT" => Some(Self::LowPreempt),
            _ => None,
        }
    }

    /// The text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Low => "LOW",
            Self::LowPreempt => "LOW_PREEMPT",
        }
    }
}

/// A device for a time, start included, end excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub device: DevicePath,
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Slot {
    /// Whether both want the same device at some moment.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.device == other.device && self.start < other.end && other.start < self.end
    }

    fn is_active(&self, now: Timestamp) -> bool {
        self.start <= now && now < self.end
    }
}

/// A reservation of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub owner: String,
    pub priority: Priority,
    pub slots: Vec<Slot>,
    /// It only has its grace time left.
    pub preempted: bool,
}

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Running,
    Finished,
}

impl Task {
    fn phase(&self, now: Timestamp) -> Phase {
        let start = self.slots.iter().map(|slot| slot.start).min();
        let end = self.slots.iter().map(|slot| slot.end).max();
        match (start, end) {
            (Some(start), Some(_)) if now < start => Phase::Waiting,
            (Some(_), Some(end)) if now < end => Phase::Running,
            _ => Phase::Finished,
        }
    }

    fn can_be_preempted(&self, now: Timestamp) -> bool {
        match self.priority {
            Priority::High => false,
            Priority::Low => self.phase(now) == Phase::Waiting,
            Priority::LowPreempt => true,
        }
    }

    fn preempt(&mut self, grace: TimeDelta, now: Timestamp) {
        let end = now.checked_add_signed(grace).unwrap_or(now);
        self.slots.retain(|slot| slot.is_active(now));
        for slot in &mut self.slots {
            slot.end = slot.end.min(end);
        }
        self.preempted = true;
    }
}

/// A device in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    pub device: DevicePath,
    pub owner: String,
    pub task: String,
    /// When the owner loses it.
    pub until: Timestamp,
}

/// A task that had to give way: its owner and its id.
pub type Preempted = (String, String);

/// All tasks by id.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Scheduler {
    tasks: BTreeMap<String, Task>,
}

impl Scheduler {
    /// A scheduler with these tasks, without those that are over.
    pub fn with_tasks(tasks: BTreeMap<String, Task>, now: Timestamp) -> Self {
        let mut scheduler = Self { tasks };
        scheduler.forget_finished(now);
        scheduler
    }

    /// Tasks by id.
    pub fn tasks(&self) -> &BTreeMap<String, Task> {
        &self.tasks
    }

    /// Whether a task of this id is known.
    pub fn knows(&self, task: &str) -> bool {
        self.tasks.contains_key(task)
    }

    /// Reserves `slots` (not empty, free of overlaps among themselves) for `owner`; says who had to give way.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing changed.
    pub fn request(
        &mut self,
        owner: &str,
        task: &str,
        priority: Priority,
        slots: Vec<Slot>,
        grace: TimeDelta,
        now: Timestamp,
    ) -> Result<Vec<Preempted>, Refusal> {
        self.forget_finished(now);
        if self.knows(task) {
            return Err(Refusal::TaskIdAlreadyExists);
        }
        if self.tasks.len() >= TASKS_MAX {
            let problem = format!("there are {TASKS_MAX} tasks already");
            return Err(Refusal::Malformed { class: "ValueError", problem });
        }
        let mut wanted: HashMap<&DevicePath, Vec<&Slot>> = HashMap::new();
        for slot in &slots {
            wanted.entry(&slot.device).or_default().push(slot);
        }
        let mut conflicts: BTreeMap<String, BTreeMap<String, Vec<Slot>>> = BTreeMap::new();
        let mut giving_way = Vec::new();
        for (id, existing) in &self.tasks {
            let in_the_way: Vec<Slot> = existing
                .slots
                .iter()
                .filter(|slot| wanted.get(&slot.device).is_some_and(|wanted| wanted.iter().any(|other| other.overlaps(slot))))
                .cloned()
                .collect();
            if in_the_way.is_empty() {
                continue;
            }
            if priority == Priority::High && existing.can_be_preempted(now) {
                giving_way.push(id.clone());
            } else {
                conflicts.entry(existing.owner.clone()).or_default().insert(id.clone(), in_the_way);
            }
        }
        if !conflicts.is_empty() {
            return Err(Refusal::Conflicts(conflicts));
        }
        let mut preempted = Vec::new();
        for id in giving_way {
            if let Some(victim) = self.tasks.get_mut(&id)
                // One that has only its grace time left was told before.
                && !victim.preempted
            {
                victim.preempt(grace, now);
                preempted.push((victim.owner.clone(), id));
            }
        }
        self.tasks.insert(task.to_owned(), Task { owner: owner.to_owned(), priority, slots, preempted: false });
        self.forget_finished(now);
        Ok(preempted)
    }

    /// Ends a task of `owner`.
    ///
    /// # Errors
    /// [`Refusal`] if there is none, or if it is somebody else's.
    pub fn cancel(&mut self, owner: &str, task: &str, now: Timestamp) -> Result<(), Refusal> {
        self.forget_finished(now);
        match self.tasks.get(task) {
            None => Err(Refusal::TaskIdDoesNotExist),
            Some(existing) if existing.owner != owner => Err(Refusal::AgentIdTaskIdMismatch),
            Some(_) => {
                self.tasks.remove(task);
                Ok(())
            }
        }
    }

    /// Who has `device` now.
    pub fn lock(&self, device: &str, now: Timestamp) -> Option<Lock> {
        self.active(now, |slot| slot.device.as_str() == device).remove(device)
    }

    /// All devices in use now, by path.
    pub fn locks(&self, now: Timestamp) -> Vec<Lock> {
        self.active(now, |_| true).into_values().collect()
    }

    /// When next a slot starts or ends.
    pub fn next_event(&self, now: Timestamp) -> Option<Timestamp> {
        let edges = self.tasks.values().flat_map(|task| &task.slots).flat_map(|slot| [slot.start, slot.end]);
        edges.filter(|time| *time > now).min()
    }

    /// Drops tasks that are over.
    pub fn forget_finished(&mut self, now: Timestamp) {
        self.tasks.retain(|_, task| task.phase(now) != Phase::Finished);
    }

    fn active(&self, now: Timestamp, wanted: impl Fn(&Slot) -> bool) -> BTreeMap<&str, Lock> {
        let mut locks = BTreeMap::new();
        // Pre-empted tasks last: in their grace time they still have the device, not the task that drove them out.
        let (preempted, others): (Vec<_>, Vec<_>) = self.tasks.iter().partition(|(_, task)| task.preempted);
        for (id, task) in others.into_iter().chain(preempted) {
            for slot in task.slots.iter().filter(|slot| slot.is_active(now) && wanted(slot)) {
                let lock = Lock { device: slot.device.clone(), owner: task.owner.clone(), task: id.clone(), until: slot.end };
                locks.insert(slot.device.as_str(), lock);
            }
        }
        locks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: TimeDelta = TimeDelta::seconds(60);

    /// Minute `minute` of a day.
    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn slot(device: &str, from: i64, to: i64) -> Slot {
        Slot { device: DevicePath::parse(device).unwrap(), start: at(from), end: at(to) }
    }

    fn ask(scheduler: &mut Scheduler, task: &str, priority: Priority, slots: &[Slot], now: i64) -> Result<Vec<Preempted>, Refusal> {
        scheduler.request(&format!("agent.{task}"), task, priority, slots.to_vec(), GRACE, at(now))
    }

    fn owner(scheduler: &Scheduler, device: &str, now: Timestamp) -> Option<String> {
        scheduler.lock(device, now).map(|lock| lock.task)
    }

    fn victim(task: &str) -> Vec<Preempted> {
        vec![(format!("agent.{task}"), task.to_owned())]
    }

    #[test]
    fn a_slot_is_held_from_its_start_to_just_before_its_end() {
        let mut scheduler = Scheduler::default();
        ask(&mut scheduler, "a", Priority::Low, &[slot("d/1", 10, 20)], 0).unwrap();
        assert_eq!(owner(&scheduler, "d/1", at(9)), None);
        assert_eq!(owner(&scheduler, "d/1", at(10)).as_deref(), Some("a"));
        assert_eq!(owner(&scheduler, "d/1", at(20)), None);
        assert_eq!(owner(&scheduler, "d/2", at(10)), None);
        assert_eq!(
            scheduler.locks(at(15)),
            [Lock { device: DevicePath::parse("d/1").unwrap(), owner: "agent.a".to_owned(), task: "a".to_owned(), until: at(20) }]
        );
    }

    #[test]
    fn touching_slots_do_not_conflict_and_overlapping_ones_name_agent_task_and_slot() {
        let mut scheduler = Scheduler::default();
        ask(&mut scheduler, "a", Priority::Low, &[slot("d", 10, 20), slot("e", 10, 20)], 0).unwrap();
        ask(&mut scheduler, "b", Priority::Low, &[slot("d", 20, 30)], 0).unwrap();
        for priority in [Priority::Low, Priority::LowPreempt] {
            let refusal = ask(&mut scheduler, "c", priority, &[slot("d", 19, 21)], 0).unwrap_err();
            assert_eq!(
                refusal.data(),
                serde_json::json!({
                    "agent.a": {"a": [["d", "1970-01-01T00:10:00.000000+00:00", "1970-01-01T00:20:00.000000+00:00"]]},
                    "agent.b": {"b": [["d", "1970-01-01T00:20:00.000000+00:00", "1970-01-01T00:30:00.000000+00:00"]]},
                })
            );
        }
        assert_eq!(scheduler.tasks().len(), 2, "a refused request leaves nothing");
    }

    #[test]
    fn an_id_is_taken_until_its_task_is_over() {
        let mut scheduler = Scheduler::default();
        ask(&mut scheduler, "a", Priority::Low, &[slot("d", 10, 20)], 0).unwrap();
        assert_eq!(ask(&mut scheduler, "a", Priority::Low, &[slot("e", 10, 20)], 19), Err(Refusal::TaskIdAlreadyExists));
        assert_eq!(ask(&mut scheduler, "a", Priority::Low, &[slot("d", 20, 30)], 20), Ok(vec![]));
    }

    #[test]
    fn high_drives_out_what_has_not_started() {
        for priority in [Priority::Low, Priority::LowPreempt] {
            let mut scheduler = Scheduler::default();
            ask(&mut scheduler, "a", priority, &[slot("d", 10, 20)], 0).unwrap();
            assert_eq!(ask(&mut scheduler, "b", Priority::High, &[slot("d", 15, 25)], 5), Ok(victim("a")));
            assert!(!scheduler.knows("a"));
            assert_eq!(owner(&scheduler, "d", at(15)).as_deref(), Some("b"));
        }
    }

    #[test]
    fn high_fails_over_high_and_over_a_running_low() {
        let mut scheduler = Scheduler::default();
        ask(&mut scheduler, "a", Priority::Low, &[slot("d", 10, 20), slot("e", 30, 40)], 0).unwrap();
        ask(&mut scheduler, "b", Priority::High, &[slot("f", 10, 20)], 0).unwrap();
        assert!(matches!(ask(&mut scheduler, "c", Priority::High, &[slot("f", 10, 20)], 0), Err(Refusal::Conflicts(_))));
        assert!(matches!(ask(&mut scheduler, "c", Priority::High, &[slot("d", 15, 20)], 10), Err(Refusal::Conflicts(_))));
        let between = ask(&mut scheduler, "c", Priority::High, &[slot("e", 30, 40)], 25);
        assert!(matches!(between, Err(Refusal::Conflicts(_))), "a task runs between its slots, too");
    }

    #[test]
    fn a_running_low_preempt_keeps_what_it_has_for_the_grace_time() {
        let mut scheduler = Scheduler::default();
        ask(&mut scheduler, "a", Priority::LowPreempt, &[slot("d", 10, 20), slot("e", 10, 11), slot("d", 30, 40)], 0).unwrap();
        let now = at(10) + TimeDelta::seconds(30);
        let asked = scheduler.request("agent.b", "b", Priority::High, vec![slot("d", 10, 20)], GRACE, now);
        assert_eq!(asked, Ok(victim("a")));
        assert_eq!(scheduler.lock("d", now).map(|lock| (lock.task, lock.until)), Some(("a".to_owned(), now + GRACE)));
        assert_eq!(scheduler.lock("e", now).map(|lock| lock.until), Some(at(11)), "never longer than its slot");
        assert_eq!(scheduler.next_event(now), Some(at(11)));
        assert_eq!(owner(&scheduler, "d", now + GRACE).as_deref(), Some("b"));
        assert_eq!(owner(&scheduler, "d", at(35)), None, "later slots are gone");

        let low = scheduler.request("agent.c", "c", Priority::Low, vec![slot("d", 10, 11)], GRACE, now);
        assert!(matches!(low, Err(Refusal::Conflicts(_))), "the grace time is a reservation");
        scheduler.cancel("agent.b", "b", now).unwrap();
        let again = scheduler.request("agent.f", "f", Priority::High, vec![slot("d", 10, 20)], GRACE, now);
        assert_eq!(again, Ok(vec![]), "nobody is told twice");
    }

    #[test]
    fn without_grace_the_device_changes_hands_at_once() {
        let mut scheduler = Scheduler::default();
        ask(&mut scheduler, "a", Priority::LowPreempt, &[slot("d", 10, 20)], 0).unwrap();
        let asked = scheduler.request("agent.b", "b", Priority::High, vec![slot("d", 10, 20)], TimeDelta::zero(), at(12));
        assert_eq!(asked, Ok(victim("a")));
        assert_eq!(owner(&scheduler, "d", at(12)).as_deref(), Some("b"));
        assert!(!scheduler.knows("a"));
    }

    #[test]
    fn only_the_owner_cancels() {
        let mut scheduler = Scheduler::default();
        ask(&mut scheduler, "a", Priority::Low, &[slot("d", 10, 20)], 0).unwrap();
        assert_eq!(scheduler.cancel("agent.b", "a", at(15)), Err(Refusal::AgentIdTaskIdMismatch));
        assert_eq!(scheduler.cancel("agent.a", "x", at(15)), Err(Refusal::TaskIdDoesNotExist));
        assert_eq!(scheduler.cancel("agent.a", "a", at(15)), Ok(()));
        assert_eq!(owner(&scheduler, "d", at(15)), None);
    }

    #[test]
    fn events_are_starts_and_ends_in_order() {
        let mut scheduler = Scheduler::default();
        assert_eq!(scheduler.next_event(at(0)), None);
        ask(&mut scheduler, "a", Priority::Low, &[slot("d", 10, 20), slot("e", 15, 25)], 0).unwrap();
        let mut now = at(0);
        let events: Vec<_> = std::iter::from_fn(|| {
            now = scheduler.next_event(now)?;
            Some(now)
        })
        .collect();
        assert_eq!(events, [at(10), at(15), at(20), at(25)]);
    }

    #[test]
    fn the_number_of_tasks_is_bounded() {
        let mut scheduler = Scheduler::default();
        for i in 0..TASKS_MAX {
            let task = Task { owner: "a".to_owned(), priority: Priority::Low, slots: vec![slot("d", 1, 2)], preempted: false };
            scheduler.tasks.insert(i.to_string(), task);
        }
        assert!(matches!(ask(&mut scheduler, "x", Priority::Low, &[slot("e", 1, 2)], 0), Err(Refusal::Malformed { .. })));
        assert!(ask(&mut scheduler, "x", Priority::Low, &[slot("e", 3, 4)], 2).is_ok(), "finished ones make room");
    }
}
