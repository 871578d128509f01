//! Why a request got an answer of ours in place of the application's: every reason that the access log, the metrics and
//! traces name. `config/reasons.md` says of each what to do, and a test holds it to this list.

use crate::gate::{ChallengeReason, Forbidden, Refusal};

/// Makes the reasons of the edge, so that none can be missing in the list of all.
macro_rules! reasons {
    ($($(#[doc = $meaning:literal])+ $reason:ident = $name:expr,)+) => {
        /// Why a request got an answer of ours in place of the application's.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Reason {
            /// The gate has refused it, whoever asks.
            Refusal(Refusal),
            /// Its client must log in.
            Challenge(ChallengeReason),
            $($(#[doc = $meaning])+ $reason,)+
        }

        impl Reason {
            const OF_THE_EDGE: &[Self] = &[$(Self::$reason,)+];

            /// The name in logs, metrics and traces.
            pub const fn name(self) -> &'static str {
                match self {
                    Self::Refusal(refusal) => refusal.name(),
                    Self::Challenge(reason) => reason.name(),
                    $(Self::$reason => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// A rule of the zone lets nobody through, or not this person.
    ForbiddenByRule = Forbidden::REASON,
    /// A method that nobody passes on, or that the zone does not.
    Method = "method",
    /// An expectation that nobody meets.
    Expectation = "expectation",
    /// More fields or bytes in the head than `limits` allows.
    HeadTooLarge = "head_too_large",
    /// A line of the head that ends in a line feed alone.
    LineEnd = "line_end",
    /// A fragment in the target.
    Fragment = "fragment",
    /// A field that an application might take for one that says how long the body is.
    DisguisedLength = "disguised_length",
    /// A transfer coding where the version has none.
    TransferEncodingVersion = "transfer_encoding_version",
    /// A transfer coding other than `chunked`.
    TransferEncoding = "transfer_encoding",
    /// A length beside a transfer coding.
    LengthBesideCoding = "length_beside_coding",
    /// A length that is no plain number, or several.
    ContentLength = "content_length",
    /// A `Connection` that is no list of names, names too many, or the host or what says who the client is.
    Connection = "connection",
    /// A host that is no name, or several, or none.
    Host = "host",
    /// It came to `listen.behind_tls` from somebody who is not in `listen.trusted_proxies` any more.
    Stranger = "stranger",
    /// A proxy did not say by what its client had come.
    NoScheme = "no_scheme",
    /// It has come back to the gateway that passed it on.
    Loop = "loop",
    /// A longer body than the zone allows.
    BodyTooLarge = "body_too_large",
    /// A WebSocket to an application that speaks HTTP/2.
    WebsocketOverHttp2 = "websocket_over_http2",
    /// A WebSocket's handshake that is none.
    WebsocketHandshake = "websocket_handshake",
    /// A WebSocket that a page of another site opens.
    WebsocketOrigin = "websocket_origin",
    /// Forward-auth: a path of ours, which no application has.
    GatewayPath = "gateway_path",
    /// Forward-auth: a host that is not the one that the proxy asks for.
    OtherHost = "other_host",
    /// Forward-auth: the client claims what another gateway would assert, and the proxy would pass that on.
    ForeignIdentity = "foreign_identity",
    /// Forward-auth: another process has taken over.
    HandedOver = "handed_over",
    /// The session of a request ended while it was under way.
    SessionEnded = "session_ended",
    /// Cut without a session's end: the process was told to stop and does not wait for longer, or a stream that is nobody's
    /// has lost its zone or the process that carries it.
    Stopped = "stopped",
    /// The client left, was too slow, or sent what cannot be read.
    ClientFault = "client_fault",
    /// No backend has an address.
    UpstreamWithoutAddress = "upstream_without_address",
    /// No connection to a backend in time.
    UpstreamConnectTimeout = "upstream_connect_timeout",
    /// No connection to a backend.
    UpstreamUnreachable = "upstream_unreachable",
    /// A backend's certificate is not what was expected.
    UpstreamUntrusted = "upstream_untrusted",
    /// No answer's head in time.
    UpstreamFirstByteTimeout = "upstream_first_byte_timeout",
    /// An answer that stood still.
    UpstreamSilenceTimeout = "upstream_silence_timeout",
    /// A backend that takes nothing of a request.
    UpstreamWriteTimeout = "upstream_write_timeout",
    /// It took longer in all than the zone allows.
    UpstreamRequestTimeout = "upstream_request_timeout",
    /// A backend that broke off, or answered with what is no answer.
    UpstreamFault = "upstream_fault",
    /// A fault of ours.
    GatewayFault = "gateway_fault",
}

impl Reason {
    /// Every reason.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_the_gate = Refusal::ALL.map(Self::Refusal).into_iter();
        let to_log_in = ChallengeReason::all().map(Self::Challenge);
        Self::OF_THE_EDGE.iter().copied().chain(of_the_gate).chain(to_log_in)
    }
}
