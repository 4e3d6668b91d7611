//! Which reads a scrape needs: values at adjacent addresses share a read of at most 100 addresses, and no value is torn apart.
//! Source: VOLTTRON `interfaces/modbus.py`, `merge_register_ranges`.

use std::sync::atomic::{AtomicU8, Ordering};

use super::register::{Register, Table};

/// Most addresses of one read.
pub const READ_MAX: u16 = 100;
/// After an exception the values of a read are read one by one in this many scrapes, before the common read is tried again.
const SINGLE_SCRAPES: u8 = 20;

/// One read for several values.
#[derive(Debug)]
pub struct Group {
    /// Which table.
    pub table: Table,
    /// First address.
    pub start: u16,
    /// How many addresses, 1 to 100.
    pub count: u16,
    /// Indices of the registers it covers.
    pub members: Vec<usize>,
    single: AtomicU8,
}

impl Group {
    /// Whether the values have to be read one by one this time, because a common read was refused lately. Counts down.
    pub fn is_split(&self) -> bool {
        self.single.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Notes that the common read was refused.
    pub fn split(&self) {
        if self.members.len() > 1 {
            self.single.store(SINGLE_SCRAPES, Ordering::Relaxed);
        }
    }
}

/// Merges `registers` into reads.
pub fn merge(registers: &[Register]) -> Vec<Group> {
    let mut order: Vec<usize> = (0..registers.len()).collect();
    order.sort_by_key(|index| registers.get(*index).map(|register| (register.table, register.address, register.count())));
    let mut groups: Vec<Group> = Vec::new();
    for index in order {
        let Some(register) = registers.get(index) else { continue };
        let end = u32::from(register.address) + u32::from(register.count());
        if let Some(last) = groups.last_mut() {
            let last_end = u32::from(last.start) + u32::from(last.count);
            let count = end.max(last_end) - u32::from(last.start);
            if last.table == register.table && u32::from(register.address) <= last_end && count <= u32::from(READ_MAX) {
                last.count = u16::try_from(count).unwrap_or(READ_MAX);
                last.members.push(index);
                continue;
            }
        }
        let (table, start, count) = (register.table, register.address, register.count());
        groups.push(Group { table, start, count, members: vec![index], single: AtomicU8::new(0) });
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::register::Content;
    use super::*;

    fn register(table: Table, address: u16, format: &str) -> Register {
        let content = match table.is_bits() {
            true => Content::Bit,
            false => Content::Words { format: Format::parse(format).unwrap(), mixed_endian: false, transform: None, other: None },
        };
        Register { table, address, content }
    }

    fn spans(registers: &[Register]) -> Vec<(u16, u16, usize)> {
        merge(registers).iter().map(|group| (group.start, group.count, group.members.len())).collect()
    }

    #[test]
    fn adjacent_and_overlapping_addresses_share_a_read() {
        use Table::{Coils, HoldingRegisters, InputRegisters};
        let registers = [
            register(HoldingRegisters, 2, ">f"),
            register(HoldingRegisters, 0, ">I"),
            register(HoldingRegisters, 1, ">H"),
            register(HoldingRegisters, 5, ">H"),
            register(InputRegisters, 4, ">H"),
            register(Coils, 4, ""),
            register(Coils, 5, ""),
        ];
        assert_eq!(spans(&registers), [(4, 2, 2), (4, 1, 1), (0, 4, 3), (5, 1, 1)]);
    }

    #[test]
    fn a_read_has_at_most_100_addresses_and_tears_no_value() {
        let registers: Vec<Register> = (0..75).map(|n| register(Table::HoldingRegisters, n * 3, ">xxI")).collect();
        let spans = spans(&registers);
        assert_eq!(spans, [(0, 99, 33), (99, 99, 33), (198, 27, 9)]);
        let bits: Vec<Register> = (0..250).map(|n| register(Table::Coils, n, "")).collect();
        assert_eq!(merge(&bits).iter().map(|group| group.count).collect::<Vec<_>>(), [100, 100, 50]);
    }

    #[test]
    fn a_refused_read_is_split_for_a_while() {
        let group = &merge(&[register(Table::Coils, 0, ""), register(Table::Coils, 1, "")])[0];
        assert!(!group.is_split());
        group.split();
        assert_eq!((0..30).filter(|_| group.is_split()).count(), usize::from(SINGLE_SCRAPES));
    }
}
