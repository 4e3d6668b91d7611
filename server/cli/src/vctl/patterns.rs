//! Which agents a command is about. Source: VOLTTRON `volttron/platform/control/control_utils.py` (`filter_agents`).

use clap::Args;
use regex::Regex;

use super::failure::Failure;
use super::installed::Agent;
use crate::output::{complain, printable};

/// Patterns and how they are read.
#[derive(Debug, Args)]
pub struct Patterns {
    /// Start of a UUID or of an agent's name
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    #[command(flatten)]
    pub filters: Filters,
}

/// How patterns are read.
#[derive(Debug, Default, Args)]
pub struct Filters {
    /// Patterns are names; * and ? stand for any text and any character
    #[arg(long = "name")]
    by_name: bool,
    /// Patterns are tags
    #[arg(long = "tag")]
    by_tag: bool,
    /// Patterns are UUIDs
    #[arg(long = "uuid")]
    by_uuid: bool,
    /// All agents that have a tag
    #[arg(long)]
    all_tagged: bool,
}

impl Patterns {
    /// Agents that a command is about; patterns that find nothing are told on standard error.
    pub fn wanted(&self, all: &[Agent], command: &str) -> Result<Vec<Agent>, Failure> {
        if self.filters.all_tagged {
            return Ok(all.iter().filter(|agent| agent.tag.is_some()).cloned().collect());
        }
        if self.patterns.is_empty() {
            return Err(Failure::new(2, "Missing search pattern."));
        }
        let mut found: Vec<Agent> = Vec::new();
        for pattern in &self.patterns {
            let mut matches = self.filters.matching(all, pattern)?;
            if matches.len() > 1 && !self.filters.any() && matches[0].uuid.starts_with(pattern.as_str()) {
                // A start that fits several is a slip of the keyboard, not a wish.
                complain(&format!("{command}: {} is the start of several UUIDs; give more of it", printable(pattern)));
                matches.clear();
            }
            if matches.is_empty() {
                complain(&not_found(command, pattern));
            }
            for agent in matches {
                if found.iter().all(|known| known.uuid != agent.uuid) {
                    found.push(agent);
                }
            }
        }
        Ok(found)
    }

    /// Agents to show: all, or those that the patterns find.
    pub fn shown(&self, all: &[Agent], command: &str) -> Result<Vec<Agent>, Failure> {
        if self.patterns.is_empty() && !self.filters.all_tagged { Ok(all.to_vec()) } else { self.wanted(all, command) }
    }
}

fn not_found(command: &str, pattern: &str) -> String {
    match command {
        "start" | "stop" | "restart" => format!("Agents NOT found using 'vctl {command}' on pattern: {}", printable(pattern)),
        _ => format!("{command}: error: agent not found: {}", printable(pattern)),
    }
}

impl Filters {
    fn any(&self) -> bool {
        self.by_name || self.by_tag || self.by_uuid
    }

    /// Agents that one pattern finds.
    pub fn matching(&self, all: &[Agent], pattern: &str) -> Result<Vec<Agent>, Failure> {
        if !self.any() {
            let starting =
                |text: fn(&Agent) -> &str| all.iter().filter(|agent| text(agent).starts_with(pattern)).cloned().collect::<Vec<_>>();
            let by_uuid = starting(|agent| &agent.uuid);
            return Ok(if by_uuid.is_empty() { starting(|agent| &agent.name) } else { by_uuid });
        }
        let text = regex::escape(pattern).replace(r"\*", ".*").replace(r"\?", ".");
        let regex = Regex::new(&format!("^(?s:{text})$")).map_err(|_| Failure::new(2, "the pattern is too long"))?;
        let fits = |agent: &Agent| {
            (self.by_name && regex.is_match(&agent.name))
                || (self.by_tag && agent.tag.as_deref().is_some_and(|tag| regex.is_match(tag)))
                || (self.by_uuid && regex.is_match(&agent.uuid))
        };
        Ok(all.iter().filter(|agent| fits(agent)).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(uuid: &str, name: &str, tag: Option<&str>) -> Agent {
        Agent { uuid: uuid.into(), name: name.into(), identity: name.into(), tag: tag.map(Into::into), priority: None }
    }

    fn found(pattern: &str, by_name: bool, by_tag: bool, by_uuid: bool) -> Vec<String> {
        let all = [agent("8b1e", "listeneragent-3.3", Some("listener")), agent("9c00", "platform_driveragent-4.0", None)];
        let filters = Filters { by_name, by_tag, by_uuid, all_tagged: false };
        filters.matching(&all, pattern).unwrap().into_iter().map(|agent| agent.uuid).collect()
    }

    #[test]
    fn patterns_are_starts_of_uuids_then_of_names() {
        assert_eq!(found("8", false, false, false), ["8b1e"]);
        assert_eq!(found("platform", false, false, false), ["9c00"]);
        assert_eq!(found("x", false, false, false), Vec::<String>::new());
    }

    #[test]
    fn the_start_of_several_uuids_stands_for_none() {
        let all = [agent("8b1e", "a-1.0", None), agent("8c00", "b-1.0", None)];
        let wanted = |pattern: &str| {
            let patterns = Patterns { patterns: vec![pattern.to_owned()], filters: Filters::default() };
            patterns.wanted(&all, "stop").unwrap().len()
        };
        assert_eq!((wanted("8"), wanted(""), wanted("8c")), (0, 0, 1));
    }

    #[test]
    fn filters_match_whole_texts_with_wild_cards_and_add_up() {
        assert_eq!(found("*agent-?.?", true, false, false), ["8b1e", "9c00"]);
        assert_eq!(found("listener", false, true, false), ["8b1e"]);
        assert_eq!(found("listen", false, true, false), Vec::<String>::new());
        assert_eq!(found("9c0?", false, false, true), ["9c00"]);
        assert_eq!(found("9c", false, false, true), Vec::<String>::new(), "a whole UUID");
        assert_eq!(found("*", true, true, false), ["8b1e", "9c00"]);
        assert_eq!(found("a.*(", true, false, false), Vec::<String>::new(), "regex signs are plain text");
    }
}
