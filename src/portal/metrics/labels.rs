//! The labels. Their values are words of our own, zone names and names in our certificates: never a user, a client's
//! address or a path (K4), so that nobody outside can make a series.

use prometheus_client::encoding::EncodeLabelSet;

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
pub(super) struct RequestLabels {
    pub(super) zone: String,
    pub(super) decision: &'static str,
    pub(super) status: &'static str,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
pub(super) struct ZoneLabel {
    pub(super) zone: String,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
pub(super) struct RefusalLabels {
    pub(super) decision: &'static str,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
pub(super) struct LoginLabels {
    pub(super) outcome: &'static str,
    pub(super) method: &'static str,
    pub(super) class: &'static str,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
pub(super) struct OutcomeLabel {
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
pub(super) struct ReasonLabel {
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
pub(super) struct ClassLabel {
    pub(super) class: &'static str,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
pub(super) struct KindLabel {
    pub(super) kind: &'static str,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
pub(super) struct OperationLabel {
    pub(super) operation: &'static str,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
pub(super) struct NameLabel {
    pub(super) name: String,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
pub(super) struct VersionLabel {
    pub(super) version: &'static str,
}
