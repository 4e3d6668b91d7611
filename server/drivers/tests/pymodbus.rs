//! The Modbus interface against PyPI's pymodbus over TCP: every register type and byte order read and written, exceptions, a slow
//! device, a device that dies and returns. The interpreter is `$VT_TEST_PYTHON`, else `python3`; it needs
//! `tests/compat/requirements.txt`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vt_drivers::{BuildContext, DriverError, Interface, Registry, build};
use vt_types::SystemClock;

/// How long a test waits for what has to happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// A simulator process; killed when dropped.
struct Simulator {
    child: Child,
    stdin: ChildStdin,
    lines: BufReader<std::process::ChildStdout>,
    layout: Value,
}

impl Simulator {
    fn start(port: u16) -> Self {
        let python = std::env::var("VT_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/compat/modbus/simulator.py");
        let mut child = Command::new(&python)
            .args([script, &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{python} cannot be run ({error}); set VT_TEST_PYTHON to a Python with pymodbus"));
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let layout = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("the pymodbus simulator did not start with {python}; run: {python} -m pip install -r tests/compat/requirements.txt")
        });
        Self { child, stdin, lines, layout }
    }

    fn port(&self) -> u16 {
        u16::try_from(self.layout["port"].as_u64().unwrap()).unwrap()
    }

    fn entries(&self) -> &[Value] {
        self.layout["registers"].as_array().unwrap()
    }

    fn command(&mut self, text: &str) -> Value {
        writeln!(self.stdin, "{text}").unwrap();
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn kill(mut self) -> u16 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.port()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // The process may have ended already; then there is nothing to end.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn row(name: &str, register: &str, writable: bool, address: u64, mixed: bool) -> Value {
    json!({"Reference Point Name": name, "Volttron Point Name": name, "Units": "x", "Modbus Register": register,
           "Writable": if writable { "TRUE" } else { "FALSE" }, "Point Address": address.to_string(),
           "Mixed Endian": if mixed { "TRUE" } else { "" }})
}

/// Everything the simulator has, as a registry.
fn registry_rows(simulator: &Simulator) -> Vec<Value> {
    let register = |entry: &Value| {
        let (name, format) = (entry["name"].as_str().unwrap(), entry["format"].as_str().unwrap());
        row(name, format, entry["table"] == "holding", entry["address"].as_u64().unwrap(), entry["mixed"] == true)
    };
    let mut rows: Vec<Value> = simulator.entries().iter().map(register).collect();
    for address in 0..u64::try_from(simulator.layout["coils"].as_array().unwrap().len()).unwrap() {
        rows.push(row(&format!("coil_{address}"), "BOOL", true, address, false));
        rows.push(row(&format!("discrete_{address}"), "BOOL", false, address, false));
    }
    rows
}

fn device(port: u16, timeout_s: f64, rows: Vec<Value>) -> Arc<dyn Interface> {
    let config = json!({"device_address": "127.0.0.1", "port": port, "slave_id": 1, "timeout": timeout_s});
    let registry = Arc::new(Registry::from_json(&Value::Array(rows)).unwrap());
    build(&BuildContext::new(Arc::new(SystemClock), 16), "modbus", config.as_object().unwrap(), &registry).unwrap()
}

fn assert_same(name: &str, found: &Value, expected: &Value) {
    match (found.as_f64(), expected.as_f64()) {
        (Some(found), Some(expected)) => assert!((found - expected).abs() <= expected.abs() * 1e-6, "{name}: {found} {expected}"),
        _ => assert_eq!(found, expected, "{name}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_register_type_and_byte_order_is_read() {
    let simulator = Simulator::start(0);
    let device = device(simulator.port(), 5.0, registry_rows(&simulator));
    let scrape = device.scrape_all().await.unwrap();
    assert!(scrape.errors.is_empty(), "{:?}", scrape.errors);
    let values = scrape.into_map(device.points());
    assert!(simulator.entries().len() > 200);
    for entry in simulator.entries() {
        let name = entry["name"].as_str().unwrap();
        assert_same(name, &values[name], &entry["value"]);
        assert_same(name, &device.get_point(name).await.unwrap(), &entry["value"]);
    }
    for (table, key) in [("coil", "coils"), ("discrete", "discrete")] {
        for (address, bit) in simulator.layout[key].as_array().unwrap().iter().enumerate() {
            assert_eq!(&values[&format!("{table}_{address}")], bit, "{table} {address}");
        }
    }
}

/// Another value of the same kind, that differs in every byte.
fn other_value(value: &Value) -> Value {
    match value {
        Value::Bool(flag) => json!(!flag),
        Value::String(_) => json!("new"),
        number if number.is_f64() => json!(-1.0625 * number.as_f64().unwrap()),
        number if number.as_i64().is_some_and(|n| n < 0) => json!(-(number.as_i64().unwrap() / 3)),
        number => json!(number.as_u64().unwrap() / 3),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_register_type_and_byte_order_is_written() {
    let mut simulator = Simulator::start(0);
    let device = device(simulator.port(), 5.0, registry_rows(&simulator));
    device.scrape_all().await.unwrap();
    let holding: Vec<Value> = simulator.entries().iter().filter(|entry| entry["table"] == "holding").cloned().collect();
    for entry in &holding {
        let name = entry["name"].as_str().unwrap();
        let value = other_value(&entry["value"]);
        assert_same(name, &device.set_point(name, &value).await.unwrap(), &value);
    }
    device.set_point("coil_0", &json!(false)).await.unwrap();
    let found = simulator.command("read");
    for entry in &holding {
        let name = entry["name"].as_str().unwrap();
        assert_same(name, &found["registers"][name], &other_value(&entry["value"]));
    }
    assert_eq!(found["coils"][0], false);
    // Putting everything back restores what the first scrape read.
    assert!(device.revert_all().await.is_empty());
    let found = simulator.command("read");
    for entry in &holding {
        let name = entry["name"].as_str().unwrap();
        assert_same(name, &found["registers"][name], &entry["value"]);
    }
    assert_eq!(found["coils"], simulator.layout["coils"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_are_named_and_spoil_their_own_point_only() {
    let simulator = Simulator::start(0);
    let codes = [
        (1, "Illegal function"),
        (2, "Illegal data address"),
        (3, "Illegal data value"),
        (4, "Server device failure"),
        (6, "Server device busy"),
    ];
    let mut rows: Vec<Value> = codes.iter().map(|(code, _)| row(&format!("bad_{code}"), ">H", false, 5000 + code, false)).collect();
    rows.push(row("nowhere", ">H", false, 4000, false));
    rows.push(row("good", "h", false, 0, false));
    rows.push(row("refused", ">H", true, 5003, false));
    let device = device(simulator.port(), 5.0, rows);
    let scrape = device.scrape_all().await.unwrap();
    let failed: Vec<&str> = scrape.errors.iter().map(|error| &*device.points().as_slice()[error.index].name).collect();
    assert_eq!(failed, ["bad_1", "bad_2", "bad_3", "bad_4", "bad_6", "nowhere"]);
    let values = scrape.into_map(device.points());
    assert_eq!((&values["good"], &values["bad_2"]), (&json!(-12345), &Value::Null));
    for (wanted, name) in codes {
        let error = device.get_point(&format!("bad_{wanted}")).await.unwrap_err();
        assert!(matches!(&error, DriverError::ModbusException { code, name: n, .. } if u64::from(*code) == wanted && n == name), "{error}");
    }
    let error = device.set_point("refused", &json!(5)).await.unwrap_err();
    assert_eq!(error.exc_type(), "builtins.OSError");
    assert!(error.to_string().starts_with("Error encountered trying to write to point refused: 127.0.0.1:"), "{error}");
    assert!(error.to_string().contains("Modbus exception 3 (Illegal data value)"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_device_times_out_alone_and_recovers() {
    let mut simulator = Simulator::start(0);
    let healthy = Simulator::start(0);
    let rows = || vec![row("t", "h", false, 0, false)];
    let slow = device(simulator.port(), 2.0, rows());
    let other = device(healthy.port(), 2.0, rows());
    slow.scrape_all().await.unwrap();
    simulator.command("slow 10");
    let slow_scrape = tokio::spawn({
        let slow = Arc::clone(&slow);
        async move { slow.scrape_all().await }
    });
    for _ in 0..20 {
        other.scrape_all().await.unwrap();
    }
    assert!(!slow_scrape.is_finished(), "the healthy device was read twenty times while the slow one was being waited for");
    let error = slow_scrape.await.unwrap().unwrap_err();
    assert!(matches!(error, DriverError::Timeout { timeout_ms: 2000, .. }), "{error}");
    simulator.command("slow 0");
    recovers(&slow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_device_is_noticed_and_its_return_too() {
    let simulator = Simulator::start(0);
    let device = device(simulator.port(), 1.0, vec![row("t", "h", false, 0, false)]);
    device.scrape_all().await.unwrap();
    let port = simulator.kill();
    let error = device.scrape_all().await.unwrap_err();
    assert!(matches!(error, DriverError::ConnectionRefused { .. } | DriverError::ConnectionLost { .. }), "{error}");
    assert!(error.is_device_down());
    let refused = device.get_point("t").await.unwrap_err();
    assert_eq!(refused.exc_type(), "builtins.ConnectionRefusedError");
    let _again = Simulator::start(port);
    recovers(&device).await;
}

async fn recovers(device: &Arc<dyn Interface>) {
    let begun = Instant::now();
    loop {
        match device.scrape_all().await {
            Ok(scrape) => return assert_eq!(scrape.values, [json!(-12345)]),
            Err(error) => assert!(begun.elapsed() < DEADLINE, "no recovery: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
