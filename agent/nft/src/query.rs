//! What is in the kernel.

use crate::{
    attribute::{Attributes, as_text, text},
    batch::{FAMILY_IPV4, NEW_ELEMENT, NEW_TABLE, message},
    error::Error,
    socket::Socket,
    table::{Element, ElementData},
};

const GET_TABLE: u16 = NEW_TABLE | 1;
const GET_ELEMENT: u16 = NEW_TABLE | 13;
const ACKNOWLEDGE: u16 = 0x4;
const DUMP: u16 = 0x300;

/// Elements of one set that are read; more are left out.
const ELEMENTS_MAX: usize = 1 << 20;

impl Socket {
    /// A number that the table of this name keeps for as long as it exists.
    pub fn table_handle(&mut self, table: &str) -> Result<Option<u64>, Error> {
        let mut request = Vec::new();
        message(&mut request, GET_TABLE, ACKNOWLEDGE, 1, (FAMILY_IPV4, 0), |to| text(to, 1, table));
        let mut handle = None;
        let asked = self.ask("find a table", &request, |kind, attributes| {
            if kind == NEW_TABLE && Attributes::find(attributes, 1).map(as_text) == Some(table) {
                handle =
                    Attributes::find(attributes, 4).and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
            }
        });
        match asked {
            Ok(()) => Ok(handle),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The elements of a set without ranges whose data, if any, are values. Absent sets have none.
    pub fn elements(&mut self, table: &str, set: &str) -> Result<Vec<Element>, Error> {
        let mut request = Vec::new();
        message(&mut request, GET_ELEMENT, DUMP | ACKNOWLEDGE, 1, (FAMILY_IPV4, 0), |to| {
            text(to, 1, table);
            text(to, 2, set);
        });
        let mut elements = Vec::new();
        let asked = self.ask("list a set", &request, |kind, attributes| {
            if kind == NEW_ELEMENT
                && let Some(list) = Attributes::find(attributes, 3)
            {
                let room = ELEMENTS_MAX - elements.len();
                elements.extend(Attributes(list).filter_map(|(_, element)| read(element)).take(room));
            }
        });
        match asked {
            Ok(()) => Ok(elements),
            Err(error) if error.is_absent() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

pub(crate) fn read(element: &[u8]) -> Option<Element> {
    let long = |kind| Some(u64::from_be_bytes(Attributes::find(element, kind)?.try_into().ok()?));
    let value = |kind| Attributes::at(element, &[kind, 1]).map(<[u8]>::to_vec);
    Some(Element {
        key: value(1)?,
        last: None,
        data: value(2).map(ElementData::Value),
        timeout_ms: long(4),
        expires_ms: long(5),
    })
}
