//! Modbus TCP: the interfaces `modbus` and `modbus_tk`, which differ in how they spell a registry.
//! Source: VOLTTRON `platform_driver/interfaces/modbus.py` and `modbus_tk/`; Modbus Application Protocol 1.1b3.
//!
//! Map: `rows` and `rows_tk` (registries), `config` (`driver_config`), `register` with `format` and `transform` (bytes to values),
//! `plan` (which reads), `connection` (the socket).
//!
//! Differs from VOLTTRON: the connection stays open; reading a point that fails is an error, not null; one bad address spoils its own
//! point only; `modbus` also accepts the column `Transform`. Not offered: serial lines.

mod config;
mod connection;
mod format;
mod plan;
mod register;
mod rows;
mod rows_tk;
mod transform;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio_modbus::{ExceptionCode, Request, Response};

use crate::catalog::BuildContext;
use crate::error::{ConfigError, DriverError, ReadOnlyClass};
use crate::interface::{Interface, Point, PointError, Points, Scrape};
use crate::registry::Registry;
use crate::revert::{Device, Reverting};

use config::Target;
use connection::{Connection, Failure};
use plan::Group;
use register::{Content, Data, Register, Table, Written};

/// Builds a device of driver type `modbus`.
///
/// # Errors
/// [`ConfigError`].
pub fn build(context: &BuildContext, config: &Map<String, Value>, registry: &Arc<Registry>) -> Result<Arc<dyn Interface>, ConfigError> {
    let target = Target::parse(config, 0)?;
    let parsed = rows::parse(registry)?;
    assemble(context, target, parsed, registry)
}

/// Builds a device of driver type `modbus_tk`.
///
/// # Errors
/// [`ConfigError`].
pub fn build_tk(context: &BuildContext, config: &Map<String, Value>, registry: &Arc<Registry>) -> Result<Arc<dyn Interface>, ConfigError> {
    if config::find(config, "port").is_none_or(Value::is_null) {
        return Err(config::field("port", "a port is expected; serial lines (RTU) are not supported by this server"));
    }
    let target = Target::parse(config, 1)?;
    let parsed = if registry.rows().first().is_some_and(|row| row.has("Point Address")) {
        rows::parse(registry)?
    } else {
        rows_tk::parse(config, registry)?
    };
    assemble(context, target, parsed, registry)
}

/// One row that became a point.
#[derive(Debug)]
struct ParsedPoint {
    point: Point,
    register: Register,
    /// Name of the register, by which transforms refer to it.
    register_name: String,
    default: Option<Value>,
}

/// What a registry gave.
#[derive(Debug, Default)]
struct Parsed {
    points: Vec<ParsedPoint>,
    warnings: Vec<String>,
}

fn assemble(
    context: &BuildContext,
    target: Target,
    mut parsed: Parsed,
    registry: &Arc<Registry>,
) -> Result<Arc<dyn Interface>, ConfigError> {
    resolve_others(&mut parsed.points, registry)?;
    let (mut points, mut registers, mut defaults) = (Vec::new(), Vec::new(), Vec::new());
    for (index, parsed) in parsed.points.into_iter().enumerate() {
        defaults.extend(parsed.default.map(|value| (index, value)));
        points.push(parsed.point);
        registers.push(parsed.register);
    }
    let device = ModbusDevice {
        points: Points::new(points, Arc::clone(registry)),
        warnings: parsed.warnings,
        groups: plan::merge(&registers),
        registers,
        connection: Connection::new(target, Arc::clone(&context.sockets)),
    };
    Ok(Arc::new(Reverting::new(device, defaults)))
}

/// Finds the registers that transforms name.
fn resolve_others(points: &mut [ParsedPoint], registry: &Registry) -> Result<(), ConfigError> {
    let names: HashMap<String, usize> =
        points.iter().enumerate().map(|(index, parsed)| (parsed.register_name.to_lowercase(), index)).collect();
    let scaled: Vec<bool> = points
        .iter()
        .map(|parsed| matches!(&parsed.register.content, Content::Words { transform: Some(t), .. } if t.other_register().is_some()))
        .collect();
    for parsed in points {
        let Content::Words { transform: Some(transform), other, .. } = &mut parsed.register.content else { continue };
        let Some(name) = transform.other_register() else { continue };
        let found = names.get(&name.to_lowercase()).copied();
        let reason = match found {
            None => format!("the register {name:?} is not in the registry"),
            Some(index) if scaled.get(index) == Some(&true) => format!("the register {name:?} is itself scaled by a register"),
            Some(_) => {
                *other = found;
                continue;
            }
        };
        return Err(match registry.rows().get(parsed.point.row) {
            Some(row) => row.error("Transform", reason).into(),
            None => config::field("register_map", reason),
        });
    }
    Ok(())
}

/// The device.
#[derive(Debug)]
struct ModbusDevice {
    points: Points,
    warnings: Vec<String>,
    registers: Vec<Register>,
    groups: Vec<Group>,
    connection: Connection,
}

/// What one read brought.
enum Payload {
    Bits(Vec<bool>),
    Words(Vec<u16>),
}

impl Payload {
    fn from(&self, offset: usize) -> Data<'_> {
        match self {
            Self::Bits(bits) => Data::Bits(bits.get(offset..).unwrap_or_default()),
            Self::Words(words) => Data::Words(words.get(offset..).unwrap_or_default()),
        }
    }
}

impl ModbusDevice {
    fn register(&self, index: usize) -> Result<&Register, DriverError> {
        self.registers.get(index).ok_or_else(|| DriverError::PointNotConfigured(format!("number {index}")))
    }

    fn name(&self, index: usize) -> String {
        self.points.as_slice().get(index).map(|point| point.name.to_string()).unwrap_or_default()
    }

    async fn fetch(&self, table: Table, start: u16, count: u16) -> Result<Payload, DriverError> {
        let request = match table {
            Table::Coils => Request::ReadCoils(start, count),
            Table::DiscreteInputs => Request::ReadDiscreteInputs(start, count),
            Table::InputRegisters => Request::ReadInputRegisters(start, count),
            Table::HoldingRegisters => Request::ReadHoldingRegisters(start, count),
        };
        let asked = || format!("a read of {count} {} at {start}", table.words());
        let payload = match self.connection.call(request).await.map_err(|failure| self.refusal(failure, asked()))? {
            Response::ReadCoils(bits) | Response::ReadDiscreteInputs(bits) => Payload::Bits(bits),
            Response::ReadInputRegisters(words) | Response::ReadHoldingRegisters(words) => Payload::Words(words),
            _ => return Err(self.nonsense("another kind of answer than asked for".into())),
        };
        // Bits come in whole bytes, so there may be more than asked for.
        let fits = match &payload {
            Payload::Bits(bits) => bits.len() >= usize::from(count),
            Payload::Words(words) => words.len() == usize::from(count),
        };
        if fits { Ok(payload) } else { Err(self.nonsense(format!("another number of values than asked for in {}", asked()))) }
    }

    fn refusal(&self, failure: Failure, request: String) -> DriverError {
        match failure {
            Failure::Device(error) => error,
            Failure::Exception(exception) => {
                DriverError::ModbusException { device: self.connection.device(), request, code: exception.into(), name: name(exception) }
            }
        }
    }

    fn nonsense(&self, reason: String) -> DriverError {
        DriverError::Protocol { device: self.connection.device(), reason }
    }

    /// The number that scales register `index`, read from the device.
    async fn other_value(&self, index: usize) -> Result<Option<f64>, DriverError> {
        let Some(other) = self.register(index)?.other() else { return Ok(None) };
        let register = self.register(other)?;
        let payload = self.fetch(register.table, register.address, register.count()).await?;
        Ok(register.decode(payload.from(0), None).as_ref().and_then(Value::as_f64))
    }

    fn decoded(&self, index: usize, data: Data<'_>, other: Option<f64>) -> Result<Value, DriverError> {
        let what = || "a bit pattern that is no number, or a scale of 0".to_owned();
        let value = self.register(index)?.decode(data, other);
        value.ok_or_else(|| DriverError::NoValue { point: self.name(index), what: what() })
    }

    async fn send(&self, index: usize, written: Written) -> Result<(), DriverError> {
        let register = self.register(index)?;
        let start = register.address;
        let requests = match written {
            Written::Bit(bit) => vec![Request::WriteSingleCoil(start, bit)],
            Written::Words(words) if self.connection.target().write_multiple => {
                vec![Request::WriteMultipleRegisters(start, Cow::Owned(words))]
            }
            Written::Words(words) => (start..).zip(words).map(|(address, word)| Request::WriteSingleRegister(address, word)).collect(),
        };
        for request in requests {
            let asked = || format!("a write of {} {} at {start}", register.count(), register.table.words());
            self.connection.call(request).await.map_err(|failure| self.refusal(failure, asked()))?;
        }
        Ok(())
    }

    /// Reads one group into `slots`; an error means that the device is down.
    async fn scrape_group(&self, group: &Group, slots: &mut [Slot]) -> Result<(), DriverError> {
        if !group.is_split() {
            match self.fetch(group.table, group.start, group.count).await {
                Ok(payload) => {
                    for index in &group.members {
                        if let (Some(slot), Ok(register)) = (slots.get_mut(*index), self.register(*index)) {
                            *slot = Slot::read(&payload, usize::from(register.address - group.start), register);
                        }
                    }
                    return Ok(());
                }
                Err(error) if error.is_device_down() => return Err(error),
                Err(error) if group.members.len() == 1 => {
                    self.fill(group, slots, &error);
                    return Ok(());
                }
                Err(_) => group.split(),
            }
        }
        for index in &group.members {
            let Ok(register) = self.register(*index) else { continue };
            let slot = match self.fetch(register.table, register.address, register.count()).await {
                Ok(payload) => Slot::read(&payload, 0, register),
                Err(error) if error.is_device_down() => return Err(error),
                Err(error) => Slot::Failed(error),
            };
            if let Some(place) = slots.get_mut(*index) {
                *place = slot;
            }
        }
        Ok(())
    }

    fn fill(&self, group: &Group, slots: &mut [Slot], error: &DriverError) {
        for index in &group.members {
            if let Some(slot) = slots.get_mut(*index) {
                *slot = Slot::Failed(error.clone());
            }
        }
    }

    fn slot_value(&self, index: usize, slot: &Slot, other: Option<f64>) -> Result<Value, DriverError> {
        match slot {
            Slot::Bits(bit) => self.decoded(index, Data::Bits(&[*bit]), None),
            Slot::Words(words) => self.decoded(index, Data::Words(words), other),
            Slot::Failed(error) => Err(error.clone()),
            Slot::Empty => Err(self.nonsense("nothing for this point".into())),
        }
    }
}

/// What a scrape has of one register.
#[derive(Clone)]
enum Slot {
    Empty,
    Bits(bool),
    Words(Vec<u16>),
    Failed(DriverError),
}

impl Slot {
    fn read(payload: &Payload, offset: usize, register: &Register) -> Self {
        match payload.from(offset) {
            Data::Bits(bits) => bits.first().map_or(Self::Empty, |bit| Self::Bits(*bit)),
            Data::Words(words) => words.get(..usize::from(register.count())).map_or(Self::Empty, |words| Self::Words(words.to_vec())),
        }
    }
}

#[async_trait]
impl Device for ModbusDevice {
    fn points(&self) -> &Points {
        &self.points
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn read_only(&self, name: &str) -> DriverError {
        DriverError::ReadOnly { point: name.to_owned(), class: ReadOnlyClass::Os }
    }

    async fn read(&self, index: usize) -> Result<Value, DriverError> {
        let register = self.register(index)?;
        let other = self.other_value(index).await?;
        let payload = self.fetch(register.table, register.address, register.count()).await?;
        self.decoded(index, payload.from(0), other)
    }

    async fn write(&self, index: usize, value: &Value) -> Result<Value, DriverError> {
        let register = self.register(index)?;
        let wrap = |cause: DriverError| DriverError::Write { point: self.name(index), cause: Box::new(cause) };
        let other = self.other_value(index).await.map_err(wrap)?;
        let Some(written) = register.encode(value, other) else {
            return Err(super::bad_value(self.name(index), register.expected(), value));
        };
        self.send(index, written.clone()).await.map_err(wrap)?;
        match self.fetch(register.table, register.address, register.count()).await {
            Ok(payload) => self.decoded(index, payload.from(0), other),
            // Some registers can only be written; then what was sent is all that is known.
            Err(DriverError::ModbusException { .. }) => match &written {
                Written::Bit(bit) => self.decoded(index, Data::Bits(&[*bit]), other),
                Written::Words(words) => self.decoded(index, Data::Words(words), other),
            },
            Err(error) => Err(wrap(error)),
        }
    }

    async fn read_all(&self) -> Result<Scrape, DriverError> {
        let mut slots = vec![Slot::Empty; self.registers.len()];
        for group in &self.groups {
            self.scrape_group(group, &mut slots).await?;
        }
        let mut scrape = Scrape { values: Vec::with_capacity(slots.len()), errors: Vec::new() };
        for (index, slot) in slots.iter().enumerate() {
            let other = self.register(index)?.other();
            let scale = other.and_then(|other| slots.get(other).map(|slot| (other, slot)));
            let scale = scale.and_then(|(other, slot)| self.slot_value(other, slot, None).ok()?.as_f64());
            let value = self.slot_value(index, slot, scale);
            scrape.values.push(value.unwrap_or_else(|error| {
                scrape.errors.push(PointError { index, error });
                Value::Null
            }));
        }
        match scrape.errors.first() {
            // A device that answers with exceptions only has given no reading.
            Some(first) if scrape.errors.len() == slots.len() => Err(first.error.clone()),
            _ => Ok(scrape),
        }
    }
}

/// The name of an exception, as the standard spells it.
fn name(exception: ExceptionCode) -> String {
    exception.to_string()
}

#[cfg(test)]
mod tests;
