//! The backend VIP.

pub mod vip;
