//! A Modbus device that is not ours: PyPI's pymodbus in a process of its own (`tests/compat/modbus/simulator.py`), killed when dropped.
//! The interpreter is `$VT_TEST_PYTHON`, else `python3`; it needs `tests/compat/requirements.txt`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Longest wait for a simulator to start or to answer a command; Python on a loaded machine gets some patience.
const PATIENCE: Duration = Duration::from_secs(30);
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/compat/modbus/simulator.py");

pub struct Simulator {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it holds, as it told at its start.
    pub layout: Value,
}

impl Simulator {
    /// A device on a free port.
    pub async fn start() -> Self {
        let python = python();
        let hint =
            format!("the pymodbus simulator did not start with {python}; run: {python} -m pip install -r tests/compat/requirements.txt");
        Self::try_start(0).await.unwrap_or_else(|| panic!("{hint}"))
    }

    /// A device that returns on its old port. A connection of somebody else may hold that port for a moment, so this is tried again.
    pub async fn start_again(port: u16) -> Self {
        let began = Instant::now();
        loop {
            if let Some(simulator) = Self::try_start(port).await {
                return simulator;
            }
            assert!(began.elapsed() < PATIENCE, "the simulator cannot return on port {port}");
        }
    }

    async fn try_start(port: u16) -> Option<Self> {
        let python = python();
        let mut child = Command::new(&python)
            .args([SCRIPT, &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{python} cannot be run ({error}); set VT_TEST_PYTHON to a Python with pymodbus"));
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("the simulator says where it is").unwrap()?;
        Some(Self { layout: serde_json::from_str(&first).unwrap(), child, stdin, lines })
    }

    pub fn port(&self) -> u16 {
        u16::try_from(self.layout["port"].as_u64().unwrap()).unwrap()
    }

    /// Its registers: `name`, `table`, `format`, `address`, `value` and more.
    pub fn registers(&self) -> &[Value] {
        self.layout["registers"].as_array().unwrap()
    }

    /// Every point that the registry `modbus_every_type.csv` reads from it, with its value.
    pub fn values(&self) -> Vec<(String, Value)> {
        let bits = |table: &str, key: &str| -> Vec<(String, Value)> {
            let bits = self.layout[key].as_array().unwrap().iter();
            bits.enumerate().map(|(address, bit)| (format!("{table}_{address}"), bit.clone())).collect()
        };
        let registers = self.registers().iter().map(|entry| (entry["name"].as_str().unwrap().to_owned(), entry["value"].clone()));
        registers.chain(bits("coil", "coils")).chain(bits("discrete", "discrete")).collect()
    }

    /// One command of its control channel, which bypasses Modbus and our code.
    pub async fn command(&mut self, text: &str) -> Value {
        self.stdin.write_all(format!("{text}\n").as_bytes()).await.unwrap();
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("the simulator answers a command").unwrap();
        let answer: Value = serde_json::from_str(&line.expect("the simulator lives")).unwrap();
        assert!(answer.get("error").is_none(), "{answer}");
        answer
    }

    /// The value that a holding register has now.
    pub async fn holding(&mut self, name: &str) -> Value {
        self.command("read").await["registers"][name].clone()
    }

    /// Kills it and gives the port on which it may return.
    pub async fn kill(mut self) -> u16 {
        self.child.kill().await.unwrap();
        self.port()
    }
}

fn python() -> String {
    std::env::var("VT_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Whether two values are the same, a 32-bit float with its decimal notation included.
pub fn same(found: &Value, expected: &Value) -> bool {
    match (found.as_f64(), expected.as_f64()) {
        (Some(found), Some(expected)) => (found - expected).abs() <= expected.abs() * 1e-6,
        _ => found == expected,
    }
}
