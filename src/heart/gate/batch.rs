//! nf_tables messages as bytes: one batch is one transaction, which takes effect as a whole or not at all.
//!
//! Written into one buffer that is kept: a refresh allocates nothing once the buffer has grown.

use std::net::IpAddr;

const NLMSG_HEADER_BYTES: usize = 16;
const NF_INET: u8 = 1;
const REQUEST: u16 = 1;
/// On messages that make something.
pub(super) const CREATE: u16 = 0x400;
/// A rule goes behind those that are there.
pub(super) const APPEND: u16 = 0x800;
const ACK: u16 = 4;
const NESTED: u16 = 0x8000;
const REGISTER: u32 = 1;

// Attribute numbers of linux/netfilter/nf_tables.h.
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
pub(super) const LIST_ELEM: u16 = 1;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

/// Where a packet that matched goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Drop,
    Goto(&'static str),
}

/// A batch under construction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    message_at: usize,
    sequence: u32,
}

impl Batch {
    /// Begins anew. With a generation the kernel refuses the whole batch if anybody changed the rule set since.
    pub(super) fn begin(&mut self, sequence: u32, generation: Option<u32>) {
        self.bytes.clear();
        self.sequence = sequence;
        self.header(message_type(libc::NFNL_MSG_BATCH_BEGIN), 0, 0, libc::NFNL_SUBSYS_NFTABLES);
        if let Some(generation) = generation {
            self.number(attribute(libc::NFNL_BATCH_GENID), generation);
        }
    }

    /// Begins the next message about something in the table.
    pub(super) fn message(&mut self, kind: i32, flags: u16) {
        self.finish_message();
        self.header(nf_tables(kind), flags, NF_INET, 0);
    }

    /// Ends the batch. The last message before the end is acknowledged, by the sequence number returned.
    pub(super) fn end(&mut self) -> (&[u8], u32) {
        let flags_at = self.message_at + 6;
        if let Some(flags) = self.bytes.get_mut(flags_at) {
            *flags |= ACK as u8;
        }
        let acknowledged = self.sequence.wrapping_sub(1);
        self.finish_message();
        self.header(message_type(libc::NFNL_MSG_BATCH_END), 0, 0, libc::NFNL_SUBSYS_NFTABLES);
        self.finish_message();
        (&self.bytes, acknowledged)
    }

    fn header(&mut self, kind: u16, flags: u16, family: u8, resource: i32) {
        self.message_at = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((REQUEST | flags).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(u16::try_from(resource).unwrap_or(0).to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn finish_message(&mut self) {
        let length = u32::try_from(self.bytes.len() - self.message_at).unwrap_or(u32::MAX);
        self.bytes[self.message_at..self.message_at + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// An attribute of raw bytes.
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// A text, which ends with a zero byte.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        let mut with_end = [0; 32];
        let length = value.len().min(with_end.len() - 1);
        with_end[..length].copy_from_slice(&value.as_bytes()[..length]);
        self.bytes(kind, &with_end[..=length]);
    }

    /// A number; nf_tables wants them in network order.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A long number.
    pub(super) fn long(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Attributes inside an attribute.
    pub(super) fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        inside(self);
        let length = u16::try_from(self.bytes.len() - at).unwrap_or(u16::MAX);
        self.bytes[at..at + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Self)) {
        self.nest(LIST_ELEM, |element| {
            element.text(EXPR_NAME, name);
            element.nest(EXPR_DATA, data);
        });
    }

    fn value(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |data| data.bytes(DATA_VALUE, value));
    }

    /// Loads a fact about the packet.
    pub(super) fn load_meta(&mut self, key: u32) {
        self.expression("meta", |data| {
            data.number(2, key);
            data.number(1, REGISTER);
        });
    }

    /// Loads bytes of the packet.
    pub(super) fn load_payload(&mut self, base: i32, offset: u32, length: u32) {
        self.expression("payload", |data| {
            data.number(1, REGISTER);
            data.number(2, base.cast_unsigned());
            data.number(3, offset);
            data.number(4, length);
        });
    }

    /// Goes on only if what was loaded compares so; the kernel compares byte by byte, so numbers are in network order.
    pub(super) fn compare(&mut self, operator: i32, with: &[u8]) {
        self.expression("cmp", |data| {
            data.number(1, REGISTER);
            data.number(2, operator.cast_unsigned());
            data.value(3, with);
        });
    }

    /// Keeps these bits of the byte that was loaded.
    pub(super) fn mask(&mut self, bits: u8) {
        self.expression("bitwise", |data| {
            data.number(1, REGISTER);
            data.number(2, REGISTER);
            data.number(3, 1);
            data.value(4, &[bits]);
            data.value(5, &[0]);
        });
    }

    /// Turns the eight bytes that were loaded into network order.
    pub(super) fn order_for_network(&mut self) {
        self.expression("byteorder", |data| {
            data.number(1, REGISTER);
            data.number(2, REGISTER);
            data.number(3, libc::NFT_BYTEORDER_HTON.cast_unsigned());
            data.number(4, 8);
            data.number(5, 8);
        });
    }

    /// Goes on only if what was loaded is in the set.
    pub(super) fn look_up(&mut self, set: &str) {
        self.expression("lookup", |data| {
            data.number(2, REGISTER);
            data.text(1, set);
        });
    }

    /// The packet's end or its way on.
    pub(super) fn verdict(&mut self, verdict: Verdict) {
        let code = match verdict {
            Verdict::Accept => libc::NF_ACCEPT,
            Verdict::Drop => libc::NF_DROP,
            Verdict::Goto(_) => libc::NFT_GOTO,
        };
        self.expression("immediate", |data| {
            data.number(1, 0);
            data.nest(2, |value| {
                value.nest(DATA_VERDICT, |inner| {
                    inner.number(VERDICT_CODE, code.cast_unsigned());
                    if let Verdict::Goto(chain) = verdict {
                        inner.text(VERDICT_CHAIN, chain);
                    }
                });
            });
        });
    }

    /// Answers with a TCP reset and drops.
    pub(super) fn reset(&mut self) {
        self.expression("reject", |data| {
            data.number(1, libc::NFT_REJECT_TCP_RST.cast_unsigned());
            data.bytes(2, &[0]);
        });
    }
}

/// A question that is no part of a batch: which generation the rule set has.
pub(super) fn generation_question(sequence: u32) -> Vec<u8> {
    let mut question = Batch { bytes: Vec::with_capacity(NLMSG_HEADER_BYTES + 4), message_at: 0, sequence };
    question.header(nf_tables(libc::NFT_MSG_GETGEN), 0, 0, 0);
    question.finish_message();
    question.bytes
}

/// An address as it stands in a packet.
pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The netlink type of one of nf_tables' messages.
pub(super) fn nf_tables(kind: i32) -> u16 {
    message_type((libc::NFNL_SUBSYS_NFTABLES << 8) | kind)
}

fn message_type(number: i32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn attribute(number: i32) -> u16 {
    message_type(number)
}
