//! The built-in agents. One folder or file each; `catalog` lists them all. What an agent is, is defined in `vt-agent`.

