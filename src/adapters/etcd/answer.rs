//! What an error of etcd's client proves.

use etcd_client::Error;
use std::error::Error as _;
use tonic::{Code, ConnectError, Status};

/// Why one member did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Surely nothing happened: no connection, or the member said so before it looked at the request.
    NotSent(String),
    /// etcd refused the request itself; asking another member would end the same.
    Refused(String),
    /// No answer, or one that leaves open whether the request is carried out.
    Unclear(String),
}

impl CallError {
    /// What happened, for people.
    pub fn detail(&self) -> &str {
        match self {
            Self::NotSent(detail) | Self::Refused(detail) | Self::Unclear(detail) => detail,
        }
    }
}

/// Sorts an error by what it proves; what is not known for sure is unclear.
pub(super) fn classify(error: &Error) -> CallError {
    match error {
        Error::GRpcStatus(status) => classify_status(status),
        Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) | Error::EndpointError(_) => {
            CallError::NotSent(error.to_string())
        }
        other => CallError::Unclear(other.to_string()),
    }
}

fn classify_status(status: &Status) -> CallError {
    let text = status.message().to_owned();
    if never_connected(status) {
        return CallError::NotSent(text);
    }
    // Not etcd's word but the connection's end, whatever code the client gave it: h2's ENHANCE_YOUR_CALM would be
    // `ResourceExhausted`, and a cluster was not founded because of it.
    if status.source().is_some() {
        return CallError::Unclear(format!("{}: {text}", status.code()));
    }
    match status.code() {
        // The member's own quick refusals; it has proposed nothing yet.
        Code::ResourceExhausted if text.contains("too many requests") => CallError::NotSent(text),
        Code::Unavailable if text.contains("not supported for learner") => CallError::NotSent(text),
        // Anything larger than 1.5 MiB, a full database, a wrong argument, a membership rule.
        Code::ResourceExhausted
        | Code::InvalidArgument
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::NotFound
        | Code::OutOfRange => CallError::Refused(text),
        // `Unknown` too: etcd 3.5 and 3.6 label a lost leader so.
        _ => CallError::Unclear(format!("{}: {text}", status.code())),
    }
}

fn never_connected(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, text: &str) -> CallError {
        classify(&Error::GRpcStatus(Status::new(code, text)))
    }

    #[test]
    fn only_what_proves_that_nothing_happened_counts_as_not_sent() {
        let quick = of(Code::ResourceExhausted, "etcdserver: too many requests");
        assert!(matches!(quick, CallError::NotSent(_)));
        let refused = Status::from_error(Box::new(ConnectError("connection refused".into())));
        assert!(matches!(classify(&Error::GRpcStatus(refused)), CallError::NotSent(_)));
        for text in ["etcdserver: no leader", "etcdserver: request timed out", "etcdserver: leader changed"] {
            assert!(matches!(of(Code::Unavailable, text), CallError::Unclear(_)), "{text}");
        }
        assert!(matches!(of(Code::Unknown, "anything"), CallError::Unclear(_)));
        assert!(matches!(of(Code::Cancelled, "stream closed"), CallError::Unclear(_)));
    }

    #[test]
    fn a_connection_that_broke_is_no_refusal() {
        for reason in [h2::Reason::ENHANCE_YOUR_CALM, h2::Reason::INADEQUATE_SECURITY, h2::Reason::CANCEL] {
            let status = Status::from_error(Box::new(h2::Error::from(reason)));
            assert!(matches!(classify(&Error::GRpcStatus(status.clone())), CallError::Unclear(_)), "{status:?}");
        }
    }

    #[test]
    fn etcds_own_refusals_are_final() {
        for (code, text) in [
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            (Code::InvalidArgument, "etcdserver: request is too large"),
            (Code::PermissionDenied, "etcdserver: permission denied"),
            (Code::FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader"),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
        ] {
            assert_eq!(of(code, text), CallError::Refused(text.to_owned()));
        }
    }
}
